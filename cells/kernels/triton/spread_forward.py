"""The forward kernel of a cell whose step is spread over programs."""

from __future__ import annotations

from ...cell import GatedCell
from ..fused import indented, outputs_apart
from ..step import Step
from . import spread
from .forward import biased, kept_states
from .frame import block, function, load, store, times
from .spread import NUMBERS

SAYS = """\
Steps from `begin` on, of the `total`.
all_wx (T, B, G, units) has the biases but those of bias_hh_at (G, units). all_S is (T + 1, B, units), its
first row filled; all_kept (T, K, B, units). Of carried_S (2, B, units) one row is read, the other written.
Without KEEPING only what is an output or is multiplied is written."""


def forward(cell: GatedCell, source: Step, pieces: int, part: int = 0) -> str:
    """The printed kernel."""
    gates, apart = len(cell.gates), outputs_apart(source)
    always = written(cell, source, keeping=False)
    kept = [s for s in kept_states(cell, source) if s not in always]
    begin = [
        *spread.places(cell, pieces),
        *(spread.load_weights(cell, pieces, transposed=False, part=part) if cell.recurrent else []),
        *(
            load(f"bias_{g}", block("bias_hh_at + j", r, "HIDDEN"), "u < WIDTH")
            for r, g in biased(cell, source)
        ),
        *(load(f"unit_{v}", f"unit_{v}_at + j", "u < WIDTH") for v in cell.vectors),
        *(load(f"prev_{s}", f"carried_{s} + begin % 2 * one + at") for s in cell.states),
        f"wx_at = {times(gates, 'b')} * HIDDEN + j",
        "done = tl.cast(begin, tl.int64) * one",
        f"all_wx += {times(gates, 'done')}",
        *(f"all_{s} += done" for s in [*always, *kept]),
        *(f"all_output_{k} += done" for k in apart),
        *([f"all_kept += {times(len(source.keeps), 'done')}"] if source.keeps else []),
    ]
    keep = [line for s in kept for line in (f"all_{s} += one", _store_state(source, s))]
    keep += [store(block("all_kept + at", k), v) for k, v in enumerate(source.keeps)]
    keep += [f"all_kept += {times(len(source.keeps), 'one')}"] if source.keeps else []
    step = [
        *(load(f"wx_{g}", block("all_wx + wx_at", k, "HIDDEN")) for k, g in enumerate(cell.gates)),
        *(
            ["if t > 0:", *(f"    {line}" for line in spread.wait("t - 1"))]
            if spread.waits(cell, pieces)
            else []
        ),
        *(spread.multiply(cell, pieces, part) if cell.recurrent else []),
        *(f"wh_{g} += bias_{g}" for _, g in biased(cell, source)),
        *source.forward,
        *(line for s in always for line in (f"all_{s} += one", _store_state(source, s))),
        *(store(f"all_output_{k} + at", source.outputs[k]) for k in apart),
        *(f"all_output_{k} += one" for k in apart),
        *(["if KEEPING:", *(f"    {line}" for line in keep)] if keep else []),
        f"all_wx += {times(gates, 'one')}",
        # at once, for one state may be what another was
        f"{', '.join(f'prev_{s}' for s in cell.states)} = {', '.join(source.new_states.values())}",
        *(spread.arrive("t") if spread.waits(cell, pieces) else []),
    ]
    end = [store(f"carried_{s} + (1 - begin % 2) * one + at", f"prev_{s}") for s in cell.states]
    lines = [*begin, "for t in range(steps):", *(f"    {line}" for line in step), *end]
    return function(
        "forward",
        arrays(cell, source, pieces),
        ["BLOCK_K", "KEEPING"],
        SAYS,
        indented(lines, 1),
        NUMBERS,
    )


def arrays(cell: GatedCell, source: Step, pieces: int) -> list[str]:
    """The kernel's arrays by name."""
    return [
        "all_wx",
        *(["weight_at"] if cell.recurrent else []),
        *(["bias_hh_at"] if biased(cell, source) else []),
        *(f"unit_{v}_at" for v in cell.vectors),
        *(f"carried_{s}" for s in cell.states),
        *(f"all_{s}" for s in written(cell, source, keeping=True)),
        *(f"all_output_{k}" for k in outputs_apart(source)),
        *(["all_kept"] if source.keeps else []),
        *(["arrived"] if spread.waits(cell, pieces) else []),
    ]


def written(cell: GatedCell, source: Step, keeping: bool) -> list[str]:
    """States that are written at every step: those that are multiplied too, as other programs read them."""
    fed = cell.fed_back if cell.recurrent else ()
    kept = kept_states(cell, source)
    return [s for s in cell.states if s in fed or (s in kept and (keeping or s in source.output_states))]


def _store_state(source: Step, state: str) -> str:
    return store(f"all_{state} + at", source.new_states[state])
