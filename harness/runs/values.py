"""The values that keys of the configuration may have; anything else is a ConfigError of one line."""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from cellbench import cells
from cellbench.cells import find

from ..probe import Probe

LONGEST_S = 1e6  # that a process may be waited for: the system's own call takes no more than 24 days
MOST_CASES = 100_000  # of a run: each is planned, listed and written
MOST_THREADS = 4096
LARGEST = 2**62  # bytes that an array may have and still be addressed
MOST_OF_OPTION = 10**9  # a whole number of a probe's option: libraries of C take no more than twice that
LARGEST_OF_OPTION = 1e30  # any other number of it: float32 ends at 3e38, and NumPy and torch refuse beyond


class ConfigError(ValueError):
    """A configuration cannot be run; the message names the key, the value and what is allowed."""


def known(kind: str, value: Any, names: list[str]) -> None:
    """Raises ConfigError, with the nearest name, for a value that is none of the names."""
    if value not in names:
        raise ConfigError(f"unknown {kind} {value!r}{find.nearest(value, names)} {kind}s: {', '.join(names)}")


def members(key: str, value: Any, names: list[str]) -> tuple[str, ...]:
    """A name, a list of names, or all."""
    if value == "all":
        return tuple(names)
    specs = tuple(str(v) for v in value) if isinstance(value, list) else (str(value),)
    if not specs or value is None:
        raise ConfigError(f"{key} is empty; give a name, a list such as '{key}=[{names[0]}]', or {key}=all")
    if len(set(specs)) < len(specs):
        raise ConfigError(f"{key} names {next(s for s in specs if specs.count(s) > 1)!r} twice; name it once")
    return specs


def option(key: str, value: Any, probe: Probe, name: str) -> Any:
    """The value of a probe's option as the type of its default.

    Numbers must be finite and not negative, those of a size positive.
    """
    field = next(f for f in fields(probe) if f.name == name)
    default = field.default
    if name == "backends":
        return _backends(key, value)
    if isinstance(default, tuple):
        return _elements(key, tuple(value) if isinstance(value, list) else (value,), str(field.type))
    if isinstance(default, str) and (value is None or value == [] or (default and not str(value).strip())):
        raise ConfigError(f"{key} is empty; give it a value, or leave it out")
    if isinstance(default, str) and isinstance(value, (list, dict)):
        raise ConfigError(f"{key} is {value!r:.60}; it takes one value")
    if isinstance(default, (bool, str)):
        return find.convert(str(value), default, key)
    if isinstance(default, int):
        return _few(key, size(key, value))
    return seconds(key, value) if name.endswith("_s") else positive(key, value, LARGEST_OF_OPTION)


def _elements(key: str, values: tuple[Any, ...], annotated: str) -> tuple[Any, ...]:
    """The values of an option that takes several; numbers must be what their annotation says."""
    whole = annotated == "tuple[int, ...]"
    if not whole and annotated != "tuple[float, ...]":
        return values
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            what = "a whole number" if whole else "a number"
            raise ConfigError(f"{key} has {value!r:.60}; it must be {what}, or a list of such")
        if whole:
            _few(key, int(value))
        elif not abs(value) <= LARGEST_OF_OPTION:  # which refuses NaN too
            raise ConfigError(
                f"{key} has {value!r:.60}; it must be a finite number of at most {LARGEST_OF_OPTION:g}, or a"
                " list of such"
            )
    return values


def _few(key: str, value: int) -> int:
    if value > MOST_OF_OPTION:
        raise ConfigError(f"{key} is {_short(value)}; it must be at most {MOST_OF_OPTION:,}")
    return value


def _short(number: int) -> str:
    """A whole number as a person reads it, also where no float is so large."""
    return f"{number:,}" if number < 10**15 else f"{number:.3g}" if number < 10**300 else "above 1e300"


def _backends(key: str, value: Any) -> tuple[str, ...]:
    """Backends of a probe; an empty list stands for those of the run."""
    if value == []:
        return ()
    specs = members(key, value, cells.backend_names())
    for spec in specs:
        cells.backend(spec)
    return specs


