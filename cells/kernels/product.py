# mypy: allow-untyped-defs, allow-incomplete-defs, disable-error-code="no-any-return"
# All from the first function on is printed into kernels, where Numba finds the types.
"""The product of a step with weights that are packed once: a (B, K) times panels, into out (B, N).

A step's product is small, and the weights are the same at every step. BLAS lays them out anew at every call;
here they lie in panels of PANEL outputs, each (K, PANEL). A tile of up to six sequences and one panel stays
in the processor's registers over all of K. Numba does not emit such a loop, so `tile` writes it for LLVM.
Printed kernels put their own dtype's constants before this text; the import makes it readable and checkable
by itself, in float32.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .float32 import FLOAT, LANES, OPTIONS, PANEL, njit


def at(number):
    """A constant index."""
    return ir.Constant(ir.IntType(64), number)


def vector():
    """The type of the numbers that one register holds."""
    return ir.VectorType(FLOAT, LANES)


def splat(builder, value):
    """A vector with the value in every lane."""
    one = builder.insert_element(ir.Constant(vector(), ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def vector_at(builder, pointer, offset):
    """The pointer, this many numbers on, as one to a vector."""
    return builder.bitcast(builder.gep(pointer, [offset]), vector().as_pointer())


def multiply_add(builder):
    """LLVM's function of three vectors, rounded once."""
    name = f"llvm.fma.v{LANES}f{64 if isinstance(FLOAT, ir.DoubleType) else 32}"
    kind = ir.FunctionType(vector(), [vector()] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def with_terms(builder, sums, a, a_row, panel, k):
    """The sums of a tile, row by row, with the terms of this k."""
    vectors, fma, new = PANEL // LANES, multiply_add(builder), []
    base = builder.mul(k, at(PANEL))
    weights = []
    for v in range(vectors):
        weights.append(builder.load(vector_at(builder, panel, builder.add(base, at(v * LANES)))))
        weights[-1].align = 4  # a panel begins where its array does
    for row in range(len(sums) // vectors):
        number = builder.load(builder.gep(a, [builder.add(builder.mul(a_row, at(row)), k)]))
        value = splat(builder, number)
        share = sums[row * vectors : (row + 1) * vectors]
        new += [builder.call(fma, [value, w, s]) for w, s in zip(weights, share, strict=True)]
    return new


def loop(builder, sums, start, stop, stride, body):
    """The sums after body(k, sums) for every whole stride from start to stop, and the first k left."""
    before = builder.basic_block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k, carried = builder.phi(ir.IntType(64)), [builder.phi(vector()) for _ in sums]
    ahead = builder.add(k, at(stride))
    builder.cbranch(builder.icmp_signed("<=", ahead, stop), inside, after)
    builder.position_at_end(inside)
    new = body(k, carried)
    builder.branch(head)
    for phi, first, next_one in zip([k, *carried], [start, *sums], [ahead, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_one, inside)
    builder.position_at_end(after)
    return carried, k


def tile(rows):
    """An intrinsic that writes `rows` rows of a panel's product.

    It takes an array, the index of its first number and the distance of its rows for a; the panels and the
    first index of one; the same three for out; and K. Few rows sum in several parts, which are added at the
    end, so that enough additions are under way at a time.
    """
    count, parts = rows * PANEL // LANES, max(1, 8 * LANES // (rows * PANEL))

    def summed(builder, a, a_row, panel, inner):
        def one(k, sums):
            return with_terms(builder, sums, a, a_row, panel, k)

        def each_part(k, sums):
            shares = [sums[part * count : (part + 1) * count] for part in range(parts)]
            return [s for part in range(parts) for s in one(builder.add(k, at(part)), shares[part])]

        zeros = [ir.Constant(vector(), [0.0] * LANES)] * (count * parts)
        sums, k = loop(builder, zeros, at(0), inner, parts, each_part)
        total = sums[:count]
        for part in range(1, parts):
            share = sums[part * count : (part + 1) * count]
            total = [builder.fadd(s, t) for s, t in zip(total, share, strict=True)]
        return loop(builder, total, k, inner, 1, one)[0] if parts > 1 else total  # what is left of K

    @intrinsic
    def written(typing, a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner):
        signature = types.void(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)

        def code(context, builder, signature, arguments):
            def pointer(which):
                array = context.make_array(signature.args[which])(context, builder, arguments[which])
                return builder.gep(array.data, [arguments[which + 1]])

            total = summed(builder, pointer(0), arguments[2], pointer(3), arguments[8])
            for position, value in enumerate(total):
                row, v = divmod(position, PANEL // LANES)
                offset = builder.add(builder.mul(arguments[7], at(row)), at(v * LANES))
                builder.store(value, vector_at(builder, pointer(5), offset)).align = 4
            return context.get_dummy_value()

        return signature, code

    return written


tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 = (tile(rows) for rows in range(1, 7))


@njit(**OPTIONS)
def product(a, panels, out):
    """Writes a (B, K) times panels (P, K, PANEL) to out (B, P * PANEL), rows shared out evenly over tiles."""
    batch, inner = a.shape
    a_row, out_row, tiles = inner, out.shape[1], (batch + 5) // 6
    for p in range(len(panels)):
        panel_at, left, b = p * inner * PANEL, tiles, 0
        while left > 0:
            rows = (batch - b + left - 1) // left
            a_at, out_at = b * a_row, b * out_row + p * PANEL
            if rows == 6:
                tile_6(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)
            elif rows == 5:
                tile_5(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)
            elif rows == 4:
                tile_4(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)
            elif rows == 3:
                tile_3(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)
            elif rows == 2:
                tile_2(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)
            else:
                tile_1(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)
            b += rows
            left -= 1
