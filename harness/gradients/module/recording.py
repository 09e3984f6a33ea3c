"""A forward pass cut at every step of its recurrence.

Each step hands on copies of the tensors that it made, cut off from its graph: a step's derivative is then one
small graph, and products of them can be rescaled on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Layers
from .states import leaves, mapped


@dataclass
class RecordedStep:
    """One step: its input, the tensors that it made, and the copies of them that the rest of the model saw.

    made, kept   the same tensors, each with the samples on some axis
    states       the places of those that are states; the others are outputs
    nudge        zeros, added to the input so that their gradient is the input's; None for whole numbers
    given        the arguments of the step beside its input
    """

    input: Tensor
    nudge: Tensor | None
    made: list[Tensor]
    kept: list[Tensor]
    states: list[int]
    given: tuple[Any, ...]


@dataclass
class Recording:
    """A forward pass. saturated: share of (unit, sample) by step, empty where the step has no known form."""

    steps: list[RecordedStep] = field(default_factory=list)
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    saturated: list[float] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """Sequences: the recurrence's own batch, whatever axis the model's input has it on."""
        return len(self.steps[0].input)


class FusedRecorder:
    """Stands in for the forward of nn.RNN, GRU or LSTM: all steps in the cell's form, recorded."""

    def __init__(self, name: str, layers: Layers) -> None:
        self.name, self.layers, self.recording = name, layers, Recording()

    def __call__(self, x: Tensor, hx: Any = None) -> Any:
        layers = self.layers
        layers.check(x)
        x = layers.time_first(x)
        # a second call belongs to the same sequence only if its state comes from the first
        if self.recording.steps and (hx is None or not first_of(hx).requires_grad):
            raise ValueError(
                f"the model calls {self.name!r} twice from a fresh state; name another module with recurrent="
            )
        state, outputs = layers.unpacked(hx, x), []
        for x_t in x:
            nudge = torch.zeros_like(x_t, requires_grad=True)
            made, saturated = layers.step(x_t + nudge, state)
            state = [m.detach().requires_grad_() for m in made]
            step = RecordedStep(x_t.detach(), nudge, made, state, list(range(len(made))), ())
            self.recording.steps.append(step)
            self.recording.saturated.append(saturated)
            outputs.append(layers.output(state))
        return layers.time_first(torch.stack(outputs)), layers.packed(state)


class StepRecorder:
    """Stands in for the forward of a module that is called once a step."""

    def __init__(self, module: nn.Module, forward: Callable) -> None:
        self.module, self.forward, self.recording = module, forward, Recording()

    def __call__(self, x: Tensor, *rest: Any, **more: Any) -> Any:
        nudge = torch.zeros_like(x, requires_grad=True) if x.is_floating_point() else None
        result = self.forward(x if nudge is None else x + nudge, *rest, **more)
        output, state = output_and_state(self.module, result)
        # an output that is a state too is one tensor, so that its gradient is not counted twice
        distinct = {id(t): t for t in (*leaves(output), *leaves(state)) if t.is_floating_point()}
        made = list(distinct.values())
        kept = {k: t.detach().requires_grad_() for k, t in distinct.items()}
        in_state = {id(t) for t in leaves(state)}
        states = [k for k, t in enumerate(made) if id(t) in in_state]
        if not states:
            raise ValueError(
                f"{type(self.module).__name__} returned no state of floating-point numbers; it must return"
                " (output, state)"
            )
        step = RecordedStep(x.detach(), nudge, made, list(kept.values()), states, rest)
        self.recording.steps.append(step)
        return mapped(result, lambda t: kept.get(id(t), t))


def output_and_state(module: nn.Module, result: Any) -> tuple[Any, Any]:
    """What a step returned; a cell of torch returns its state alone, whose first tensor is its output."""
    if isinstance(module, nn.RNNCellBase):
        return first_of(result), result
    if not isinstance(result, tuple) or len(result) != 2:
        what = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(
            f"{type(module).__name__} returned {what}; a recurrent module must return (output, state)"
        )
    return result


def first_of(state: Any) -> Any:
    """The first tensor of a state that may be a pair."""
    return state[0] if isinstance(state, (tuple, list)) else state
