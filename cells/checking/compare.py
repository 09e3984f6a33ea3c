"""Compares a port with the float64 reference or a variant of it, every array by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ..display import Displayed
from ..exchange.layouts import KERAS, ONNX
from ..programs.tolerance import relative_error
from .assign import EXCHANGED
from .layout import Arrays, Layout
from .plain import plain_tolerances
from .port import Port
from .variants import Values, Variant

SMALLEST = 1e-30  # a scale never is 0


@dataclass(frozen=True)
class Row:
    """One array: its largest error relative to the reference's largest entry, and the error allowed."""

    name: str
    error: float
    tolerance: float
    ok: bool


@dataclass(frozen=True)
class First:
    """The first deviation.

    step: of the output, from 0; None where all outputs agree. array: the first row that deviates. gate: the
    one whose rows of the gradient `block` are off most; None where no such gradient deviates.
    """

    step: int | None
    array: str
    gate: str | None
    error: float
    tolerance: float
    block: str | None = None

    def __str__(self) -> str:
        at = f"{self.array} at step {self.step}" if self.step is not None else self.array
        gate = f"; in {self.block} gate {self.gate} is off most" if self.gate else ""
        return f"{at}, off by {self.error:.2g} of the largest entry, {self.tolerance:.2g} allowed{gate}"


@dataclass(frozen=True, repr=False)
class Result(Displayed):
    """A check's result.

    diagnosis: one sentence, what differs and what makes it right. notes: what was understood, and what was
    not compared.
    """

    axes = {"name": ("error", "tolerance")}
    records = "rows"
    drawn = ("error", "tolerance")

    thing: str
    cell: str
    ok: bool
    diagnosis: str
    rows: tuple[Row, ...]
    first: First | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        wide = max([len(row.name) for row in self.rows] + [5])
        lines = [
            self.diagnosis,
            "",
            f"{self.thing} against {self.cell}: {'right' if self.ok else 'deviates'}",
        ]
        lines += [f"  first deviation: {self.first}"] if self.first else []
        lines += ["", f"  {'array':{wide}}  {'error':>8}  {'allowed':>8}"]
        for row in self.rows:
            ok = "ok" if row.ok else "deviates"
            lines.append(f"  {row.name:{wide}}  {row.error:8.1e}  {row.tolerance:8.1e}  {ok}")
        return "\n".join([*lines, *([""] if self.notes else []), *(f"  {note}" for note in self.notes)])


@dataclass(frozen=True)
class Candidate:
    """A variant of the reference that a port may be, in a layout.

    words: what differs in layout or call. drawn: the seed of the arrays that the port does not hold; None
    where these are zero.
    """

    port: Port
    layout: Layout
    variant: Variant
    words: tuple[str, ...] = ()
    drawn: int | None = None

    @property
    def differences(self) -> int:
        """How many things differ from what was meant."""
        return (self.variant.order is not None) + len(self.variant.words) + len(self.words)

    @cached_property
    def reading(self) -> Layout:
        """The layout in which the variant reads arrays."""
        return self.layout if self.variant.order is None else self.layout.permuted(self.variant.order)

    @cached_property
    def params(self) -> Arrays:
        """The cell's arrays that the port holds."""
        weights = self.port.trial.weights
        if weights is not None and (not self.layout.pieces or self._as_given):
            return {name: np.array(value, np.float64) for name, value in weights.items()}
        held = self.reading.read(self.port.held)
        if self.drawn is None:
            return held
        have = self.reading.read({name: np.ones(value.shape) for name, value in self.port.held.items()})
        whole = self.variant.cell.init(*self.layout.cell_arrays.sizes, seed=self.drawn)
        return {n: np.where(have[n], held[n], v) if n in held else v for n, v in whole.items()}

    @property
    def _as_given(self) -> bool:
        """Whether the weights stand for the port's own arrays, which must then hold the same."""
        same = self.variant.order is None and self.layout.cell.biases == self.variant.cell.biases
        own = not self.port.implementation.made
        return same and own and {*self.layout.cell_arrays.shapes} == {*(self.port.trial.weights or {})}

    @cached_property
    def expected(self) -> Values:
        """All that the variant computes of the port's problem."""
        problem, returned = self.port.problem, self.port.computed.state
        # the gradient that comes to a state which was not returned is zero
        d_state = {k: d if k in returned else np.zeros_like(d) for k, d in problem.d_state.items()}
        return self.variant.computed(self.params, problem.x, problem.state, problem.d_output, d_state)

    @property
    def mark(self) -> bytes:
        """What the variant computes in two steps, which tells it from others."""
        problem = self.port.problem
        params = {name: torch.as_tensor(value) for name, value in self.params.items()}
        state = {name: torch.as_tensor(value) for name, value in problem.state.items()}
        with torch.no_grad():
            output, _ = self.variant.unroll(params, torch.as_tensor(problem.x[:2]), state)
        return np.round(output.numpy(), 9).tobytes()

    @property
    def sentence(self) -> str:
        """What the port is: the cell with which differences, or which other cell."""
        order = [order_words(self.layout, self.variant.order)] if self.variant.order else []
        words = sorted([*self.words, *order, *self.variant.words], key=lambda w: not w.startswith("this is"))
        if not words[0].startswith("this is"):
            return f"it is right with {' and '.join(words)}"
        if not words[1:]:
            return words[0]
        name = words[0].rpartition(" --against ")[2]
        return f"this is {name} with {' and '.join(words[1:])}"

    @property
    def mends(self) -> tuple[str, ...]:
        """What undoes each difference."""
        gates = ", ".join(self.layout.cell.gates)
        order = [f"read the gates in the order {gates}"] if self.variant.order else []
        called = ["read x and the states as the cell has them"] if self.words else []
        if any(words.startswith(EXCHANGED) for words in self.words):
            called = ["let each array be used as its name says"]
        return (*called, *order, *self.variant.mends)


