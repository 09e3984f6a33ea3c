# mypy: allow-untyped-defs, allow-incomplete-defs
# mypy: disable-error-code="call-arg"
"""What one core can do at most: multiply-adds a second, and bytes a second from each cache and from memory.

Numba emits neither loop by itself, so both are written for LLVM: REGISTERS sums in registers, which do not
wait for one another, on vectors as wide as the processor has. No library takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .caches import Level, levels
from .clocks import Clock, clock_of
from .timing import Timed, collector_off, loops_for

REGISTERS = 12  # sums: 8 to 10 additions are under way at a time, and 16 registers hold them
LEAST_BYTES = 1 << 22  # read in a call
SAMPLES, SAMPLE_S = 15, 0.001
FLOP = 2  # of a multiply-add


def flop_per_s(dtype: str, clock: Clock | None = None) -> float:
    """FLOP/s of independent multiply-adds in float32 or float64, from the fastest of some runs."""
    run, flop = arithmetic(dtype)
    return flop / fastest(run, clock or clock_of("cpu"))


def arithmetic(dtype: str) -> tuple[Callable[[], object], float]:
    """Independent multiply-adds as something to be timed, and how many FLOP it has."""
    add, _, lanes = kernels(dtype)
    count = 2_000
    return lambda: add(count, 0.5), float(FLOP * REGISTERS * lanes * count)


def bytes_per_s(level: Level, clock: Clock | None = None) -> float:
    """Bytes a second that one core reads again and again from an array of level.read bytes."""
    _, read, lanes = kernels("float32")
    block = 4 * lanes * REGISTERS
    array = np.ones(max(1, level.read // block) * block // 4, np.float32)
    times = max(1, LEAST_BYTES // array.nbytes)  # a call costs as much as a small cache is read in
    seconds = fastest(lambda: read(array, times), clock or clock_of("cpu"))
    return array.nbytes * times / seconds


@lru_cache
def machine() -> dict[str, Any]:
    """The ceilings of this machine, once a process: FLOP/s by dtype, and bytes/s by level with its size."""
    return {
        "flop_per_s": {dtype: flop_per_s(dtype) for dtype in ("float32", "float64")},
        "bytes_per_s": {level.name: (level.fits, bytes_per_s(level)) for level in levels()},
    }


def fastest(run: Callable[[], object], clock: Clock) -> float:
    """Seconds of the fastest of SAMPLES samples: a ceiling is what an undisturbed run reaches."""
    timed = Timed(run, lambda: None)
    timed.seconds(1, clock)
    loops = loops_for(timed.seconds(1, clock), SAMPLE_S)
    with collector_off():
        return min(timed.seconds(loops, clock) for _ in range(SAMPLES))


@lru_cache
def kernels(dtype: str) -> tuple[Callable[..., float], Callable[..., float], int]:
    """add(count, factor), read(array, times) and the numbers of a vector.

    add does REGISTERS multiply-adds of vectors `count` times; read sums an array up, `times` over.
    """
    import numba
    from llvmlite import ir
    from llvmlite.binding import get_host_cpu_features
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    features = get_host_cpu_features()
    width = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    bits = 64 if dtype == "float64" else 32
    lanes, index, zero = width * 8 // bits, ir.IntType(64), ir.Constant(ir.IntType(32), 0)
    vector = ir.VectorType(ir.DoubleType() if bits == 64 else ir.FloatType(), lanes)
    kind = getattr(types, dtype)

    def splat(builder, value):
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, zero)
        return builder.shuffle_vector(
            one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        )

    def summed(builder, count, start, body):
        """The sum of the first lanes after `count` times body(k, sums), so that no sum is left out."""
        before = builder.basic_block
        inside, after = (builder.append_basic_block(name) for name in ("inside", "after"))
        first = [
            builder.fadd(splat(builder, start), ir.Constant(vector, [float(k)] * lanes))
            for k in range(REGISTERS)
        ]
        builder.branch(inside)
        builder.position_at_end(inside)
        k, sums = builder.phi(index), [builder.phi(vector) for _ in first]
        new, ahead = body(k, sums), builder.add(k, ir.Constant(index, 1))
        builder.cbranch(builder.icmp_signed("<", ahead, count), inside, after)
        firsts, nexts = [ir.Constant(index, 0), *first], [ahead, *new]
        for phi, one, next_one in zip([k, *sums], firsts, nexts, strict=True):
            phi.add_incoming(one, before)
            phi.add_incoming(next_one, inside)
        builder.position_at_end(after)
        total = new[0]
        for each in new[1:]:
            total = builder.fadd(total, each)
        return builder.extract_element(total, zero)

    @intrinsic
    def adding(typing, count, factor):
        def code(context, builder, signature, arguments):
            name = f"llvm.fma.v{lanes}f{bits}"
            fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
            # a constant would let LLVM work out some of the sums beforehand
            times = splat(builder, arguments[1])
            return summed(
                builder,
                arguments[0],
                arguments[1],
                lambda k, sums: [builder.call(fma, [each, times, times]) for each in sums],
            )

        return kind(types.int64, kind), code

    @intrinsic
    def reading(typing, array, count, start):
        def code(context, builder, signature, arguments):
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data

            def body(k, sums):
                base, new = builder.mul(k, ir.Constant(index, REGISTERS * lanes)), []
                for v, each in enumerate(sums):
                    at = builder.gep(data, [builder.add(base, ir.Constant(index, v * lanes))])
                    value = builder.load(builder.bitcast(at, vector.as_pointer()))
                    value.align = bits // 8
                    new.append(builder.fadd(each, value))
                return new

            return summed(builder, arguments[1], arguments[2], body)

        return kind(array, types.int64, kind), code

    real = np.dtype(dtype).type

    @numba.njit
    def add(count, factor):
        return adding(np.int64(count), real(factor))

    @numba.njit
    def read(array, times):
        total = real(0)
        for _ in range(times):  # each goes on from the last one's sum, so that none is left out
            total = reading(array, np.int64(len(array) // (REGISTERS * lanes)), total)
        return total

    return add, read, lanes
