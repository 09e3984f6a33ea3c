"""The kernels of a program alone: a run without the product of the inputs, which they leave to PyTorch.

FlashRNN's published times are such times. A backward goes to the cotangent of the product.
"""

from __future__ import annotations

from typing import Any

from cellbench.cells.backends._torch_products import products
from cellbench.cells.backends._torch_program import TensorProgram
from cellbench.cells.programs.program import Program
from cellbench.cells.programs.tolerance import relative_errors, tolerance

from ...probe import NotOk

METRIC = "without_product_s"


class Kernels:
    """run and sync as of a program that has run, from the product that it had."""

    def __init__(self, program: TensorProgram) -> None:
        import torch

        self.program, self.training = program, program.direction == "backward"
        with torch.no_grad(), products(program.dtype, program.device):
            self.wx = program.product(program.arrays(), program._x).contiguous()
        self.wx.requires_grad_(self.training)
        self.sync = program.sync

    def run(self) -> None:
        import torch

        program = self.program
        with torch.set_grad_enabled(self.training), products(program.dtype, program.device):
            self.output, last = program.recur(program.arrays(), self.wx, program._x, program._state)
            if not self.training:
                return
            (self.d_wx, *_) = torch.autograd.grad(
                [self.output, *last.values()],
                [self.wx, *program.params.values(), *program._state.values()],
                [program._d_output, *(program._d_state[name] for name in last)],
                allow_unused=True,
            )


def kernels_of(program: Program) -> Kernels | None:
    """None for a program that computes the product inside, or that has several layers."""
    if isinstance(program, TensorProgram) and program.product_apart:
        return Kernels(program)
    return None


def hold(program: Program) -> None:
    """Runs the kernels alone, where they can, beside what the program has computed.

    Raises NotOk where their output is another one.
    """
    if (kernels := kernels_of(program)) is None:
        return
    host: Any = program.host
    expected = {"output": host(program.output)}
    kernels.run()
    kernels.sync()
    error = relative_errors({"output": host(kernels.output)}, expected, program.steps)["output"]
    if not error <= tolerance(program.dtype, program.steps):
        raise NotOk(
            "wrong", f"without the product of the inputs, output is off by {error:.2g} of its largest entry"
        )
