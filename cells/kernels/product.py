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
def call_product(typing, a, panels, start, out, turn):
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
        kinds = [pointer, index, pointer, pointer, index, pointer, *[index] * 5]
        kind = ir.FunctionType(ir.VoidType(), kinds)
        number = context.cast(builder, arguments[4], signature.args[4], types.intp)
        given = [left.data, row(left), weights.data, first.data, distance, written.data, row(written)]
        function = cgutils.get_or_insert_function(builder.module, kind, PRODUCT)
        builder.call(function, [*given, rows, inner, outputs, number])
        return context.get_dummy_value()

    return types.void(a, panels, start, out, turn), code


@njit(**OPTIONS)
def add_product(a, panels, start, out, turn):
    """Writes start (B, N), or (1, N) for all rows, plus a (B, K) times panels (P, K, PANEL) to out (B, N).

    In odd turns the last panel comes first, so that those that were read last are still in a cache.
    """
    call_product(a, panels, start, out, turn)


@njit(**OPTIONS)
def product(a, panels, out, turn):
    """Writes a (B, K) times panels (P, K, PANEL) to out: to its first P * PANEL columns where it has more."""
    within = out[:, : len(panels) * PANEL]
    for b in range(len(within)):
        for n in range(within.shape[1]):
            within[b, n] = ZERO
    call_product(a, panels, within, within, turn)


@njit(**OPTIONS)
def increase(into, part):
    """Adds the first N columns of part (B, N or more) to into (B, N)."""
    for b in range(len(into)):
        for n in range(into.shape[1]):
            into[b, n] += part[b, n]


@njit(**OPTIONS)
def together(steps, first, last, batch):
    """(products, rows of each) for sequences first to last of some steps: one where all rows lie together."""
    return (1, steps * batch) if last - first == batch else (steps, last - first)


@njit(**OPTIONS)
def multiply_inputs(all_x, t, count, first, last, weight_ih, bias, all_wx, at):
    """Writes the products of `count` steps from t on, of sequences first to last, to all_wx (T, B, G, units).

    They stand there from row `at` on.
    """
    steps, batch, rows = len(all_x), all_wx.shape[1], len(all_wx)
    x_rows, wx_rows = all_x.reshape(steps * batch, -1), all_wx.reshape(rows * batch, -1)
    products, many = together(count, first, last, batch)
    for k in range(products):
        here, there = (t + k) * batch + first, (at + k) * batch + first
        add_product(x_rows[here : here + many], weight_ih, bias, wx_rows[there : there + many], k)


@njit(**OPTIONS)
def multiply_cotangents(all_d_wx, t, count, first, last, weight_ih, all_d_x):
    """Writes the inputs' cotangents of `count` steps from t on, of sequences first to last, to all_d_x."""
    steps, batch = all_d_wx.shape[:2]
    d_rows, d_x_rows = all_d_wx.reshape(steps * batch, -1), all_d_x.reshape(steps * batch, -1)
    products, many = together(count, first, last, batch)
    for k in range(products):
        here = (t + k) * batch + first
        product(d_rows[here : here + many], weight_ih, d_x_rows[here : here + many], k)


@njit(**OPTIONS)
def add_product_of(state_at, now, panels, all_rows, at, first, last):
    """Adds the product of row `now` of a state to row `at` of all_rows (R, B, N), sequences first to last."""
    rows = all_rows[at][first:last]
    add_product(state_at[now][first:last], panels, rows, rows, now)
