"""A torch model run with its recurrence cut at every step, so that each state and the gradient at it are
within reach.

The fused modules (nn.RNN, nn.GRU, nn.LSTM) hide their steps, so they are replayed in the cell's form, and the
replay is held against them before it is used. A module that is called once a step is only watched. Each step
hands on copies of what it made, cut off from its graph: a step's derivative is then one small graph, and
products of them can be rescaled on the way.
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
from .trees import leaves, mapped, widened

HIDDEN = "hidden_size"
MAKERS = (
    "initial_state",
    "init_state",
    "init_hidden",
    "begin_state",
)  # methods that make a first state, tried in this order


@dataclass
class Step:
    """One step: what it got, what it made, and the copies of that which the rest of the model saw.

    made and kept hold the same tensors, each with the samples on some axis; `states` says which of them are
    states, the others are outputs. Adding `nudge` (zeros) to the input makes its gradient the input's; None
    for an input of whole numbers.
    """

    input: Tensor
    nudge: Tensor | None
    made: list[Tensor]
    kept: list[Tensor]
    states: list[int]
    given: tuple[Any, ...]


@dataclass
class Recording:
    """A forward pass. `closed` is the saturated share of (unit, step, sample), or None where the step has no
    known form.
    """

    steps: list[Step] = field(default_factory=list)
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    closed: list[float] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """Sequences: the recurrence's own batch, whatever axis the model's input has it on."""
        return len(self.steps[0].input)


@dataclass
class Trail:
    """A pass of a module that is called once a step, from which another goes on: by step the state before it,
    and the output.
    """

    states: list[Any] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Replay:
    """A model that can be run as it is, with inputs of the recurrence exchanged between samples, or recorded."""

    def __init__(
        self,
        model: nn.Module,
        recurrent: str | None,
        state: Any,
        read_out: Callable | None,
        batch_axis: int | None,
    ) -> None:
        self.model, self.state, self.read_out, self.batch_axis = model, state, read_out, batch_axis
        self.name, self.part = _part(model, recurrent)
        self.alone = self.part is model
        self.layers = Layers(self.part) if isinstance(self.part, nn.RNNBase) else None
        self.original = self.part.forward

    def output(self, x: Tensor, swap: dict[int, Tensor] | None = None, trail: Trail | None = None) -> Tensor:
        """The model's output, with the recurrence's input at the steps in `swap` permuted over the batch.

        trail: of x without swaps; what comes before the first swap is taken from it.
        """
        first = min(swap) if trail and swap else 0
        with torch.no_grad(), _forward(self.part, _Swapped(self, swap or {}, first)):
            return self._drive(x, trail, first)

    def trail(self, x: Tensor) -> Trail | None:
        """None where the model is not called once a step, or does not go on from the middle as it did from
        the start.
        """
        if not self.stepwise:
            return None
        with torch.no_grad(), _forward(self.part, _Swapped(self, {})):
            whole = self._along(x)
            second = self._along(x, whole, len(whole.outputs) // 2)
        return whole if torch.equal(torch.stack(whole.outputs), torch.stack(second.outputs)) else None

    def steps(self, x: Tensor) -> int:
        """How many steps the recurrence makes."""
        counter = _Swapped(self, {})
        with torch.no_grad(), _forward(self.part, counter):
            self._drive(x)
        return counter.t

    def record(self, x: Tensor) -> Recording:
        """The output with every step recorded. Raises ValueError where the replay is not what the model
        computes.
        """
        recorder = _Recorder(self)
        with torch.enable_grad(), _forward(self.part, recorder):
            output = self._drive(x)
        if not recorder.found.steps:
            raise ValueError(
                f"the model never called its recurrent module {self.name!r}; name the right one with"
                " recurrent="
            )
        recorder.found.output = output
        self._hold(output.detach(), self.output(x))
        return recorder.found

    def slopes(self, step: Step, generator: torch.Generator) -> Tensor:
        """How fast each number of the new state moves with the step's arguments: rms over four small random
        changes of them.
        """
        small = 1e-6 if step.made[0].dtype == torch.float64 else 1e-2

        def moved(t: Tensor) -> Tensor:
            change = torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)
            return t + small * change if t.is_floating_point() else t

        with torch.no_grad():
            before = self._new_state(step.input, step.given)
            after = [self._new_state(moved(step.input), mapped(step.given, moved)) for _ in range(4)]
        return ((torch.stack(after) - before) / small).square().mean(0).sqrt()

    def _new_state(self, x: Tensor, given: tuple[Any, ...]) -> Tensor:
        result = self.original(x, *given)
        state = result if isinstance(self.part, nn.RNNCellBase) else _pair(self.part, result)[1]
        return torch.cat([t.flatten() for t in leaves(state) if t.is_floating_point()])

    def _hold(self, replayed: Tensor, fused: Tensor) -> None:
        allowed = 1e-6 if fused.dtype == torch.float64 else 1e-3
        error = float((replayed - fused).abs().max() / fused.abs().max().clamp_min(1e-30))
        if error > allowed and torch.isfinite(fused).all():
            raise ValueError(
                f"the step-by-step replay of {self.name!r} is off by {error:.2g} of the largest output,"
                f" allowed {allowed:g}; a model that draws random numbers in eval mode cannot be diagnosed"
            )

    @property
    def stepwise(self) -> bool:
        """Whether the model is a module that is called once a step."""
        return self.alone and self.layers is None

    def _drive(self, x: Tensor, trail: Trail | None = None, first: int = 0) -> Tensor:
        if not self.stepwise:
            result = self.model(x)
            found = result[0] if isinstance(result, (tuple, list)) else result
            if not self.alone and self.read_out is None:
                return _tensor(found)
            return _tensor(
                self._read(found.transpose(0, 1) if self.alone and self.part.batch_first else found)
            )
        return _tensor(self._read(torch.stack(self._along(x, trail, first).outputs)))

    def _along(self, x: Tensor, trail: Trail | None = None, first: int = 0) -> Trail:
        """All steps, those before `first` as in the trail."""
        x = x.transpose(0, 1) if self.batch_axis == 0 else x
        known = trail or Trail([self._first(x)])
        state, found = known.states[first], Trail(known.states[:first], known.outputs[:first])
        for x_t in x[first:]:
            found.states.append(state)
            result = self.model(x_t, state)
            output, state = (
                (_first_of(result), result)
                if isinstance(self.model, nn.RNNCellBase)
                else _pair(self.model, result)
            )
            found.outputs.append(output)
        return found

    def _read(self, outputs: Tensor) -> Tensor:
        return outputs[-1] if self.read_out is None else self.read_out(outputs)

    def _first(self, x: Tensor) -> Any:
        """The first state: the caller's, else None if the module takes that, else zeros of its hidden_size."""
        if self.state is not None:
            return widened(self.state, x.shape[1])
        if not hasattr(self, "maker"):
            self.maker = self._working(x)
        return self.maker()

    def _working(self, x: Tensor) -> Callable[[], Any]:
        batch, errors = x.shape[1], []
        zeros = [
            lambda: x.new_zeros((batch, int(getattr(self.model, HIDDEN))), dtype=torch.get_default_dtype())
        ]
        methods = [lambda m=m: getattr(self.model, m)(batch) for m in MAKERS if hasattr(self.model, m)]
        for maker in (*methods, lambda: None, *zeros, lambda: (zeros[0](), zeros[0]())):
            try:
                with torch.no_grad():
                    self.original(x[0], maker())
                return maker
            except (TypeError, AttributeError, RuntimeError, ValueError, IndexError) as error:
                errors.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise ValueError(
            f"{type(self.model).__name__} does not run from state None ({errors[len(methods)]}); give its"
            " first state with state="
        )


