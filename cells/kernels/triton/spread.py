"""A step spread over programs: each has some units of a head, and multiplies what all of them left in memory.

With `pieces`, a program loads its weights once, in so many pieces, and a barrier of the grid stands between
two steps. With none, weights are read at each step in tiles of BLOCK_K units, each step is a launch of its
own, and places have 64 bits. Cells without recurrent products need no barrier.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...cell import GatedCell
from .frame import PLACES, block, times
from .products import DOT, ZEROS, fed_names

NUMBERS = ("steps", "batch", "begin", "total")  # begin: steps that were done before this launch, of all


def places(cell: GatedCell, pieces: int) -> list[str]:
    """Lines that say where a program's units are, and its counter of arrivals."""
    own = "u = tl.program_id(2) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]"
    lines = [own if line.startswith("u = ") else line for line in PLACES]
    if not pieces:  # what is too large for any other form comes here
        lines = [
            re.sub(r"^([bu] = )(tl.program_id\(\d\))", r"\1tl.cast(\2, tl.int64)", line) for line in lines
        ]
    if waits(cell, pieces):
        lines += [
            "programs = tl.num_programs(2)  # which wait for each other",
            "arrived += (tl.program_id(0) * HEADS + head) * total",
        ]
    return lines


def waits(cell: GatedCell, pieces: int) -> bool:
    """Whether programs wait for each other between steps."""
    return bool(pieces and cell.recurrent)


def arrive(step: str) -> list[str]:
    """Lines that publish what all threads of the program stored in a step."""
    return ["tl.debug_barrier()", f'tl.atomic_add(arrived + {step}, 1, sem="release")']


def wait(step: str) -> list[str]:
    """Lines after which all programs have published what they stored in a step."""
    return [
        f'while tl.atomic_add(arrived + {step}, 0, sem="acquire") < programs:',
        "    pass",
        "tl.debug_barrier()",
    ]


def load_weights(cell: GatedCell, pieces: int, transposed: bool) -> list[str]:
    """Lines that load the weights of this program's units once, in pieces of BLOCK_K of all K."""
    return [line for p in range(pieces) for line in (_units(p), *_weights(cell, transposed, _end(p)))]


def _units(piece: int) -> str:
    return f"k{_end(piece)} = {block('tl.arange(0, BLOCK_K)', piece, 'BLOCK_K')}"


def _end(piece: int) -> str:
    """What a piece's names end in: nothing for the first, which often is the only one."""
    return f"_{piece}" if piece else ""


def _weights(cell: GatedCell, transposed: bool, end: str = "") -> list[str]:
    """Lines that load weight_hh (G * units, K) for the units k: states by gates, or transposed."""
    columns = "WIDTH" if len(cell.fed_back) == 1 else f"({len(cell.fed_back)} * WIDTH)"
    head = " + head * WIDTH" if cell.heads > 1 else ""
    k = f"k{end}[:, None]"
    gate, state = (k, "u") if transposed else ("u", k)
    lines = [f"inside{end} = ({k} < WIDTH) & (u < WIDTH)"]
    for r, g in enumerate(cell.recurrent):
        row = block(gate, r, "HIDDEN") + head
        row = f"({row})" if " " in row else row
        for f, (_, of_state) in enumerate(fed_names(cell)):
            place = f"weight_at + {row} * {columns} + {block(state, f, 'WIDTH')}"
            name = f"weight_{g}{of_state}{end}"
            lines.append(f"{name} = tl.load({place}, mask=inside{end}, other=0.0).to(DOT)")
    return lines


def multiply(cell: GatedCell, pieces: int) -> list[str]:
    """Lines that make wh_G of the states before, which all_S point to; without biases."""

    def products(end: str) -> list[str]:
        fed = fed_names(cell)
        place = f"b * HIDDEN + head * WIDTH + k{end}[None, :]"
        lines = [f"fed{of}{end} = {_row(f'all_{s} + {place}', 'batch', end)}" for s, of in fed]
        return lines + [
            f"wh_{g} = tl.dot(fed{of}{end}, weight_{g}{of}{end}, acc=wh_{g}, {DOT})"
            for g in cell.recurrent
            for _, of in fed
        ]

    return [f"wh_{g} = {ZEROS}" for g in cell.recurrent] + _over_k(cell, products, pieces, transposed=False)


def pull_back(cell: GatedCell, pieces: int, array: str) -> list[str]:
    """Lines that add to d_S what it gets through the products of the step after, whose rows are in `array`.

    Of no step, which `rows` = 0 says, comes nothing.
    """
    fed, gates = fed_names(cell), len(cell.recurrent)

    def products(end: str) -> list[str]:
        after = f"{array} + {times(gates, 'one')} + b * ({times(gates, 'HIDDEN')})"
        row = f"{after} + head * WIDTH + k{end}[None, :]"
        lines = []
        for r, g in enumerate(cell.recurrent):
            lines.append(f"d_wh_{g}{end} = {_row(block(row, r, 'HIDDEN'), 'rows', end)}")
            lines += [
                f"pulled{of} = tl.dot(d_wh_{g}{end}, weight_{g}{of}{end}, acc=pulled{of}, {DOT})"
                for _, of in fed
            ]
        return lines

    zeros = [f"pulled{of} = {ZEROS}" for _, of in fed]
    # weights may be NaN, of which nothing may come where there is no step
    added = [f"d_{s} += tl.where(b < rows, pulled{of}, 0.0)" for s, of in fed]
    return zeros + _over_k(cell, products, pieces, transposed=True) + added


def _over_k(
    cell: GatedCell, products: Callable[[str], list[str]], pieces: int, transposed: bool
) -> list[str]:
    """The products over all units of the head: pieces that are held, or tiles that are read here."""
    if pieces:
        return [line for p in range(pieces) for line in products(_end(p))]
    lines = [
        "k = tl.cast(first_k, tl.int64) + tl.arange(0, BLOCK_K)",
        *_weights(cell, transposed),
        *products(""),
    ]
    return ["for first_k in range(0, WIDTH, BLOCK_K):", *(f"    {line}" for line in lines)]


def _row(place: str, rows: str, end: str) -> str:
    """What other programs stored, of the units k; past the cache that does not see what they store."""
    mask = f"(b < {rows}) & (k{end}[None, :] < WIDTH)"
    return f'tl.load({place}, mask={mask}, other=0.0, cache_modifier=".cg").to(DOT)'
