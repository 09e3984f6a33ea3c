"""The fields of a result as columns, as single values, and as one short line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas


LONGEST = 200  # characters of a result in a line
TEXT = 60  # of a text in it
Value = bool | int | float | str | None


def table(result: Any) -> pandas.DataFrame:
    """The frame of a result: of its records, of its axes, or of its single values."""
    import pandas

    if result.records:
        rows = [dict(_flat("", asdict(one))) for one in getattr(result, result.records)]
        known = next(iter(result.axes.values()), ())
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=[*result.axes, *known])
    if not result.axes:
        return pandas.DataFrame([facts(result)])
    parts = [pandas.DataFrame(_columns(result, axis, names)) for axis, names in result.axes.items()]
    return pandas.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def facts(result: Any) -> dict[str, Value]:
    """The single values of a result by name; a mapping of numbers has one for each of its keys."""
    along = {name for names in result.axes.values() for name in names} | {*result.axes, result.records}
    names = [f.name for f in _fields(result) if f.name not in along] + list(result.derived)
    return dict(_flat("", {name: getattr(result, name) for name in names}))


def _fields(result: Any) -> tuple[Any, ...]:
    return fields(result) if is_dataclass(result) else ()


def short(result: Any) -> str:
    """The class, and each field in a few characters; an array is its shape."""
    if is_dataclass(result):
        named = {f.name: getattr(result, f.name) for f in _fields(result)}
        inside = ", ".join(f"{name}={_few(value)}" for name, value in named.items())
    else:
        inside = ", ".join(map(str, result))
    room = LONGEST - len(type(result).__name__) - 2
    inside = inside if len(inside) <= room else f"{inside[: room - 3]}..."
    return f"{type(result).__name__}({inside})"


def _columns(result: Any, axis: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The columns along one axis, its own first; where there are samples, a row for each of them."""
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        value = getattr(result, name)
        named = value if isinstance(value, Mapping) else {"": value}
        arrays |= {f"{name}_{key}" if key else name: np.asarray(one) for key, one in named.items()}
    length = max((len(one) for one in arrays.values()), default=0)
    places = np.asarray(getattr(result, axis, range(length)))
    samples = max((one.shape[1] for one in arrays.values() if one.ndim > 1), default=0)
    if not samples:
        return {axis: places} | arrays
    return {
        axis: np.repeat(places, samples),
        "sample": np.tile(np.arange(samples), length),
        **{k: one.ravel() if one.ndim > 1 else np.repeat(one, samples) for k, one in arrays.items()},
    }


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Value]]:
    """Single values under their names; a longer thing is none, but for lags such as (3, 7)."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(f"{prefix}_{key}" if prefix else str(key), one)
    elif isinstance(value, np.generic):
        yield prefix, value.item()
    elif value is None or isinstance(value, bool | int | float | str):
        yield prefix, value
    elif is_dataclass(value) and not isinstance(value, type):
        for name in (f.name for f in fields(value)):
            yield from _flat(f"{prefix}_{name}", getattr(value, name))
    elif isinstance(value, tuple) and all(isinstance(one, int | str) for one in value):
        yield prefix, "; ".join(map(str, value))


def _few(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array{value.shape}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, str):
        return repr(str(value) if len(value) <= TEXT else f"{value[: TEXT - 3]}...")
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}"
    if isinstance(value, tuple | list) and any(is_dataclass(one) for one in value):
        return f"{len(value)} of {type(value[0]).__name__}"
    text = str(value) if is_dataclass(value) else repr(value)
    return text if len(text) <= TEXT else f"{text[: TEXT - 3]}..."
