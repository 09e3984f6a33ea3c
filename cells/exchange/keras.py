"""Arrays as Keras has them in get_weights: kernels (I, G * H), and gates in an order of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import real_floating
from .layouts import KERAS, Arrays, Layout, float64, layout, rows_here, rows_there

AFTER = "gru"  # the cell whose layer has reset_after=True, and so a bias (2, 3 * H)


def to_keras(cell: GatedCell, params: Arrays) -> list[np.ndarray]:
    """[kernel, recurrent_kernel, bias] of keras.layers.SimpleRNN, LSTM or GRU, in float64.

    A cell without a bias has none there. Where Keras has one bias it is the sum of both; GRU's has two rows
    with reset_after=True (gru), the second zero for a cell with one, and one row with reset_after=False
    (gru_reset_before). The kernel and bias of a Dense for a read-out come last.
    """
    form = layout(cell, KERAS, "Keras")
    cell.sizes(params)
    arrays = {name: float64(value) for name, value in params.items()}
    there = {
        name: rows_there(a, cell.gates, form.order) for name, a in arrays.items() if not name.endswith("_out")
    }
    made = [there["weight_ih"].T.copy(), there["weight_hh"].T.copy()]
    if cell.biases:
        both = np.stack([there["bias_ih"], there.get("bias_hh", np.zeros_like(there["bias_ih"]))])
        made.append(both if cell.name == AFTER else both.sum(0))
    return made + ([arrays["weight_out"].T.copy(), arrays["bias_out"]] if cell.readout else [])


def from_keras(cell: str | GatedCell, arrays: Sequence[Any]) -> tuple[GatedCell, Arrays]:
    """The cell and its arrays in float64, from get_weights() of a layer and of a Dense (a read-out) after it.

    By name the cell has the biases of the arrays; one that is given keeps its own, a second bias being zero.
    The layer's activations must be the cell's: Keras's defaults are. Raises ValueError, naming the array, for
    other shapes.
    """
    from ..catalogue import get

    kernels = _kernels(arrays)
    if isinstance(cell, str):
        held = {
            "biases": np.ndim(kernels.get("bias", 0)),
            "readout": np.shape(kernels.get("dense kernel", [[]]))[-1],
        }
        cell = get(cell, **held)
    form = layout(cell, KERAS, "Keras")
    _check(cell, form, kernels)
    hidden = len(kernels["recurrent_kernel"])
    there = {"weight_ih": kernels["kernel"].T, "weight_hh": kernels["recurrent_kernel"].T}
    biases = np.atleast_2d(kernels.get("bias", np.zeros((0, len(form.order) * hidden))))
    for k, name in enumerate(("bias_ih", "bias_hh")[: cell.biases]):
        there[name] = biases[k] if k < len(biases) else np.zeros(len(form.order) * hidden)
    params = {name: rows_here(rows, cell.gates, form.order) for name, rows in there.items()}
    if cell.readout:
        params |= {"weight_out": kernels["dense kernel"].T.copy(), "bias_out": kernels["dense bias"]}
    cell.check_parameters(params, len(kernels["kernel"]), hidden)
    return cell, params


def _kernels(arrays: Sequence[Any]) -> Arrays:
    """The arrays by name, told apart by number and dimension."""
    dimensions = [np.ndim(a) for a in arrays]
    for names, allowed in (
        (("kernel", "recurrent_kernel"), {(2, 2)}),
        (("kernel", "recurrent_kernel", "bias"), {(2, 2, 1), (2, 2, 2)}),
        (("kernel", "recurrent_kernel", "dense kernel", "dense bias"), {(2, 2, 2, 1)}),
        (
            ("kernel", "recurrent_kernel", "bias", "dense kernel", "dense bias"),
            {(2, 2, 1, 2, 1), (2, 2, 2, 2, 1)},
        ),
    ):
        if tuple(dimensions) in allowed:
            return {name: float64(real_floating(name, a)) for name, a in zip(names, arrays, strict=True)}
    shapes = ", ".join(str(np.shape(a)) for a in arrays) or "none"
    raise ValueError(
        f"arrays are {shapes}; they must be kernel, recurrent_kernel[, bias][, kernel and bias of a Dense]"
    )


def _check(cell: GatedCell, form: Layout, kernels: Arrays) -> None:
    """Raises ValueError, naming an array and both shapes, unless these are the arrays of the cell's layer."""
    expected = _expected(cell, form, kernels)
    hint = "; with reset_after=True it has two rows (gru), else one (gru_reset_before)"
    for name, shape in expected.items():
        if kernels.get(name, np.empty(0)).shape != shape:
            fault = f"is {kernels[name].shape}" if name in kernels else "is missing"
            more = hint if name == "bias" and form.kind == "GRU" else ""
            raise ValueError(
                f"{name} {fault}; cell {cell.name!r} is Keras's {form.kind}, so with"
                f" {len(kernels['recurrent_kernel'])} units it must be {shape}{more}"
            )
    if ("dense kernel" in kernels) != bool(cell.readout):
        raise ValueError(
            f"arrays have the kernel and bias of a Dense; cell {cell.name!r} has readout={cell.readout}"
        )
    biases = len(expected.get("bias", ()))
    if biases and cell.biases < biases:
        raise ValueError(
            f"bias is {expected['bias']}; cell {cell.name!r} has biases={cell.biases}; give it"
            f" biases={biases}"
        )
    if cell.biases and not biases:
        raise ValueError(
            f"arrays have no bias; cell {cell.name!r} has biases={cell.biases}; give it biases=0"
        )


def _expected(cell: GatedCell, form: Layout, kernels: Arrays) -> dict[str, tuple[int, ...]]:
    """The shapes that the cell's layer has at the sizes of these arrays."""
    inputs, hidden = len(kernels["kernel"]), len(kernels["recurrent_kernel"])
    rows = len(form.order) * hidden
    shapes: dict[str, tuple[int, ...]] = {"kernel": (inputs, rows), "recurrent_kernel": (hidden, rows)}
    if "bias" in kernels:
        shapes["bias"] = (2, rows) if cell.name == AFTER else (rows,)
    if cell.readout:
        shapes |= {"dense kernel": (hidden, cell.readout), "dense bias": (cell.readout,)}
    return shapes