def shaped(config: dict[str, Any], like: dict[Any, Any], above: str = "") -> None:
    """Raises ConfigError where a configuration from a file has not the keys that every configuration has.

    The options of a probe by path are known to its file alone, and may be any.
    """
    for key, value in config.items():
        if key not in like:
            if above == "probe.":
                continue
            raise ConfigError(
                f"unknown key {above + str(key)!r:.80} in the run's configuration"
                f"{find.nearest(str(key), list(like))} {above.rstrip('.') + ' has' if above else 'keys'}:"
                f" {', '.join(map(str, like))}"
            )
        if isinstance(like[key], dict):
            if not isinstance(value, dict):
                raise ConfigError(
                    f"{above}{key} is {value!r:.60} in the run's configuration; it must hold keys:"
                    f" {', '.join(map(str, like[key]))}"
                )
            shaped(value, like[key], f"{above}{key}.")
        elif isinstance(value, dict):
            raise ConfigError(f"{above}{key} is {value!r:.60} in the run's configuration, and no value")
    if missing := [f"{above}{key}" for key in like if key not in config and above != "probe."]:
        raise ConfigError(f"the run's configuration has no {missing[0]}")


def size(key: str, value: Any) -> int:
    """One whole number of at least 1."""
    if isinstance(value, list):
        raise ConfigError(f"{key} is {value!r}; it must be one number")
    return sizes(key, value)[0]


def threads(value: Any) -> int:
    """A number of threads that a machine may have."""
    if size("threads", value) > MOST_THREADS:
        raise ConfigError(f"threads is {value:,}; it must be at most {MOST_THREADS:,}")
    return int(value)


def sizes(key: str, value: Any) -> tuple[int, ...]:
    """A whole number of at least 1, or a list of such."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ConfigError(f"{key} is empty; give a number, or a list such as '{key}=[64,256]'")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int) or v < 1:  # in Python True is an int
            raise ConfigError(f"{key} is {v!r}; it must be a whole number of at least 1, or a list of such")
    if len(set(values)) < len(values):
        raise ConfigError(f"{key} names a size twice; name it once")
    return tuple(values)


def positive(key: str, value: Any, most: float = sys.float_info.max) -> float:
    """A finite number above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value <= most:  # which refuses NaN too
        limit = f" and at most {most:g}" if most < sys.float_info.max else ""
        raise ConfigError(f"{key} is {value!r:.60}; it must be a number above 0{limit}")
    return float(value)


def seconds(key: str, value: Any) -> float:
    """A time in seconds that the system can wait for."""
    if positive(key, value) > LONGEST_S:
        raise ConfigError(f"{key} is {value!r:.60}; it must be at most {LONGEST_S:g}")
    return float(value)


def seeds(value: Any) -> tuple[int, ...]:
    """A number of seeds, from 0 on, or a list of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return tuple(range(few(size("seeds", value), "seeds", "seeds")))
    if (
        not isinstance(value, list)
        or not value
        or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in value)
    ):
        raise ConfigError(f"seeds is {value!r}; give a number of seeds, or a list of whole numbers from 0 on")
    if len(set(value)) < len(value):
        raise ConfigError(f"seeds is {value!r}; it names a seed twice, name it once")
    return tuple(value)


def few(count: int, what: str, key: str) -> int:
    """The count. Raises ConfigError where so many cases would be planned for minutes."""
    if count > MOST_CASES:
        raise ConfigError(f"{what} are {count:,}; at most {MOST_CASES:,} are planned: choose fewer in {key}")
    return count


def addressable(steps: int, batch: int, input_size: int, hidden_size: int) -> None:
    """Raises ConfigError for sizes whose arrays no machine could address."""
    gates = 8  # an upper bound that no check depends on: it only keeps products below the address space
    entries = {
        "x of workload.steps * batch * input_size": steps * batch * input_size,
        "states of workload.steps * batch * hidden_size": steps * batch * hidden_size * gates,
        "weights of workload.hidden_size * (input_size + hidden_size)": (
            hidden_size * (input_size + hidden_size) * gates
        ),
    }
    for array, count in entries.items():
        if count * 8 > LARGEST:
            raise ConfigError(
                f"{array} take {_short(count * 8)} bytes, which no machine can address; choose smaller sizes"
            )


def writable(results: Any, key: str = "results") -> Path:
    """A folder that is there, or can be made."""
    if not isinstance(results, str) or not results.strip():
        raise ConfigError(f"{key} is {results!r}; it must be a folder, {key}=DIR")
    try:
        path = find.given_path(results)
        nearest = path
        while not nearest.exists():
            nearest = nearest.parent
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return path
    except (OSError, ValueError) as error:  # a name that is too long, or a home that nobody has
        raise ConfigError(f"{key}: {error}; give another folder, {key}=DIR") from None
    raise ConfigError(f"{key} {results!r} cannot be written; give another folder, {key}=DIR")
