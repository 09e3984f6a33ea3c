"""Explains a stack that deviates: directions or layers exchanged, and what differs in which layer.

In one step each layer's output is its state, which the port returns. So a layer is fitted alone, from what
the layer below has returned, and differences in several layers cost no more than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..cell import GatedCell
from ..derived import layers
from ..programs.tolerance import relative_error
from .assign import EXCHANGED
from .compare import Candidate, compared, order_words
from .contexts import variants
from .fitting import Seen, fitted
from .forms import forms
from .layout import CellArrays
from .port import Port
from .returned import Returned
from .stacks import called, of_layer
from .variants import COURSES, Variant, changed_arrays, functions, orders, with_forms

SHORT = 3  # steps on which a candidate is tried before it is compared with everything


def explained(port: Port) -> Candidate | None:
    """The stack with fewest differences that makes the outputs right, or None."""
    ports = [((), port), *(((words,), other) for words, other in port.others)]
    for search in (_as_it_is, _layer_by_layer, _in_every_layer):
        for words, other in ports:
            if (best := search(other, words)) is not None:
                return best
    return None


def _as_it_is(port: Port, words: tuple[str, ...]) -> Candidate | None:
    """Layers or directions exchanged, and the backward directions run otherwise."""
    return _first(port, [Variant(port.layouts[0].cell)], words)


def _in_every_layer(port: Port, words: tuple[str, ...]) -> Candidate | None:
    """One difference that all layers share."""
    cell = port.layouts[0].cell
    single = layers.single(cell)
    made = [
        with_forms(Variant(single), {k: f}) for k, n in enumerate(functions(single)) for f in forms(n)[1:]
    ]
    made += [
        *changed_arrays(single),
        *(_ordered(port, Variant(single), order, 0) for order in orders(single)),
    ]
    return _first(port, [_stacked(cell, [one] * cell.layers * cell.directions) for one in made], words)


def _layer_by_layer(port: Port, words: tuple[str, ...]) -> Candidate | None:
    """Differences of each layer apart, where the port takes and returns the states of all."""
    step = replace(port, trial=replace(port.trial, steps=1))
    if not port.way.takes_state or port.implementation.steps is not None:
        return None
    if not isinstance(step.tried(), Returned) or set(step.outputs.state) != set(step.problem.state):
        return None
    for layout in port.layouts:
        fits = _fits(replace(step, mapped=replace(port.mapped, layouts=[layout])))
        if fits is None:
            continue
        here = replace(port, mapped=replace(port.mapped, layouts=[layout]))
        best = _first(here, [_stacked(layout.cell, fits)], words)
        if best is not None:
            return best
    return None


def _fits(step: Port) -> list[Variant] | None:
    """The variant of each layer that computes what the port returned of one step; None where one has none."""
    layout, after = step.layouts[0], step.outputs.state
    cell = layout.cell
    told = next(iter(after))  # the state that is the layer's output
    below, fits = step.problem.x[0], list[Variant]()
    for k in range(cell.layers * cell.directions):
        if k and not k % cell.directions:
            below = np.concatenate(list(after[told][k - cell.directions : k]), -1)
        sub = of_layer(layout, k)
        seen = Seen(
            torch.as_tensor(below)[None],
            {name: torch.as_tensor(value[k]) for name, value in step.problem.state.items()},
            torch.as_tensor(after[told][k])[None],
            {name: torch.as_tensor(value[k]) for name, value in after.items()},
        )
        best = _best(Candidate(step, sub, Variant(sub.cell)), seen)
        if best is None:
            return None
        variant = best.variant
        fits.append(_ordered(step, variant, variant.order, k) if variant.order else variant)
    return fits


def _best(place: Candidate, seen: Seen) -> Candidate | None:
    """The candidate of one layer with fewest differences that agrees with its step."""
    best: Candidate | None = None
    for variant in variants(place):
        if best is not None and len(variant.words) >= best.differences:
            continue
        context = replace(place, variant=variant)
        for found in fitted(context, seen, [None, *orders(variant.cell)]):
            if best is None or found.differences < best.differences:
                best = found
    return best


def _ordered(port: Port, variant: Variant, order: tuple[str, ...], k: int) -> Variant:
    """The variant of the k-th layer with an order of gates as a change to its arrays."""
    sub = of_layer(port.layouts[0], k)
    cell, before = variant.cell, variant.arrays
    exchange = dict(zip(cell.gates, order, strict=True))

    def arrays(params: dict[str, Any]) -> dict[str, Any]:
        moved = {n: _moved(v, sub.cell_arrays.gates[n], exchange) for n, v in params.items() if n in gated}
        return before(params | moved) if before else params | moved

    gated = sub.cell_arrays.gates
    return replace(
        variant,
        order=None,
        arrays=arrays,
        words=(order_words(sub, order), *variant.words),
        mends=(f"read the gates in the order {', '.join(cell.gates)}", *variant.mends),
    )


def _moved(value: Any, gates: tuple[str, ...], exchange: dict[str, str]) -> Any:
    rows = value.unflatten(0, (len(gates), -1))
    back = {new: old for old, new in exchange.items()}
    return torch.stack([rows[gates.index(back[gate])] for gate in gates]).flatten(0, 1)


def _stacked(cell: GatedCell, each: list[Variant]) -> Variant:
    """The stack of these layers; what all of them share is said once."""
    if all(one.words == each[0].words for one in each):
        words = [f"{_said(each[0], word)} in every layer" for word in each[0].words]
        return Variant(cell, tuple(words), each[0].mends, each=tuple(each))
    arrays = _sized(cell)
    words = [f"{_said(one, word)} in {called(arrays, k)}" for k, one in enumerate(each) for word in one.words]
    mends = [f"{mend} in {called(arrays, k)}" for k, one in enumerate(each) for mend in one.mends]
    return Variant(cell, tuple(words), tuple(mends), each=tuple(each))


def _sized(cell: GatedCell) -> CellArrays:
    return CellArrays(cell, next((n, n) for n in range(2, 65) if layers.unfit(cell, n, n) is None))


def _said(variant: Variant, word: str) -> str:
    return variant.cell.name if word.startswith("this is") else word


def _first(port: Port, made: list[Variant], words: tuple[str, ...]) -> Candidate | None:
    """The first of these stacks, in each layout and course, that computes the port's outputs."""
    short = replace(port, trial=replace(port.trial, steps=SHORT))
    if port.implementation.steps is not None or not isinstance(short.tried(), Returned):
        short = port
    for candidate in _candidates(port, made, words):
        if _agrees(replace(candidate, port=short)) and compared(candidate).outputs_agree:
            return candidate
    return None


