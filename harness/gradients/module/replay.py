"""A torch model run with its recurrence within reach: recorded step by step, or with inputs swapped.

The fused modules (nn.RNN, nn.GRU, nn.LSTM) hide their steps, so they are replayed in the cell's form, and the
replay is held against them before it is used. A module that is called once a step is only watched.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Layers
from .recording import FusedRecorder, RecordedStep, Recording, StepRecorder, output_and_state
from .states import find_maker, for_batch, leaves, mapped

OFF = {torch.float64: 1e-6}  # of the largest output, by which a replay may differ from the fused module
OFF_NARROW = 1e-3  # the same in any other dtype
CHANGE = {torch.float64: 1e-6}  # of a step's arguments, large enough to be seen beside their rounding
CHANGE_NARROW = 1e-2


@dataclass
class Trail:
    """A pass of a module that is called once a step, from which another goes on.

    states   before each step
    outputs  of each step
    """

    states: list[Any] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Replay:
    """A model to be run as it is, with inputs of the recurrence swapped between samples, or recorded."""

    def __init__(
        self,
        model: nn.Module,
        recurrent: str | None,
        state: Any,
        read_out: Callable | None,
        batch_axis: int | None,
    ) -> None:
        self.model, self.state, self.read_out, self.batch_axis = model, state, read_out, batch_axis
        self.name, self.recurrent = _recurrent(model, recurrent)
        self.alone = self.recurrent is model
        self.layers = Layers(self.recurrent) if isinstance(self.recurrent, nn.RNNBase) else None
        self.forward = self.recurrent.forward
        self.maker: Callable[[int], Any] | None = None

    @property
    def stepwise(self) -> bool:
        """Whether the model is a module that is called once a step."""
        return self.alone and self.layers is None

    def output(self, x: Tensor, swap: dict[int, Tensor] | None = None, trail: Trail | None = None) -> Tensor:
        """The model's output, with the recurrence's input at the steps in `swap` permuted over the batch.

        trail: of x without swaps; the steps before the first swap are taken from it.
        """
        first = min(swap) if trail and swap else 0
        with torch.no_grad(), _forward(self.recurrent, _SwappedForward(self, swap or {}, first)):
            return self._drive(x, trail, first)

    def trail(self, x: Tensor) -> Trail | None:
        """The recording of x without swaps.

        None where the model is not called once a step, or does not go on from the middle as it did from the
        start (a module that counts its steps).
        """
        if not self.stepwise:
            return None
        with torch.no_grad(), _forward(self.recurrent, _SwappedForward(self, {})):
            trail = self._along(x)
            resumed = self._along(x, trail, len(trail.outputs) // 2)
        return trail if torch.equal(torch.stack(trail.outputs), torch.stack(resumed.outputs)) else None

    def steps(self, x: Tensor) -> int:
        """How many steps the recurrence makes."""
        counter = _SwappedForward(self, {})
        with torch.no_grad(), _forward(self.recurrent, counter):
            self._drive(x)
        return counter.t

    def record(self, x: Tensor) -> Recording:
        """The output with every step recorded.

        Raises ValueError where the replay is not what the model computes.
        """
        recorder = (
            StepRecorder(self.recurrent, self.forward)
            if self.layers is None
            else FusedRecorder(self.name, self.layers)
        )
        with torch.enable_grad(), _forward(self.recurrent, recorder):
            output = self._drive(x)
        recording = recorder.recording
        if not recording.steps:
            raise ValueError(
                f"the model never called its recurrent module {self.name!r}; name the right one with"
                " recurrent="
            )
        recording.output = output
        self._compare(output.detach(), self.output(x))
        return recording

    def slopes(self, step: RecordedStep, generator: torch.Generator) -> Tensor:
        """How fast each number of the new state moves with the step's arguments.

        The rms over four small random changes of them all: enough to tell a slope from none.
        """
        small = CHANGE.get(step.made[0].dtype, CHANGE_NARROW)

        def moved(t: Tensor) -> Tensor:
            change = torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)
            return t + small * change if t.is_floating_point() else t

        with torch.no_grad():
            before = self._new_state(step.input, step.given)
            after = [self._new_state(moved(step.input), mapped(step.given, moved)) for _ in range(4)]
        return ((torch.stack(after) - before) / small).square().mean(0).sqrt()

    def _new_state(self, x: Tensor, given: tuple[Any, ...]) -> Tensor:
        _, state = output_and_state(self.recurrent, self.forward(x, *given))
        return torch.cat([t.flatten() for t in leaves(state) if t.is_floating_point()])

    def _compare(self, replayed: Tensor, fused: Tensor) -> None:
        allowed = OFF.get(fused.dtype, OFF_NARROW)
        error = float((replayed - fused).abs().max() / fused.abs().max().clamp_min(1e-30))
        if error > allowed and torch.isfinite(fused).all():  # an output that is not finite is an answer
            raise ValueError(
                f"the step-by-step replay of {self.name!r} is off by {error:.2g} of the largest output,"
                f" allowed {allowed:g}; a model that draws random numbers in eval mode cannot be diagnosed"
            )

    def _drive(self, x: Tensor, trail: Trail | None = None, first: int = 0) -> Tensor:
        """The model's output, read out where the model is the recurrence itself."""
        if self.stepwise:
            return _tensor(self._read(torch.stack(self._along(x, trail, first).outputs)))
        result = self.model(x)
        output = result[0] if isinstance(result, (tuple, list)) else result
        if not self.alone and self.read_out is None:
            return _tensor(output)
        return _tensor(
            self._read(output.transpose(0, 1) if self.alone and self.recurrent.batch_first else output)
        )

    def _along(self, x: Tensor, trail: Trail | None = None, first: int = 0) -> Trail:
        """All steps, those before `first` as in the trail."""
        x = x.transpose(0, 1) if self.batch_axis == 0 else x
        known = trail or Trail([self._first_state(x)])
        state, after = known.states[first], Trail(known.states[:first], known.outputs[:first])
        for x_t in x[first:]:
            after.states.append(state)
            output, state = output_and_state(self.model, self.model(x_t, state))
            after.outputs.append(output)
        return after

    def _read(self, outputs: Tensor) -> Tensor:
        return outputs[-1] if self.read_out is None else self.read_out(outputs)

    def _first_state(self, x: Tensor) -> Any:
        """The caller's, else one that the module runs from."""
        if self.state is not None:
            return for_batch(self.state, x.shape[1])
        if self.maker is None:
            self.maker = find_maker(self.model, self.forward, x)
        return self.maker(x.shape[1])


