"""A port: an implementation with its arrays mapped and a way to call it, its outputs and its gradients."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..find import nearest
from ..programs.tolerance import tolerance
from .calling import Way, ways
from .implementation import Implementation
from .layout import Arrays, CellArrays, Layout
from .mapping import Mapped, described, mapped, stack_hint
from .returned import Returned
from .states import other_number

ENTRIES = 200  # of an array whose gradient is found by differences; of a larger one, as many drawn at random


@dataclass(frozen=True)
class Trial:
    """On what a port is tried: a problem's steps, batch and seed, and the cell's arrays where given.

    scale: how large inputs and states are; a power of two, so that float32 still holds them exactly.
    """

    steps: int
    batch: int
    seed: int
    weights: Arrays | None = None
    scale: float = 1.0

    def params(self, layout: Layout) -> Arrays:
        """The cell's arrays for what was made here: the weights, or drawn ones that float32 holds exactly.

        They are zero where the weights have none. Raises ValueError for weights that would be lost.
        """
        if self.weights is None:
            drawn = layout.cell.init(*layout.cell_arrays.sizes, seed=self.seed)
            return {name: value.astype(np.float32).astype(np.float64) for name, value in drawn.items()}
        if lost := [name for name in self.weights if name not in layout.covered]:
            raise ValueError(
                f"weights hold {', '.join(lost)}, for which it has no array; leave them out, or give weights"
                " of biases=1"
            )
        return {name: self.weights.get(name, np.zeros(s)) for name, s in layout.cell_arrays.shapes.items()}


@dataclass(frozen=True)
class Problem:
    """What a port and the reference both compute: float64 values that the port's dtype holds exactly."""

    x: np.ndarray
    state: Arrays
    d_output: np.ndarray
    d_state: Arrays


