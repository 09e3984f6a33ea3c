"""A torch model run with its recurrence within reach: recorded step by step, or with inputs swapped.

The fused modules (nn.RNN, nn.GRU, nn.LSTM) hide their steps, so they are replayed in the cell's form, and the
replay is held against them before it is used. A module that is called once a step is only watched. Of a loop
without a module, or of one whose module gets input and state as one tensor, the model's input is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .calls import Call, is_batch_first, refusal
from .copies import copied
from .handed import Handed, answer_of
from .inputs import Inputs, parameters
from .layers import FUSED, change_of
from .masking import in_place_of_forward, masks
from .parts import TORCHS, find_parts, recorders
from .recorders import output_and_state
from .recording import RecordedStep, Recording
from .states import REFUSALS, find_maker, for_batch, is_state, leaves, mapped
from .surface import Surface, find_surface
from .swapped import SwappedForward

OFF = {torch.float64: 1e-6}  # of the largest output, by which a replay may differ from the fused module
OFF_NARROW = 1e-3  # the same in float32
OFF_HALF = 5e-2  # and in 16 bits


@dataclass
class Trail:
    """A pass of a module that is called once a step, from which another goes on.

    states   before each step
    outputs  of each step
    """

    states: list[Any] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Replay:
    """A model to be run as it is, with inputs of the recurrence swapped between samples, or recorded.

    parts are looked for at the first call; the first of them that sees the batch is the examined one.
    """

    def __init__(
        self,
        model: nn.Module,
        recurrent: str | None,
        state: Any,
        read_out: Callable | None,
        batch_axis: int | None,
        handed: Handed | None = None,
    ) -> None:
        self.handed = handed or Handed()
        self.model, self.state, self.read_out, self.batch_axis = model, state, read_out, batch_axis
        self.named = recurrent
        self.call = Call(model, state)
        self.examined = ""
        self.refused: ValueError | None = None
        self.maker: Callable[[int], Any] | None = None
        self.parts: dict[str, nn.Module] | None = None
        self.surface: Surface | None = None
        self.stepwise = self.returns_state = False
        self.ends: np.ndarray | None = None  # (B,), where sequences end at different steps

    @property
    def recurrent(self) -> nn.Module:
        """The examined part; the model where its loop has none."""
        return (self.parts or {}).get(self.examined, self.model)

    @property
    def name(self) -> str:
        return self.examined or self.named or type(self.model).__name__

    @property
    def alone(self) -> bool:
        return self.recurrent is self.model and (self.stepwise or isinstance(self.model, FUSED))

    def output(self, x: Any, swap: dict[int, Tensor] | None = None, trail: Trail | None = None) -> Tensor:
        """The model's output, with the recurrence's input at the steps in `swap` permuted over the batch.

        trail: of x without swaps; the steps before the first swap are taken from it.
        """
        inputs = self._prepared(x)
        first = min(swap) if trail and swap else 0
        if inputs.starts is not None and self.surface is not None:
            raise ValueError("sequences of different length are not joined where the model loops by itself")
        with torch.no_grad(), masks(self.parts or {}, inputs.starts):
            if self.surface is not None:
                with self.surface.swapped(inputs, swap or {}, self.ends) as changed:
                    return self._drive(changed)
            exchange = SwappedForward(self.recurrent, swap or {}, self.ends, first, inputs.starts)
            with in_place_of_forward(self.recurrent, exchange) if swap else nullcontext():
                return self._drive(inputs, trail, first)

    def returned(self, x: Any) -> Any:
        """What the model returns; the answer where it is called once a step, or the caller reads it out."""
        inputs = self._prepared(x)
        with torch.no_grad():
            if self.stepwise or self.read_out is not None:
                return self._drive(inputs)
            return self.call(inputs)

    def answer(self, x: Any) -> Tensor:
        """The model's output as training has it, with its graph."""
        with torch.enable_grad():
            return self._drive(self._prepared(x))

    def trail(self, x: Any) -> Trail | None:
        """The recording of x without swaps.

        None where the model is not called once a step, or does not go on from the middle as it did from the
        start (a module that counts its steps).
        """
        inputs = self._prepared(x)
        if not self.stepwise or inputs.starts is not None:
            return None
        with torch.no_grad():
            trail = self._along(inputs)
            resumed = self._along(inputs, trail, len(trail.outputs) // 2)
        return trail if torch.equal(torch.stack(trail.outputs), torch.stack(resumed.outputs)) else None

    def steps(self, x: Any) -> int:
        """How many steps the recurrence makes, of several fresh starts the first."""
        inputs = self._prepared(x)
        if self.surface is not None:
            return self.surface.steps(inputs)
        recording = self._recorded(inputs)
        recording.choose(self._batches(inputs))
        return len(recording.steps)

    def record(self, x: Any) -> Recording:
        """The output with every step recorded.

        Raises ValueError where the replay is not what the model computes.
        """
        inputs = self._prepared(x)
        recording = self._recorded(inputs)
        recording.choose(self._batches(inputs))
        self._compare(recording.output.detach(), self.output(x))
        return recording

    def _recorded(self, inputs: Inputs) -> Recording:
        recording = Recording(starts=inputs.starts)
        surface = nullcontext(inputs) if self.surface is None else self.surface.recorded(inputs, recording)
        with torch.enable_grad(), recorders(self.parts or {}, recording), surface as seen:
            recording.output = self._drive(seen)
        if self.surface is not None and not recording.chains:
            self.surface.only(recording)
        if not recording.chains:
            raise ValueError(
                f"the model never called its recurrent module {self.name!r}; name the right one with"
                " recurrent="
            )
        return recording

    def slopes(self, step: RecordedStep, generator: torch.Generator) -> Tensor:
        """How fast each number of the new state moves with the step's arguments.

        The rms over four small random changes of them all: enough to tell a slope from none.
        """
        if not step.states:  # no state is seen, and so none is known to be saturated
            return torch.ones(1)
        small = change_of(step.made[0].dtype)

        def moved(t: Tensor) -> Tensor:
            change = torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)
            return t + small * change if t.is_floating_point() else t

        with torch.no_grad():
            before = self._new_state(step, step.given)
            after = [self._new_state(step, mapped(step.given, moved)) for _ in range(4)]
        return ((torch.stack(after) - before) / small).square().mean(0).sqrt()

    def _new_state(self, step: RecordedStep, given: tuple[Any, ...]) -> Tensor:
        result = self.recurrent.forward(*given)
        made = [t for t in dict.fromkeys(leaves(result)) if t.is_floating_point()]
        return torch.cat([made[k].flatten() for k in step.states if k < len(made)])

    def _prepared(self, x: Any) -> Inputs:
        """The inputs, with the model's parts known."""
        inputs = x if isinstance(x, Inputs) else Inputs((x,))
        if self.parts is None:
            self._find(inputs)
        return inputs

    def _find(self, inputs: Inputs) -> None:
        """What to look at: the module named, parts that a call shows, the model as one step, or a loop."""
        modules = dict(self.model.named_modules())
        if self.named is not None and self.named not in modules:
            raise ValueError(
                f"recurrent={self.named!r} is no part of the model; its parts:"
                f" {', '.join(k for k in modules if k)}"
            )
        named = None if self.named is None else modules[self.named]
        if isinstance(named, TORCHS):
            self.parts = {str(self.named): named}
        elif isinstance(self.model, TORCHS):
            self.parts, self.stepwise = {"": self.model}, isinstance(self.model, nn.RNNCellBase)
        elif not self._watched(inputs) and not self._is_step(inputs):
            sure = named is not None or isinstance(self.model, torch.jit.ScriptModule)
            self.surface = find_surface(self.model, inputs, self._whole, self.batch_axis, sure)
        self._examine(inputs)

    def _watched(self, inputs: Inputs) -> bool:
        """Whether a call of the model on the whole sequence shows recurrent parts."""
        try:
            self._whole(inputs)  # so that the search for a way to call it is not counted
            self.parts = find_parts(self.model, lambda: self._whole(inputs), self.named)
        except ValueError as error:
            self.parts, self.refused = {}, error
        return bool(self.parts)

    def _is_step(self, inputs: Inputs) -> bool:
        """Whether the model maps (x_t, state) to (output, state), or to its state alone.

        Raises what the sequence met if not.
        """
        if len(parameters(self.model)) >= 2 and len(inputs.args) < 2 and inputs.first.ndim >= 2:
            try:
                with torch.no_grad():
                    x = self._time_first(inputs)
                    result = self.model(x[0], self._first_state(x))
            except REFUSALS as error:
                self.refused = self.refused or ValueError(refusal(self.model, inputs, error))
            else:
                return self._steps(x, result)
        if self.refused is not None:
            raise self.refused
        return False

    def _steps(self, x: Tensor, result: Any) -> bool:
        """Whether what one step returned makes it one.

        Raises why not, but for one tensor of a model that needs no state: it may take whole sequences.
        """
        self.returns_state = is_state(self.model, x, result)
        try:
            output_and_state(self.model, result, self.returns_state)
        except ValueError:
            optional = parameters(self.model)[1].default is not Parameter.empty
            if self.refused is None and isinstance(result, Tensor) and optional:
                return False
            raise
        self.parts, self.stepwise = {"": self.model}, True
        return True

    def _examine(self, inputs: Inputs) -> None:
        """Chooses the examined part from a first recording, and sees that its input is shown."""
        for _ in range(2):
            recording = self._recorded(inputs)
            self.examined = recording.choose(self._batches(inputs))
            if self.surface is not None or not recording.main[0].mixed:
                return
            self.surface = find_surface(self.model, inputs, self._whole, self.batch_axis, True)

    def _whole(self, inputs: Inputs) -> Tensor:
        return self.handed.answer(self.call(inputs))

    def _batches(self, inputs: Inputs) -> set[int]:
        packed = inputs.packed
        return set(inputs.first.shape[:2]) if packed is None else {int(packed.batch_sizes[0])}

    def _compare(self, replayed: Tensor, fused: Tensor) -> None:
        half = fused.dtype in (torch.float16, torch.bfloat16)
        allowed = OFF_HALF if half else OFF.get(fused.dtype, OFF_NARROW)
        error = float((replayed - fused).abs().max() / fused.abs().max().clamp_min(1e-30))
        if error > allowed and torch.isfinite(fused).all():  # an output that is not finite is an answer
            raise ValueError(
                f"the step-by-step replay of {self.name!r} is off by {error:.2g} of the largest output,"
                f" allowed {allowed:g}; a model that draws random numbers in eval mode cannot be diagnosed"
            )

    def _drive(self, inputs: Inputs, trail: Trail | None = None, first: int = 0) -> Tensor:
        """The model's output, read out where the model is the recurrence itself."""
        if self.stepwise:
            outputs = torch.stack(self._along(inputs, trail, first).outputs)
            return answer_of(self._read(outputs))
        returned = self.call(inputs)
        if self.handed.whole or (not self.alone and self.read_out is None):
            return self.handed.answer(returned)
        output = answer_of(returned)
        return answer_of(
            self._read(output.transpose(0, 1) if self.alone and is_batch_first(self.model) else output)
        )

    def _time_first(self, inputs: Inputs) -> Tensor:
        return inputs.first.transpose(0, 1) if self.batch_axis == 0 else inputs.first

    def _along(self, inputs: Inputs, trail: Trail | None = None, first: int = 0) -> Trail:
        """All steps, those before `first` as in the trail."""
        x = self._time_first(inputs)
        known = trail or Trail([self._first_state(x)])
        state, after = known.states[first], Trail(known.states[:first], known.outputs[:first])
        for x_t in x[first:]:
            after.states.append(state)
            output, state = output_and_state(self.model, self.model(x_t, state), self.returns_state)
            after.outputs.append(output)
        return after

    def _read(self, outputs: Tensor) -> Tensor:
        return outputs[-1] if self.read_out is None else self.read_out(outputs)

    def _first_state(self, x: Tensor) -> Any:
        """The caller's, else one that the module runs from."""
        if self.state is not None:
            return for_batch(self.state, x.shape[1])
        if self.maker is None:
            self.maker = find_maker(self.model, self.model.forward, x)
        return self.maker(x.shape[1])


def double(model: nn.Module) -> nn.Module:
    """A copy of the model in float64 and eval mode; the model itself is not touched."""
    return copied(model, torch.float64)
