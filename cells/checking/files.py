"""Files that are checked as they are, by their ending, and trees of arrays that a Python file holds.

A file of arrays has no code: what is run is the module of its own library that takes these arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..cell import GatedCell
from ..exchange.flax import groups_of
from ..exchange.torch_state import module_of, places_of
from ..exchange.trees import SUFFIXES, flat
from .implementation import Implementation


def _onnx(path: Path, cell: GatedCell) -> Implementation:
    from .onnx import of_file

    return of_file(str(path))


def _keras(path: Path, cell: GatedCell) -> Implementation:
    from .keras import of_file

    return of_file(path)


def of_tree(tree: Any, label: str, cell: GatedCell) -> Implementation:
    """A tree of arrays, or a file of one: a state_dict of torch, or parameters of flax."""
    from .flax import of_arrays
    from .given import understood

    arrays = flat(tree)
    if groups_of(arrays):
        return of_arrays(arrays, label, cell)
    if not places_of(arrays):
        held = ", ".join(list(arrays)[:4]) or "nothing"
        raise ValueError(
            f"{label} holds {held}, which are no arrays of a recurrent module; a file of arrays is a"
            " state_dict of torch (weight_ih_l0 ...), parameters of flax (cell/hi/kernel ...), or an .npz of"
            " TensorFlow's variables (rnn/gru_cell/gates/kernel ...)"
        )
    module = module_of(tree, nonlinearity=getattr(cell, "activation", "tanh"))
    implementation = understood(module.float(), cell, (1, 1), None)
    implementation.label = label
    implementation.remarks.append(f"arrays without code: run as torch.nn.{type(module).__name__}")
    return implementation


def _tree(path: Path, cell: GatedCell) -> Implementation:
    return of_tree(path, path.name, cell)


def is_tree(given: Any) -> bool:
    """Whether something that a Python file holds is a tree of arrays."""
    return isinstance(given, Mapping) or (isinstance(given, list | tuple) and bool(given))


READERS: dict[str, Callable[[Path, GatedCell], Implementation]] = {
    ".onnx": _onnx,
    ".keras": _keras,
    ".h5": _keras,
    **dict.fromkeys(SUFFIXES, _tree),
}
