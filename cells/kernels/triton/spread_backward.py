"""The backward kernel of a cell whose step is spread over programs.

A step begins with the products of the step after it: these take the cotangents of all units, which that step
left in memory.
"""

from __future__ import annotations

from ...cell import GatedCell
from ..fused import all_summed, indented
from ..step import Step
from . import spread
from .backward import carried, kinds, of, reads, rows, write
from .frame import function, load, store, times
from .products import ZEROS
from .spread import NUMBERS

SAYS = """\
The steps, last first; `begin` of the `total` were done before.
all_S is (T + 1, B, units), all_kept (T, K, B, units), all_d_wx (T, B, G, units). Of carried_d_S (2, B, units)
one row is read, the other one written. d_unit_V_at is (launches, blocks of sequences, units). With TRACING
all_d_S (T + 1, B, units) gets every cotangent but the first. With ENDING the first step's products follow."""


def backward(cell: GatedCell, source: Step, pieces: int, part: int = 0) -> str:
    """The printed kernel."""
    states, by_row, recurrent = cell.states, rows(cell, source), bool(cell.recurrent)
    waits = spread.waits(cell, pieces)
    array = "all_d_wx" if all_summed(cell, source) else "all_d_wh"
    pull = spread.pull_back(cell, pieces, array, part) if recurrent else []
    before = ["rows = tl.where(begin + i > 0, batch, 0)"] if recurrent else []
    before += ["if i > 0:", *(f"    {line}" for line in spread.wait("i - 1"))] if waits else []
    begin = [
        *spread.places(cell, pieces),
        *(spread.load_weights(cell, pieces, transposed=True, part=part) if recurrent else []),
        *(load(f"unit_{v}", f"unit_{v}_at + j", "u < WIDTH") for v in cell.vectors),
        *(f"d_sum_{v} = {ZEROS}" for v in cell.vectors),
        *(load(f"d_{s}", f"carried_d_{s} + begin % 2 * one + at") for s in states),
        *(
            f"{kind}_at = {times(len(gates), 'b')} * HIDDEN + j"
            for kind, gates in kinds(cell, source).items()
        ),
        "last = tl.cast(total - 1 - begin, tl.int64) * one",
        *(f"{name} += {times(count, 'last')}" for name, count in by_row.items()),
        *(["if TRACING:", *(f"    all_d_{s} += last + one" for s in states)]),
    ]
    step = [
        *(load(name, place) for name, place in reads(cell, source).items()),
        *(load(f"new_{s}", f"all_{s} + one + at") for s in carried(cell, source)),
        *before,
        *pull,
        *(f"d_{s} += d_output_{k}" for k, s in enumerate(source.output_states) if s),
        "if TRACING:",
        *(f"    {store(f'all_d_{s} + at', f'd_{s}')}" for s in states),
        *(f"    all_d_{s} -= one" for s in states),
        *source.backward,
        *write(cell, source),
        *(f"d_sum_{v} += {of(source, f'unit_{v}')}" for v in cell.vectors),
        *(f"d_prev_{s} = {of(source, f'prev_{s}')}" for s in states),
        *(f"d_{s} = d_prev_{s}" for s in states),
        *(f"{name} -= {times(n, 'one')}" for name, n in by_row.items() if not name.startswith("all_d_w")),
        *(spread.arrive("i") if waits else []),
    ]
    ending = ["rows = batch", *(spread.wait("total - 1") if waits else []), *pull]
    end = ["if ENDING:", *(f"    {line}" for line in ending)] if recurrent else []
    end += [store(f"carried_d_{s} + (1 - begin % 2) * one + at", f"d_{s}") for s in states]
    if cell.vectors:
        end.append("row = tl.cast(begin, tl.int64) * tl.num_programs(0) + tl.program_id(0)")
    for v in cell.vectors:
        total = f"tl.sum(tl.where(ok, d_sum_{v}, 0.0), 0)[None, :]"
        end.append(store(f"d_unit_{v}_at + row * HIDDEN + j", total, "u < WIDTH"))
    lines = [*begin, "for i in range(steps):", *(f"    {line}" for line in step), *end]
    return function(
        "backward",
        arrays(cell, source, pieces),
        ["BLOCK_K", "TRACING", "ENDING"],
        SAYS,
        indented(lines, 1),
        NUMBERS,
    )


def arrays(cell: GatedCell, source: Step, pieces: int) -> list[str]:
    """The kernel's arrays by name."""
    return [
        *rows(cell, source),
        *(["weight_at"] if cell.recurrent else []),
        *(f"unit_{v}_at" for v in cell.vectors),
        *(f"carried_d_{s}" for s in cell.states),
        *(f"d_unit_{v}_at" for v in cell.vectors),
        *(f"all_d_{s}" for s in cell.states),
        *(["arrived"] if spread.waits(cell, pieces) else []),
    ]
