"""A block of threads, all at once: its registers, its memory, and what its warps do together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from .bits import TF32, UNSIGNED, halves, read, write
from .memory import Fault, Memory
from .order import Global

WARP = 32
BASE = 1 << 40  # the address of the first byte of global memory
# what was never written is a NaN: LLVM leaves halves undefined that nobody should look at
UNDEFINED = {"p": np.bool_(False), "rs": np.uint16(0x7FFF), "rd": np.uint64(0x7FFFDEAD7FFFDEAD)}
Bits = np.ndarray


class Registers(dict):
    """By name the bits of every thread."""

    def __missing__(self, name: str) -> Any:
        return UNDEFINED.get(name.strip("%0123456789"), np.uint32(0x7FFFDEAD))


class Block:
    """Threads of one program. `dropped` is a barrier, by its number, that does nothing."""

    def __init__(
        self,
        threads: int,
        at: Sequence[int],
        grid: Sequence[int],
        shared_bytes: int,
        global_memory: Global,
        parameters: dict[str, Any],
        dropped: int | None,
    ) -> None:
        self.threads, self.parameters, self.dropped = threads, parameters, dropped
        self.warp = np.arange(threads) // WARP
        size = (shared_bytes + 31) // 16 * 16
        shared = Memory("shared memory", np.zeros(size, np.uint8), np.ones(size, bool))
        self.everywhere = global_memory
        self.memory: dict[str, tuple[Memory, int]] = {"shared": (shared, 0), "global": (global_memory, BASE)}
        self.looked = False  # at a counter, which other blocks move on
        self.registers = Registers()
        thread = np.arange(threads, dtype=np.uint32)
        self.special: dict[str, Any] = {"%tid.x": thread, "%laneid": thread % WARP, "global_smem": 0}
        for axis, place, count in zip("xyz", at, grid, strict=True):
            self.special |= {f"%ctaid.{axis}": np.uint32(place), f"%nctaid.{axis}": np.uint32(count)}
        self.epoch, self.barriers, self.passed = 0, 0, set[int]()

    def full(self, bits: Any) -> Bits:
        """Of every thread."""
        return np.broadcast_to(np.asarray(bits), (self.threads,))

    def barrier(self, number: int) -> None:
        """All accesses before it are done; `number` is its place in the text."""
        self.passed.add(number)
        if number != self.dropped:
            self.epoch += 1
            self.everywhere.touched.clocks.barrier(self.everywhere.block)

    def load(self, space: str, address: Any, where: Any, size: int, count: int, line: str) -> list[Bits]:
        """Registers from `count` places in a row, of the threads that `where` says."""
        memory, at, on = self._places(space, address, where)
        found = []
        for k in range(count):
            result = np.zeros(self.threads, UNSIGNED.get(size, np.uint8))
            place = at + k * size
            result[on] = memory.load(place, result.dtype, self.warp[on], self.epoch, line)
            found.append(result)
        return found

    def store(
        self, space: str, address: Any, where: Any, size: int, values: Sequence[Any], line: str
    ) -> None:
        memory, at, on = self._places(space, address, where)
        for k, value in enumerate(values):
            bits = self.full(value)[on].astype(UNSIGNED.get(size, np.uint8))
            memory.store(at + k * size, bits, self.warp[on], self.epoch, line)

    def count(self, address: Any, where: Any, more: Any, orders: Collection[str]) -> Bits:
        """A counter of 32 bits before `more` is added, of the threads that `where` says."""
        memory, clocks = self.everywhere, self.everywhere.touched.clocks
        _, at, on = self._places("global", address, where)
        result = np.zeros(self.threads, np.uint32)
        for thread, place in zip(np.flatnonzero(on), at, strict=True):
            inside = 0 <= place <= len(memory.bytes) - 4 and memory.allowed[place : place + 4].all()
            if not inside or place % 4:
                raise Fault("global memory: a counter out of bounds")
            if "acquire" in orders:
                clocks.acquire(memory.block, place)
            if "release" in orders:
                clocks.release(memory.block, place)
            cell = memory.bytes[place : place + 4].view(np.uint32)
            result[thread] = cell[0]
            cell[0] += np.uint32(self.full(more)[thread])
        self.looked = self.looked or "acquire" in orders
        return result

    def _places(self, space: str, address: Any, where: Any) -> tuple[Memory, np.ndarray, np.ndarray]:
        memory, base = self.memory[space]
        on = np.broadcast_to(where, (self.threads,))
        return memory, self.full(address).astype(np.int64)[on] - base, on

    # 8 x 8 matrices of 16 bits: thread 8 m + r of a warp has the address of row r of matrix m

    def load_matrices(self, address: Any, transposed: bool, count: int, line: str) -> list[Bits]:
        memory, at, warps = self._matrices(address, count)
        rows = memory.load(at.ravel(), np.uint16, warps, self.epoch, line).reshape(at.shape)
        if transposed:
            rows = rows.swapaxes(2, 3)
        pairs = rows.reshape(len(at), count, WARP, 2).astype(np.uint32)
        bits = pairs[..., 0] | (pairs[..., 1] << np.uint32(16))
        return [bits[:, k].reshape(-1) for k in range(count)]

    def store_matrices(self, address: Any, values: Sequence[Any], transposed: bool, line: str) -> None:
        memory, at, warps = self._matrices(address, len(values))
        bits = np.stack([self.full(value).reshape(-1, WARP) for value in values], 1)
        rows = halves(bits).reshape(at.shape)
        if transposed:
            rows = rows.swapaxes(2, 3)
        memory.store(at.ravel(), np.ascontiguousarray(rows).ravel(), warps, self.epoch, line)

    def _matrices(self, address: Any, count: int) -> tuple[Memory, np.ndarray, np.ndarray]:
        memory, base = self.memory["shared"]
        rows = self.full(address).astype(np.int64).reshape(-1, 4, 8)[:, :count] - base
        at = rows[..., None] + np.arange(0, 16, 2)  # (warps, matrix, row, column)
        return memory, at, np.repeat(np.arange(len(at)), count * 64)

    def multiply(self, kind: str, a: Sequence[Any], b: Sequence[Any], c: Sequence[Any]) -> list[Bits]:
        """D = A B + C of each warp: A is (16, K), B (K, 8), K = 8 for tf32 and 16 for 16 bits."""

        def quads(bits: Any) -> Bits:
            return np.ascontiguousarray(self.full(bits)).reshape(-1, 8, 4)  # (warps, group, thread in it)

        def numbers(bits: Any) -> np.ndarray:
            if kind == "tf32":
                return read("f32", quads(bits) & TF32)
            return read(kind, halves(quads(bits))).reshape(-1, 8, 8)

        first = [numbers(bits) for bits in a]
        left = np.concatenate([np.concatenate(first[k::2], 2) for k in (0, 1)], 1)
        right = np.concatenate([numbers(bits) for bits in b], 2).swapaxes(1, 2)
        summed = [read("f32", quads(bits)) for bits in c]
        product = (left @ right).reshape(-1, 2, 8, 4, 2)
        total = product + np.stack([np.stack(summed[k : k + 2], -1) for k in (0, 2)], 1)
        return [write("f32", total[:, k, :, :, j]).reshape(-1) for k in (0, 1) for j in (0, 1)]

    def shuffle(self, mode: str, bits: Any, by: Any, clamp: int) -> Bits:
        """Registers of other threads of the warp."""
        lanes, lane = self.full(bits).reshape(-1, WARP), np.arange(WARP)
        other = self.full(by).astype(np.int64).reshape(-1, WARP)
        segment = (clamp >> 8) & 31
        low, high = lane & segment, (lane & segment) | (clamp & 31 & ~segment)
        source = {
            "up": lane - other,
            "down": lane + other,
            "bfly": lane ^ other,
            "idx": low | (other & ~segment & 31),
        }[mode]
        there = source >= high if mode == "up" else source <= high
        return np.take_along_axis(lanes, np.where(there, source, lane), 1).reshape(-1)