@dataclass(frozen=True)
class Computed:
    """Output, last states and, by the port's own names, gradients.

    unreached: arrays that no gradient comes to. drawn: 1 for the entries of gradients that were computed.
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
    """An implementation, a way to call it, how its arrays are the cell's, and on what it is tried."""

    implementation: Implementation
    way: Way
    mapped: Mapped
    trial: Trial
    forward_only: bool = False

    @property
    def layouts(self) -> list[Layout]:
        """How its arrays are the cell's, likeliest first."""
        return self.mapped.layouts

    @property
    def dtype(self) -> str:
        return self.implementation.dtype

    @property
    def no_gradients(self) -> str:
        """Why there are no gradients; "" where there are."""
        return "not compared" if self.forward_only else self.implementation.no_gradients

    @cached_property
    def arrays(self) -> Arrays:
        """Its arrays: its own, or the cell's in its shapes where it was made here."""
        implementation, layouts = self.implementation, self.layouts
        if not implementation.made or not layouts or not (layouts[0].pieces or layouts[0].readout):
            return implementation.arrays
        likeliest = layouts[0]
        ignored = {name: implementation.arrays[name] for name in likeliest.ignored}
        made = likeliest.write(self.trial.params(likeliest), self.mapped.shapes) | ignored | likeliest.readout
        # a tuple of arrays has them in the order of their names
        return {name: made[name] for name in dict.fromkeys((*implementation.names, *made)) if name in made}

    @cached_property
    def problem(self) -> Problem:
        """A problem of the cell, from zero states where none go in."""
        rng, trial = np.random.default_rng(self.trial.seed), self.trial
        cell_arrays = self.mapped.cell_arrays

        def draw(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32).astype(np.float64)

        shapes = cell_arrays.cell.state_shapes(trial.batch, cell_arrays.sizes[1])
        state = {}
        for name, shape in shapes.items():
            value = draw(*shape) if name in self.way.taken else np.zeros(shape)
            # n and m are a normaliser and a stabiliser, which are never negative
            state[name] = trial.scale * (np.abs(value) if name in ("n", "m") else value / 2)
        x = trial.scale * draw(trial.steps, trial.batch, cell_arrays.sizes[0])
        d_output = draw(trial.steps, trial.batch, cell_arrays.output)
        return Problem(x, state, d_output, {name: draw(*shape) for name, shape in shapes.items()})

    @cached_property
    def outputs(self) -> Computed:
        """The forward, computed once."""
        return _forward(self.way.run(*self._placed()))

    @cached_property
    def computed(self) -> Computed:
        """All that it computes, once: gradients by autograd, or by central differences."""
        if self.no_gradients:
            return self.outputs
        return self._autograd() if self.implementation.library == "torch" else self._differences()

    @property
    def tolerance(self) -> float:
        """What is allowed for outputs and states."""
        return tolerance(self.dtype, len(self.problem.x))

    @property
    def loose(self) -> float:
        """What is allowed for gradients, which central differences know less exactly."""
        if self.computed.drawn is None:
            return self.tolerance
        rounding = float(np.finfo(self.exact).eps) ** (2 / 3)  # of a central difference with the best step
        return max(tolerance(self.exact, len(self.problem.x)), 256 * rounding)

    @cached_property
    def exact(self) -> str:
        """The dtype in which it computes when it is given float64."""
        return "float64" if self._at({}).output.dtype == np.float64 else "float32"

    def tried(self) -> Returned | str:
        """What it returns, or in a line why it cannot be called this way."""
        return self.way.attempt(*self._placed())

    def first_step(self) -> Port | None:
        """The port over one step, where a state goes in and steps may be chosen; None where it is not so."""
        if not self.way.takes_state or self.implementation.steps is not None:
            return None
        short = replace(self, trial=replace(self.trial, steps=1))
        return None if isinstance(short.tried(), str) else short

    def other_states(self) -> str | None:
        """What it takes in place of the cell's states, in words, where that is another number."""
        return other_number(self.way, *self._placed())

    def changed(self) -> list[str]:
        """Which of x, the states and the cell's arrays a call changes in place."""
        placed = self._placed()
        kept = {name for layout in self.layouts[:1] for name in layout.ignored}  # a running mean

        def given() -> Arrays:
            held, x, state = placed
            arrays = {name: value for name, value in held.items() if name not in kept}
            values = {"x": x, **{f"state {k}": v for k, v in state.items()}, **arrays}
            return {name: _numpy(value) for name, value in values.items()}

        before = given()
        self.way.run(*placed)
        return [n for n, v in given().items() if not np.array_equal(v, before[n], equal_nan=True)]

    def twice(
        self, around: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> tuple[Computed, Computed]:
        """What two equal calls return, one after the other, each inside of `around`."""
        placed, found = self._placed(), []
        for _ in range(2):
            with around():
                found.append(_forward(self.way.run(*placed)))
        return found[0], found[1]

    def starting(self, state: Arrays) -> Port:
        """The same results, to be held against a reference that starts from this state."""
        other = replace(self)
        known = {name: value for name, value in vars(self).items() if name in ("outputs", "computed")}
        vars(other).update(known, problem=replace(self.problem, state=state))
        return other

    def holding(self, arrays: Arrays) -> Port:
        """The same with other values in its arrays; its gradients are not asked for."""
        other = replace(self, forward_only=True)
        vars(other).update(arrays=self.arrays | arrays, problem=self.problem)
        return other

    @cached_property
    def held(self) -> Arrays:
        """Its arrays as it computes with them, in float64."""
        return {name: value.astype(np.float64) for name, value in self._cast().items()}

    @cached_property
    def others(self) -> list[tuple[str, Port]]:
        """The same called another way that may have been meant: (words, port)."""
        ports = ((words, replace(self, way=way)) for words, way in self.way.others())
        return [(words, port) for words, port in ports if isinstance(port.tried(), Returned)]

    def _autograd(self) -> Computed:
        import torch

        held, x, state = self._placed(grad=True)
        returned = self.way.run(held, x, state)
        ends = [(returned.output, self.problem.d_output)]
        ends += [(value, self.problem.d_state[k]) for k, value in returned.state.items()]
        reached = [(end, torch.as_tensor(d).to(end.dtype)) for end, d in ends if end.requires_grad]
        given = {f"state {k}": v for k, v in state.items()}
        leaves, taken = {**held, "x": x, **given}, {f"state {k}" for k in self.way.taken}
        grads: Any = [None] * len(leaves)
        if reached:
            outputs, seeds = zip(*reached, strict=True)
            grads = torch.autograd.grad(outputs, list(leaves.values()), seeds, allow_unused=True)
        by_name = dict(zip(leaves, grads, strict=True))
        unreached = (
            name for name, grad in by_name.items() if grad is None and (name in taken or name not in given)
        )
        arrays = {n: np.zeros(leaves[n].shape) if g is None else _numpy(g) for n, g in by_name.items()}
        return self._computed(arrays, tuple(unreached), None)

    def _differences(self) -> Computed:
        """Central differences, in float64 where it computes in that when it is given it."""
        step = float(np.finfo(self.exact).eps) ** (1 / 3)  # balances rounding against curvature
        rng = np.random.default_rng(0)
        grads: Arrays = {}
        drawn: Arrays = {}
        for name, value in self._values().items():
            grads[name], drawn[name] = np.zeros(value.shape), np.zeros(value.shape)
            entries = rng.permutation(value.size)[:ENTRIES]
            if name.startswith("state ") and name.removeprefix("state ") not in self.way.taken:
                continue
            for entry in entries:
                up, down = (self._at({name: _shifted(value, entry, sign * step)}) for sign in (1, -1))
                total = np.sum(self.problem.d_output * (up.output - down.output))
                ends = ((self.problem.d_state[k], up.state[k] - down.state[k]) for k in self.outputs.state)
                total += sum(np.sum(d * change) for d, change in ends)
                grads[name].reshape(-1)[entry], drawn[name].reshape(-1)[entry] = total / (2 * step), 1
        return self._computed(grads, (), drawn)

    def _computed(self, grads: Arrays, unreached: tuple[str, ...], drawn: Arrays | None) -> Computed:
        d_x = grads.pop("x")
        d_state = {name: grads.pop(f"state {name}") for name in self.problem.state}
        taken = {name: d_state[name] for name in self.way.taken} or None
        return Computed(self.outputs.output, self.outputs.state, grads, d_x, taken, unreached, drawn)

    def _values(self) -> Arrays:
        """All that it is given, by name."""
        state = {f"state {name}": value for name, value in self.problem.state.items()}
        return {**self.arrays, "x": self.problem.x, **state}

    def _at(self, changed: Arrays) -> Returned:
        """What it returns in float64 where some of what it is given is changed."""
        values = self._values() | changed
        held = self.implementation.put({name: values[name] for name in self.arrays})
        state = {name: values[f"state {name}"] for name in self.problem.state}
        returned = self.way.run(held, values["x"], state)
        states = {name: np.asarray(value) for name, value in returned.state.items()}
        return Returned(np.asarray(returned.output), states)

    def _placed(self, grad: bool = False) -> tuple[dict[str, Any], Any, dict[str, Any]]:
        """Arrays, x and states in its dtype and its library."""

        def place(value: np.ndarray) -> Any:
            cast = np.array(value, self.dtype)
            if self.implementation.library != "torch":
                return cast
            import torch

            return torch.as_tensor(cast).requires_grad_(grad)

        held = self.implementation.put(self._cast())
        return held, place(self.problem.x), {k: place(v) for k, v in self.problem.state.items()}

    def _cast(self) -> Arrays:
        return {name: np.array(value, self.dtype) for name, value in self.arrays.items()}


def _forward(returned: Returned) -> Computed:
    return Computed(_numpy(returned.output), {k: _numpy(v) for k, v in returned.state.items()})


def _shifted(value: np.ndarray, entry: int, by: float) -> np.ndarray:
    shifted = value.copy()
    shifted.reshape(-1)[entry] += by
    return shifted


def _numpy(value: Any) -> np.ndarray:
    return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value, np.float64)


