"""Registers hold bits: how they read as numbers of a kind, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

WHOLE = {
    "b16": np.uint16,
    "u16": np.uint16,
    "s16": np.int16,
    "b32": np.uint32,
    "u32": np.uint32,
    "s32": np.int32,
    "b64": np.uint64,
    "u64": np.uint64,
    "s64": np.int64,
}
UNSIGNED = {2: np.uint16, 4: np.uint32, 8: np.uint64}
TF32 = np.uint32(0xFFFFE000)  # the bits of a float32 that tf32 has


def read(kind: str, bits: Any) -> np.ndarray:
    """Numbers from bits: float64 for floating kinds, int64 for whole ones."""
    if kind == "f32":
        return unsigned(bits, 4).view(np.float32).astype(np.float64)
    if kind == "bf16":
        return (unsigned(bits, 2).astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    if kind == "f16":
        return unsigned(bits, 2).view(np.float16).astype(np.float64)
    of = np.dtype(WHOLE[kind])
    return unsigned(bits, of.itemsize).view(of).astype(np.int64)


def write(kind: str, values: Any) -> np.ndarray:
    """Bits of numbers, rounded to the nearest number of the kind, ties to even."""
    if kind == "f32":
        return np.asarray(values, np.float32).view(np.uint32)
    if kind == "f16":
        return np.asarray(values, np.float32).astype(np.float16).view(np.uint16)
    if kind == "bf16":
        return to_bf16(write("f32", values))
    size = np.dtype(WHOLE[kind]).itemsize
    return np.asarray(values, np.int64).view(np.uint64).astype(UNSIGNED[size])


def unsigned(bits: Any, size: int) -> np.ndarray:
    """An array of so many bytes a number, which may be viewed as another kind."""
    return np.ascontiguousarray(np.asarray(bits).astype(UNSIGNED[size]))


def to_bf16(bits: np.ndarray) -> np.ndarray:
    """The upper halves of float32 bits, rounded."""
    wide = bits.astype(np.uint64)
    odd = (wide >> np.uint64(16)) & np.uint64(1)
    rounded = ((wide + np.uint64(0x7FFF) + odd) >> np.uint64(16)).astype(np.uint16)
    return np.where(np.isnan(bits.view(np.float32)), np.uint16(0x7FFF), rounded)


def to_tf32(bits: Any) -> np.ndarray:
    """Float32 bits rounded to those that tf32 has, ties away from zero."""
    wide = unsigned(bits, 4).astype(np.uint64) + np.uint64(0x1000)
    return wide.astype(np.uint32) & TF32


def halves(bits: Any) -> np.ndarray:
    """(..., 2) 16-bit halves, the lower first."""
    whole = unsigned(bits, 4)
    return np.stack([whole & np.uint32(0xFFFF), whole >> np.uint32(16)], -1).astype(np.uint16)


def joined(low: Any, high: Any, size: int) -> np.ndarray:
    """Two halves as one register of `size` bytes."""
    kind, shift = UNSIGNED[size], UNSIGNED[size](4 * size)
    return np.asarray(low).astype(kind) | (np.asarray(high).astype(kind) << shift)
