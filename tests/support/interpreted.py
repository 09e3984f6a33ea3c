"""Runs the triton backend's programs in Triton's interpreter, on CPU tensors: python -m support.interpreted.

The interpreter is chosen when Triton is imported, so this is a process of its own. It prints a line of JSON a
case, {"case", "errors"}: by name the largest error of every array, relative as the laws of cells have it.
"""

import json
import os
import sys
import warnings

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch

from cellbench import cells
from cellbench.cells.backends.triton import TritonBackend, TritonProgram
from cellbench.cells.kernels.triton.form import Form
from support.comparison import computed, problem


class Interpreted(TritonProgram):
    """On the CPU, in a form that is given; what a kernel does not write is NaN."""

    wanted = Form(packed=True, block_b=4, warps=4)

    def setup(self):
        super().setup()
        self.kernels.empty = lambda like, *shape: like.new_full(shape, torch.nan)

    def choose(self):
        return self.wanted

    def sync(self):
        pass


class InterpretedBackend(TritonBackend):
    devices = ("cpu",)
    dtypes = ("float64", "float32")

    def unavailable(self, device="cpu"):
        return None

    def program(self, cell, *arguments):
        return Interpreted(cell, *arguments)


def errors(case, dtype, trace=True):
    """By name, the error of each array of the interpreted program against the float64 reference."""
    reference = cells.backend("numpy").prepare(case.cell, case.params, steps=case.steps, batch=case.batch, dtype="float64")
    program = InterpretedBackend().prepare(
        case.cell, case.params, steps=case.steps, batch=case.batch, dtype=dtype, device="cpu"
    )
    expected, actual = computed(reference, case, trace=trace), computed(program, case, trace=trace)
    assert set(expected) == set(actual)
    found = {}
    for name, want in expected.items():
        scale = max(np.abs(want).max(), 1 / 8)
        found[name] = float(np.abs(actual[name] - want).max() / scale)
    return found


def main(arguments):
    warnings.simplefilter("ignore", RuntimeWarning)  # of exp, which is infinite where sigmoid is 0
    for word in arguments:
        spec, dtype, *sizes = word.split(",")
        steps, batch, inputs, hidden = map(int, sizes)
        case = problem(cells.get(spec), steps, batch, inputs, hidden)
        print(json.dumps({"case": word, "errors": errors(case, dtype)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
