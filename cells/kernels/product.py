# mypy: allow-untyped-defs, allow-incomplete-defs, disable-error-code="no-any-return,call-arg"
# All from the first function on is printed into kernels, where Numba finds the types.
"""The product of a step with weights that are packed once (`panels`), as Numba's code calls it (`tiles`).

Printed kernels put their own dtype's constants and the product's name before this text; the import makes it
readable and checkable by itself, in float32.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .float32 import FLOAT, OPTIONS, PANEL, ZERO, njit
from .tiles import ready

PRODUCT = ready("float32")


@intrinsic
def call_product(typing, a, panels, start, out):
    """Calls the product, which LLVM finds by its name; rows of the arrays may lie apart."""

    def code(context, builder, signature, arguments):
        def array(which):
            return context.make_array(signature.args[which])(context, builder, arguments[which])

        def row(array):
            return builder.sdiv(cgutils.unpack_tuple(builder, array.strides)[0], array.itemsize)

        left, weights, first, written = map(array, range(4))
        rows, inner = cgutils.unpack_tuple(builder, left.shape)
        outputs = cgutils.unpack_tuple(builder, written.shape)[1]
        one = builder.icmp_signed(
            "==", cgutils.unpack_tuple(builder, first.shape)[0], context.get_constant(types.intp, 1)
        )
        distance = builder.select(one, context.get_constant(types.intp, 0), row(first))
        pointer, index = FLOAT.as_pointer(), ir.IntType(64)
        kinds = [pointer, index, pointer, pointer, index, pointer, index, index, index, index]
        kind = ir.FunctionType(ir.VoidType(), kinds)
        given = [left.data, row(left), weights.data, first.data, distance, written.data, row(written)]
        function = cgutils.get_or_insert_function(builder.module, kind, PRODUCT)
        builder.call(function, [*given, rows, inner, outputs])
        return context.get_dummy_value()

    return types.void(a, panels, start, out), code


@njit(**OPTIONS)
def add_product(a, panels, start, out):
    """Writes start (B, N), or (1, N) for all rows, plus a (B, K) times panels (P, K, PANEL) to out (B, N)."""
    call_product(a, panels, start, out)


@njit(**OPTIONS)
def product(a, panels, out):
    """Writes a (B, K) times panels (P, K, PANEL) to out: to its first P * PANEL columns where it has more."""
    within = out[:, : len(panels) * PANEL]
    within[:] = ZERO
    call_product(a, panels, within, within)


@njit(**OPTIONS)
def together(steps, first, last, batch):
    """(products, rows of each) for sequences first to last of some steps: one where all rows lie together."""
    return (1, steps * batch) if last - first == batch else (steps, last - first)
