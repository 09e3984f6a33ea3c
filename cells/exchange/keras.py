"""Keras's recurrent layers: kernels (I, G * H), and gates in an order of their own.

Of a stack the arrays come layer by layer from the input up, and of a Bidirectional the forward layer's first,
which is the order of get_weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import real_floating
from ..derived.layers import single
from .files import told_of
from .keras_file import load
from .keras_model import NAMES, model_of
from .layouts import KERAS, Arrays, Layout, float64, layout, rows_here, rows_there
from .stack import Departure, Model, Part, apart, joined, spec

FILE = "file of Keras"
AFTER = "gru"  # the cell whose layer has reset_after=True, and so a bias (2, 3 * H)


def to_keras(cell: GatedCell, params: Arrays) -> list[np.ndarray]:
    """[kernel, recurrent_kernel, bias] of keras.layers.SimpleRNN, LSTM or GRU, in float64.

    Of a stack all layers' arrays follow one another, as a Sequential's set_weights takes them; of both
    directions, Bidirectional's with merge_mode='concat'. A cell without a bias has none there. Where Keras
    has one bias it is the sum of both; GRU's has two rows with reset_after=True (gru), the second zero for a
    cell with one, and one row with reset_after=False (gru_reset_before). The kernel and bias of a Dense for a
    read-out come last.
    """
    form = layout(single(cell), KERAS, "Keras")
    made = [array for one, arrays in apart(cell, params) for array in _written(one, form, arrays)]
    if cell.readout:
        made += [float64(params["weight_out"]).T.copy(), float64(params["bias_out"])]
    return made


def from_keras(
    given: Any, arrays: Sequence[Any] | str | Path | None = None, *, layer: str | Sequence[str] | None = None
) -> tuple[GatedCell, Arrays]:
    """The cell and its arrays in float64, from Keras's layers, models, files or weights.

    from_keras(layer or model), from_keras("model.keras") and from_keras("model.h5") go by the configuration,
    which is read as data; a linear Dense after the recurrent layers is the read-out. Masks, embeddings and
    all else that computes is refused by name, and layer="NAME", or several names, takes these layers alone.
    stateful and return_sequences change nothing here: a cell takes and gives every state and every output.

    from_keras(cell, get_weights()) and from_keras(cell, "weights.h5") take the cell by name or as it is. By
    name it has the biases of the arrays, and as many layers; one that is given keeps its own, a second bias
    being zero. The layers' activations must be the cell's: Keras's defaults are. Raises ValueError, naming
    the layer or array, for all others.
    """
    if arrays is None:
        with told_of(given, FILE):
            return joined(model_of(given, layer), read)
    with told_of(arrays, FILE):
        return _from_arrays(given, _arrays(arrays, layer))


def _arrays(arrays: Sequence[Any] | str | Path, layer: str | Sequence[str] | None) -> list[Any]:
    """The arrays as given, or those of a file's layers."""
    if isinstance(arrays, str | Path):
        held = load(arrays)[1]
        names = list(held) if layer is None else [layer] if isinstance(layer, str) else list(layer)
        for name in names:
            if name not in held:
                raise ValueError(f"{arrays} has no layer {name!r}; it has {', '.join(held)}")
        return [array for name in names for array in held[name]]
    if layer is not None:
        raise ValueError(f"layer is {layer!r}; it picks layers of a model or file, and arrays were given")
    return list(arrays)


def read(part: Part) -> tuple[GatedCell, Arrays]:
    """The cell of one layer in one direction. Raises Departure for a function that no cell has."""
    from ..catalogue import get

    options = dict(part.options)
    activation, gates = options.get("activation", "tanh"), options.get("recurrent_activation", "sigmoid")
    biases = np.ndim(part.arrays.get("bias", 0))
    if part.kind == "SimpleRNN":
        activation = "identity" if activation == "linear" else activation
        if activation not in ("tanh", "relu", "identity"):
            raise Departure(f"{part.place} has activation {activation!r}; elman has tanh, relu or linear")
        cell = get("elman", activation=activation, biases=biases)
    else:
        after = options.get("reset_after", True)
        name = "lstm" if part.kind == "LSTM" else AFTER if after else "gru_reset_before"
        if (activation, gates) != ("tanh", "sigmoid"):
            raise Departure(
                f"{part.place} has activation {activation!r} and recurrent_activation {gates!r}; {name} has"
                " 'tanh' and 'sigmoid'"
            )
        cell = get(name, biases=biases)
    try:
        return cell, _read(cell, layout(cell, KERAS, "Keras"), part.arrays)
    except ValueError as error:
        raise ValueError(f"{part.place}: {error}") from None


def _written(cell: GatedCell, form: Layout, params: Arrays) -> list[np.ndarray]:
    """The arrays of one layer in one direction."""
    there = {name: rows_there(float64(a), cell.gates, form.order) for name, a in params.items()}
    made = [there["weight_ih"].T.copy(), there["weight_hh"].T.copy()]
    if cell.biases:
        both = np.stack([there["bias_ih"], there.get("bias_hh", np.zeros_like(there["bias_ih"]))])
        made.append(both if cell.name == AFTER else both.sum(0))
    return made