class _SwappedForward:
    """The recurrent module's forward with inputs permuted over the batch at some steps.

    Steps are counted over all calls, from t on.
    """

    def __init__(self, replay: Replay, swap: dict[int, Tensor], t: int = 0) -> None:
        self.replay, self.swap, self.t = replay, swap, t

    def __call__(self, x: Tensor, *rest: Any, **more: Any) -> Any:
        layers = self.replay.layers
        if layers is None:
            x = x[self.swap[self.t]] if self.t in self.swap else x
            self.t += 1
            return self.replay.forward(x, *rest, **more)
        layers.check(x)
        x = layers.time_first(x)
        here = {t - self.t: order for t, order in self.swap.items() if 0 <= t - self.t < len(x)}
        self.t += len(x)
        if here:
            x = x.clone()
            for t, order in here.items():
                x[t] = x[t][order]
        return self.replay.forward(layers.time_first(x), *rest, **more)


def double(model: nn.Module) -> nn.Module:
    """A copy of the model in float64 and eval mode; the model itself is not touched."""
    return copy.deepcopy(model).double().eval()


def _recurrent(model: nn.Module, name: str | None) -> tuple[str, nn.Module]:
    """The recurrent module: the one named, the model itself, or the only one in it."""
    modules = dict(model.named_modules())
    if name is not None:
        if name not in modules:
            raise ValueError(
                f"recurrent={name!r} is no part of the model; its parts: {', '.join(k for k in modules if k)}"
            )
        return name, modules[name]
    inside = {k: m for k, m in modules.items() if isinstance(m, (nn.RNNBase, nn.RNNCellBase))}
    if "" in inside or _steps(model, any(isinstance(m, nn.RNNBase) for m in inside.values())):
        return type(model).__name__, model
    if len(inside) != 1:
        raise ValueError(
            f"{type(model).__name__} holds {len(inside)} recurrent modules of torch"
            f" ({', '.join(inside) or 'none'}) and does not map (x_t, state) to (output, state); name the one"
            " to look at, or one that is called once a step, with recurrent="
        )
    return next(iter(inside.items()))


def _steps(model: nn.Module, fused: bool) -> bool:
    """Whether forward takes (x_t, state).

    Around a fused module a second argument that may be left out is no sign of that.
    """
    parameters = list(inspect.signature(model.forward).parameters.values())
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(taken) >= 2 and not (fused and taken[1].default is not inspect.Parameter.empty)


@contextmanager
def _forward(module: nn.Module, forward: Callable) -> Iterator[None]:
    """Puts another forward in the module's place, so that its hooks and callers stay."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if before is not None:
            module.__dict__["forward"] = before


def _tensor(output: Any) -> Tensor:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise ValueError(
            f"the model's output is of type {type(output).__name__}; it must be one floating-point tensor"
        )
    return output