def order_words(layout: Layout, order: tuple[str, ...]) -> str:
    """How the arrays hold the gates when the cell's k-th gate is read from those of gate order[k]."""
    cell = layout.cell
    actual = dict(zip(cell.gates, order, strict=True))
    packed = next((p.gates for p in layout.pieces if p.packed and len(p.gates) == len(cell.gates)), None)
    if packed is None:
        exchanged = (f"{g}'s arrays are used as {h}'s" for g, h in actual.items() if g != h)
        return f"gates exchanged: {', '.join(exchanged)}"
    real = tuple(actual[gate] for gate in packed)
    orders = {"torch's": cell.gates}
    for owner, layouts in (("Keras's", KERAS), ("ONNX's", ONNX)):
        if cell.name in layouts:
            orders[owner] = layouts[cell.name].order
    known = " and ".join(owner for owner, order in orders.items() if order == real)
    also = f" ({known})" if known else ""
    return f"gate order {', '.join(real)}{also} where {cell.name} has {', '.join(packed)}"


@dataclass(frozen=True)
class Comparison:
    """A port held against a candidate; first is None where they agree."""

    candidate: Candidate
    rows: tuple[Row, ...]
    first: First | None

    @property
    def port(self) -> Port:
        return self.candidate.port

    @property
    def wrong(self) -> list[str]:
        """The arrays that deviate."""
        return [row.name for row in self.rows if not row.ok]

    @property
    def outputs_agree(self) -> bool:
        """Whether at most gradients deviate."""
        return all(name.startswith("d_") for name in self.wrong)


def best(port: Port) -> Comparison:
    """The comparison with the reference in the first layout that makes all right, or in the likeliest."""
    likeliest = _best_layout(port)
    square = port.trial.steps == port.trial.batch
    if likeliest.first is None or (port.way.takes_state and not square):
        return likeliest
    # where no state goes in, or T is B, only the numbers say how x is read
    same = [other for _, other in port.others if other.way.call.state == port.way.call.state]
    others = (_best_layout(other) for other in same)
    return next((other for other in others if other.first is None), likeliest)


def _best_layout(port: Port) -> Comparison:
    likeliest = None
    for layout in port.layouts:
        candidate = Candidate(port, layout, Variant(layout.cell))
        contradicts = any(words.startswith(EXCHANGED) for words in layout.words)
        if likeliest and contradicts:
            continue
        comparison = compared(candidate)
        likeliest = likeliest or comparison
        if comparison.first is None:
            return comparison
    assert likeliest is not None  # a port has a layout
    return likeliest


