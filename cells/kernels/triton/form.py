"""How a cell's kernels are cut up: what stands in a program's registers and shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...cell import GatedCell
from .products import can_pack, slots

LEAST_BLOCK = 16  # units that a product takes at once, of formats of 16 bits


@dataclass(frozen=True)
class Form:
    """The resident form: a program has `block_b` sequences of a head, and all weights of that.

    packed   whether the recurrent products are one
    warps    of 32 threads, that a program has
    """

    packed: bool
    block_b: int
    warps: int

    def __str__(self) -> str:
        product = "one product" if self.packed else "a product a gate"
        return f"resident, {self.block_b} sequences a program, {product}, {self.warps} warps"

    def constants(self, cell: GatedCell, hidden: int, dtype: str) -> dict[str, Any]:
        """The kernels' constants, DOT by name. A float32 product is as exact as float32: three of tf32."""
        return {
            "HIDDEN": hidden,
            "BLOCK_B": self.block_b,
            "BLOCK_H": block_of(cell, hidden),
            "PRECISION": "tf32x3" if dtype == "float32" else "ieee",
            "DOT": dtype,
        }

    def grid(self, cell: GatedCell, batch: int) -> tuple[int, int]:
        """Programs: blocks of sequences, and heads."""
        return -(-batch // self.block_b), cell.heads

    def weight_bytes(self, cell: GatedCell, hidden: int, dtype: str) -> int:
        """Shared memory that the weights alone take; in float32 each is two numbers of tf32."""
        gates = slots(cell) if self.packed else len(cell.recurrent)
        count = gates * block_of(cell, hidden) ** 2 * (len(cell.fed_back) if cell.recurrent else 0)
        return count * {"float32": 8, "float64": 8}.get(dtype, 2)


def block_of(cell: GatedCell, hidden: int) -> int:
    """The units of a head, up to the next power of two."""
    return max(LEAST_BLOCK, 1 << (hidden // cell.heads - 1).bit_length())


def too_wide(cell: GatedCell, hidden: int, batch: int) -> str | None:
    """None, or why places within a step, which are 32-bit numbers, do not reach all of it."""
    entries = batch * len(cell.gates) * hidden
    if entries < 2**31:
        return None
    return f"a step of {batch:,} sequences has {entries:,} gate values; a kernel addresses {2**31 - 1:,}"


def candidates(cell: GatedCell, hidden: int, batch: int, processors: int) -> list[Form]:
    """Forms in the order in which they are tried, for a device of so many multiprocessors.

    One sequence a program as long as each has a multiprocessor of its own; else 16, which is what a product
    takes at once. One product first: it needs fewer barriers, and more shared memory where it is padded.
    """
    block_b = 1 if batch * cell.heads <= processors else 16
    warps = 4 if hidden // cell.heads <= 32 else 8
    return [Form(packed, block_b, warps) for packed in ([True, False] if can_pack(cell) else [False])]
