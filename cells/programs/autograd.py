"""A program as a node of torch's autograd, so that any backend's kernels train a torch model."""

from __future__ import annotations

from typing import Any

import torch

from .program import Program


def apply(program: Program, params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Output (T, B, O) of the program on x (T, B, I) from a zero state, differentiable in both.

    The program holds one forward: where another ran on it since, a backward computes its own forward again.
    """
    return apply_states(program, params, x, None)[0]


def apply_states(
    program: Program, params: dict[str, torch.Tensor], x: torch.Tensor, state: dict[str, torch.Tensor] | None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The same from a given state (zero where None), with the last state {name: (B, H)}.

    It is differentiable in the given state, and by the last one.
    """
    names = program.cell.states
    given = () if state is None else tuple(state[name] for name in names)
    output, *last = _Run.apply(program, tuple(params), len(given), x, *given, *params.values())
    return output, dict(zip(names, last, strict=True))


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        program: Program,
        names: tuple[str, ...],
        states: int,
        x: torch.Tensor,
        *values: torch.Tensor,
    ) -> Any:
        ctx.program, ctx.names, ctx.states = program, names, states
        ctx.save_for_backward(x, *values)
        ctx.count = _advance(ctx, x, values)
        arrays = program.output, *(program.last[name] for name in program.cell.states)
        return tuple(
            torch.as_tensor(a).detach().clone() for a in arrays
        )  # the program uses its buffers again

    @staticmethod
    def backward(ctx: Any, d_output: torch.Tensor, *d_last: torch.Tensor) -> tuple[Any, ...]:
        x, *values = ctx.saved_tensors
        program = ctx.program
        if program.count != ctx.count:
            ctx.count = _advance(ctx, x, values)
        gradients = program.pull_back(
            d_output, dict(zip(program.cell.states, d_last, strict=True)), again=True
        )
        states = [torch.as_tensor(gradients.state[name]) for name in program.cell.states[: ctx.states]]
        params = [torch.as_tensor(gradients.params[name]) for name in ctx.names]
        return None, None, None, torch.as_tensor(gradients.x), *states, *params


def _advance(ctx: Any, x: torch.Tensor, values: Any) -> int:
    program, given = ctx.program, [v.detach() for v in values]
    program.assign(dict(zip(ctx.names, given[ctx.states :], strict=True)))
    state = dict(zip(program.cell.states, given, strict=False)) if ctx.states else None
    program.start(x.detach(), state)
    return program.count
