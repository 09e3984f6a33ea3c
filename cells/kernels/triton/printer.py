"""A cell's fused Triton kernels, printed: a program has some sequences, and all or some units of a head.

Packed and plain are the resident form: all of a head's weights stay with the program, and states never leave
it. Spread is `spread`. The text holds the vocabulary that it calls, so that it stands alone, and equal
text is equal code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from ...cell import GatedCell
from ..modules import load
from ..step import Step, step
from . import scanned_forward, spread, spread_backward, spread_forward
from .backward import backward
from .forward import forward
from .products import can_pack
from .source import called, constants, functions, identifiers


@dataclass(frozen=True)
class Layout:
    """A text of a resident program, its products `packed` or plain; or a spread one.

    pieces   of weights that a spread program holds for the forward's products, `pulled` for the backward's;
             0 where it reads them at each step
    part     units of the forward's products that a warp has where warps share them out, `pulled_part` of the
             backward's; else 0
    scanned  whether its forward takes several steps at once; its backward is that of a resident program
    """

    packed: bool = True
    spread: bool = False
    pieces: int = 0
    pulled: int = 0
    part: int = 0
    pulled_part: int = 0
    scanned: bool = False


PACKED = Layout()
TIE = re.compile(r"tie\(([\w.]+), ([\w.]+)\)")


def module(cell: GatedCell, dtype: str = "float32", layout: Layout = PACKED) -> ModuleType:
    """The cell's kernels, which compute in this dtype: forward and backward."""
    return load(stem(cell, dtype), text(cell, dtype, layout))


def stem(cell: GatedCell, dtype: str) -> str:
    """What the module's name begins with."""
    return f"triton_{cell.name}_{dtype}"


def real_of(dtype: str) -> str:
    """The format in which the kernels of arrays in this one compute."""
    return "float64" if dtype == "float64" else "float32"


def without(cell: GatedCell) -> str | None:
    """Why a cell with equations has no Triton kernels, or None."""
    if cell.pointwise:
        return None
    return (
        f"cell {cell.name!r} has products or means inside its step, which Triton's kernels do not have;"
        " run it with numba or torch"
    )


def text(cell: GatedCell, dtype: str = "float32", layout: Layout = PACKED) -> str:
    """The printed module; packed is plain where there is a single product.

    Raises ValueError for a cell that has no such kernels.
    """
    if reason := without(cell):
        raise ValueError(reason)
    return _text(cell, dtype, layout, _source(cell, dtype, layout))


def _kernels(cell: GatedCell, source: Step, dtype: str, layout: Layout) -> list[str]:
    if layout.scanned:
        own_units = spread.places(cell, pieces=1)
        return [
            scanned_forward.forward(cell, source, _number(dtype)),
            backward(cell, source, packed=False, places=own_units),
        ]
    if layout.spread:
        return [
            spread_forward.forward(cell, source, layout.pieces, layout.part),
            spread_backward.backward(cell, source, layout.pulled, layout.pulled_part),
        ]
    packed = layout.packed and can_pack(cell)
    return [forward(cell, source, packed), backward(cell, source, packed)]


def _text(cell: GatedCell, dtype: str, layout: Layout, source: Step) -> str:
    kernels = _kernels(cell, source, dtype, layout)
    known = functions(dtype, "pointwise")
    head = [
        f'"""Triton kernels of {cell.name!r} in {dtype}, printed from its equations."""\n',
        "import triton",
        "import triton.language as tl\n",
        *constants(dtype),
        f"HEADS: tl.constexpr = tl.constexpr({cell.heads})",
    ]
    return (
        "\n\n\n".join(["\n".join(head), *(known[name] for name in called(known, kernels)), *kernels]) + "\n"
    )


def _number(dtype: str) -> Callable[[float], str]:
    """How a constant is printed."""

    def number(value: float) -> str:
        # a bare number that float32 cannot hold would be rounded to it on its way through a function
        return repr(value) if dtype == "float32" or float(np.float32(value)) == value else f"real({value!r})"

    return number


def _source(cell: GatedCell, dtype: str, layout: Layout) -> Step:
    """The cell's step in this dtype, in which no variable has a name of the kernels around it."""
    number = _number(dtype)
    source = step(cell, number)
    around = replace(
        source,
        forward=[],
        backward=[],
        new_states=dict.fromkeys(source.new_states, "_"),
        outputs=["_"] * len(source.outputs),
        keeps=["_"] * len(source.keeps),
        cotangents=dict.fromkeys(source.cotangents, "_"),
    )
    kinds = {"new": cell.states, "prev": cell.states, "keep": source.keeps, "next_keep": source.keeps}
    kinds |= {"next_prev": cell.states, "next_new": cell.states}
    names = {f"{kind}_{name}" for kind, each in kinds.items() for name in each}
    names |= {*functions(dtype, "pointwise"), *identifiers([_text(cell, dtype, layout, around)])}
    source = step(cell, number, reserved=names)
    return replace(source, backward=with_ties_once(source.backward))


def with_ties_once(lines: Iterable[str]) -> list[str]:
    """The lines with 1 - tie(a, b) for a tie(b, a) that comes after it.

    The compiler then takes one value less from a layout to another, which is two barriers of a step.
    """
    before: set[tuple[str, ...]] = set()

    def once(tie: re.Match[str]) -> str:
        a, b = tie.groups()
        if (b, a) in before and a != b:
            return f"(1.0 - tie({b}, {a}))"
        before.add((a, b))
        return tie[0]

    return [TIE.sub(once, line) for line in lines]