class _Swapped:
    """The recurrent module's forward with inputs permuted over the batch at some steps, counted over all
    calls.
    """

    def __init__(self, replay: Replay, swap: dict[int, Tensor], t: int = 0) -> None:
        self.replay, self.swap, self.t = replay, swap, t

    def __call__(self, x: Tensor, *rest: Any, **more: Any) -> Any:
        layers = self.replay.layers
        if layers is None:
            x = x[self.swap[self.t]] if self.t in self.swap else x
            self.t += 1
            return self.replay.original(x, *rest, **more)
        layers.check(x)
        x = layers.time_first(x)
        here = {t - self.t: order for t, order in self.swap.items() if 0 <= t - self.t < len(x)}
        self.t += len(x)
        if here:
            x = x.clone()
            for t, order in here.items():
                x[t] = x[t][order]
        return self.replay.original(layers.time_first(x), *rest, **more)


class _Recorder:
    """The recurrent module's forward, cut at every step."""

    def __init__(self, replay: Replay) -> None:
        self.replay, self.found = replay, Recording()

    def __call__(self, x: Tensor, *rest: Any, **more: Any) -> Any:
        return self.step(x, *rest, **more) if self.replay.layers is None else self.whole(x, *rest, **more)

    def whole(self, x: Tensor, hx: Any = None) -> Any:
        layers = self.replay.layers
        assert layers is not None
        layers.check(x)
        x = layers.time_first(x)
        if self.found.steps and (hx is None or not _first_of(hx).requires_grad):
            raise ValueError(
                f"the model calls {self.replay.name!r} twice from a fresh state; name another module with"
                " recurrent="
            )
        state, outputs = layers.unpacked(hx, x), []
        for x_t in x:
            nudge = torch.zeros_like(x_t, requires_grad=True)
            made, closed = layers.step(x_t + nudge, state)
            state = [m.detach().requires_grad_() for m in made]
            self.found.steps.append(Step(x_t.detach(), nudge, made, state, list(range(len(made))), ()))
            self.found.closed.append(closed)
            outputs.append(layers.output(state))
        return layers.time_first(torch.stack(outputs)), layers.packed(state)

    def step(self, x: Tensor, *rest: Any, **more: Any) -> Any:
        part = self.replay.part
        nudge = torch.zeros_like(x, requires_grad=True) if x.is_floating_point() else None
        result = self.replay.original(x if nudge is None else x + nudge, *rest, **more)
        output, state = (None, result) if isinstance(part, nn.RNNCellBase) else _pair(part, result)
        tensors = {id(t): t for t in (*leaves(output), *leaves(state)) if t.is_floating_point()}
        made = list(tensors.values())
        kept = {k: t.detach().requires_grad_() for k, t in tensors.items()}
        held = {id(t) for t in leaves(state)}
        states = [k for k, t in enumerate(made) if id(t) in held]
        if not states:
            raise ValueError(
                f"{type(part).__name__} returned no state of floating-point numbers; it must return (output,"
                " state)"
            )
        self.found.steps.append(Step(x.detach(), nudge, made, list(kept.values()), states, rest))
        return mapped(result, lambda t: kept.get(id(t), t))