def _candidates(port: Port, made: list[Variant], words: tuple[str, ...]) -> Iterator[Candidate]:
    """Each stack with fewest differences first."""
    courses = [""] + (list(COURSES) if port.layouts[0].cell.bidirectional else [])
    every = [
        Candidate(port, layout, _run(variant, course), (*words, *_exchanged(layout.words)))
        for variant in made
        for layout in port.layouts
        for course in courses
    ]
    yield from sorted(every, key=lambda candidate: candidate.differences)


def _exchanged(words: tuple[str, ...]) -> list[str]:
    return [word for word in words if word.startswith(EXCHANGED)]


def _run(variant: Variant, course: str) -> Variant:
    if not course:
        return variant
    words, mend = COURSES[course]
    return replace(variant, course=course, words=(*variant.words, words), mends=(*variant.mends, mend))


def _agrees(candidate: Candidate) -> bool:
    """Whether the stack computes the port's outputs, and the states that it returned."""
    problem, port = candidate.port.problem, candidate.port
    params = {name: torch.as_tensor(value) for name, value in candidate.params.items()}
    state = {name: torch.as_tensor(value) for name, value in problem.state.items()}
    with torch.no_grad():
        output, last = candidate.variant.unroll(params, torch.as_tensor(problem.x), state)
    pairs = [(port.outputs.output, output), *((v, last[k]) for k, v in port.outputs.state.items())]
    return all(relative_error(have, want.numpy()) <= 4 * port.tolerance for have, want in pairs)
