"""A program as a node of torch's autograd, so that any backend's kernels train a torch model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .program import Program

NO_SECOND = (
    "this gradient has no derivative: the kernels compute first derivatives alone. Compute with torch.nn what"
    " needs second ones, such as a gradient penalty (create_graph=True)"
)


class Runs(Protocol):
    """Where a node finds its program: `Alone`, or a pool of programs. What it returns is the caller's own."""

    def begin(
        self, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[Any, list[Tensor]]:
        """What `pull` takes of this call, and its output and last states; from zeros if states are empty."""

    def pull(
        self, call: Any, inputs: Sequence[Tensor], states: int, d_output: Tensor, d_last: Sequence[Tensor]
    ) -> list[Tensor]:
        """Gradients of that call's inputs: x, so many states, the parameters."""


def apply(program: Program, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """Output (T, B, O) of the program on x (T, B, I) from a zero state, differentiable in both.

    The program holds one forward: where another ran on it since, a backward computes its own forward again.
    """
    return apply_states(program, params, x, None)[0]


def apply_states(
    program: Program, params: dict[str, Tensor], x: Tensor, state: dict[str, Tensor] | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same from a given state (zero where None), with the last state {name: (B, H)}.

    It is differentiable in the given state, and by the last one.
    """
    names = program.cell.states
    given = () if state is None else tuple(state[name] for name in names)
    output, *last = run(Alone(program, tuple(params)), x, given, tuple(params.values()))
    return output, dict(zip(names, last, strict=True))


def run(runs: Runs, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Output and last states of a call, differentiable in x, the states and the parameters."""
    return _Run.apply(runs, len(states), x, *states, *params)


class Alone:
    """One program, which takes the parameters of each call."""

    def __init__(self, program: Program, names: tuple[str, ...]) -> None:
        self.program, self.names = program, names

    def begin(
        self, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[int, list[Tensor]]:
        program, order = self.program, self.program.cell.states
        program.assign(dict(zip(self.names, (p.detach() for p in params), strict=True)))
        program.start(x.detach(), by_name(order, states))
        return program.count, list(map(copied, (program.output, *(program.last[name] for name in order))))

    def pull(
        self, call: int, inputs: Sequence[Tensor], states: int, d_output: Tensor, d_last: Sequence[Tensor]
    ) -> list[Tensor]:
        if self.program.count != call:
            self.begin(inputs[0], inputs[1 : 1 + states], inputs[1 + states :])
        return pulled(self.program, states, self.names, d_output, d_last)


def by_name(names: Sequence[str], states: Sequence[Tensor]) -> dict[str, Tensor] | None:
    """The states without their graph, None where there are none."""
    return {name: s.detach() for name, s in zip(names, states, strict=True)} if states else None


def pulled(
    program: Program, states: int, names: Sequence[str], d_output: Tensor, d_last: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of the program's last forward: of x, so many states, and the parameters of these names."""
    order = program.cell.states
    found = program.pull_back_from(d_output, dict(zip(order, d_last, strict=True)))
    d_states, d_params = (found.state[name] for name in order[:states]), (found.params[n] for n in names)
    return list(map(copied, (found.x, *d_states, *d_params)))


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, runs: Runs, states: int, x: Tensor, *values: Tensor) -> Any:
        ctx.runs, ctx.states = runs, states
        ctx.save_for_backward(x, *values)  # torch refuses a backward where one of them has changed by then
        ctx.call, tensors = runs.begin(x, values[:states], values[states:])
        return tuple(tensors)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor, *d_last: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            found = ctx.runs.pull(ctx.call, ctx.saved_tensors, ctx.states, d_output, d_last)
        return None, None, *(_Once.apply(*found) if torch.is_grad_enabled() else found)


class _Once(torch.autograd.Function):
    """Gradients as they are, of which torch believes that they have a derivative, so that it asks here."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor) -> Any:
        return tuple(g.view_as(g) for g in gradients)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(NO_SECOND)

    @classmethod
    def apply(cls, *gradients: Tensor) -> Any:
        return super().apply(*(g.requires_grad_() for g in gradients))


def copied(array: Any) -> Tensor:
    """A tensor of its own from a backend's array."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(array.copy())
    own: Tensor = array.detach().clone()
    return own