def double(model: nn.Module) -> nn.Module:
    """A copy of the model in float64 and eval mode; the model itself is not touched."""
    return copy.deepcopy(model).double().eval()


def _part(model: nn.Module, name: str | None) -> tuple[str, nn.Module]:
    """The recurrent module: the one named, the model itself, or the only one in it."""
    every = dict(model.named_modules())
    if name is not None:
        if name not in every:
            raise ValueError(
                f"recurrent={name!r} is no part of the model; its parts: {', '.join(k for k in every if k)}"
            )
        return name, every[name]
    inside = {k: m for k, m in every.items() if isinstance(m, (nn.RNNBase, nn.RNNCellBase))}
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
    """Whether forward takes (x_t, state). Around a fused module a second argument that may be left out is no
    sign of that.
    """
    every = list(inspect.signature(model.forward).parameters.values())
    taken = [p for p in every if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(taken) >= 2 and not (fused and taken[1].default is not inspect.Parameter.empty)


@contextmanager
def _forward(part: nn.Module, forward: Callable) -> Iterator[None]:
    """Puts another forward in the module's place, so that its hooks and callers stay."""
    before = part.__dict__.get("forward")
    part.__dict__["forward"] = forward
    try:
        yield
    finally:
        del part.__dict__["forward"]
        if before is not None:
            part.__dict__["forward"] = before


def _pair(part: nn.Module, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        what = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(
            f"{type(part).__name__} returned {what}; a recurrent module must return (output, state)"
        )
    return result


def _tensor(output: Any) -> Tensor:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise ValueError(
            f"the model's output is of type {type(output).__name__}; it must be one floating-point tensor"
        )
    return output


def _first_of(state: Any) -> Any:
    return state[0] if isinstance(state, (tuple, list)) else state
