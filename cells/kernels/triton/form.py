"""How a cell's kernels are cut up: what stands in a program's registers and shared memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ...cell import GatedCell
from ...derived import affine
from ...programs.formats import FORMATS, TF32, stored
from .printer import Layout
from .products import can_pack, slots
from .spread import PARTS

LEAST_BLOCK = 16  # units that a product takes at once, of formats of 16 bits
ROWS = 16  # sequences that a product takes at once
SPREAD_UNITS = (32, 16, 8)  # of a program, in the order in which they are tried
FEW_BYTES = 2  # of a weight; wider ones are too many for the registers of 4 warps
PARTED_UNITS = (16, 8)  # of a program whose warps share out units; those of more have a barrier more
PIECE = 256  # units multiplied at once by weights that are held
MOST_PIECES = 4
PRECISIONS = {"float32": "tf32x3", TF32: TF32}  # of products in Triton's words
TILE = {"float32": 32, "float64": 32}  # by weights that are read for it, else 64
RESIDENT, GRID, STEPWISE, SCAN = "resident", "grid", "a launch a step", "scan"
SCANNED_STEPS, SCANNED_UNITS = 32, 32  # of a program, at once


@dataclass(frozen=True)
class Form:
    """A program has `block_b` sequences of a head.

    packed   whether the recurrent products are one, as they are in any program of some units
    warps    of 32 threads, that a program has
    kind     RESIDENT: all units of the head, and all its weights; GRID: `block_h` units and their weights,
             with a barrier of all programs a step; STEPWISE: `block_h` units, and every step is a launch;
             SCAN: `block_h` units of an affine cell, whose forward takes `block_k` steps at once
    block_k  units that a product takes at once; 0 in a resident program, whose products take all
    parted   whether the warps of a GRID's program share out the units that its products take
    """

    packed: bool
    block_b: int
    warps: int
    kind: str = RESIDENT
    block_h: int = 0
    block_k: int = 0
    parted: bool = False

    def __str__(self) -> str:
        if self.kind == SCAN:
            units = f"{self.block_h} units of a sequence a program"
            return f"{self.kind}, {units}, {self.block_k} steps at once, {self.warps} warps"
        product = "one product" if self.together else "a product a gate"
        several = "sequence" if self.block_b == 1 else "sequences"
        units = f" and {self.block_h} units" if self.spread else ""
        return f"{self.kind}, {self.block_b} {several}{units} a program, {product}, {self.warps} warps"

    @property
    def spread(self) -> bool:
        """Whether the units of a head are those of several programs."""
        return self.kind != RESIDENT

    @property
    def together(self) -> bool:
        """Whether the recurrent products are one."""
        return self.packed or self.spread

    def layout(self, cell: GatedCell, hidden: int) -> Layout:
        """Of the printed text."""
        if not self.spread:
            return Layout(self.packed)
        if self.kind == STEPWISE:
            return Layout(spread=True)
        if self.kind == SCAN:
            return Layout(scanned=True)
        width, gates = hidden // cell.heads, len(cell.recurrent) or 1
        if self.parted:
            part, pulled_part = (_block(_up(count, PARTS)) for count in (width, gates * width))
            return Layout(spread=True, pieces=1, pulled=1, part=part, pulled_part=pulled_part)
        return Layout(spread=True, pieces=_up(width, self.block_k), pulled=_up(gates * width, self.block_k))

    def constants(self, cell: GatedCell, hidden: int, dtype: str) -> dict[str, Any]:
        """The kernels' constants, DOT by name. A float32 product is as exact as float32: three of tf32."""
        common = {
            "HIDDEN": hidden,
            "BLOCK_B": self.block_b,
            "BLOCK_H": self.block_h or block_of(cell, hidden),
            "PRECISION": PRECISIONS.get(dtype, "ieee"),
            "DOT": stored(dtype),
        }
        return common | ({"BLOCK_K": self.block_k} if self.spread else {})

    def grid(self, cell: GatedCell, hidden: int, batch: int) -> tuple[int, int, int]:
        """Programs: blocks of sequences, heads, and blocks of units."""
        tiles = _up(hidden // cell.heads, self.block_h) if self.spread else 1
        return _up(batch, self.block_b), cell.heads, tiles

    def weight_bytes(self, cell: GatedCell, hidden: int, dtype: str) -> int:
        """Shared memory that the weights alone take; in float32 each is two numbers of tf32."""
        if not cell.recurrent:
            return 0
        gates, block = slots(cell) if self.together else len(cell.recurrent), block_of(cell, hidden)
        tall = self.block_k if self.kind == STEPWISE else block
        count = gates * tall * (self.block_h or block) * len(cell.fed_back)
        return count * (8 if dtype == "float32" else FORMATS[dtype].size)

    def crowded(self, cell: GatedCell, hidden: int, batch: int, processors: int) -> str | None:
        """None, or why programs that wait for each other are not on the device at the same time."""
        count = math.prod(self.grid(cell, hidden, batch))
        if self.kind != GRID or not cell.recurrent or count <= processors:
            return None
        return f"{count:,} programs wait for each other, and {processors} multiprocessors are there"

    def too_long(self, cell: GatedCell, hidden: int) -> str | None:
        """None, or why the text of a step is longer than its compiler takes in a minute."""
        pieces = self.layout(cell, hidden).pieces
        if not cell.recurrent or pieces <= MOST_PIECES:
            return None
        return f"its products would be in {pieces} pieces, and more than {MOST_PIECES} are too long a text"

    def too_wide(self, cell: GatedCell, hidden: int, batch: int) -> str | None:
        """None, or why places within a step, where they are 32-bit numbers, do not reach all of it."""
        if self.kind == STEPWISE:
            return None
        values = batch * len(cell.gates) * hidden
        weights = len(cell.recurrent) * hidden * (hidden // cell.heads) * len(cell.fed_back)
        if max(values, weights) < 2**31:
            return None
        has = f"a step has {values:,} gate values, and the cell {weights:,} recurrent weights"
        return f"{has}; its kernels address {2**31 - 1:,}"


def _up(count: int, size: int) -> int:
    """How often the size is needed for so many."""
    return -(-count // size)


def block_of(cell: GatedCell, hidden: int) -> int:
    """The units of a head, up to the next power of two."""
    return _block(hidden // cell.heads)


def _block(count: int) -> int:
    """So many, up to the next power of two that a product can take."""
    return max(LEAST_BLOCK, 1 << (count - 1).bit_length())


def candidates(cell: GatedCell, hidden: int, batch: int, processors: int, dtype: str) -> list[Form]:
    """Forms in the order in which they are tried, for a device of so many multiprocessors.

    An affine cell without recurrent products is scanned. Else resident, one sequence a program as long as
    each has a multiprocessor of its own; else 16, which is what a product takes at once. One product first:
    it needs fewer barriers, and more shared memory where it is padded. Then a grid of programs, the fewest
    first, and a launch a step.
    """
    block_b = 1 if batch * cell.heads <= processors else ROWS
    warps = 4 if hidden // cell.heads <= 32 else 8
    resident = [Form(packed, block_b, warps) for packed in ([True, False] if can_pack(cell) else [False])]
    return [*scans(cell), *resident, *spread_forms(cell, hidden, dtype)]


def scans(cell: GatedCell) -> list[Form]:
    """The form of several steps at once, of a cell that has it."""
    if affine.unsupported(cell) is not None:
        return []
    return [Form(False, 1, 4, SCAN, SCANNED_UNITS, SCANNED_STEPS)]


def spread_forms(cell: GatedCell, hidden: int, dtype: str) -> list[Form]:
    """Forms of several programs a head; without recurrent products none of them waits for another.

    Where a weight is of 4 bytes, or two numbers of them, registers do not hold all weights of the program in
    every warp. With two states fed back, each would be laid out for memory apart, which takes barriers.
    """
    whole = block_of(cell, hidden)
    parted = bool(cell.recurrent) and (FORMATS[dtype].size > FEW_BYTES or len(cell.fed_back) > 1)
    piece, tile = min(PIECE, whole), min(TILE.get(dtype, 64), whole)
    units, warps = (PARTED_UNITS, PARTS) if parted else (SPREAD_UNITS, 4)
    grids = [Form(False, ROWS, warps, GRID, n, piece, parted) for n in units if n <= whole]
    return grids + [Form(False, ROWS, 4, STEPWISE, n, tile) for n in SPREAD_UNITS if n <= whole]
