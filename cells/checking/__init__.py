"""Checks somebody's own implementation of a cell against the float64 reference, and explains a deviation.

A check goes through the files in this order: `given`, `files` or `onnx` (what is run), `words` (what names
say), `mapping` to a `layout` (which array is which; of a stack in `stacks`), `calling` (how it is called),
`port` (all of that in one object), `compare` (array by array), `explain` (the sentence). What agrees is then
held to `biases`, `aside` (other arrays), `starts` (the first state), `length`, `large` inputs and more
`digits`. What deviates is fitted (`fitting`): in each of the `contexts`, all `forms` of all functions at
once, which make the `variants` of the cell; a stack `layerwise`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..cell import GatedCell
from ..contract import check_sizes
from ..find import given_path
from .compare import First, Result, Row
from .modules import LOW

if TYPE_CHECKING:
    from .implementation import Implementation

__all__ = ["First", "Result", "Row", "check"]
MOST_STEPS, MOST_ENTRIES = 20_000, 50_000_000  # the reference takes a minute
SIZES, STEPS, BATCH = (5, 7), 11, 3  # odd and all different, so that what is transposed shows
Sizes = tuple[int, int]


def check(
    thing: Any,
    against: str | GatedCell,
    weights: dict[str, Any] | None = None,
    *,
    input_size: int | None = None,
    hidden_size: int | None = None,
    steps: int | None = None,
    batch: int = BATCH,
    dtype: str | None = None,
    seed: int = 0,
) -> Result:
    """Compares somebody's implementation with a cell, array by array, and explains a deviation.

    thing: a torch module, a class or an object with arrays, a function of a step or a sequence, a cell,
    'file.py:NAME', a state_dict, parameters of flax, or a file of these, ONNX, Keras or (as .npz) variables
    of TensorFlow's old cells, of any number of layers. A class or function gets arrays of `cell.init`, an
    object keeps its own. weights are the cell's arrays. dtype is the thing's own where None. Where steps are
    None, a right one is also run without its first state and over more steps, until 200 or a second has
    passed. Raises ValueError, one line, for a thing that is not understood or cannot be called.
    """
    with torch.inference_mode(False), torch.enable_grad():  # whatever it is called in
        return _checked(thing, against, weights, input_size, hidden_size, steps, batch, dtype, seed)


def _checked(
    thing: Any,
    against: str | GatedCell,
    weights: dict[str, Any] | None,
    input_size: int | None,
    hidden_size: int | None,
    steps: int | None,
    batch: int,
    dtype: str | None,
    seed: int,
) -> Result:
    from ..catalogue import get
    from .compare import best
    from .explain import Asked, judged, notes
    from .formats import own_format, too_coarse
    from .mapping import at_sizes
    from .port import Trial, ported

    cell = get(against) if isinstance(against, str) else against
    name = against if isinstance(against, str) else cell.name + (f":{cell.options}" if cell.options else "")
    _check_options(input_size, hidden_size, steps or STEPS, batch, dtype)
    if isinstance(thing, str | Path) and (result := _of_file(thing, cell, name, steps, batch, seed)):
        return result
    if weights is not None:
        weights = {name: _float64(value) for name, value in weights.items()}
        cell = _with_biases(cell, weights)
    sizes = _sizes(cell, weights, input_size, hidden_size)
    fixed = any(value is not None for value in (weights, input_size, hidden_size))
    implementation = _understood(thing, cell, sizes, dtype)
    if implementation.readout is not None:
        cell = replace(cell, readout=implementation.readout)
    cell_arrays = at_sizes(implementation, cell, sizes, fixed)
    trial = Trial(implementation.steps or steps or STEPS, implementation.batch or batch, seed, weights)
    comparison = best(ported(implementation, cell_arrays, trial))
    asked = Asked(implementation.label, name, cell.biases, weights is not None or "biases=" in name)
    verdict = judged(comparison, asked, long=steps is None)
    compared, right, text = verdict.comparison, verdict.right, verdict.sentence
    rows, lines = compared.rows, (*notes(comparison, asked), *implementation.remarks)
    if right and implementation.low is not None:
        own, said = own_format(comparison, implementation.low)
        coarse = too_coarse(own, implementation.low.dtype)
        text, rows, lines, right = coarse or text, (*rows, *own), (*lines, said), not coarse
    return Result(asked.port, name, right, text, rows, compared.first, lines)


def _of_file(
    thing: str | Path, cell: GatedCell, name: str, steps: int | None, batch: int, seed: int
) -> Result | None:
    """The result for a file that says which cell it holds; None for all else."""
    from .stored import READERS, checked, stored

    path = given_path(str(thing))
    if path.suffix not in (".onnx", *READERS) or not path.is_file():
        return None
    held = stored(path, cell)
    return checked(path, held, cell, name, steps or STEPS, batch, seed) if held else None


def _check_options(
    input_size: int | None,
    hidden_size: int | None,
    steps: int,
    batch: int,
    dtype: str | None,
) -> None:
    """Raises ValueError for sizes or a dtype that no check can have."""
    sizes = {"input_size": input_size, "hidden_size": hidden_size}
    given = {k: v for k, v in sizes.items() if v is not None}
    check_sizes(steps=steps, batch=batch, **given)
    inputs, units = input_size or SIZES[0], hidden_size or SIZES[1]
    entries = steps * batch * (inputs + units) + 8 * units * (inputs + units)
    if steps > MOST_STEPS or entries > MOST_ENTRIES:
        raise ValueError(
            f"a check of {steps:,} steps has arrays of {entries:,} numbers; at most {MOST_STEPS:,} steps and"
            f" {MOST_ENTRIES:,} numbers are checked: smaller sizes show the same mistakes"
        )
    if dtype not in (None, "float32", "float64", "bfloat16", "float16"):
        raise ValueError(f"dtype is {dtype!r}; it must be float32, float64, bfloat16 or float16")


def _float64(value: Any) -> np.ndarray:
    return np.array(value.detach() if hasattr(value, "detach") else value, np.float64)


def _with_biases(cell: GatedCell, weights: dict[str, Any]) -> GatedCell:
    """The cell with as many biases as the weights hold. Raises ValueError for an array that does not fit."""
    biases = 2 if "bias_hh" in weights else 1 if "bias_ih" in weights else 0
    cell = replace(cell, biases=biases) if "weight_ih" in weights else cell
    cell.sizes(weights)
    return cell


def _sizes(
    cell: GatedCell, weights: dict[str, Any] | None, input_size: int | None, hidden_size: int | None
) -> Sizes:
    """The sizes of the weights, else those given, else the smallest odd ones that the cell can have."""
    if weights is not None:
        return cell.sizes(weights)
    inputs, units = input_size or SIZES[0], hidden_size or SIZES[1]
    # some cells need an even size, or as many inputs as units
    near = [
        (i, h)
        for h in ([units] if hidden_size else range(units, 2 * units + 9))
        for i in ([inputs] if input_size else [inputs, h])
    ]
    fit = next((pair for pair in near if cell.unfit(*pair) is None), None)
    if fit is None:
        reason = f"cell {cell.name!r} cannot have input_size {inputs} and hidden_size {units}"
        raise ValueError(cell.unfit(inputs, units) or reason)
    return fit


def _named(thing: Any) -> str:
    """What a tree of arrays is called."""
    return str(thing).rpartition(":")[2] if isinstance(thing, str | Path) else "the tree"


def _understood(thing: Any, cell: GatedCell, sizes: Sizes, dtype: str | None) -> Implementation:
    """The implementation that a thing is, ready to be run."""
    from .files import READERS, is_tree, of_tree
    from .given import load, of_cell, understood
    from .words import arguments, array_arguments

    ending = Path(thing).suffix if isinstance(thing, str | Path) else ""
    if ending in READERS:
        path = given_path(str(thing))
        if not path.is_file():
            raise ValueError(f"no file {str(thing)!r}; give a file of {', '.join(READERS)}, or file.py:Name")
        implementation = READERS[ending](path, cell)
    else:
        given = load(str(thing)) if isinstance(thing, str | Path) else thing
        if isinstance(given, type) and issubclass(given, GatedCell):
            given = given()
        if is_tree(given):
            implementation = of_tree(given, _named(thing), cell)
        elif not isinstance(given, GatedCell):
            implementation = understood(given, cell, sizes, dtype)
        else:
            implementation = of_cell(given, sizes)
    if dtype in LOW and implementation.low is None:
        raise ValueError(f"dtype {dtype} is for a torch module; {implementation.label} is none")
    for name, value in () if implementation.made else implementation.arrays.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"{name} of {implementation.label} holds numbers that are not finite, which equal nothing;"
                " give finite ones, such as those before the training"
            )
    if not implementation.arrays and not implementation.names:
        implementation.names, implementation.keys = array_arguments(implementation.function, cell)
    implementation.roles = arguments(implementation.parameters, cell)
    return implementation
