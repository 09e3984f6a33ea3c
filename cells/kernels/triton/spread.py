"""A step spread over programs: each has some units of a head, and multiplies what all of them left in memory.

With `pieces`, a program loads its weights once, in so many pieces, and a barrier of the grid stands between
two steps. With none, weights are read at each step in tiles of BLOCK_K units, each step is a launch of its
own, and places have 64 bits. Cells without recurrent products need no barrier.

With a `part`, a product's warps share out K: each has so many units of it, with all columns. A matrix
instruction has 8 columns at least, so warps that shared out a few columns would all hold all weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...cell import GatedCell
from .frame import PLACES, block, times
from .products import DOT, ZEROS, can_pack, fed_names, slots, split

PARTS = 8  # of K, which warps share out; a power of two
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


def load_weights(cell: GatedCell, pieces: int, transposed: bool, part: int = 0) -> list[str]:
    """Lines that load the weights of this program's units once, in pieces of BLOCK_K of all that K counts.

    Forward K counts a head's units, and the columns of all gates stand side by side. In the backward K counts
    the units of all gates in turn. With a `part` there is one piece, of PARTS of them.
    """
    columns = [] if transposed else _columns(cell, pieces)
    units = [_shared_out(part)] if part else [_units(p) for p in range(pieces)]
    return columns + [
        line for p, k in enumerate(units) for line in (k, *_weights(cell, transposed, _end(p), part))
    ]


def _columns(cell: GatedCell, pieces: int) -> list[str]:
    """Lines that say of which gate and unit the forward's columns are."""
    if not can_pack(cell):
        return ["column = u"]
    places, program = slots(cell), "tl.program_id(2)" if pieces else "tl.cast(tl.program_id(2), tl.int64)"
    return [
        "# blocks of 8 units, in each the gates in turn",
        f"q = tl.arange(0, {places} * BLOCK_H)[None, :]",
        f"slot, column = q // 8 % {places}, {program} * BLOCK_H + q // {8 * places} * 8 + q % 8",
    ]


def _units(piece: int) -> str:
    return f"k{_end(piece)} = {block('tl.arange(0, BLOCK_K)', piece, 'BLOCK_K')}"


def _shared_out(part: int) -> str:
    return f"k = tl.arange(0, {PARTS})[:, None] * {part} + tl.arange(0, {part})[None, :]"


def _of_k(end: str, part: int, row: bool) -> str:
    """What K counts, as the columns of what is multiplied, or as the rows of the weights."""
    return f"k{end}[{':, ' if part else ''}{'None, :' if row else ':, None'}]"


def _end(piece: int) -> str:
    """What a piece's names end in: nothing for the first, which often is the only one."""
    return f"_{piece}" if piece else ""


def _of_head(cell: GatedCell, k: str) -> str:
    """The place, among the units of all gates of all heads, of those that k counts in one head."""
    if cell.heads == 1:
        return k
    if len(cell.recurrent) == 1:
        return f"head * WIDTH + {k}"
    return f"{k} // WIDTH * HIDDEN + head * WIDTH + {k} % WIDTH"


def _weights(cell: GatedCell, transposed: bool, end: str = "", part: int = 0) -> list[str]:
    """Lines that load weight_hh (G * units, states * K): K by columns, or transposed K by own units."""
    fed, gates, k = fed_names(cell), len(cell.recurrent), _of_k(end, part, row=False)
    if transposed:
        inside = f"({k} < {times(gates, 'WIDTH')}) & (u < WIDTH)"
        row, state = _of_head(cell, k), "u"
    else:
        inside = f"({k} < WIDTH) & (column < WIDTH)"
        inside += f" & (slot < {gates})" if slots(cell) > gates else ""
        row, state = ("slot * HIDDEN + column" if gates > 1 else "column"), k
        row += " + head * WIDTH" if cell.heads > 1 else ""
    row = f"({row})" if " " in row else row
    size = "WIDTH" if len(fed) == 1 else f"({len(fed)} * WIDTH)"
    lines = [f"inside{end} = {inside}"]
    for f, (_, of_state) in enumerate(fed):
        place = f"weight_at + {row} * {size} + {block(state, f, 'WIDTH')}"
        lines.append(f"weight{of_state}{end} = tl.load({place}, mask=inside{end}, other=0.0).to(DOT)")
    return lines


