"""What computes a cell in somebody's code, with the arrays with which it does."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .words import text

Arrays = dict[str, np.ndarray]
HERE = Path(__file__).parents[1]


@dataclass
class Implementation:
    """What computes, and the arrays with which it does.

    arrays: its own (float64 copies), {} where they are arguments, whose `names` are known. put: writes
    arrays into it and returns them as it holds them, torch leaves or NumPy arrays. made: its arrays were
    drawn here and may be drawn anew. keys: the one argument whose entries the arrays are, by key or in
    order. batch_first: what its modules say, None where none does. order: its gates, in its own words.
    missed: keys that it asked for in vain. roles: what each argument is. steps, batch, readout: what a file
    fixes. kinds: gain, shift, weight or bias of arrays whose
    module says it. remarks: what was done to it. sizes: those it was built for, where others than asked.
    holds: the cell that a file says it is. numbers: its attributes that are numbers.
    traced: whether TorchScript may have fixed steps and batch.
    low: itself in bfloat16 or float16, where it has that and is run in float32. in_float64: makes itself in
    float64, of a torch module in float32; None of all else.
    """

    label: str
    function: Callable[..., Any]
    library: str
    arrays: Arrays
    dtype: str
    put: Callable[[Arrays], dict[str, Any]]
    made: bool
    names: list[str] = field(default_factory=list)
    keys: str | None = None
    batch_first: bool | None = None
    order: tuple[str, ...] = ()
    missed: list[str] = field(default_factory=list)
    roles: dict[str, str | None] = field(default_factory=dict)
    steps: int | None = None
    batch: int | None = None
    readout: int | None = None
    no_gradients: str = ""
    kinds: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    sizes: tuple[int, int] | None = None
    low: Implementation | None = None
    in_float64: Callable[[], Implementation] | None = None
    holds: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    traced: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays."""
        return {name: array.shape for name, array in self.arrays.items()}

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The arguments of the function."""
        return inspect.signature(self.function).parameters

    @cached_property
    def indexes_bias(self) -> bool:
        """Whether its text has bias[0]: then one array likely has both biases."""
        return bool(re.search(r"\bb(ias)?[\"']?\]?\[0\]", self.text))

    @cached_property
    def text(self) -> str:
        """The function's source and docstring."""
        return text(self.function)


def one_line(error: BaseException) -> str:
    """An exception in one line; of TorchScript's, which holds the code, the last alone."""
    lines = str(error).strip().splitlines()
    said = lines[-1:] if "TorchScript" in str(error) else lines
    return f"{type(error).__name__}: {' '.join(' '.join(said).split())[:200]}"


def place(error: BaseException) -> str:
    """Where in somebody's code an exception came up, " (my.py, line 12, in forward)"; "" if not in it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _foreign(frame.filename)]
    if not frames:
        return ""
    last = frames[-1]
    return f" ({Path(last.filename).name}, line {last.lineno}, in {last.name})"


def _foreign(filename: str) -> bool:
    """Whether a file is of this package, an installed one or Python's own."""
    path = Path(filename)
    return path.is_relative_to(HERE) or "site-packages" in path.parts or filename.startswith("<")
