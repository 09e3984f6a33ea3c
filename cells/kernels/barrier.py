# mypy: allow-untyped-defs, allow-incomplete-defs, disable-error-code="no-any-return,call-arg"
# All below the imports is printed into kernels, where Numba finds the types.
"""The barrier at which threads wait for each other within a step; an array of its own for each run.

Kernels of blocks of units have this text, with their own dtype's options; the import makes it readable and
checkable by itself, in float32. All who arrive are counted, and the count never falls, so that nobody can
miss a turn. Who waits long gives its processor away: there may be fewer of these than threads.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .float32 import OPTIONS, njit

ARRIVED, STOPPED = 0, 8  # of int64: in lines apart, for the count is written at every step
TURNS = 50  # a microsecond or two; where nobody else wants the processor, giving it away costs half of one


@intrinsic
def arrive(typing, barrier):
    """Counts one more; what this thread wrote before is there for all who see the count."""

    def code(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "seq_cst")
        return context.get_dummy_value()

    return types.void(barrier), code


@intrinsic
def seen(typing, barrier, k):
    """The number at k as other threads have left it."""

    def code(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(builder.gep(array.data, [arguments[1]]), "seq_cst", 8)

    return types.int64(barrier, types.int64), code


@intrinsic
def pause(typing):
    """Tells the processor that this thread only looks."""

    def code(context, builder, signature, arguments):
        nothing, number = ir.VoidType(), ir.IntType(32)
        if builder.module.triple.startswith("x86_64"):
            name, given = "llvm.x86.sse2.pause", []
        elif builder.module.triple.startswith(("aarch64", "arm64")):
            name, given = "llvm.aarch64.hint", [number(1)]  # yield
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(nothing, [number] * len(given))
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def give_way(typing):
    """Lets another thread have the processor."""

    def code(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), code


@njit(nogil=True, **OPTIONS)
def meet(barrier, count):
    """Arrives, and waits until so many have. False where one of them has failed, and nobody should go on."""
    arrive(barrier)
    turns = 0
    while seen(barrier, ARRIVED) < count:
        if seen(barrier, STOPPED):
            return False
        turns += 1
        if turns < TURNS:
            pause()
        else:
            give_way()
    return True