def compared(candidate: Candidate) -> Comparison:
    """Every array of the port against the candidate's, by name."""
    port, expected = candidate.port, candidate.expected
    computed, allowed, loose = port.computed, port.tolerance, port.loose
    blocks = _block_gradients(candidate)
    rows = [_row("output", computed.output, expected.output, allowed)]
    rows += [_row(f"state {k}", v, expected.state[k], allowed) for k, v in computed.state.items()]
    rows += [_row(f"d_{name}", have, want, loose) for name, (have, want) in blocks.items()]
    rows += [_row(f"d_{name}", have, want, loose) for name, have, want in _end_gradients(port, expected)]
    if not all(row.ok for row in rows) and candidate.variant.is_the_cell:
        allowances = plain_tolerances(port, candidate.variant, candidate.params, expected)
        rows = [_allowing(row, allowances.get(row.name, 0.0)) for row in rows]
    first = _first(rows, computed.output, expected.output, blocks, candidate.layout)
    return Comparison(candidate, tuple(rows), first)


def _block_gradients(candidate: Candidate) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(gradient, expected) of each of the cell's arrays that the port holds; these can be told by gate."""
    grads, drawn = candidate.port.computed.grads, candidate.port.computed.drawn
    if grads is None:
        return {}
    have = candidate.reading.read(grads)
    # entries that no difference was computed for count as right
    mask = {k: np.ones(v.shape) if drawn is None else drawn[k] for k, v in grads.items()}
    known = candidate.reading.read(mask)
    return {
        name: (np.where(known[name] > 0, have[name], want), want)
        for name, want in candidate.expected.grads.items()
        if name in candidate.reading.covered
    }


def _end_gradients(port: Port, expected: Values) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, gradient, expected) of x and of the states that go in."""
    computed = port.computed
    if computed.d_x is None:
        return
    ends = {"x": computed.d_x} | {f"state {k}": v for k, v in (computed.d_state or {}).items()}
    for name, have in ends.items():
        known = np.ones(have.shape) if computed.drawn is None else computed.drawn[name]
        yield name, np.where(known > 0, have, expected.ends[name]), expected.ends[name]


def _row(name: str, value: np.ndarray, expected: np.ndarray, allowed: float) -> Row:
    error = relative_error(value, expected)
    return Row(name, error, allowed, bool(error <= allowed))  # NaN is no agreement


def _allowing(row: Row, allowed: float) -> Row:
    """The row with another tolerance, where that is more."""
    if not allowed > row.tolerance:
        return row
    return replace(row, tolerance=allowed, ok=bool(row.error <= allowed))


def _first(
    rows: list[Row],
    output: np.ndarray,
    expected: np.ndarray,
    blocks: dict[str, tuple[np.ndarray, np.ndarray]],
    layout: Layout,
) -> First | None:
    """The first deviation, or None."""
    bad = next((row for row in rows if not row.ok), None)
    if bad is None:
        return None
    step, error = None, bad.error
    if bad.name == "output":
        scale = max(float(np.max(np.abs(expected))), SMALLEST)
        errors = np.max(np.abs(output - expected), axis=(1, 2)) / scale
        step = int(np.argmax(~(errors <= bad.tolerance)))  # not `>`: NaN is a deviation too
        error = float(errors[step])
    wrong = (row.name.removeprefix("d_") for row in rows if not row.ok and row.name.startswith("d_"))
    target = next((name for name in wrong if name in blocks), None)
    gate = None if target is None else _worst_gate(target, *blocks[target], layout)
    return First(step, bad.name, gate, error, bad.tolerance, None if gate is None else f"d_{target}")


def _worst_gate(target: str, have: np.ndarray, want: np.ndarray, layout: Layout) -> str | None:
    """The gate whose rows are off most, relative to their largest entry; None where rows are not by gate."""
    pieces = [piece for piece in layout.pieces if piece.target == target]
    if target not in layout.cell_arrays.gates or not all(piece.gates for piece in pieces):
        return None
    gates = layout.cell_arrays.gates[target]
    errors, sizes = (np.abs(a).reshape(len(gates), -1).max(1) for a in (have - want, want))
    relative = errors / np.maximum(sizes, SMALLEST)
    return gates[int(np.argmax(np.nan_to_num(relative, nan=np.inf)))]
