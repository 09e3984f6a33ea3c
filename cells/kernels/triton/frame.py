"""What both printed kernels share: their signature, the places of a program, loads and stores."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

NUMBERS = ("steps", "batch")
CONSTANTS = ("HIDDEN", "BLOCK_B", "BLOCK_H", "PRECISION", "DOT")
PLACES = [
    "WIDTH: tl.constexpr = HIDDEN // HEADS",
    "head = tl.program_id(1)",
    "b = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]",
    "u = tl.arange(0, BLOCK_H)[None, :]",
    "j = head * WIDTH + u",
    "ok = (b < batch) & (u < WIDTH)",
    "at = b * HIDDEN + j",
    "one = tl.cast(batch, tl.int64) * HIDDEN  # from a step to the next, which 32 bits may not hold",
]


def function(
    name: str,
    arrays: Sequence[str],
    constants: Sequence[str],
    says: str,
    body: str,
    numbers: Sequence[str] = NUMBERS,
) -> str:
    """A kernel of the arrays, in a grid of (blocks of sequences, heads)."""
    names = [*arrays, *numbers, *(f"{c}:_tl.constexpr" for c in (*CONSTANTS, *constants))]
    signature = textwrap.fill(", ".join(names) + ",", 100, initial_indent="    ", subsequent_indent="    ")
    signature = signature.replace(":_", ": ")  # which kept them together
    first, *rest = says.splitlines()
    docstring = "\n".join([f'    """{first}', "", *(f"    {line}" for line in rest), '    """'])
    plain = ", ".join(f'"{number}"' for number in numbers)
    return f"@triton.jit(do_not_specialize=[{plain}])\ndef {name}(\n{signature}\n):\n{docstring}\n{body}"


def load(name: str, place: str, mask: str = "ok") -> str:
    """A line that loads a block."""
    return f"{name} = tl.load({place}, mask={mask}, other=0.0).to(REAL)"


def block(array: str, number: int, size: str = "one") -> str:
    """The place of a block in an array of several, each as long as `size`."""
    return f"{array} + {number} * {size}" if number > 1 else f"{array} + {size}" if number else array


def times(count: int, value: str) -> str:
    """The value so many times."""
    return f"{count} * {value}" if count > 1 else value


def store(place: str, value: str, mask: str = "ok") -> str:
    """A line that stores a block."""
    return f"tl.store({place}, {value}, mask={mask})"
