"""A layer's tensors as NumPy arrays, copied again only when they have changed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from ..cell import GatedCell
from ..contract import Arrays

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True)
class Copies:
    """NumPy copies of the tensors by name; a program that has taken others is behind."""

    arrays: Arrays
    stamps: list[tuple[int, int]] | None
    views: list[np.ndarray]  # of the tensors' memory, which they keep from being used anew

    marks: list[tuple[int, int, Callable[[int], float], float, float]] = field(init=False)

    def __post_init__(self) -> None:
        stamps = self.stamps or [(-1, -1)] * len(self.views)  # an address that nothing has
        ends = [(view.item, view.item(0), view.item(-1)) for view in self.views]
        object.__setattr__(self, "marks", [(*s, *e) for s, e in zip(stamps, ends, strict=True)])

    def alike(self, tensors: Sequence[Tensor]) -> bool:
        """Whether every tensor is where it was, of the same version, with the same first and last number.

        One loop without calls of this file, for it is a good part of a short call.
        """
        for tensor, (address, version, item, first, last) in zip(tensors, self.marks, strict=True):
            if tensor._version != version or tensor.data_ptr() != address:
                return False
            if item(0) != first or item(-1) != last:
                return False
        return True

    def same(self) -> bool:
        """Whether all numbers are."""
        return all(
            _memcmp(view.ctypes.data, copy.ctypes.data, copy.nbytes) == 0
            for view, copy in zip(self.views, self.arrays.values(), strict=True)
        )


class Weights:
    """Copies of a layer's tensors, in the order of the cell's arrays.

    What changes a tensor in place raises its version, as optimizers do, and a new tensor has another address.
    Writing to `tensor.data` does neither. So a call that is long enough compares all numbers, and a short one
    the first and the last of each tensor.
    """

    def __init__(self, cell: GatedCell, input_size: int, hidden_size: int) -> None:
        self.cell, self.sizes = cell, (input_size, hidden_size)
        self.names = tuple(cell.parameter_shapes(*self.sizes))
        self.lock = Lock()
        self.copies: Copies | None = None

    def current(self, tensors: Sequence[Tensor], thorough: bool) -> Copies:
        """Copies of the tensors as they are now, the same object as long as they do not change.

        `thorough` compares all numbers. Raises ValueError for tensors that are not on the CPU, not float32 or
        float64, or not of the cell's shapes.
        """
        copies = self.copies
        try:
            if copies and copies.alike(tensors) and not (thorough and not copies.same()):
                return copies
            stamps = [(t.data_ptr(), t._version) for t in tensors]
        except RuntimeError:  # a tensor made in inference mode has no version: it is copied in every call
            stamps = None
        with self.lock:
            self.copies = copies = self._copied(tensors, stamps)
        return copies

    def _copied(self, tensors: Sequence[Tensor], stamps: list[tuple[int, int]] | None) -> Copies:
        for name, tensor in zip(self.names, tensors, strict=True):
            if tensor.device.type != "cpu":
                raise ValueError(elsewhere(name, tensor))
            if tensor.dtype not in DTYPES:
                raise ValueError(
                    f"{name} is {tensor.dtype}; this module computes float32 and float64. Convert it with"
                    " .to(torch.float32)"
                )
        if not all(tensor.is_contiguous() for tensor in tensors):
            stamps = None  # their views are copies, which show no change
        views = [t.detach().contiguous().numpy() for t in tensors]
        self.cell.check_parameters(dict(zip(self.names, views, strict=True)), *self.sizes)
        arrays = [np.array(view) for view in views]
        return Copies(dict(zip(self.names, arrays, strict=True)), stamps, views)


def elsewhere(name: str, tensor: Tensor) -> str:
    """Why a tensor that is not on the CPU is refused."""
    return (
        f"{name} is on {tensor.device}; this module computes on the CPU. Move it there with .to('cpu'), or"
        " swap torch.nn's modules back with torch_module.restore(model)"
    )
