"""Checks somebody's own implementation of a cell against the float64 reference, and says what it is where it
deviates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import check_sizes
from .result import First, Result, Row

__all__ = ["First", "Result", "Row", "check"]
SIZES, STEPS, BATCH = (5, 7), 11, 3  # odd and all different, so that what is transposed shows


def check(
    thing: Any,
    against: str | GatedCell,
    weights: dict[str, Any] | None = None,
    *,
    input_size: int | None = None,
    hidden_size: int | None = None,
    steps: int = STEPS,
    batch: int = BATCH,
    dtype: str | None = None,
    seed: int = 0,
) -> Result:
    """Holds a user's own implementation against a cell: outputs, states and gradients, by name, with a
    diagnosis.

    thing: a torch module, a class or an object with arrays, a function of a step or a sequence, a cell,
    'file.py:NAME' or an .onnx file. A class or function gets arrays of `cell.init`, an object keeps its own.
    weights are the cell's arrays. dtype is the thing's own where None. Raises ValueError, one line, for a
    thing that is not understood or cannot be called.
    """
    from ..catalogue import get
    from .diagnosis import diagnosed
    from .fitting import ported
    from .ports import problem

    cell = get(against) if isinstance(against, str) else against
    said = against if isinstance(against, str) else cell.name + (f":{cell.options}" if cell.options else "")
    check_sizes(
        steps=steps,
        batch=batch,
        **{k: v for k, v in _sizes(input_size, hidden_size).items() if v is not None},
    )
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; it must be float32 or float64")
    if cell.stacked:
        raise ValueError(f"cell {said!r} is a stack; a port is checked against one layer of one direction")
    if weights is not None:
        weights = {
            k: np.array(v.detach() if hasattr(v, "detach") else v, np.float64) for k, v in weights.items()
        }
        cell = _with_biases(cell, weights)
    made, cell, sizes, fixed = _understood(
        thing, cell, _wanted(cell, weights, input_size, hidden_size), dtype
    )
    if weights is not None and cell.sizes(weights) != sizes:
        raise ValueError(
            f"weights are of input_size and hidden_size {cell.sizes(weights)}, the thing's own arrays of"
            f" {sizes}"
        )
    steps, batch = fixed[0] or steps, fixed[1] or batch
    port = ported(
        made,
        cell,
        sizes,
        lambda c, zero: problem(c, sizes, steps, batch, seed, made.dtype, zero),
        weights,
        seed,
    )
    if made.library == "numpy" and made.label.endswith(".onnx"):
        port.no_gradients = "cannot be had from an ONNX file; outputs and states are compared"
    return diagnosed(port, cell, weights, said)


def _sizes(input_size: int | None, hidden_size: int | None) -> dict[str, int | None]:
    return {"input_size": input_size, "hidden_size": hidden_size}


def _with_biases(cell: GatedCell, weights: dict[str, Any]) -> GatedCell:
    """The cell with as many biases as the weights hold. Raises ValueError, naming an array that does not fit."""
    held = 2 if "bias_hh" in weights else 1 if "bias_ih" in weights else 0
    cell = replace(cell, biases=held) if "weight_ih" in weights else cell
    cell.sizes(weights)
    return cell


def _wanted(
    cell: GatedCell, weights: dict[str, Any] | None, input_size: int | None, hidden_size: int | None
) -> tuple:
    """(input_size, hidden_size, whether they were given); the smallest odd ones that the cell can have by
    default.
    """
    if weights is not None:
        return *cell.sizes(weights), True
    i, h = input_size or SIZES[0], hidden_size or SIZES[1]
    near = [
        (a, b) for b in ([h] if hidden_size else range(h, 2 * h + 9)) for a in ([i] if input_size else [i, b])
    ]
    fit = next((pair for pair in near if cell.unfit(*pair) is None), None)
    if fit is None:
        raise ValueError(
            cell.unfit(i, h) or f"cell {cell.name!r} cannot have input_size {i} and hidden_size {h}"
        )
    return *fit, input_size is not None or hidden_size is not None


def _understood(
    given: Any, cell: GatedCell, wanted: tuple, dtype: str | None
) -> tuple[Any, GatedCell, tuple[int, int], tuple]:
    """The thing, the cell to hold it against, the sizes, and (T, B) where the thing fixes them."""
    from .files import load
    from .fitting import sizes_of
    from .things import of_cell, understood

    sizes = wanted[:2]
    fixed: tuple[int | None, int | None] = (None, None)
    if isinstance(given, str | Path) and str(given).endswith(".onnx"):
        if not Path(given).is_file():
            raise ValueError(f"no file {str(given)!r}; give an .onnx file, or path/to/file.py:Name")
        from .onnx import of_file

        thing, fixed, readout = of_file(str(given))
        cell = replace(cell, readout=readout)
    else:
        given = load(str(given)) if isinstance(given, str | Path) else given
        if isinstance(given, type) and issubclass(given, GatedCell):
            given = given()
        thing = (
            of_cell(given, sizes) if isinstance(given, GatedCell) else understood(given, cell, sizes, dtype)
        )
    if dtype and not thing.arrays:
        thing.dtype = dtype
    if thing.arrays and not thing.made:
        found = sizes_of(thing.arrays, cell)
        if found and wanted[2] and found != sizes:
            raise ValueError(
                f"{thing.label} has arrays of input_size and hidden_size {found}, asked for are {sizes};"
                " leave the sizes out"
            )
        sizes = found or sizes
    return thing, cell, sizes, fixed
