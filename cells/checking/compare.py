"""Compares a port with the float64 reference or a variant of it, every array by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..programs.tolerance import relative_error, tolerance
from .layout import TARGETS, Arrays, Layout
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


@dataclass(frozen=True)
class Result:
    """A check's result: `diagnosis` is one line; `notes` say what was understood and not compared."""

    thing: str
    cell: str
    ok: bool
    diagnosis: str
    rows: tuple[Row, ...]
    first: First | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        wide = max([len(row.name) for row in self.rows] + [5])
        lines = [f"{self.thing} against {self.cell}: {'right' if self.ok else 'deviates'}"]
        lines += [f"  {self.diagnosis}"]
        lines += [f"  first deviation: {self.first}"] if self.first else []
        lines += ["", f"  {'array':{wide}}  {'error':>8}  {'allowed':>8}"]
        for row in self.rows:
            ok = "ok" if row.ok else "deviates"
            lines.append(f"  {row.name:{wide}}  {row.error:8.1e}  {row.tolerance:8.1e}  {ok}")
        return "\n".join([*lines, *([""] if self.notes else []), *(f"  {note}" for note in self.notes)])


@dataclass(frozen=True)
class Comparison:
    """A port held against a variant in one of its layouts; first is None where they agree."""

    port: Port
    layout: Layout
    rows: tuple[Row, ...]
    first: First | None

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
    if likeliest.first is None or port.way.takes_state:
        return likeliest
    # where no state goes in, only the numbers say how x is read
    others = (_best_layout(other) for _, other in port.others())
    return next((other for other in others if other.first is None), likeliest)


def _best_layout(port: Port) -> Comparison:
    likeliest = None
    for layout in port.layouts:
        comparison = compared(port, layout, Variant(layout.cell))
        likeliest = likeliest or comparison
        if comparison.first is None:
            return comparison
    assert likeliest is not None  # a port has a layout
    return likeliest


def compared(port: Port, layout: Layout, variant: Variant) -> Comparison:
    """Every array of the port against the variant's, by name."""
    computed, problem = port.computed, port.problem
    params = port.params(layout, variant.order, variant.cell.biases)
    expected = variant.computed(params, problem.x, problem.state, problem.d_output, _seeds(port))
    allowed, loose = _tolerances(port)
    rows = [_row("output", computed.output, expected.output, allowed)]
    rows += [_row(f"state {k}", v, expected.state[k], allowed) for k, v in computed.state.items()]
    # a gradient in the cell's arrays can be told by gate, one of x or a state cannot
    permuted = layout if variant.order is None else layout.permuted(variant.order)
    blocks = dict(_block_gradients(port, permuted, expected))
    rows += [_row(f"d_{name}", have, want, loose) for name, (have, want) in blocks.items()]
    rows += [_row(f"d_{name}", have, want, loose) for name, have, want in _end_gradients(port, expected)]
    return Comparison(
        port, layout, tuple(rows), _first(rows, computed.output, expected.output, blocks, layout)
    )


def _seeds(port: Port) -> Arrays:
    """The gradients that come to the last states: zero for a state that was not returned."""
    returned = port.computed.state
    return {k: v if k in returned else np.zeros_like(v) for k, v in port.problem.d_state.items()}


def _tolerances(port: Port) -> tuple[float, float]:
    """What is allowed for outputs, and for gradients, which central differences know less exactly."""
    steps = len(port.problem.x)
    allowed = tolerance(port.dtype, steps)
    if port.computed.drawn is None:
        return allowed, allowed
    rounding = float(np.finfo(port.exact).eps) ** (2 / 3)  # of a central difference with the best step
    return allowed, max(tolerance(port.exact, steps), 256 * rounding)


def _block_gradients(
    port: Port, layout: Layout, expected: Values
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """(name, (gradient, expected)) of each of the cell's arrays that the port holds."""
    grads, drawn = port.computed.grads, port.computed.drawn
    if grads is None:
        return
    have = layout.read(grads)
    # entries that no difference was computed for count as right
    known = layout.read({k: np.ones(v.shape) if drawn is None else drawn[k] for k, v in grads.items()})
    for name, want in expected.grads.items():
        if name in layout.covered():
            yield name, (np.where(known[name] > 0, have[name], want), want)


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
    if target not in TARGETS.values() or not all(piece.gates for piece in pieces):
        return None
    gates = layout.held.gates(target)
    errors, sizes = (np.abs(a).reshape(len(gates), -1).max(1) for a in (have - want, want))
    relative = errors / np.maximum(sizes, SMALLEST)
    return gates[int(np.argmax(np.nan_to_num(relative, nan=np.inf)))]
