# mypy: allow-untyped-defs, allow-incomplete-defs, disable-error-code="no-any-return"
# All from the first function on is printed into kernels, where Numba finds the types.
"""The product of a step with weights that are packed once: a (B, K) times panels, into out (B, N).

A step's product is small, and the weights are the same at every step. BLAS lays them out anew at every call;
here they lie in panels of PANEL outputs, each (K, PANEL). A tile of up to six sequences and one panel stays in
the processor's registers over all of K. Numba does not emit such a loop, so `tile` writes it for LLVM.
Printed kernels put their own dtype's constants before this text; the import makes it readable and checkable
by itself, in float32.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .float32 import FLOAT, LANES, OPTIONS, PANEL, njit


def tile(rows):
    """An intrinsic that writes `rows` rows of a panel's product.

    It takes an array, the index of its first number and the distance of its rows for a; the panels and the
    first index of one; the same three for out; and K. Few rows sum in several accumulators each, so that
    enough additions are under way at a time.
    """
    vectors, parts = PANEL // LANES, max(1, 8 * LANES // (rows * PANEL))
    vector, index = ir.VectorType(FLOAT, LANES), ir.IntType(64)
    cells = [(row, v) for row in range(rows) for v in range(vectors)]

    def at(number):
        return ir.Constant(index, number)

    def splat(builder, value):
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, one, first)

    def vector_at(builder, pointer, offset):
        return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

    def summed(builder, sums, fma, a, distance, panel, k):
        """The sums with the terms of this k."""
        base = builder.mul(k, at(PANEL))
        weights = []
        for v in range(vectors):
            weights.append(builder.load(vector_at(builder, panel, builder.add(base, at(v * LANES)))))
            weights[-1].align = 4
        values = [
            splat(builder, builder.load(builder.gep(a, [builder.add(builder.mul(distance, at(row)), k)])))
            for row in range(rows)
        ]
        return [builder.call(fma, [values[row], weights[v], s]) for (row, v), s in zip(cells, sums)]

    def loop(builder, sums, start, stop, stride, body):
        """The sums after body(k, sums) for k from start to stop, which may be none; (sums, the last k)."""
        before = builder.basic_block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(index)
        carried = [builder.phi(vector) for _ in sums]
        k.add_incoming(start, before)
        for phi, value in zip(carried, sums):
            phi.add_incoming(value, before)
        ahead = builder.add(k, at(stride))
        builder.cbranch(builder.icmp_signed("<=", ahead, stop), inside, after)
        builder.position_at_end(inside)
        new = body(k, carried)
        k.add_incoming(ahead, builder.basic_block)
        for phi, value in zip(carried, new):
            phi.add_incoming(value, builder.basic_block)
        builder.branch(head)
        builder.position_at_end(after)
        return carried, k

    @intrinsic
    def written(typing, a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner):
        signature = types.void(a, a_at, a_row, panels, panel_at, out, out_at, out_row, inner)

        def code(context, builder, signature, arguments):
            def pointer(which):
                array = context.make_array(signature.args[which])(context, builder, arguments[which])
                return builder.gep(array.data, [arguments[which + 1]])

            a, panel, out = pointer(0), pointer(3), pointer(5)
            distance, out_row, inner = arguments[2], arguments[7], arguments[8]
            name = f"llvm.fma.v{LANES}f{64 if FLOAT == ir.DoubleType() else 32}"
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, name)
            count = len(cells)

            def several(k, sums):
                for part in range(parts):
                    mine = slice(part * count, (part + 1) * count)
                    terms = summed(builder, sums[mine], fma, a, distance, panel, builder.add(k, at(part)))
                    sums = [*sums[: mine.start], *terms, *sums[mine.stop :]]
                return sums

            zeros = [ir.Constant(vector, [0.0] * LANES)] * (count * parts)
            sums, k = loop(builder, zeros, at(0), inner, parts, several)
            total = sums[:count]
            for part in range(1, parts):
                total = [builder.fadd(s, t) for s, t in zip(total, sums[part * count : (part + 1) * count])]
            if parts > 1:  # what is left of K
                one = lambda k, sums: summed(builder, sums, fma, a, distance, panel, k)
                total, _ = loop(builder, total, k, inner, 1, one)
            for (row, v), value in zip(cells, total):
                offset = builder.add(builder.mul(out_row, at(row)), at(v * LANES))
                builder.store(value, vector_at(builder, out, offset)).align = 4
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
