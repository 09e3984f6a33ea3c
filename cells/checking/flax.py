"""Parameters of flax, run by flax's own cells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..exchange.flax import groups_of, model_of, read
from ..exchange.layouts import Arrays
from ..exchange.stack import Part
from .implementation import Implementation
from .parts import Runner, run_together

EXTRA = "is checked against what flax computes, and package flax is not installed: pip install flax"


def of_arrays(arrays: Arrays, label: str, cell: GatedCell) -> Implementation:
    """A tree's cells, ready to be run. Raises ValueError for a tree that is no such, and without flax."""
    prefix = _prefix(list(groups_of(arrays)), cell)
    model = model_of(arrays, prefix)
    try:
        import flax  # noqa: F401
    except ImportError:
        raise ValueError(f"{label} {EXTRA}") from None
    runners = [[_runner(part) for part in layer] for layer in model.layers]
    implementation = run_together(
        label, model, lambda part: read(part, _of_kind(part, cell)), runners, "flax's cells"
    )
    if len(model.parts) > 1:
        implementation.remarks.append("layers in the order " + ", ".join(part.place for part in model.parts))
    return implementation


def _of_kind(part: Part, cell: GatedCell) -> GatedCell | None:
    """The cell, whose activation a tree does not say, where the part is one of its kind."""
    return cell if part.kind == "SimpleCell" and cell.name == "elman" else None


def _prefix(paths: list[str], cell: GatedCell) -> Any:
    """The layers of a stack from the input up, forward first; None where a tree has to say it itself."""
    if not cell.stacked or len(paths) != cell.layers * cell.directions:
        return None
    ordered = sorted(paths, key=_natural)
    back = [path for path in ordered if re.search(r"back|bw|rev", path.lower())]
    there = [path for path in ordered if path not in back]
    if not cell.bidirectional:
        return ordered
    if len(back) != len(there):
        return list(zip(ordered[::2], ordered[1::2], strict=True))
    return list(zip(there, back, strict=True))


def _natural(path: str) -> list[Any]:
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", path)]


def _tree(part: Part) -> dict[str, Any]:
    """The part's arrays as flax nests them."""
    tree: dict[str, Any] = {}
    for path, value in part.arrays.items():
        module, leaf = path.split("/")
        tree.setdefault(module, {})[leaf] = value.astype(np.float32)
    return tree


def _runner(part: Part) -> Runner:
    """One cell of flax over a sequence."""
    fused = "dense_i/kernel" in part.arrays
    names = ("c", "h") if part.kind == "LSTMCell" else ("h",)
    step = _of_nnx(part) if fused else _of_linen(part)

    def run(x: np.ndarray, state: Arrays) -> tuple[np.ndarray, Arrays]:
        carry = tuple(state[name] for name in names) if len(names) > 1 else state["h"]
        outputs = []
        for x_t in x:
            carry, output = step(carry, x_t)
            outputs.append(np.asarray(output))
        values = carry if len(names) > 1 else (carry,)
        return np.stack(outputs), {n: np.asarray(v) for n, v in zip(names, values, strict=True)}

    return run


def _of_linen(part: Part) -> Any:
    import jax
    from flax import linen

    hidden = next(value for name, value in part.arrays.items() if name.startswith("h")).shape[0]
    cell = getattr(linen, part.kind)(features=hidden)
    tree = {"params": _tree(part)}
    return jax.jit(lambda carry, x: cell.apply(tree, carry, x))


def _of_nnx(part: Part) -> Any:
    from flax import nnx

    inputs, hidden = part.arrays["dense_i/kernel"].shape[0], part.arrays["dense_h/kernel"].shape[0]
    kind = {"LSTMCell": "OptimizedLSTMCell"}.get(part.kind, part.kind)
    cell = getattr(nnx, kind)(inputs, hidden, rngs=nnx.Rngs(0))
    for module, leaves in _tree(part).items():
        for leaf, value in leaves.items():
            getattr(getattr(cell, module), leaf).value = value
    return cell
