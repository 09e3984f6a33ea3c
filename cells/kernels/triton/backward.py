"""The backward kernel of a cell: the steps from the last on, with the states' cotangents in registers."""

from __future__ import annotations

from collections.abc import Sequence

from ...cell import GatedCell
from ..fused import all_summed, indented
from ..step import Step
from .frame import PLACES, block, function, load, store, times
from .products import ZEROS, load_weights, pull_back
from .source import used_backward

SAYS = """\
The steps, last first. all_S is (T + 1, B, units), all_kept (T, K, B, units), all_d_wx (T, B, G, units).
d_unit_V_at is (blocks of sequences, units). With TRACING all_d_S (T + 1, B, units) gets every cotangent."""


def backward(cell: GatedCell, source: Step, packed: bool, places: Sequence[str] = PLACES) -> str:
    """The printed kernel. With other places a program has some units of a cell without recurrent products."""
    states, read = cell.states, reads(cell, source)
    by_row = rows(cell, source)
    begin = [
        *places,
        *load_weights(cell, packed, transposed=True),
        *(load(f"unit_{v}", f"unit_{v}_at + j", "u < WIDTH") for v in cell.vectors),
        *(f"d_sum_{v} = {ZEROS}" for v in cell.vectors),
        *(load(f"d_{s}", f"d_last_{s} + at") for s in states),
        *(
            f"{kind}_at = {times(len(gates), 'b')} * HIDDEN + j"
            for kind, gates in kinds(cell, source).items()
        ),
        "last = tl.cast(steps - 1, tl.int64) * one",
        *(f"{array} += {times(count, 'last')}" for array, count in by_row.items()),
        "if TRACING:",
        *(f"    all_d_{s} += last + one" for s in states),
        *(load(name, place) for name, place in read.items()),
        *(load(f"new_{s}", f"all_{s} + one + at") for s in carried(cell, source)),
    ]
    read_rows = {array: count for array, count in by_row.items() if not array.startswith("all_d_w")}
    step = [
        "# of the step before, so early that it is there in time; the first step reads its own again",
        "back = tl.where(i + 1 < steps, one, 0)",
        *(f"{array} -= {times(count, 'back')}" for array, count in read_rows.items()),
        *(load(f"next_{name}", place) for name, place in read.items()),
        *(f"d_{s} += d_output_{k}" for k, s in enumerate(source.output_states) if s),
        "if TRACING:",
        *(f"    {store(f'all_d_{s} + at', f'd_{s}')}" for s in states),
        *(f"    all_d_{s} -= one" for s in states),
        *source.backward,
        *write(cell, source),
        *(f"d_sum_{v} += {of(source, f'unit_{v}')}" for v in cell.vectors),
        *(f"d_prev_{s} = {of(source, f'prev_{s}')}" for s in states),
        *(pull_back(cell, packed, [of(source, f"wh_{g}") for g in cell.recurrent]) if cell.recurrent else []),
        *(f"d_{s} = d_prev_{s}" for s in states),
        *(f"new_{s} = prev_{s}" for s in carried(cell, source)),
        *(f"{name} = next_{name}" for name in read),
    ]
    end = [store(f"d_first_{s} + at", f"d_{s}") for s in states]
    for v in cell.vectors:
        total = f"tl.sum(tl.where(ok, d_sum_{v}, 0.0), 0)[None, :]"
        end.append(store(f"d_unit_{v}_at + tl.program_id(0) * HIDDEN + j", total, "u < WIDTH"))
    lines = [*begin, "for i in range(steps):", *(f"    {line}" for line in step), *end]
    constants = ["TRACING"] if places is PLACES else ["BLOCK_K", "TRACING"]
    return function("backward", arrays(cell, source), constants, SAYS, indented(lines, 1))


def arrays(cell: GatedCell, source: Step) -> list[str]:
    """The kernel's arrays by name."""
    return [
        *(array for array in rows(cell, source) if not array.startswith("all_d_w")),
        *(f"d_last_{s}" for s in cell.states),
        *(["weight_at"] if cell.recurrent else []),
        *(f"unit_{v}_at" for v in cell.vectors),
        *(array for array in rows(cell, source) if array.startswith("all_d_w")),
        *(f"d_first_{s}" for s in cell.states),
        *(f"d_unit_{v}_at" for v in cell.vectors),
        *(f"all_d_{s}" for s in cell.states),
    ]


def rows(cell: GatedCell, source: Step) -> dict[str, int]:
    """Arrays that the steps go through backwards, and how many blocks of (B, units) each step has there."""
    used = used_backward(source)
    found = {f"all_{s}": 1 for s in cell.states if {f"prev_{s}", f"new_{s}"} & used}
    found |= {"all_kept": len(source.keeps)} if source.keeps else {}
    found |= {f"all_d_output_{k}": 1 for k in range(len(source.outputs))}
    return found | {f"all_d_{kind}": len(gates) for kind, gates in kinds(cell, source).items()}


def kinds(cell: GatedCell, source: Step) -> dict[str, tuple[str, ...]]:
    """The products whose cotangents are written, with their gates: both in one array where they are alike."""
    apart = cell.recurrent and not all_summed(cell, source)
    return {"wx": cell.gates} | ({"wh": cell.recurrent} if apart else {})


def reads(cell: GatedCell, source: Step) -> dict[str, str]:
    """What is read at a step by name, and its place; of a state the old value, or else the new one."""
    used = used_backward(source)
    found = {f"keep_{v}": block("all_kept + at", k) for k, v in enumerate(source.keeps)}
    for s in cell.states:
        if f"prev_{s}" in used:
            found[f"prev_{s}"] = f"all_{s} + at"
        elif f"new_{s}" in used:
            found[f"new_{s}"] = f"all_{s} + one + at"
    return found | {f"d_output_{k}": f"all_d_output_{k} + at" for k in range(len(source.outputs))}


def carried(cell: GatedCell, source: Step) -> list[str]:
    """States of which a step uses the old and the new value: the old one is the next one's new one."""
    return [s for s in cell.states if {f"prev_{s}", f"new_{s}"} <= used_backward(source)]


def write(cell: GatedCell, source: Step) -> list[str]:
    """Lines that write d_wx, and d_wh where that is another array."""
    return [
        line
        for kind, gates in kinds(cell, source).items()
        for line in (
            *(
                store(block(f"all_d_{kind} + {kind}_at", k, "HIDDEN"), of(source, f"{kind}_{g}"))
                for k, g in enumerate(gates)
            ),
            f"all_d_{kind} -= {times(len(gates), 'one')}",
        )
    ]


def of(source: Step, name: str) -> str:
    """The cotangent of an input of the step; zeros where it has no influence."""
    return source.cotangents.get(name, ZEROS)
