"""A user's thing made ready: its arrays mapped to the cell's, a way to call it found, its outputs and
gradients computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..cell import GatedCell
from .calls import Call, attempt, other_calls, run, stateful
from .layouts import Layout
from .returned import Made
from .things import Thing

Arrays = dict[str, np.ndarray]
ENTRIES = 200  # of an array whose gradient is found by differences; of a larger one, as many drawn at random


@dataclass(frozen=True)
class Problem:
    """What everything is held against each other on; float64 values that the thing's dtype holds exactly."""

    x: np.ndarray
    state: Arrays
    d_output: np.ndarray
    d_state: Arrays


@dataclass(frozen=True)
class Result:
    """Output, last states and, by the thing's own names, gradients; `drawn`: 1 for the entries of those that
    were computed.

    unreached: arrays that no gradient comes to.
    """

    output: np.ndarray
    state: Arrays
    grads: Arrays | None = None
    d_x: np.ndarray | None = None
    d_state: Arrays | None = None
    unreached: tuple[str, ...] = ()
    drawn: Arrays | None = None


@dataclass
class Port:
    """arrays are in the thing's shapes; layouts say how they are the cell's, likeliest first ([] where
    `weights` said it).
    """

    thing: Thing
    cell: GatedCell
    call: Call
    bound: dict[str, str]
    arrays: Arrays
    layouts: list[Layout]
    problem: Problem
    width: int
    no_gradients: str = ""

    @property
    def label(self) -> str:
        return self.thing.label

    @property
    def dtype(self) -> str:
        return self.thing.dtype

    @cached_property
    def outputs(self) -> Result:
        """The forward, computed once."""
        return self.forward()

    @property
    def takes_state(self) -> bool:
        return stateful(self.bound, self.cell)

    def others(self) -> list[tuple[str, Port]]:
        """The same called another way that it may have meant."""
        found = []
        for words, call in other_calls(self.thing, self.call, self.cell, self.bound):
            port = replace(self, call=call)
            if isinstance(port.tried(), Made):
                found.append((words, port))
        return found

    def tried(self, steps: int | None = None) -> Made | str:
        return attempt(*self._arguments(self.thing.put(self._cast(self.arrays)), steps))

    def forward(self) -> Result:
        made = run(*self._arguments(self.thing.put(self._cast(self.arrays))))
        return Result(_numpy(made.output), {k: _numpy(v) for k, v in made.state.items()})

    def backward(self, returned: Arrays) -> Result:
        """Gradients for the cotangents of the output and of the states that it returned; autograd, or central
        differences.
        """
        return self._autograd(returned) if self.thing.library == "torch" else self._differences(returned)

    def _autograd(self, returned: Arrays) -> Result:
        import torch

        leaves = self.thing.put(self._cast(self.arrays))
        made, x, state = self._run(leaves)
        ends = [made.output, *(made.state[k] for k in returned)]
        seeds = [self.problem.d_output, *(self.problem.d_state[k] for k in returned)]
        pairs = [
            (e, torch.as_tensor(s).to(e.dtype)) for e, s in zip(ends, seeds, strict=True) if e.requires_grad
        ]
        wanted = {**leaves, "x": x, **{f"state {k}": v for k, v in state.items()}}
        found = (
            torch.autograd.grad(
                [e for e, _ in pairs], list(wanted.values()), [s for _, s in pairs], allow_unused=True
            )
            if pairs
            else [None] * len(wanted)
        )
        unreached = tuple(
            n
            for n, g in zip(wanted, found, strict=True)
            if g is None and (self.takes_state or not n.startswith("state "))
        )
        arrays = {
            n: np.zeros(v.shape) if g is None else _numpy(g)
            for (n, v), g in zip(wanted.items(), found, strict=True)
        }
        return self._result(made, arrays, unreached)

    def _result(
        self, made: Any, grads: Arrays, unreached: tuple[str, ...] = (), drawn: Arrays | None = None
    ) -> Result:
        d_x = grads.pop("x")
        d_state = {k: grads.pop(f"state {k}") for k in self.problem.state}
        state = {k: _numpy(v) for k, v in made.state.items()}
        return Result(
            _numpy(made.output), state, grads, d_x, d_state if self.takes_state else None, unreached, drawn
        )

    def _differences(self, returned: Arrays) -> Result:
        """Central differences, in float64 where it computes in that when given it."""
        eps = float(np.finfo(self.exact).eps)
        step = eps ** (1 / 3)
        values = {
            **self.arrays,
            "x": self.problem.x,
            **{f"state {k}": v for k, v in self.problem.state.items()},
        }
        rng = np.random.default_rng(0)
        grads: Arrays = {}
        drawn: Arrays = {}
        for name, value in values.items():
            grads[name], drawn[name] = np.zeros(value.shape), np.zeros(value.shape)
            entries = rng.permutation(value.size)[:ENTRIES]
            if name.startswith("state ") and not self.takes_state:
                continue
            for k in entries:
                up, down = (self._shifted(values, name, int(k), sign * step) for sign in (1, -1))
                total = np.sum(self.problem.d_output * (up.output - down.output))
                total += sum(
                    np.sum(self.problem.d_state[s] * (up.state[s] - down.state[s])) for s in returned
                )
                grads[name].reshape(-1)[k], drawn[name].reshape(-1)[k] = total / (2 * step), 1
        return self._result(self.forward(), grads, drawn=drawn)

    @cached_property
    def exact(self) -> str:
        """The dtype it computes in when it is given float64."""
        return "float64" if self._shifted({}, "", 0, 0.0).output.dtype == np.float64 else "float32"

    def _shifted(self, values: Arrays, name: str, entry: int, by: float) -> Any:
        changed = dict(values)
        if name:
            changed[name] = values[name].copy()
            changed[name].reshape(-1)[entry] += by
        arrays = {k: changed.get(k, v) for k, v in self.arrays.items()}
        state = {k: changed.get(f"state {k}", v) for k, v in self.problem.state.items()}
        held = self.thing.put(arrays)
        made = run(
            self.thing,
            self.call,
            self.bound,
            self.cell,
            held,
            changed.get("x", self.problem.x),
            state,
            self.width,
        )
        as_array = {k: np.asarray(v) for k, v in made.state.items()}
        return Made(np.asarray(made.output), as_array)

    def _run(self, leaves: Any) -> tuple[Made, Any, Any]:
        arguments = self._arguments(leaves, grad=True)
        return run(*arguments), arguments[5], arguments[6]

    def _arguments(self, held: Any, steps: int | None = None, grad: bool = False) -> list[Any]:
        def place(array: np.ndarray) -> Any:
            cast = np.array(array, self.dtype)
            if self.thing.library != "torch":
                return cast
            import torch

            return torch.as_tensor(cast).requires_grad_(grad)

        state = {k: place(v) for k, v in self.problem.state.items()}
        return [
            self.thing,
            self.call,
            self.bound,
            self.cell,
            held,
            place(self.problem.x[:steps]),
            state,
            self.width,
        ]

    def _cast(self, arrays: Arrays) -> Arrays:
        return {k: np.array(v, self.dtype) for k, v in arrays.items()}


def _numpy(value: Any) -> np.ndarray:
    return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value, np.float64)


def problem(
    cell: GatedCell, sizes: tuple[int, int], steps: int, batch: int, seed: int, dtype: str, zero: bool
) -> Problem:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32).astype(np.float64)

    shapes = cell.state_shapes(batch, sizes[1])
    state = {
        k: np.zeros(s) if zero else np.abs(draw(*s)) if k in ("n", "m") else draw(*s) / 2
        for k, s in shapes.items()
    }
    x, d_output = draw(steps, batch, sizes[0]), draw(steps, batch, cell.output_size(*sizes))
    return Problem(x, state, d_output, {k: draw(*s) for k, s in shapes.items()})
