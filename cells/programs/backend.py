"""The contract of a backend: a way to compute cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..find import public_name
from . import cuda, ragged
from .formats import DTYPES, NUMPY, TF32
from .prediction import Prediction
from .program import DIRECTIONS, Program
from .stack import StackProgram


class Unsupported(ValueError):
    """What a backend finds that it cannot compute only while a program is prepared, such as a size."""


class Crashed(RuntimeError):
    """A compiler has died of what a program needs, by an assertion of its own or an abort."""


def without_equations(cell: GatedCell, needed: str) -> str | None:
    """That a cell writes out its step, and what is `needed` instead; None for other cells and for modules."""
    if not cell.written_out or cell.library:
        return None
    options = f" with {cell.options}" if cell.options else ""
    return f"cell {cell.name!r}{options} writes out its step; {needed}"


@dataclass(frozen=True)
class Backend:
    """A way to compute cells."""

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    library: ClassVar[str | None] = None  # whose modules it can run, beside cells
    dtypes: ClassVar[tuple[str, ...]] = NUMPY
    directions: ClassVar[tuple[str, ...]] = DIRECTIONS

    @property
    def name(self) -> str:
        """The backend's public name, with the options that differ from their defaults as in a spec."""
        given = [
            f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default
        ]
        return ":".join([public_name(self), *given])

    def unavailable(self, device: str = "cpu") -> str | None:
        """None, or the reason why this machine cannot run it."""
        return cuda.missing() if device == "cuda" else None

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        """None, or the reason why it cannot compute this."""
        if cell.library not in (None, self.library):
            kind = f"a {cell.library} module, which has no equations"
            return f"{cell.name} is {kind}; backend {cell.library} runs it"
        for what, value, allowed in (
            ("dtype", dtype, self.dtypes),
            ("device", device, self.devices),
            ("direction", direction, self.directions),
        ):
            if value not in allowed:
                reason = f"backend {self.name} has no {what} {value}; it has {', '.join(allowed)}"
                return reason + ("; torch and native have it" if value in DTYPES else "")
        return cuda.without_tf32() if (dtype, device) == (TF32, "cuda") else None

    def predicted(self, cell: GatedCell, **workload: Any) -> Prediction | None:
        """The time of a run on CUDA before it is measured, or None where the backend has no model of it.

        workload are steps, batch, input_size, hidden_size, dtype and direction.
        """
        return None

    def prepare(
        self,
        cell: GatedCell,
        params: Arrays,
        *,
        steps: int,
        batch: int,
        dtype: str = "float32",
        device: str = "cpu",
        direction: str = "backward",
        lengths: Sequence[int] | np.ndarray | None = None,
    ) -> Program:
        """A program for sequences of this length and batch.

        `lengths` are B whole numbers from 1 to steps, for sequences of different lengths. Raises ValueError
        where it is unavailable or unsupported, and Crashed where its compiler dies.
        """
        reason = self.unavailable(device) or self.unsupported(cell, dtype, device, direction)
        if reason:
            raise ValueError(reason)
        arguments = (cell, params, steps, batch, dtype, device, direction)
        if lengths is None and not cell.stacked:
            return self.program(*arguments)
        return self.composed(arguments, None if lengths is None else ragged.checked(lengths, steps, batch))

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        """The program of a cell, made from the arguments of Program."""
        raise NotImplementedError(f"backend {self.name} has no program")

    def composed(self, arguments: tuple[Any, ...], lengths: np.ndarray | None) -> Program:
        """The program of a stack or of ragged sequences, from programs of single cells."""
        return StackProgram(*arguments, backend=self, lengths=lengths)
