"""equinox's GRUCell and LSTMCell: their arrays as attributes, in nested dicts or in files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..derived.layers import single
from .files import told_of
from .layouts import EQUINOX as LAYOUTS
from .layouts import Arrays, float64, layout
from .stack import Model, Part, apart, joined
from .trees import Prefix, below, flat, floats, picked

LEAVES = {
    "LSTMCell": {"weight_ih", "weight_hh", "bias"},
    "GRUCell": {"weight_ih", "weight_hh", "bias", "bias_n"},
}


def from_equinox(tree: Any, *, prefix: Prefix = None) -> tuple[GatedCell, Arrays]:
    """The cell and its arrays in float64, from an equinox GRUCell or LSTMCell, or a module that has some.

    tree may also be nested dicts of the arrays, or an .npz file with keys such as 'cell/weight_ih'. A module
    does not say in which order its layers are run: of several, prefix names one, or lists them from the input
    up, with a pair for both directions. Raises ValueError, naming the path, for all others.
    """
    with told_of(tree, "file of equinox's arrays"):
        return joined(model_of(flat(tree), prefix), read)


def to_equinox(cell: GatedCell, params: Arrays) -> list[dict[str, np.ndarray]]:
    """The arrays of every layer in float64, from the input up and forward first; those of a Linear last.

    Each is {weight_ih, weight_hh, bias} of an eqx.nn.LSTMCell, with bias_n of a GRUCell, or {weight, bias}.
    Raises ValueError for a cell that equinox has not.
    """
    layout(single(cell), LAYOUTS, "equinox")
    made = [_written(one, arrays) for one, arrays in apart(cell, params)]
    if cell.readout:
        made.append({"weight": float64(params["weight_out"]), "bias": float64(params["bias_out"])})
    return made


def model_of(arrays: Arrays, prefix: Prefix) -> Model:
    """The layers that a prefix picks."""
    layers = picked(
        groups_of(arrays), prefix, "equinox has GRUCell and LSTMCell, with weight_ih and weight_hh"
    )
    return Model(tuple(tuple(_part(arrays, path) for path in layer) for layer in layers))


def groups_of(arrays: Arrays) -> dict[str, str]:
    """The paths of the recurrent cells of a tree."""
    paths = [path.rpartition("/")[0] for path in arrays if path.rpartition("/")[2] == "weight_hh"]
    return {path: "" for path in paths if "weight_ih" in below(arrays, path)}


def _part(arrays: Arrays, path: str) -> Part:
    held = floats({k: v for k, v in below(arrays, path).items() if "/" not in k}, path or ".")
    rows, hidden = held["weight_hh"].shape
    kind = {4: "LSTMCell", 3: "GRUCell"}.get(rows // hidden)
    place = path or "the cell"
    if kind is None or rows % hidden:
        raise ValueError(
            f"{place}: weight_hh is {(rows, hidden)}; it must be (3H, H) of a GRU or (4H, H) of an LSTM"
        )
    if surplus := set(held) - LEAVES[kind]:
        raise ValueError(f"{place} has {', '.join(sorted(surplus))}, which no {kind} of equinox has")
    return Part(place, kind, held)


def read(part: Part) -> tuple[GatedCell, Arrays]:
    """The cell of one layer in one direction."""
    from ..catalogue import get

    name = next(name for name, form in LAYOUTS.items() if form.kind == part.kind)
    params = {k: part.arrays[k] for k in ("weight_ih", "weight_hh")}
    if "bias" in part.arrays:
        params["bias_ih"] = part.arrays["bias"]
    if "bias_n" in part.arrays:
        params["bias_hh"] = np.concatenate([np.zeros(2 * len(part.arrays["bias_n"])), part.arrays["bias_n"]])
    return replace(get(name), biases=len(params) - 2), params


def _written(cell: GatedCell, params: Arrays) -> dict[str, np.ndarray]:
    arrays = {name: float64(value) for name, value in params.items()}
    made = {name: arrays[name] for name in ("weight_ih", "weight_hh")}
    if not cell.biases:
        return made
    bias, second = arrays["bias_ih"].copy(), arrays.get("bias_hh", np.zeros_like(arrays["bias_ih"]))
    if cell.name != "gru":
        return made | {"bias": bias + second}
    units = len(second) // 3
    bias[: 2 * units] += second[: 2 * units]  # r and z add both; n keeps them apart
    return made | {"bias": bias, "bias_n": second[2 * units :]}