def ported(implementation: Implementation, cell_arrays: CellArrays, trial: Trial) -> Port:
    """The implementation with its arrays mapped, and the first way to call it that works.

    Raises ValueError, with what was tried and is needed, where arrays are not the cell's or no call works.
    """
    names = list(implementation.names)
    while True:
        options = ways(implementation, cell_arrays.cell, cell_arrays.output, names)
        # arrays that are not all of the cell's still show, when they are tried, which keys are missing
        complete, partial = mapped(implementation, names, cell_arrays, trial.weights is not None)
        problems, states, silent = [], None, None
        for way, arrays in product(options, complete or partial):
            port = Port(implementation, way, arrays, trial if complete else replace(trial, weights=None))
            returned = port.tried()
            if isinstance(returned, Returned) and complete:
                if returned.state or not way.takes_state:
                    return _in_its_format(_unchanging(port))
                silent = silent or port  # a state of another shape may have been taken by chance
                continue
            problems.append(f"as {way.call}: {returned}")
            states = states or (complete and port.other_states())
        if silent is not None:
            return _in_its_format(_unchanging(silent))
        missed = [name for name in dict.fromkeys(implementation.missed) if name not in names]
        if not missed:
            raise ValueError(
                _uncalled(implementation, problems, cell_arrays.cell, states or "")
                if complete
                else _unread(implementation, cell_arrays, names)
            )
        names, implementation.missed = [*names, missed[0]], []  # a key that only shows when it runs


