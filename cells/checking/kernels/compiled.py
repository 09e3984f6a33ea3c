"""Runs a cell's Triton kernels as the compiler makes them: their PTX, executed on the CPU.

    python -m cellbench.cells.checking.kernels.compiled < jobs

Triton's compiler aborts on some kernels, so this is a process of its own. A job is a line of JSON, and so is
each answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from ...backends.triton import TritonBackend, TritonProgram
from ...catalogue import backend, get
from ...cell import GatedCell
from ...kernels.triton import compiler, printer
from ...kernels.triton.form import Form
from ...programs.program import Program
from ...programs.tolerance import relative_errors
from . import jobs
from .interpreted import full_of_nan
from .problem import Sizes, computed, drawn
from .ptx.kernel import Kernel

Barrier = tuple[str, int]  # of a kernel by name, and its number in the text

FORM = Form(packed=True, block_b=1, warps=4)


@dataclass(frozen=True)
class CompiledJob:
    """A cell at sizes, in a form, for a target such as 90; `dropped` is a barrier that does nothing."""

    spec: str
    dtype: str
    sizes: Sizes
    target: int
    form: Form = FORM
    seed: int = 0
    dropped: Barrier | None = None


def answers(asked: Sequence[CompiledJob]) -> list[dict[str, Any]]:
    """Of each job {"errors": {array: error}, "passed": barriers}, or {"failed": text}; from one process."""
    return jobs.answers(asked, (__name__,), "the compiler's process")


class CompiledProgram(TritonProgram):
    """On the CPU, in a given form; what a kernel does not write is NaN."""

    target: int
    dropped: Barrier | None

    def setup(self) -> None:
        super().setup()
        self.kernels.empty = full_of_nan  # type: ignore[method-assign]
        self.passed: set[Barrier] = set()

    def choose(self) -> Form:
        return self.form

    def launch_one(self, kernel: Any, arrays: Any, numbers: dict[str, int], **constants: bool) -> None:
        name, form = kernel.__name__, self.form
        fixed = form.constants(self.cell, self.units, self.dtype) | constants
        real = printer.real_of(self.dtype)
        text, stem = (
            printer.text(self.cell, real, form.layout(self.cell, self.units)),
            printer.stem(self.cell, real),
        )
        made = assembled(stem, text, name, json.dumps(fixed), self.dtype, form.warps, self.target)
        dropped = self.dropped[1] if self.dropped and self.dropped[0] == name else None
        run = Kernel(*made, dropped)
        spare = next(iter(arrays.values()))
        given = {name: numbers.get(name, arrays.get(name, spare)) for name in kernel.arg_names}
        run(self.grid, *(value for name, value in given.items() if name not in fixed))
        self.passed |= {(name, number) for number in run.passed}


@lru_cache(maxsize=64)
def assembled(
    stem: str, text: str, kernel: str, constants: str, dtype: str, warps: int, target: int
) -> tuple[str, int]:
    """The PTX of a kernel, and its bytes of shared memory."""
    job = {"stem": stem, "text": text, "kernel": kernel, "constants": json.loads(constants)}
    made = compiler.compiled(job | {"dtype": dtype, "warps": warps, "target": target})
    return made.asm["ptx"], made.metadata.shared


@dataclass(frozen=True)
class Compiled(TritonBackend):
    """The backend triton's compiled kernels on the CPU, of which a person is not told."""

    form: Form = FORM
    target: int = 90
    dropped: Barrier | None = None

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    made: ClassVar[list[CompiledProgram]] = []

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        program = CompiledProgram(cell, *arguments, form=self.form, target=self.target, dropped=self.dropped)
        self.made.append(program)
        return program


def answer(given: dict[str, Any]) -> dict[str, Any]:
    """The error of each array against the float64 reference, and the barriers that were passed."""
    dropped = given["dropped"] and tuple(given["dropped"])
    parts = {"sizes": Sizes(**given["sizes"]), "form": Form(**given["form"]), "dropped": dropped}
    job = CompiledJob(**given | parts)
    problem = drawn(get(job.spec), job.sizes, job.seed)
    expected = computed(problem, backend("numpy"), "float64")
    Compiled.made.clear()
    actual = computed(problem, Compiled(job.form, job.target, job.dropped), job.dtype)
    passed = sorted({barrier for program in Compiled.made for barrier in program.passed})
    return {"errors": relative_errors(actual, expected, job.sizes.steps), "passed": passed}


if __name__ == "__main__":
    jobs.serve(answer)
