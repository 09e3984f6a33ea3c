"""Fused GPU kernels: the cell's printed expressions inside one Triton kernel with the loop over the steps.

Products of all steps at once, of inputs, outputs and weight gradients, are torch's, and so is autograd around
the kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ..cell import GatedCell
from ..kernels.step import step
from ..kernels.triton import printer
from ..kernels.triton.again import again
from ..kernels.triton.form import SCAN, STEPWISE, Form
from ..kernels.triton.forward import biased
from ..kernels.triton.prediction import predict
from ..kernels.triton.remembered import remembered
from ..kernels.triton.resources import TARGETS, choose, missing
from ..kernels.unprintable import unprintable
from ..programs import cuda
from ..programs.backend import Backend, Crashed, Unsupported, without_equations
from ..programs.formats import TF32
from ..programs.prediction import Prediction
from ..programs.program import Program
from .torch import TensorProgram, Tensors

if TYPE_CHECKING:  # as in the backend torch
    from torch import Tensor

    from ..kernels.triton.recurrence import Recurrence


@dataclass(frozen=True)
class TritonBackend(Backend):
    """Triton on CUDA."""

    devices: ClassVar[tuple[str, ...]] = ("cuda",)
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "float16", TF32)

    def unavailable(self, device: str = "cpu") -> str | None:
        if device != "cuda":
            return None
        if reason := super().unavailable(device):
            return reason
        return missing()

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        if reason := without_equations(cell, "a fused kernel needs pointwise equations around products"):
            return reason
        if not cell.library and (reason := printer.without(cell)):
            return reason
        return super().unsupported(cell, dtype, device, direction)

    def predicted(self, cell: GatedCell, **workload: Any) -> Prediction | None:
        import torch

        if reason := unprintable(cell, "triton"):
            return Prediction(math.nan, reason)
        if cuda.missing():
            return predict(cell, **workload)
        here = torch.cuda.get_device_name()
        return predict(cell, **workload, device=here, processors=processors())

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        return TritonProgram(cell, *arguments)


def processors(device: str = "cuda") -> int:
    """The device's multiprocessors: boards, and parts of boards, of one target have different numbers."""
    import torch

    return int(torch.cuda.get_device_properties(device).multi_processor_count)


