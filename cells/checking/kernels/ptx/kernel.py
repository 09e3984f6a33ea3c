"""A compiled kernel on the CPU: started over a grid, with tensors whose memory it reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .block import BASE, Block
from .execute import END, compiled
from .memory import Fault
from .order import Global, Touched
from .text import parse

ROOM = 512  # bytes between arrays, so that an access beyond one meets nothing
MOST_TURNS = 100_000


class Kernel:
    """Of PTX, with the bytes of shared memory that a block takes.

    `passed` are the barriers, by their number in the text, that the last start went through. `dropped` is one
    that does nothing.
    """

    def __init__(self, ptx: str, shared_bytes: int, dropped: int | None = None) -> None:
        text = parse(ptx)
        self.threads, self.parameters = text.threads, text.parameters
        self.shared_bytes, self.dropped = shared_bytes, dropped
        self.pieces = compiled(text)
        self.passed: set[int] = set()

    def __call__(self, grid: Sequence[int], *arguments: Any) -> None:
        """Runs every block to its end. Raises Fault for an access that no kernel may make."""
        arrays = {a.data_ptr(): a for a in arguments if hasattr(a, "data_ptr")}
        places, end = {}, ROOM
        for key, array in arrays.items():
            places[key] = end
            end = (end + array.numel() * array.element_size() + 2 * ROOM - 1) // ROOM * ROOM
        data, allowed = np.zeros(end, np.uint8), np.zeros(end, bool)
        for key, array in arrays.items():
            content = bytes_of(array)
            data[places[key] : places[key] + len(content)] = content
            allowed[places[key] : places[key] + len(content)] = True
        given = [BASE + places[a.data_ptr()] if hasattr(a, "data_ptr") else a for a in arguments]
        given += [0] * (len(self.parameters) - len(given))  # scratch memory, which these kernels do not use
        parameters = {
            name: (np.uint64 if kind.endswith("64") else np.uint32)(number)
            for (kind, name), number in zip(self.parameters, given, strict=True)
        }
        sizes = (*grid, *(1,) * (3 - len(grid)))
        places_of_blocks = list(np.ndindex(*sizes))
        touched = Touched(len(places_of_blocks), len(data))
        self.passed = set()
        blocks = [
            Block(
                self.threads,
                at,
                sizes,
                self.shared_bytes,
                Global(data, allowed, number, touched),
                parameters,
                self.dropped,
            )
            for number, at in enumerate(places_of_blocks)
        ]
        with np.errstate(all="ignore"):
            self.run(blocks)
        for key, array in arrays.items():
            content = bytes_of(array)
            content[:] = data[places[key] : places[key] + len(content)]

    def run(self, blocks: Sequence[Block]) -> None:
        """All blocks to their end, in turn: one that looks at a counter lets the others go on."""
        left = [(block, self.steps(block)) for block in blocks]
        while left:
            left = [(block, steps) for block, steps in left if next(steps, END) != END]
        for block in blocks:
            self.passed |= block.passed

    def steps(self, block: Block) -> Iterator[int]:
        """A block from its first piece to its end; yields after each piece that looks at a counter."""
        piece = turns = 0
        while piece != END:
            turns += 1
            if turns > MOST_TURNS:
                raise Fault("the kernel does not end")
            following = piece + 1
            for instruction in self.pieces[piece]:
                to = instruction(block)
                if to is not None:
                    following = to
                    break
            piece = following
            if block.looked:
                block.looked = False
                yield piece


def bytes_of(tensor: Any) -> np.ndarray:
    """The memory of a tensor on the CPU, which lies in one piece."""
    import torch

    assert tensor.is_contiguous()
    return tensor.detach().view(-1).view(torch.uint8).numpy()
