"""A program as a node of torch's autograd, so that any backend's kernels train a torch model."""

from __future__ import annotations

from typing import Any

import torch

from .program import Program


def apply(program: Program, params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Output (T, B, O) of the program on x (T, B, I) from a zero state, differentiable in the parameters and in x.

    The program holds one forward: where another ran on it since, a backward computes its own forward again.
    """
    return _Run.apply(program, tuple(params), x, *params.values())


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, program: Program, names: tuple[str, ...], x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        ctx.program, ctx.names = program, names
        ctx.save_for_backward(x, *values)
        ctx.count = _advance(program, names, x, values)
        return torch.as_tensor(program.output).detach().clone()  # the program uses its buffer again

    @staticmethod
    def backward(ctx: Any, *d_outputs: torch.Tensor) -> tuple[Any, ...]:
        x, *values = ctx.saved_tensors
        if ctx.program.count != ctx.count:
            ctx.count = _advance(ctx.program, ctx.names, x, values)
        gradients = ctx.program.pull_back(d_outputs[0], again=True)
        params = [torch.as_tensor(gradients.params[name]) for name in ctx.names]
        return None, None, torch.as_tensor(gradients.x), *params


def _advance(program: Program, names: tuple[str, ...], x: torch.Tensor, values: Any) -> int:
    program.assign({name: v.detach() for name, v in zip(names, values, strict=True)})
    program.start(x.detach())
    return program.count
