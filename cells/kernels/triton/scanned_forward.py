"""The forward kernel of a cell whose step is affine in the states: BLOCK_K steps at once, by a scan.

A step is new = J old + c at every unit. The scan leaves the state that each step begins with; from there all
steps are computed side by side, by the same lines as one after the other.
"""

from __future__ import annotations

from collections.abc import Callable

from ...cell import GatedCell
from ...derived.affine import Entry, recurrence
from ..fused import indented, outputs_apart
from ..printing import assignments
from ..step import Step
from . import spread
from .forward import kept_states
from .frame import block, function, load, store, times
from .source import identifiers
from .spread import NUMBERS
from .spread_forward import SAYS, arrays, written

Number = Callable[[float], str]


def forward(cell: GatedCell, source: Step, number: Number) -> str:
    """The printed kernel, and the function that puts two stretches of steps together."""
    gates = len(cell.gates)
    read, scan = _scan(cell, number)
    always = written(cell, source, keeping=False)
    rows = [s for s in kept_states(cell, source) if s not in always]
    begin = [
        *spread.places(cell, pieces=1),
        *(load(f"unit_{v}", f"unit_{v}_at + j", "u < WIDTH") for v in cell.vectors),
        *(load(f"carry_{s}", f"carried_{s} + begin % 2 * one + at") for s in cell.states),
        f"wx_at = {times(gates, 'b')} * HIDDEN + j",
        "row = tl.arange(0, BLOCK_K)[:, None]",
    ]
    keep = [_state(source, s) for s in rows]
    kept = f"all_kept + at + t * {times(len(source.keeps), 'one')}"
    keep += [store(block(kept, k), value, "here") for k, value in enumerate(source.keeps)]
    step = [
        "t = tl.cast(begin, tl.int64) + first + row",
        "here = ok & (first + row < steps)",
        "# a step begins with the state after the one before it, and the first with what was carried here",
        "later = here & (row > 0)",
        *(_input(gates, f"was_wx_{g}", k, "(t - 1)", "later") for k, g in enumerate(cell.gates) if g in read),
        *scan,
        *(_input(gates, f"wx_{g}", k, "t", "here") for k, g in enumerate(cell.gates)),
        *source.forward,
        *(_state(source, s) for s in always),
        *(store(f"all_output_{k} + at + t * one", source.outputs[k], "here") for k in outputs_apart(source)),
        *(["if KEEPING:", *(f"    {line}" for line in keep)] if keep else []),
        "last = tl.minimum(first + BLOCK_K, steps) - 1",
        *(
            f"carry_{s} = tl.sum(tl.where(first + row == last, {new}, 0.0), 0)[None, :]"
            for s, new in source.new_states.items()
        ),
    ]
    end = [store(f"carried_{s} + (1 - begin % 2) * one + at", f"carry_{s}") for s in cell.states]
    lines = [*begin, "for first in range(0, steps, BLOCK_K):", *(f"    {line}" for line in step), *end]
    kernel = function(
        "forward", arrays(cell, source, 1), ["BLOCK_K", "KEEPING"], SAYS, indented(lines, 1), NUMBERS
    )
    return f"{_together(cell)}\n\n\n{kernel}"


def _scan(cell: GatedCell, number: Number) -> tuple[set[str], list[str]]:
    """The gates that J and c read, and lines that make prev_S, the states that the steps begin with."""
    affine, inputs = recurrence(cell), cell.derivation().inputs
    known = {
        node: name if name.startswith("unit_") else f"was_{name}"
        for name, node in inputs.items()
        if name.startswith(("wx_", "unit_"))
    }
    roots = [*affine.jacobian.values(), *affine.constant.values()]
    lines, variable = assignments([n for n in roots if n.op != "constant"], known, {}, number)
    text = {
        key: number(n.value) if n.op == "constant" else variable[n]
        for key, n in (affine.jacobian | affine.constant).items()
    }
    read = identifiers([*lines, *text.values()])
    for entry in affine.reach:
        start = "1.0" if entry[0] == entry[1] else "0.0"
        lines.append(f"{_j(cell, entry)} = {_tile(text.get(entry, '0.0'), start)}")
    lines += [f"prev_{s} = {_tile(text.get(s, '0.0'), f'carry_{s}')}" for s in cell.states]
    values = ", ".join([*_places(cell), *(f"prev_{s}" for s in cell.states)])
    lines.append(f"{values} = tl.associative_scan(({values}), 0, put_together)")
    return {g for g in cell.gates if f"was_wx_{g}" in read}, lines


def _together(cell: GatedCell) -> str:
    """The function of two stretches of steps, J and c each, the earlier one first: those of both."""
    reach, states = recurrence(cell).reach, cell.states
    names = [*_places(cell), *(f"c{k}" for k in range(len(states)))]
    given = ", ".join([*(f"{n}_before" for n in names), *names])
    results = []
    for new, old in reach:
        through = [s for s in states if (new, s) in reach and (s, old) in reach]
        results.append(" + ".join(f"{_j(cell, (new, s))} * {_j(cell, (s, old))}_before" for s in through))
    for k, new in enumerate(states):
        terms = [f"{_j(cell, (new, s))} * c{i}_before" for i, s in enumerate(states) if (new, s) in reach]
        results.append(" + ".join([*terms, f"c{k}"]))
    return f"@triton.jit\ndef put_together({given}):\n    return {', '.join(results)}"


def _places(cell: GatedCell) -> list[str]:
    return [_j(cell, entry) for entry in recurrence(cell).reach]


def _j(cell: GatedCell, entry: Entry) -> str:
    new, old = (cell.states.index(s) for s in entry)
    return f"j{new}_{old}"


def _tile(value: str, start: str) -> str:
    """A value at all steps but the first, which has another one."""
    return f"tl.broadcast_to(tl.where(row > 0, {value}, {start}), (BLOCK_K, BLOCK_H))"


def _input(gates: int, name: str, gate: int, t: str, mask: str) -> str:
    return load(name, block(f"all_wx + wx_at + {t} * {times(gates, 'one')}", gate, "HIDDEN"), mask)


def _state(source: Step, state: str) -> str:
    return store(f"all_{state} + at + (t + 1) * one", source.new_states[state], "here")