def multiply(cell: GatedCell, pieces: int, part: int = 0) -> list[str]:
    """Lines that make wh_G of the states before, which all_S point to; without biases."""
    fed, gates = fed_names(cell), cell.recurrent

    def loads(end: str) -> list[str]:
        k = _of_k(end, part, row=True)
        place = f"b * HIDDEN + head * WIDTH + {k}"
        read = {of: _row(f"all_{s} + {place}", "batch", "WIDTH", k) for s, of in fed}
        return [f"fed{of}{end} = {row}" for of, row in read.items()]

    def products(end: str) -> list[str]:
        return [f"wh = tl.dot(fed{of}{end}, weight{of}{end}, acc=wh, {DOT})" for _, of in fed]

    columns, packed = times(slots(cell), "BLOCK_H"), can_pack(cell)
    zeros = f"wh = tl.zeros(({f'{PARTS}, ' if part else ''}BLOCK_B, {columns}), REAL)"
    whole = "wh" if packed else f"wh_{gates[0]}"
    placed = summed(whole, "wh", columns) if part else [] if packed else laid_out(whole, "wh")
    apart = split("wh", [f"wh_{g}" for g in gates]) if packed else []
    return [zeros, *_over_k(cell, loads, products, pieces, transposed=False), *placed, *apart]


def pull_back(cell: GatedCell, pieces: int, array: str, part: int = 0) -> list[str]:
    """Lines that add to d_S what it gets through the products of the step after, whose rows are in `array`.

    Of no step, which `rows` = 0 says, comes nothing. With a `part` warps share out K.
    """
    fed, gates = fed_names(cell), len(cell.recurrent)
    width, after = times(gates, "WIDTH"), times(gates, "one")

    def loads(end: str) -> list[str]:
        k = _of_k(end, part, row=True)
        place = f"b * ({times(gates, 'HIDDEN')}) + {_of_head(cell, k)}"
        return [f"d_wh{end} = {_row(f'{array} + {after} + {place}', 'rows', width, k)}"]

    def products(end: str) -> list[str]:
        return [f"pulled{of} = tl.dot(d_wh{end}, weight{of}{end}, acc=pulled{of}, {DOT})" for _, of in fed]

    names, nothing = [f"pulled{of}" for _, of in fed], f"tl.zeros(({PARTS}, BLOCK_B, BLOCK_H), REAL)"
    zeros = [f"{name} = {nothing if part else ZEROS}" for name in names]
    placed = [line for name in names for line in (summed(name, name) if part else laid_out(name, name))]
    # weights may be NaN, of which nothing may come where there is no step
    added = [f"d_{s} += tl.where(b < rows, pulled{of}, 0.0)" for s, of in fed]
    return [*zeros, *_over_k(cell, loads, products, pieces, transposed=True), *placed, *added]


def laid_out(name: str, product: str) -> list[str]:
    """Lines that bring a product into the layout of what memory holds, in one exchange between threads.

    Else the compiler brings each of the other operands into the product's layout, and each result back.
    """
    return [
        f"{product} = tl.permute(tl.reshape({product}, (BLOCK_B, 2, BLOCK_H // 2)), (0, 2, 1))",
        f"first_half, second_half = tl.split({product})",
        f"{product} = tl.permute(tl.join(first_half, second_half), (0, 2, 1))",
        f"{name} = tl.reshape({product}, (BLOCK_B, BLOCK_H))",
    ]


def summed(name: str, product: str, columns: str = "BLOCK_H") -> list[str]:
    """Lines that sum a product (PARTS, BLOCK_B, columns) over its parts, of which each warp has one.

    A split brings all parts of an element to one thread, in the layout of what memory holds. tl.sum would
    exchange them twice, and then once more for that layout.
    """
    halvings = PARTS.bit_length() - 1
    parts = ", ".join(["2"] * halvings)
    placed = f"{product} = tl.reshape(tl.permute({product}, (1, 2, 0)), (BLOCK_B, {columns}, {parts}))"
    lines = [placed]
    for left in reversed(range(halvings)):
        lines.append(f"first_half, second_half = tl.split({product})")
        lines.append(f"{product if left else name} = first_half + second_half")
    return lines


def _over_k(
    cell: GatedCell,
    loads: Callable[[str], list[str]],
    products: Callable[[str], list[str]],
    pieces: int,
    transposed: bool,
) -> list[str]:
    """The products over all of K: pieces that are held, or tiles that are read here.

    What pieces are multiplied with is all loaded first, so that threads exchange it between two barriers.
    """
    if pieces:
        ends = [_end(p) for p in range(pieces)]
        return [line for lines in (loads, products) for end in ends for line in lines(end)]
    lines = [
        "k = tl.cast(first_k, tl.int64) + tl.arange(0, BLOCK_K)",
        *_weights(cell, transposed),
        *loads(""),
        *products(""),
    ]
    count = times(len(cell.recurrent), "WIDTH") if transposed else "WIDTH"
    return [f"for first_k in range(0, {count}, BLOCK_K):", *(f"    {line}" for line in lines)]


def _row(place: str, rows: str, count: str, k: str) -> str:
    """What other programs stored, of the units k; past the cache that does not see what they store."""
    mask = f"(b < {rows}) & ({k} < {count})"
    return f'tl.load({place}, mask={mask}, other=0.0, cache_modifier=".cg").to(DOT)'
