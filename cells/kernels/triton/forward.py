"""The forward kernel of a cell: the steps in turn, with the states in registers."""

from __future__ import annotations

from ...cell import GatedCell
from ..fused import indented, outputs_apart
from ..step import Step
from .frame import PLACES, block, function, load, store, times
from .products import load_weights, multiply
from .source import used_backward

SAYS = """\
The steps in turn. all_wx (T, B, G, units) has the biases but those of bias_hh_at (G, units).
all_S is (T + 1, B, units), all_kept (T, K, B, units); without KEEPING only what is an output is written."""


def forward(cell: GatedCell, source: Step, packed: bool) -> str:
    """The printed kernel."""
    states, gates = cell.states, len(cell.gates)
    rows = kept_states(cell, source)
    always = [s for s in rows if s in source.output_states]
    begin = [
        *PLACES,
        *load_weights(cell, packed, transposed=False),
        *(
            load(f"bias_{g}", block("bias_hh_at + j", r, "HIDDEN"), "u < WIDTH")
            for r, g in biased(cell, source)
        ),
        *(load(f"unit_{v}", f"unit_{v}_at + j", "u < WIDTH") for v in cell.vectors),
        *(load(f"prev_{s}", f"first_{s} + at") for s in states),
        "if KEEPING:",
        *(f"    {store(f'all_{s} + at', f'prev_{s}')}" for s in rows),
        f"wx_at = {times(gates, 'b')} * HIDDEN + j",
        *_inputs(cell, "wx"),
    ]
    step = [
        "# of the next step, so early that it is there in time; the last step reads its own again",
        f"all_wx += {times(gates, 'tl.where(t + 1 < steps, one, 0)')}",
        *_inputs(cell, "next_wx"),
        *multiply(cell, packed),
        *(f"wh_{g} += bias_{g}" for _, g in biased(cell, source)),
        *source.forward,
        *_rows(source, always),
        *(store(f"all_output_{k} + at", source.outputs[k]) for k in outputs_apart(source)),
        *(f"all_output_{k} += one" for k in outputs_apart(source)),
        "if KEEPING:",
        *(f"    {line}" for line in _rows(source, [s for s in rows if s not in always])),
        *(f"    {store(block('all_kept + at', k), v)}" for k, v in enumerate(source.keeps)),
        *([f"    all_kept += {times(len(source.keeps), 'one')}"] if source.keeps else []),
        *_go_on(cell, source),
    ]
    end = [store(f"last_{s} + at", f"prev_{s}") for s in states]
    lines = [*begin, "for t in range(steps):", *(f"    {line}" for line in _unempty(step)), *end]
    return function("forward", arrays(cell, source), ["KEEPING"], SAYS, indented(_unempty(lines), 1))


def arrays(cell: GatedCell, source: Step) -> list[str]:
    """The kernel's arrays by name."""
    return [
        "all_wx",
        *(["weight_at"] if cell.recurrent else []),
        *(["bias_hh_at"] if biased(cell, source) else []),
        *(f"unit_{v}_at" for v in cell.vectors),
        *(f"first_{s}" for s in cell.states),
        *(f"all_{s}" for s in kept_states(cell, source)),
        *(f"last_{s}" for s in cell.states),
        *(f"all_output_{k}" for k in outputs_apart(source)),
        *(["all_kept"] if source.keeps else []),
    ]


def kept_states(cell: GatedCell, source: Step) -> list[str]:
    """States that are written at every step: outputs, and what the backward or weight_hh's gradient takes."""
    used = used_backward(source)
    fed = cell.fed_back if cell.recurrent else ()
    return [
        s for s in cell.states if s in source.output_states or s in fed or {f"prev_{s}", f"new_{s}"} & used
    ]


def biased(cell: GatedCell, source: Step) -> list[tuple[int, str]]:
    """The gates, with their place, whose recurrent bias the kernel adds: those that keep products apart."""
    return [(r, g) for r, g in enumerate(cell.recurrent) if g not in source.summed]


def _inputs(cell: GatedCell, name: str) -> list[str]:
    return [load(f"{name}_{g}", block("all_wx + wx_at", k, "HIDDEN")) for k, g in enumerate(cell.gates)]


def _rows(source: Step, states: list[str]) -> list[str]:
    return [
        line for s in states for line in (f"all_{s} += one", store(f"all_{s} + at", source.new_states[s]))
    ]


def _go_on(cell: GatedCell, source: Step) -> list[str]:
    """What the next step finds: the new states at once, for one may be what another was."""
    fed = cell.fed_back if cell.recurrent else ()
    # a padded unit may hold anything, such as 0 / 0, and would reach every gate through a product
    new = [f"tl.where(ok, {name}, 0.0)" if s in fed else name for s, name in source.new_states.items()]
    return [
        f"{', '.join(f'prev_{s}' for s in cell.states)} = {', '.join(new)}",
        *(f"wx_{g} = next_wx_{g}" for g in cell.gates),
    ]


def _unempty(lines: list[str]) -> list[str]:
    """The lines without an `if` that has none."""
    kept = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.endswith("if KEEPING:") and len(after) - len(after.lstrip()) <= len(line) - len(
            line.lstrip()
        ):
            continue
        kept.append(line)
    return kept
