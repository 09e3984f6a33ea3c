"""Finds all forms in which a port's functions differ from a cell's, together and from few numbers.

A step is computed once with every form of every function, each function along an axis of its own. So the
result of the step holds all combinations, though each form was computed once: three differences cost no more
than one. What the port computed in its first steps says which combination it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch

from ..cell import GatedCell
from ..contract import State, output_and_state
from ..programs.tolerance import tolerance
from .compare import Candidate
from .forms import Form, Function, forms
from .port import Port
from .variants import Altered, functions, with_forms

STEPS = 3  # of a sequence, where states cannot be seen after one step
GLANCE = 2  # units of the first sequence that all combinations are held against
MOST = 400_000  # combinations that are computed at once
KEPT = 24  # combinations that agree so far
Tensors = dict[str, torch.Tensor]
Grid = dict[int, list[Form]]  # forms of functions, by the number of their call


@dataclass(frozen=True)
class Seen:
    """What a port computed of its first steps: outputs (T, B, O), and the states after the last of them.

    leading: the functions on which a value depends; told: whether a cell's output is its first state. Both
    are kept once they were found out, for they are the same in any order of gates.
    """

    x: torch.Tensor
    before: Tensors
    output: torch.Tensor
    after: Tensors
    leading: dict[Any, list[int]] = field(default_factory=dict)
    told: dict[GatedCell, bool] = field(default_factory=dict)

    @cached_property
    def wanted(self) -> list[tuple[int, str]]:
        """(step, name) of all that was seen; the states come first, for fewer functions lead to them."""
        last = len(self.x) - 1
        return [(last, name) for name in reversed(self.after)] + [(t, "output") for t in range(last + 1)]

    def value(self, step: int, name: str) -> torch.Tensor:
        return self.output[step] if name == "output" else self.after[name]


def seen(port: Port) -> Seen:
    """One step of a port that a state goes into, with the state that comes out, else its first steps."""
    port = port.first_step() or port
    steps = min(STEPS, len(port.problem.x))
    known = port.outputs.state if steps == len(port.problem.x) else {}
    return Seen(
        torch.as_tensor(port.problem.x[:steps]),
        {name: torch.as_tensor(value) for name, value in port.problem.state.items()},
        torch.as_tensor(port.outputs.output[:steps]),
        {name: torch.as_tensor(value) for name, value in known.items()},
    )


def fitted(candidate: Candidate, given: Seen, orders: list[tuple[str, ...] | None]) -> Iterator[Candidate]:
    """The candidate with each order of gates and forms of functions that agree with what was seen."""
    for order in orders:
        ordered = replace(candidate, variant=replace(candidate.variant, order=order))
        for chosen in _Fit(ordered, given).chosen():
            yield replace(ordered, variant=with_forms(ordered.variant, chosen))


class _Along:
    """A function computed in several forms, along an axis of its own in front of the sequences and units."""

    def __init__(self, axis: int, axes: int, given: list[Form]) -> None:
        self.axis, self.axes, self.given = axis, axes, given

    def __call__(self, a: torch.Tensor) -> torch.Tensor:
        a = a.reshape((1,) * (self.axes + 2 - a.ndim) + tuple(a.shape))
        computed = [
            form.compute(a if a.shape[self.axis] == 1 else a.narrow(self.axis, k, 1))
            for k, form in enumerate(self.given)
        ]
        return computed[0] if len(computed) == 1 else torch.cat(computed, self.axis)


class _Fit:
    """A search for the forms of one candidate's functions, value after value that was seen."""

    def __init__(self, candidate: Candidate, given: Seen) -> None:
        self.variant, self.given = candidate.variant, given
        self.cell = candidate.variant.cell
        params = {name: torch.as_tensor(value) for name, value in candidate.params.items()}
        params = self.variant.arrays(params) if self.variant.arrays else params
        self.params, self.used = params, self.cell.effective(params)
        self.before = {k: v * 0 if self.variant.zero else v for k, v in given.before.items()}
        self.functions = functions(self.cell)
        # each difference more makes more combinations; without one in the arrays there may be two a function
        self.deepest = 2 if not self.variant.words else 1
        self.allowed = 4 * tolerance(candidate.port.dtype, len(given.x))

    @property
    def _told(self) -> bool:
        """Whether the output is the first state, so that what was seen of a step goes into the next."""
        if self.cell not in self.given.told:
            output, state = self._step(self.given.x[0], self.before, {})
            self.given.told[self.cell] = bool(torch.equal(output, state[self.cell.states[0]]))
        return self.given.told[self.cell]

    @cached_property
    def _pointwise(self) -> bool:
        """Whether units may be computed apart after the products, from what is known of the states."""
        cell = self.cell
        plain = cell.pointwise and not (cell.readout or cell.writes("emit"))
        return plain and cell.fed_back == cell.states[:1] and self._told

    def chosen(self) -> list[dict[int, Form]]:
        """The forms of all functions that agree with everything seen, fewest differences first."""
        try:
            return self._chosen()
        except RuntimeError:  # a cell that gives its values shapes of its own is not computed along axes
            return self._one_by_one()

    def _one_by_one(self) -> list[dict[int, Form]]:
        """The cell as it is, and with one function in one other form, where it agrees with what was seen."""
        others = [{s: f} for s, function in enumerate(self.functions) for f in forms(function)[1:]]
        return [chosen for chosen in [{}, *others] if self._agrees(chosen)]

    def _agrees(self, chosen: dict[int, Form]) -> bool:
        """Whether everything seen is what these forms compute."""
        changes = {site: form.compute for site, form in chosen.items()}
        state, outputs = dict(self.before), []
        with torch.no_grad():
            for x in self.given.x:
                output, state = self._step(x, state, changes)
                outputs.append(output)
        values = {"output": torch.stack(outputs)} | {name: state[name] for name in self.given.after}
        wanted = {"output": self.given.output} | self.given.after
        off = [(values[k] - v).abs().max() / v.abs().max().clamp(min=1e-30) for k, v in wanted.items()]
        return all(bool(error <= self.allowed) for error in off)

    def _chosen(self) -> list[dict[int, Form]]:
        """The same, all combinations at once."""
        found: list[dict[int, Form]] = [{}]
        with torch.no_grad():
            for step, name in self.given.wanted:
                found = [more for known in found for more in self._agreeing(step, name, known)]
                found = sorted(found, key=_differences)[:KEPT]
                if not found:
                    return []
        return found

    def _agreeing(self, step: int, name: str, known: dict[int, Form]) -> Iterator[dict[int, Form]]:
        """The known forms with forms added of the other functions that lead to this value."""
        grid = {site: [form] for site, form in known.items()} | self._options(
            self._leading(step, name, known)
        )
        value = self.given.value(step, name)
        units = slice(0, min(GLANCE, value.shape[-1])) if self._pointwise else None
        part = value[:1] if units is None else value[:1, units]
        error = self._error(step, name, grid, units, part)
        sites = list(grid)
        for index in np.argwhere((error <= self.allowed).numpy())[: 2 * KEPT]:
            forms_of = {site: grid[site][k] for site, k in zip(sites, index, strict=True)}
            one = {site: [form] for site, form in forms_of.items()}
            if not grid or self._error(step, name, one, None, value).max() <= self.allowed:
                yield forms_of

    def _error(
        self, step: int, name: str, grid: Grid, units: slice | None, value: torch.Tensor
    ) -> torch.Tensor:
        """The largest error of each combination, relative to the largest entry that was seen."""
        computed = self._computed(step, name, grid, units, len(value))
        scale = self.given.value(step, name).abs().max().clamp(min=1e-30)
        off = (computed - value).abs().amax((-1, -2)) / scale
        return off.expand([len(options) for options in grid.values()])

    def _leading(self, step: int, name: str, known: Mapping[int, Form]) -> list[int]:
        """The functions not known yet on which a value depends."""
        key = (self.variant.cell, self.variant.words, step, name, frozenset(known))
        if key not in self.given.leading:
            others = [site for site in range(len(self.functions)) if site not in known]
            base = self._computed(step, name, {}, None, 1)
            odd = [Form((), (), lambda a: 0.3 * a + 0.7)]
            changed = {site: self._computed(step, name, {site: odd}, None, 1) for site in others}
            self.given.leading[key] = [
                site for site, value in changed.items() if not torch.equal(value.reshape(base.shape), base)
            ]
        return self.given.leading[key]

    def _options(self, sites: list[int]) -> Grid:
        """The forms of functions, all with as many differences each as can be computed at once."""
        for deepest in range(self.deepest, -1, -1):
            grid = {
                s: [form for form in forms(self.functions[s]) if len(form.differences) <= deepest]
                for s in sites
            }
            if prod(len(options) for options in grid.values()) <= MOST:
                return grid
        return grid

    def _computed(self, step: int, name: str, grid: Grid, units: slice | None, batch: int) -> torch.Tensor:
        """A value of each combination in the grid: (forms of each function ..., B, units)."""
        changes = {site: _Along(k, len(grid), options) for k, (site, options) in enumerate(grid.items())}
        state = {name: value[:batch] for name, value in self.before.items()}
        for t in range(step + 1):
            if t and self._told:
                state[self.cell.states[0]] = self.given.output[t - 1][:batch]
            output, state = self._step(self.given.x[t][:batch], state, changes, units)
        return output if name == "output" else state[name]

    def _step(
        self, x: torch.Tensor, state: Tensors, changes: Mapping[int, Function], units: slice | None = None
    ) -> tuple[torch.Tensor, Tensors]:
        """Output and states after a step, of all units or of some."""
        cell, used = self.cell, self.used
        with Altered(changes):
            if units is None:
                output, new = cell.step(used, x, State(**state))
            else:
                wx, wh = cell.project(used, x), cell.recur(used, State(**state))
                vectors = {name: used[name] for name in cell.vectors}
                unit = [self._cut(vectors, units)] if vectors else []
                given = (self._cut(vars(wx), units), self._cut(vars(wh), units), self._cut(state, units))
                output, new = output_and_state(cell, cell.equations(*given, *unit))
        if cell.readout:
            output = output @ self.params["weight_out"].T + self.params["bias_out"]
        return output, {name: getattr(new, name) for name in cell.states}

    def _cut(self, values: Tensors, units: slice) -> State:
        """The values of some units; those of an earlier step are cut already."""
        return State(**{k: v if v.shape[-1] == units.stop else v[..., units] for k, v in values.items()})


def _differences(chosen: Mapping[int, Form]) -> int:
    return sum(len(form.differences) for form in chosen.values())