def _in_its_format(port: Port) -> Port:
    """The port with the dtype that it computes in, as JAX does where it is given float64."""
    implementation = port.implementation
    if implementation.library == "torch" or (port.dtype, port.exact) != ("float64", "float32"):
        return port
    coarse = replace(implementation, dtype="float32")
    return replace(port, implementation=coarse, way=replace(port.way, implementation=coarse))


def _unchanging(port: Port) -> Port:
    """The port. Raises ValueError where a call changes what it is given."""
    if names := port.changed():
        raise ValueError(
            f"{port.implementation.label} changes {' and '.join(names)} in place, so that a second call gets"
            " other values; compute on a copy"
        )
    return port


def _unread(implementation: Implementation, cell_arrays: CellArrays, names: list[str]) -> str:
    if not names:
        return (
            f"{implementation.label} has no arguments or attributes that are arrays of cell"
            f" {cell_arrays.cell.name!r} ({described(cell_arrays.shapes)}); name them so, as arguments or as"
            " keys that it takes from a dict"
        )
    return (
        f"{implementation.label} takes {', '.join(names)}, which are not read as the arrays of"
        f" cell {cell_arrays.cell.name!r} ({described(cell_arrays.shapes)})"
        f"{nearest(names[0], cell_arrays.shapes)}"
        f" name them so, or W_GATE, U_GATE, b_GATE for its gates {', '.join(cell_arrays.cell.gates)}"
    )


def _uncalled(implementation: Implementation, problems: list[str], cell: GatedCell, states: str) -> str:
    if states:
        return f"{implementation.label} cannot be called as {cell.name}: {states}"
    if hint := stack_hint(implementation.shapes, cell):
        return f"{implementation.label} cannot be called as {cell.name}; {hint}"
    apart: dict[str, str] = {}
    for problem in problems:
        call, _, error = problem.partition(": ")
        apart.setdefault(error, call)
    if len(apart) == 1:
        first = f"{next(iter(apart))[:240]}, however it is called"
    else:
        # a call that returned something is nearer to what was meant than one that was refused
        nearest_first = sorted(apart.items(), key=lambda found: not found[0].startswith("it returned"))
        several = (f"{call}: {error[:240]}" for error, call in nearest_first[:3])
        first = f"tried {'; '.join(several)}"
    if re.search(r"'indices'.*scalar types|Embedding|one_hot", first):
        return (
            f"{implementation.label} takes whole numbers, as a model of words does; check takes its recurrent"
            " part, which reads vectors: give FILE:NAME of that class"
        )
    if implementation.traced:
        first += ". A traced module may fix steps and batch: give those of its trace (steps=, batch=)"
    return (
        f"{implementation.label} cannot be called; {first}. "
        "Needed: (x (B, I), state) -> h or (output, state), or (x (T, B, I)) -> outputs, as (B, T, I) or"
        " (I, B, T) too; another order of axes takes a function around it that transposes"
    )
