"""Arrays as Keras orders them in get_weights and set_weights: kernels (I, G * H), gates in its own order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..catalogue import get
from ..cell import GatedCell
from ..contract import real_floating
from .layouts import KERAS, Arrays, Layout, float64, layout, rows_here, rows_there

AFTER = "gru"  # the cell whose layer has reset_after=True, and so a bias (2, 3 * H)


def to_keras(cell: GatedCell, params: Arrays) -> list[np.ndarray]:
    """[kernel, recurrent_kernel, bias] of keras.layers.SimpleRNN, LSTM or GRU, in float64.

    There is no bias where the cell has none. Where Keras has one bias it is the sum of both; GRU's has two
    rows with reset_after=True (gru), the second zero for a cell with one, and one with reset_after=False
    (gru_reset_before). Then [kernel, bias] of a Dense for a read-out.
    """
    form = layout(cell, KERAS, "Keras")
    cell.sizes(params)
    arrays = {name: float64(value) for name, value in params.items()}
    there = {
        name: rows_there(a, cell.gates, form.order) for name, a in arrays.items() if not name.endswith("_out")
    }
    kernels = [there["weight_ih"].T.copy(), there["weight_hh"].T.copy()]
    if cell.biases:
        both = np.stack([there["bias_ih"], there.get("bias_hh", np.zeros_like(there["bias_ih"]))])
        kernels.append(both if cell.name == AFTER else both.sum(0))
    return kernels + ([arrays["weight_out"].T.copy(), arrays["bias_out"]] if cell.readout else [])


def from_keras(cell: str | GatedCell, arrays: Sequence[Any]) -> tuple[GatedCell, Arrays]:
    """The cell and its arrays in float64, from a layer's get_weights().

    Those of a Dense may follow: the read-out. By name the cell has the biases of the arrays; one that is
    given keeps its own, a second bias being zero. The layer's activations must be the cell's: Keras's
    defaults are. Raises ValueError, naming the array, for other shapes.
    """
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
    """Raises ValueError, naming the array and its shape, unless these are the arrays of the cell's layer."""
    inputs, hidden = len(kernels["kernel"]), len(kernels["recurrent_kernel"])
    rows = len(form.order) * hidden
    expected: dict[str, tuple[int, ...]] = {"kernel": (inputs, rows), "recurrent_kernel": (hidden, rows)}
    if "bias" in kernels:
        expected["bias"] = (2, rows) if cell.name == AFTER else (rows,)
    if cell.readout:
        expected |= {"dense kernel": (hidden, cell.readout), "dense bias": (cell.readout,)}
    for name, shape in expected.items():
        if kernels.get(name, np.empty(0)).shape != shape:
            given = f"is {kernels[name].shape}" if name in kernels else "is missing"
            hint = (
                "; with reset_after=True it has two rows (gru), else one (gru_reset_before)"
                if form.kind == "GRU"
                else ""
            )
            raise ValueError(
                f"{name} {given}; cell {cell.name!r} is Keras's {form.kind}, so with {hidden} units it must"
                f" be {shape}{hint if name == 'bias' else ''}"
            )
    if ("dense kernel" in kernels) != bool(cell.readout):
        raise ValueError(
            f"arrays have the kernel and bias of a Dense; cell {cell.name!r} has readout={cell.readout}"
        )
    needed = expected.get("bias", ())
    if needed and cell.biases < len(needed):
        raise ValueError(
            f"bias is {needed}; cell {cell.name!r} has biases={cell.biases}; give it biases={len(needed)}"
        )
    if cell.biases and not needed:
        raise ValueError(
            f"arrays have no bias; cell {cell.name!r} has biases={cell.biases}; give it biases=0"
        )
