"""Runs the triton backend's programs in Triton's interpreter, on CPU tensors: python -m support.interpreted.

The interpreter is chosen when Triton is imported, so this is a process of its own. Each argument is a Case as
JSON. Of each it prints a line of JSON: by name the error of every array against the float64 reference.
"""

import json
import os
import subprocess
import sys
import traceback
import warnings
from dataclasses import asdict, dataclass

CHOSEN = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Case:
    """A cell at (T, B, I, H). `fault` is a text in the printed kernels, and what is put in its place."""

    spec: str
    dtype: str = "float64"
    sizes: tuple[int, int, int, int] = (17, 5, 7, 33)
    packed: bool = True
    block_b: int = 4
    fault: tuple[str, str] | None = None

    def __str__(self):
        name = self.spec.rpartition("/")[2].removeprefix("kernel_cells.py:").removeprefix("odd_cells.py:")
        sizes = "x".join(map(str, self.sizes))
        return f"{name}-{self.dtype}-{sizes}-{'packed' if self.packed else 'plain'}-{self.block_b}"


def errors_of(cases):
    """{case: {array: error}}, or {case: text} where a case failed, from one process with the interpreter."""
    words = [json.dumps(asdict(case)) for case in cases]
    command = [sys.executable, "-m", "support.interpreted", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | CHOSEN)
    lines = done.stdout.splitlines()
    assert len(lines) == len(words), done.stderr
    return dict(zip(cases, map(json.loads, lines), strict=True))


def main(words):
    warnings.simplefilter("ignore", RuntimeWarning)  # of exp, which is infinite where sigmoid is 0
    for word in words:
        given = json.loads(word)
        try:
            result = errors(Case(**given))
        except Exception:
            result = traceback.format_exc()
        print(json.dumps(result), flush=True)


def errors(case):
    """By name, the error of each array, relative to its largest entry but at least to 1/8."""
    import numpy as np

    from cellbench import cells
    from support.comparison import computed, problem

    given = problem(cells.get(case.spec), *case.sizes)
    sizes = {"steps": given.steps, "batch": given.batch}
    reference = cells.backend("numpy").prepare(given.cell, given.params, dtype="float64", **sizes)
    program = backend(case).prepare(given.cell, given.params, dtype=case.dtype, device="cpu", **sizes)
    expected, actual = (computed(each, given, trace=True) for each in (reference, program))
    assert set(expected) == set(actual)
    return {
        name: float(np.abs(actual[name] - want).max() / max(np.abs(want).max(), 1 / 8))
        for name, want in expected.items()
    }


def backend(case):
    """The triton backend on the CPU, in the case's form; what its kernels do not write is NaN."""
    from cellbench.cells.backends.triton import TritonBackend, TritonProgram
    from cellbench.cells.kernels.triton import printer
    from cellbench.cells.kernels.triton.form import Form

    class Program(TritonProgram):
        def setup(self):
            text = printer.text
            if case.fault:
                printer.text = lambda *a: replaced(text(*a), *case.fault)
            super().setup()
            printer.text = text
            self.kernels.empty = lambda like, *shape: like.new_full(shape, float("nan"))

        def choose(self):
            return Form(case.packed, case.block_b, warps=4)

    class Interpreted(TritonBackend):
        devices, dtypes = ("cpu",), ("float64", "float32")

        def program(self, cell, *arguments):
            return Program(cell, *arguments)

    return Interpreted()


def replaced(text, old, new):
    assert old in text, f"{old!r} is not in the kernel"
    return text.replace(old, new)


if __name__ == "__main__":
    main(sys.argv[1:])