def _from_arrays(given: str | GatedCell, arrays: list[Any]) -> tuple[GatedCell, Arrays]:
    from ..catalogue import get

    groups, dense = _groups(arrays)
    cell = get(given) if isinstance(given, str) else given
    form = layout(single(cell), KERAS, "Keras")
    directions = _directions(cell, groups)
    if isinstance(given, str):
        biases, readout = np.ndim(groups[0].get("bias", 0)), 0 if dense is None else dense[0].shape[1]
        depth = len(groups) // directions
        cell = replace(cell, biases=biases, readout=readout, layers=depth, bidirectional=directions == 2)
    expected, there = cell.layers * cell.directions, len(groups)
    if expected != there:
        raise ValueError(
            f"arrays are those of {there} layer{'s' * (there > 1)} of one direction; cell {spec(cell)!r} has"
            f" {expected}"
        )
    _check_dense(cell, dense, groups[-1])
    one = single(cell)
    names = [f"layer {k}" for k in range(len(groups))] if len(groups) > 1 else [""]
    parts = [Part(name, form.kind, group) for name, group in zip(names, groups, strict=True)]
    by_depth = [tuple(parts[k : k + directions]) for k in range(0, len(parts), directions)]

    def read_one(part: Part) -> tuple[GatedCell, Arrays]:
        try:
            return one, _read(one, form, part.arrays)
        except ValueError as error:
            raise ValueError(f"{part.place}: {error}" if part.place else str(error)) from None

    return joined(Model(tuple(by_depth), dense), read_one)


def _groups(arrays: list[Any]) -> tuple[list[Arrays], tuple[np.ndarray, np.ndarray] | None]:
    """The arrays of each layer in each direction by name, and of a Dense, told apart by dimensions."""
    left = [float64(real_floating(f"array {k}", a)) for k, a in enumerate(arrays)]
    shapes = ", ".join(str(a.shape) for a in left) or "none"
    groups: list[Arrays] = []
    while len(left) > 2 or (len(left) == 2 and left[1].ndim == 2):
        kernel, recurrent, *left = left
        if (kernel.ndim, recurrent.ndim) != (2, 2):
            break
        groups.append({"kernel": kernel, "recurrent_kernel": recurrent})
        rows = kernel.shape[1]
        alone = len(left) == 1  # what is left over is this layer's, well formed or not
        if left and (left[0].ndim == 1 or left[0].shape == (2, rows) or alone):
            groups[-1]["bias"] = left.pop(0)
    if groups and not left:
        return groups, None
    if groups and [a.ndim for a in left] == [2, 1]:
        return groups, (left[0], left[1])
    raise ValueError(
        f"arrays are {shapes}; they must be kernel, recurrent_kernel[, bias] of each layer"
        "[, kernel and bias of a Dense]"
    )


def _directions(cell: GatedCell, groups: list[Arrays]) -> int:
    """1 or 2: as the cell says, where it is a stack, else as the kernels' inputs say."""
    if cell.stacked or len(groups) % 2:
        return cell.directions
    inputs, hidden, second = (
        len(a) for a in (groups[0]["kernel"], groups[0]["recurrent_kernel"], groups[1]["kernel"])
    )
    if len(groups) == 2 and inputs == hidden == second:
        raise ValueError(
            f"arrays are those of two layers, or of both directions of one, with {inputs} inputs and units;"
            f" say which: '{spec(cell)}:layers=2' or '{spec(cell)}:bidirectional=True'"
        )
    return 2 if second == inputs and (len(groups) == 2 or len(groups[2]["kernel"]) == 2 * hidden) else 1


def _read(cell: GatedCell, form: Layout, arrays: Arrays) -> Arrays:
    """The cell's arrays from those of one layer in one direction. Raises ValueError for other shapes."""
    _check(cell, form, arrays)
    hidden = len(arrays["recurrent_kernel"])
    there = {"weight_ih": arrays["kernel"].T, "weight_hh": arrays["recurrent_kernel"].T}
    biases = np.atleast_2d(arrays.get("bias", np.zeros((0, len(form.order) * hidden))))
    for k, name in enumerate(("bias_ih", "bias_hh")[: cell.biases]):
        there[name] = biases[k] if k < len(biases) else np.zeros(len(form.order) * hidden)
    return {name: rows_here(rows, cell.gates, form.order) for name, rows in there.items()}


def _check(cell: GatedCell, form: Layout, arrays: Arrays) -> None:
    """Raises ValueError, naming an array and both shapes, unless these are the arrays of the cell's layer."""
    inputs, hidden = len(arrays["kernel"]), len(arrays["recurrent_kernel"])
    rows = len(form.order) * hidden
    bias = (2, rows) if cell.name == AFTER else (rows,)
    hint = "; with reset_after=True it has two rows (gru), else one (gru_reset_before)"
    for name, shape in zip(NAMES, ((inputs, rows), (hidden, rows), bias), strict=True):
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(
                f"{name} is {arrays[name].shape}; cell {cell.name!r} is Keras's {form.kind}, so with {hidden}"
                f" units it must be {shape}{hint if name == 'bias' and form.kind == 'GRU' else ''}"
            )
    if "bias" in arrays and cell.biases < len(bias):
        raise ValueError(
            f"bias is {bias}; cell {cell.name!r} has biases={cell.biases}; give it biases={len(bias)}"
        )
    if cell.biases and "bias" not in arrays:
        raise ValueError(
            f"arrays have no bias; cell {cell.name!r} has biases={cell.biases}; give it biases=0"
        )


def _check_dense(cell: GatedCell, dense: tuple[np.ndarray, np.ndarray] | None, last: Arrays) -> None:
    """Raises ValueError unless the arrays of a Dense are the cell's read-out."""
    if dense is not None and not cell.readout:
        raise ValueError(
            f"arrays have the kernel and bias of a Dense; cell {cell.name!r} has readout={cell.readout}"
        )
    width = cell.directions * len(last["recurrent_kernel"])
    if cell.readout and dense is None:
        raise ValueError(f"dense kernel is missing; it must be {(width, cell.readout)}")
    for name, array, shape in zip(
        ("dense kernel", "dense bias"), dense or (), ((width, cell.readout), (cell.readout,)), strict=False
    ):
        if array.shape != shape:
            raise ValueError(f"{name} is {array.shape}; cell {cell.name!r} needs {shape}")
