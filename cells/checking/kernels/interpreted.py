"""Runs a cell's Triton kernels in Triton's interpreter, on CPU tensors, with every access watched.

    python -m cellbench.cells.checking.kernels.interpreted < jobs

The interpreter is chosen when Triton is imported, so this is a process of its own. A job is a line of JSON,
and so is each answer.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...backends.triton import TritonBackend, TritonProgram
from ...catalogue import backend, get
from ...cell import GatedCell
from ...kernels.triton.form import Form
from ...programs.program import Program
from ...programs.tolerance import relative_errors
from . import jobs
from .memory import Memory, watched
from .problem import Sizes, computed, drawn
from .together import Ordered, together

FORM = Form(packed=True, block_b=4, warps=4)


@dataclass(frozen=True)
class Job:
    """A cell at sizes, in a form; `lengths` are those of the sequences, where they differ."""

    spec: str
    dtype: str
    sizes: Sizes
    form: Form = FORM
    seed: int = 0
    lengths: tuple[int, ...] | None = None


def answers(asked: Sequence[Job], command: Sequence[str] = (__name__,)) -> list[dict[str, Any]]:
    """Of each job {"errors": {array: error}}, or {"failed": text}, from one process with the interpreter."""
    chosen = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    return jobs.answers(asked, command, "the interpreter's process", os.environ | chosen)


class InterpretedProgram(TritonProgram):
    """On the CPU, in a given form; what a kernel does not write is NaN."""

    def setup(self) -> None:
        super().setup()
        self.kernels.empty = full_of_nan  # type: ignore[method-assign]

    def choose(self) -> Form:
        return self.form

    def launch_one(self, kernel: Any, arrays: Any, numbers: dict[str, int], **constants: bool) -> None:
        given = {name: array for name, array in arrays.items() if name in kernel.arg_names}
        if "arrived" not in given:  # the programs have nothing to wait for
            with watched(Memory(given)):
                return super().launch_one(kernel, arrays, numbers, **constants)
        memory = Ordered(given, math.prod(self.grid))
        with watched(memory), together(memory):
            return super().launch_one(kernel, arrays, numbers, **constants)


def full_of_nan(like: Any, *shape: int, dtype: Any = None) -> Any:
    """What a kernel writes to."""
    return like.new_full(shape, float("nan"), dtype=dtype)


@dataclass(frozen=True)
class Interpreted(TritonBackend):
    """The backend triton on the CPU, of which a person is not told."""

    form: Form = FORM

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        return InterpretedProgram(cell, *arguments, form=self.form)


def errors(job: Job) -> dict[str, float]:
    """By name the error of each array against the float64 reference."""
    problem = drawn(get(job.spec), job.sizes, job.seed, job.lengths)
    expected = computed(problem, backend("numpy"), "float64")
    return relative_errors(computed(problem, Interpreted(job.form), job.dtype), expected, job.sizes.steps)


def answer(given: dict[str, Any]) -> dict[str, Any]:
    """The answer to a job as it was sent."""
    parts = {"sizes": Sizes(**given["sizes"]), "form": Form(**given["form"])}
    return {"errors": errors(Job(**given | parts))}


def main() -> None:
    """Answers the jobs one after the other."""
    warnings.simplefilter("ignore", RuntimeWarning)  # of exp, which is infinite where sigmoid is 0
    jobs.serve(answer, wrapped=True)  # the interpreter wraps what its lines raise


if __name__ == "__main__":
    main()
