"""Which layer of other software computes a cell, and in which order that has the gates: all of it is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cell import GatedCell

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """A layer of other software: its name (kind), and the cell's gates in the order there.

    A gate '-f' stands for the negative of f's rows.

    peepholes are the cell's vectors in the order there.
    """

    kind: str
    order: tuple[str, ...]
    peepholes: tuple[str, ...] = ()


# torch.nn has every cell's own order: the zoo follows it
TORCH = {"RNN": "elman", "LSTM": "lstm", "GRU": "gru"}

# GRU's reset_after is 1 for gru and 0 for gru_reset_before
KERAS = {
    "elman": Layout("SimpleRNN", ("h",)),
    "lstm": Layout("LSTM", ("i", "f", "g", "o")),
    "gru": Layout("GRU", ("z", "r", "n")),
    "gru_reset_before": Layout("GRU", ("z", "r", "n")),
}

# GRU's linear_before_reset is 1 for gru and 0 for gru_reset_before. ONNX does not say which of two coupled
# gates is computed and which is 1 minus that one (onnxruntime: f = 1 - i); with i's rows the negative of f's
# both readings are the same.
ONNX = {
    "elman": Layout("RNN", ("h",)),
    "lstm": Layout("LSTM", ("i", "o", "f", "g")),
    "peephole_lstm": Layout("LSTM", ("i", "o", "f", "g"), ("peephole_i", "peephole_o", "peephole_f")),
    "cifg": Layout("LSTM", ("-f", "o", "f", "g")),
    "gru": Layout("GRU", ("z", "r", "n")),
    "gru_reset_before": Layout("GRU", ("z", "r", "n")),
}

# flax's SimpleCell has tanh by default; of both, gates lie as torch has them
FLAX = {
    "elman": Layout("SimpleCell", ("h",)),
    "lstm": Layout("LSTMCell", ("i", "f", "g", "o")),
    "gru": Layout("GRUCell", ("r", "z", "n")),
}
EQUINOX = {name: form for name, form in FLAX.items() if name != "elman"}

# tf.nn.rnn_cell: j is the candidate g, u is z; GRUCell's candidate takes the product with r h
TENSORFLOW = {
    "elman": Layout("RNN", ("h",)),
    "lstm": Layout("LSTM", ("i", "g", "f", "o")),
    "peephole_lstm": Layout("LSTM", ("i", "g", "f", "o"), ("peephole_i", "peephole_f", "peephole_o")),
    "gru_reset_before": Layout("GRU", ("r", "z", "n")),
}


def layout(cell: GatedCell, known: dict[str, Layout], where: str) -> Layout:
    """The cell's layout. Raises ValueError for a cell without one, and for a stack or both directions."""
    if cell.name not in known:
        there = ", ".join(f"{name} ({form.kind})" for name, form in known.items())
        raise ValueError(f"{where} has no layer that computes cell {cell.name!r}; it has {there}")
    if cell.stacked:
        raise ValueError(
            f"cell {cell.name!r} with {cell.options} is a stack; to {where} goes one layer of one direction"
        )
    if "weight_hr" in cell.shapes(1, 1):
        raise ValueError(
            f"cell {cell.name!r} with {cell.options} has a projection, which no {known[cell.name].kind}"
            f" of {where} has; cells.to_torch takes it"
        )
    return known[cell.name]


def rows_there(rows: np.ndarray, have: tuple[str, ...], order: tuple[str, ...]) -> np.ndarray:
    """The gates' row blocks (G * H, ...) of a cell in the order of other software."""
    blocks = dict(zip(have, np.split(rows, len(have)), strict=True))
    return np.concatenate([-blocks[gate[1:]] if gate.startswith("-") else blocks[gate] for gate in order])


def rows_here(rows: np.ndarray, have: tuple[str, ...], order: tuple[str, ...]) -> np.ndarray:
    """The way back, to the cell's order.

    Of a gate that is there twice the negative counts, as onnxruntime has it.
    """
    blocks: dict[str, np.ndarray] = {}
    for gate, block in zip(order, np.split(rows, len(order)), strict=True):
        if gate.startswith("-"):
            blocks[gate[1:]] = -block
        else:
            blocks.setdefault(gate, block)
    return np.concatenate([blocks[gate] for gate in have])


def float64(array: Any) -> np.ndarray:
    """A copy as a float64 NumPy array, of torch tensors too."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().double().numpy()
    return np.array(array, np.float64, order="C")
