"""Norms and clipping that neither overflow nor underflow, whatever the dtype of the gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells.display import Displayed

Gradients = Mapping[str, Any] | Iterable[Any]


@dataclass(frozen=True, repr=False)
class Clipped(Displayed):
    """The result of one clipping.

    arrays      in the form they came in, clipped; left as they were where any entry is not finite
    norm        before, over all arrays (inf or NaN where an entry is)
    fraction    of the entries (by value) or 1.0/0.0 (by norm) that were changed
    cosine      between the gradient before and after; 1 for norm clipping, NaN where an entry is not finite
    nonfinite   {name or place: count} of the arrays with entries that are not finite
    torch       a note on torch.nn.utils where its result would have differed, else None
    """

    drawn = ("norm", "fraction", "cosine")

    arrays: Any
    norm: float
    fraction: float
    cosine: float
    nonfinite: dict[str, int]
    torch: str | None


def total_norm(arrays: Gradients) -> float:
    """Euclidean norm over all entries of all arrays (NumPy or torch); NaN or inf if one entry is.

    Exact from 1e-300 to 1e300: scaled by the largest entry and summed in float64. torch.nn.utils'
    clip_grad_norm_ sums squares in the arrays' own dtype, so that float32 entries of 1e20 give inf and those
    of 1e-25 give 0.
    """
    sizes = [np.abs(_float64(a)).ravel() for a in _named(arrays).values()]
    largest = float(np.max([np.max(a) for a in sizes if a.size], initial=0.0))  # NaN where any entry is
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(sum(np.sum(np.square(a / largest)) for a in sizes if a.size)))


def clip_by_norm(arrays: Gradients, max_norm: float) -> Clipped:
    """All arrays scaled by max_norm / norm where their total norm is above max_norm.

    Raises ValueError for a max_norm that is not above 0.
    """
    _positive("max_norm", max_norm)
    named, norm = _named(arrays), total_norm(arrays)
    bad = _nonfinite(named)
    return Clipped(
        _like(arrays, named if bad else scaled(named, norm, max_norm)),
        norm,
        float(not bad and norm > max_norm),
        float("nan") if bad else 1.0,
        bad,
        _torch_norm(named, norm, max_norm),
    )


def scaled(arrays: dict[str, Any], norm: float, max_norm: float) -> dict[str, Any]:
    """Finite arrays of this total norm, scaled by max_norm / norm where it is above max_norm."""
    return {k: _scaled(a, max_norm, norm) for k, a in arrays.items()} if norm > max_norm else arrays


def clip_by_value(arrays: Gradients, limit: float) -> Clipped:
    """Every entry brought into [-limit, limit]. Raises ValueError for a limit that is not above 0."""
    _positive("limit", limit)
    named, norm = _named(arrays), total_norm(arrays)
    bad = _nonfinite(named)
    if bad:
        note = "torch.nn.utils.clip_grad_value_ would have made inf the limit and left NaN in the gradient"
        return Clipped(arrays, norm, 0.0, float("nan"), bad, note)
    clipped = {k: a.clip(-limit, limit) for k, a in named.items()}
    before, after = (
        np.concatenate([_float64(a).ravel() for a in d.values()] or [np.zeros(0)]) for d in (named, clipped)
    )
    changed = float(np.mean(before != after)) if before.size else 0.0
    return Clipped(_like(arrays, clipped), norm, changed, cosine(before, after), {}, None)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two vectors, each scaled first; NaN where one is zero."""
    largest = [np.max(np.abs(v), initial=0.0) for v in (a, b)]
    if not all(largest):
        return float("nan")
    a, b = a / largest[0], b / largest[1]
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _named(arrays: Gradients) -> dict[str, Any]:
    if isinstance(arrays, Mapping):
        return dict(arrays)
    if hasattr(arrays, "shape"):
        raise ValueError("arrays is one array; give a list of arrays, or a dict by name")
    return {str(k): a for k, a in enumerate(arrays)}


def _like(arrays: Gradients, named: dict[str, Any]) -> Any:
    """In the form that the arrays came in."""
    return named if isinstance(arrays, Mapping) else list(named.values())


def _float64(array: Any) -> np.ndarray:
    if hasattr(array, "detach"):
        tensor = array.detach().cpu()
        try:
            array = tensor.numpy()
        except (TypeError, RuntimeError):  # a format that NumPy has not, as bfloat16, or a view
            array = tensor.double().numpy()
    return np.asarray(array, np.float64)


def _scaled(array: Any, to: float, norm: float) -> Any:
    """In two factors, each of which the array's dtype holds, though their product may not be."""
    if hasattr(array, "detach"):
        return ((array.double() / norm) * to).to(array.dtype)
    array = np.asarray(array)
    return ((array.astype(np.float64) / norm) * to).astype(array.dtype)


def _nonfinite(named: dict[str, Any]) -> dict[str, int]:
    counts = {k: int(np.sum(~np.isfinite(_float64(a)))) for k, a in named.items()}
    return {k: n for k, n in counts.items() if n}


def _positive(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value > 0:
        raise ValueError(f"{what} is {value!r}; it must be a number above 0")


def _torch_norm(named: dict[str, Any], norm: float, max_norm: float) -> str | None:
    """A note where torch's clipping would differ, else None.

    It sums squares in each array's own dtype and multiplies by max_norm / (norm + 1e-6), at most 1.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        norms = [np.sqrt(np.sum(np.square(_in_its_dtype(a)))) for a in named.values()]
        theirs = float(np.sqrt(np.sum(np.square(np.array(norms)))) if norms else 0.0)
    if np.isnan(theirs):
        return "torch.nn.utils.clip_grad_norm_ would have returned nan and made every gradient nan"
    if np.isinf(theirs):
        value = "nan where it is inf, and 0 elsewhere" if np.isinf(norm) else "0"
        return f"torch.nn.utils.clip_grad_norm_ would have returned inf and made every gradient {value}"
    if norm and abs(theirs / norm - 1) > 1e-3:
        did = "clipped" if theirs > max_norm else "not clipped"
        return f"torch.nn.utils.clip_grad_norm_ would have returned {theirs:.4g} and {did}"
    return None


def _in_its_dtype(array: Any) -> np.ndarray:
    """The entries in the array's own dtype; a bfloat16's range is float32's."""
    if hasattr(array, "detach"):
        tensor = array.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return np.asarray(array)