class TritonProgram(TensorProgram):
    """All steps in one kernel, forward and backward each."""

    product_apart = True
    form: Form
    kernels: Recurrence

    def setup(self) -> None:
        import triton

        from ..kernels.triton.recurrence import Recurrence
        from ..kernels.triton.spread_recurrence import ScannedRecurrence, SpreadRecurrence

        self.form = self.choose()
        self.implementation = f"triton {triton.__version__} {self.form}"
        layout = self.form.layout(self.cell, self.units)
        module = printer.module(self.cell, printer.real_of(self.dtype), layout)
        arguments = (self.cell, step(self.cell), module, self.launch, self.grid[0])
        keeping, stepwise = self.direction == "backward", self.form.kind == STEPWISE
        if self.form.kind == SCAN:
            self.kernels = ScannedRecurrence(*arguments, keeping, stepwise=False)
        elif self.form.spread:
            self.kernels = SpreadRecurrence(*arguments, keeping, stepwise=stepwise)
        else:
            self.kernels = Recurrence(*arguments, keeping)

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        return self.form.grid(self.cell, self.units, self.batch)

    def choose(self) -> Form:
        """The first form that fits the device. Raises Unsupported for none, Crashed where one might."""
        import torch

        target = "sm_{}{}".format(*torch.cuda.get_device_capability(self.device))
        if target not in TARGETS:
            raise Unsupported(f"backend triton does not know {target}; it knows {', '.join(TARGETS)}")
        sizes = (self.units, self.batch, self.dtype, target)
        chosen = choose(self.cell, *sizes, remembered, processors(self.device))
        if chosen.died and chosen.form is None:
            form = chosen.died[0]
            raise Crashed(
                f"Triton's compiler dies of cell {self.cell.name!r} at hidden_size {self.hidden_size} in"
                f" {self.dtype}: {form}: {chosen.refused[form]}; backend torch has no such compiler"
            )
        if chosen.form is None:
            form, reason = next(iter(chosen.refused.items()))
            raise Unsupported(
                f"no kernel of cell {self.cell.name!r} fits at hidden_size {self.hidden_size} in"
                f" {self.dtype}: {form}: {reason}; backend torch has no such limit"
            )
        return chosen.form

    def launch(
        self, kernel: Any, arrays: Tensors, first: dict[str, int], *more: dict[str, int], **constants: bool
    ) -> None:
        """Starts a kernel with those of the arrays that it takes, and once more for each of more numbers."""
        compiled = self.launch_one(kernel, arrays, first, **constants)
        if more and compiled is not None:
            return again(compiled, self.grid, self.arguments(kernel, arrays, first, constants), more)
        for numbers in more:  # where nothing is compiled
            self.launch_one(kernel, arrays, numbers, **constants)
        return None

    def launch_one(self, kernel: Any, arrays: Tensors, numbers: dict[str, int], **constants: bool) -> Any:
        """Has Triton start the kernel; what it compiled, or None in its interpreter."""
        given = self.arguments(kernel, arrays, numbers, constants)
        options = {"num_warps": self.form.warps}
        if self.form.spread:  # no tile is read ahead into more shared memory
            options["num_stages"] = 1
        if "arrived" in given:  # programs that wait for each other: the driver starts all of them, or none
            options["launch_cooperative_grid"] = True
        return kernel[self.grid](**given, **options)

    def arguments(
        self, kernel: Any, arrays: Tensors, numbers: dict[str, int], constants: dict[str, bool]
    ) -> dict[str, Any]:
        """The kernel's arguments in its order; an array that it does not use is any of them."""
        spare = next(iter(arrays.values()))
        given = arrays | numbers | constants | self.constants
        return {name: given.get(name, spare) for name in kernel.arg_names}

    @cached_property
    def constants(self) -> dict[str, Any]:
        import triton.language as tl

        constants = self.form.constants(self.cell, self.units, self.dtype)
        return constants | {"DOT": getattr(tl, constants["DOT"])}

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        params = self.arrays()
        return self.recur(params, self.product(params, x), x, state)

    def recur(self, params: Tensors, wx: Tensor, x: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        cell = self.cell
        bias = self.recurrent_bias(params, x) if biased(cell, self.kernels.source) else None
        weight = params["weight_hh"].contiguous() if cell.recurrent else None
        units = {v: params[v].contiguous() for v in cell.vectors}
        every, last = self.kernels(wx, weight, bias, units, state)
        output = cell.emit(params, x, tuple(every) if cell.derivation().several else every[0])
        return self.read_out(output), last

    def recurrent_bias(self, params: Tensors, x: Tensor) -> Tensor:
        """Zeros where the cell has none."""
        none = x.new_zeros(len(self.cell.recurrent) * self.units)
        return params.get("bias_hh", none)  # type: ignore[no-any-return]

    def product(self, params: Tensors, x: Tensor) -> Tensor:
        """wx (T, B, G, units), with the recurrent biases of gates whose two products are used in one sum.

        The kernel adds the others.
        """
        import torch

        cell, source = self.cell, self.kernels.source
        recurrent = self.recurrent_bias(params, x)
        rows = dict(zip(cell.recurrent, recurrent.split(self.units), strict=True)) if cell.recurrent else {}
        added = [rows[g] if g in source.summed else x.new_zeros(self.units) for g in cell.gates]
        if cell.writes("project"):
            wx = torch.stack(
                [v.expand(*x.shape[:2], self.units) for v in vars(cell.project(params, x)).values()], 2
            )
            return wx + torch.stack(added) if source.summed else wx
        if source.summed:
            params = params | {"bias_ih": params.get("bias_ih", 0) + torch.cat(added)}
        product = torch.nn.functional.linear(x, params["weight_ih"], params.get("bias_ih"))
        return product.unflatten(-1, (len(cell.gates), self.units))

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        self.kernels.tracing = trace
        super().run_backward(again=again)
        if trace:
            self.gradients = replace(self.gradients, trajectory=self.kernels.trajectory)
