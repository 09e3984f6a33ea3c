"""How a torch module is built and called, found by trying it at sizes that are all different."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 4, 2
NAMES = ("h", "c")


@dataclass(frozen=True)
class Form:
    """How a module is called.

    sequence      whether a call takes all steps, else one
    batch_first   whether x is (B, T, I), else (T, B, I)
    states        names of the states that go in after x and come out; none where none goes in
    shapes        of each state at the sizes tried, (B, n) or (layers, B, n)
    width         of the output at the sizes tried
    nested        whether the states are a tuple, else one tensor
    alone         whether a step returns its state and no output beside it
    stepwise      whether a call of all steps gives what a call for each step gives, with the state of the
                  last: not where it reads in two directions
    """

    sequence: bool
    batch_first: bool
    states: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    width: int
    nested: bool
    alone: bool
    stepwise: bool = True

    def state_shapes(self, batch: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the states by name at other sizes, (B, n) or (B, layers, n)."""
        return {
            name: (batch, *shape[:-2], _width(shape[-1], {HIDDEN: hidden_size}))
            for name, shape in zip(self.states, self.shapes, strict=True)
        }

    def output_size(self, input_size: int, hidden_size: int) -> int:
        """Width of the output at other sizes."""
        return _width(self.width, {HIDDEN: hidden_size, INPUT: input_size})

    def call(self, run: Callable[..., Any], x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Output (T, B, O) and the last states, from x (T, B, I) and states (B, n) or (B, layers, n)."""
        layered = [s.ndim == 3 for s in state]
        state = [
            s.transpose(0, 1).contiguous() if deep else s for s, deep in zip(state, layered, strict=True)
        ]
        output, last = self._called(run, x, state)
        return output, [s.transpose(0, 1) if deep else s for s, deep in zip(last, layered, strict=True)]

    def _called(self, run: Callable[..., Any], x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The same with the states in the module's own shapes."""
        if not self.sequence:
            return self._steps(run, x, state)
        result = run(x.transpose(0, 1) if self.batch_first else x, *self._given(state))
        output = result[0] if isinstance(result, tuple | list) else result
        last: Any = result[1] if self.states else None
        output = output.transpose(0, 1) if self.batch_first else output
        return output, list(last) if self.nested else [last] * len(self.states)

    def _steps(self, run: Callable[..., Any], x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        outputs = []
        for x_t in x:
            result = run(x_t, *self._given(state))
            output, last = (None, result) if self.alone else result
            state = list(last) if self.nested else [last]
            outputs.append(state[0] if output is None else output)
        return torch.stack(outputs), state

    def _given(self, state: list[Tensor]) -> list[Any]:
        if not self.states:
            return []
        return [tuple(state) if self.nested else state[0]]


def _width(tried: int, sizes: dict[int, int]) -> int:
    """A width at other sizes: as many times one of them as it was at those tried, else the same number."""
    return next((tried // size * other for size, other in sizes.items() if tried % size == 0), tried)


def built(cls: type[nn.Module], input_size: int, hidden_size: int, options: dict[str, Any]) -> nn.Module:
    """The module of these sizes, in eval mode. Raises ValueError, one line, where it cannot be built."""
    try:
        return cls(input_size, hidden_size, **options).eval()
    except Exception as error:  # somebody's code, which may raise anything
        raise ValueError(
            f"{cls.__name__}({input_size}, {hidden_size}) cannot be built: {type(error).__name__}:"
            f" {' '.join(str(error).split())[:200]}. A torch module that stands beside cells is built from"
            " (input_size, hidden_size) and options with defaults"
        ) from None


def found(cls: type[nn.Module], options: dict[str, Any]) -> Form:
    """The form of a module. Raises ValueError, one line, where no call gives an output for every step."""
    module, refusals = built(cls, INPUT, HIDDEN, options), []
    for sequence, x in ((True, torch.randn(STEPS, BATCH, INPUT)), (False, torch.randn(BATCH, INPUT))):
        for given in _states(module):
            try:
                with torch.no_grad():
                    result = module(x, *given)
            except Exception as error:
                refusals.append(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")
                continue
            first = sequence and _batch_first(module, x, given)
            if first:
                x = x.transpose(0, 1)
                with torch.no_grad():
                    result = module(x, *given)
            if form := _form(module, sequence, first, result, x):
                return replace(form, stepwise=_stepwise(module, form))
            refusals.append(f"it returned {_described(result)}")
    raise ValueError(
        f"{cls.__name__} gives no output for every step; forward takes x (T, B, I) or (B, T, I), or x (B, I)"
        f" and a state, and returns output or (output, state); {refusals[0]}"
    )


def _states(module: nn.Module) -> Iterator[tuple[Any, ...]]:
    """What may go in after x, likeliest first: nothing, or zeros where a step needs its state."""
    yield ()
    for zeros in (torch.zeros(BATCH, HIDDEN), torch.zeros(1, BATCH, HIDDEN)):
        yield (zeros,)
        yield ((zeros, zeros),)


def _form(module: nn.Module, sequence: bool, first: bool, result: Any, x: Tensor) -> Form | None:
    """The form that a result shows, or None."""
    for output, last in _readings(sequence, result):
        if not isinstance(output, Tensor) or output.shape[:-1] != x.shape[:-1]:
            continue
        states = _tensors(last)
        taken = bool(states) and _runs(module, x, last)
        if not taken and not sequence:
            continue  # a step that does not take its own state back was read in the wrong way
        names = tuple(NAMES[k] if k < len(NAMES) else f"s{k}" for k in range(len(states) * taken))
        shapes = tuple(tuple(s.shape) for s in states)[: len(names)]
        nested = taken and isinstance(last, tuple | list)
        return Form(sequence, first, names, shapes, output.shape[-1], nested, last is result)
    return None


def _readings(sequence: bool, result: Any) -> Iterator[tuple[Any, Any]]:
    """(output, state) as a result may be meant: a step may return its state alone, as torch's cells do."""
    several = isinstance(result, tuple | list)
    if not sequence:
        yield (result[0] if several else result), result
    elif not several:
        yield result, None
    if several and len(result) == 2:
        yield result[0], result[1]
    elif several:
        yield result[0], tuple(result[1:])


def _tensors(state: Any) -> list[Tensor]:
    """The tensors of a state, none where it is no state of this batch."""
    states = list(state) if isinstance(state, tuple | list) else [state]
    fit = all(isinstance(s, Tensor) and s.ndim in (2, 3) and s.shape[-2] == BATCH for s in states)
    return states if fit else []


def _runs(module: nn.Module, x: Tensor, state: Any) -> bool:
    """Whether the module takes a state after x."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    if len(parameters) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return False
    try:
        with torch.no_grad():
            module(x, state)
    except Exception:  # somebody's code, which may raise anything
        return False
    return True


def _stepwise(module: nn.Module, form: Form) -> bool:
    """Whether a call for each step, with the state of the last, gives what one call of all steps gives."""
    if not form.sequence or not form.states:
        return bool(form.states)
    x = torch.randn(STEPS, BATCH, INPUT)
    first = [torch.zeros(shape) for shape in form.state_shapes(BATCH, HIDDEN).values()]
    with torch.no_grad():
        whole, _ = form.call(module, x, first)
        outputs, state = [], first
        for t in range(STEPS):
            output, state = form.call(module, x[t : t + 1], state)
            outputs.append(output)
    return bool(torch.allclose(torch.cat(outputs), whole, rtol=1e-3, atol=1e-4))


def _batch_first(module: nn.Module, x: Tensor, given: tuple[Any, ...]) -> bool:
    """Whether the first axis is the batch: then what stands first in it reaches nothing else."""
    changed = x.clone()
    changed[0] += 1.0
    with torch.no_grad():
        results = [module(each, *given) for each in (x, changed)]
    before, after = (r[0] if isinstance(r, tuple | list) else r for r in results)
    return isinstance(before, Tensor) and bool(torch.equal(before[1:], after[1:]))


def _described(result: Any) -> str:
    if isinstance(result, Tensor):
        return f"a tensor {tuple(result.shape)}"
    if isinstance(result, tuple | list):
        return f"({', '.join(_described(r) for r in result)})"
    return type(result).__name__
