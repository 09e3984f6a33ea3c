# mypy: allow-untyped-defs, allow-incomplete-defs, disable-error-code="no-any-return"
"""The product of a step, written for LLVM: start + a (B, K) times weights that are packed once, into out.

A step's product is small, and the weights are the same at every step. BLAS lays them out anew at every call;
here they lie in panels of so many outputs each, (K, panel). A tile of up to six sequences and one panel stays
in the processor's registers over all of K. Numba does not emit such a loop. It is compiled once a process and
dtype, and kernels call it by its name.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils

ROWS = 6  # of the largest tile
UNDER_WAY = 8  # sums, so that none waits for the one before: two a cycle, and each takes four
INDEX = ir.IntType(64)
VERSION = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]  # which printed kernels name
_engines: dict[str, Any] = {}  # by dtype; they own the compiled code


def name(dtype: str) -> str:
    """The name by which kernels find the product of this dtype.

    It stays when this file changes, so that compiled code which a cache holds finds its product.
    """
    return f"cellbench_product_{dtype}"


@lru_cache
def ready(dtype: str) -> str:
    """The same, and the product is there from now on: compiled for this processor, whatever a cache holds."""
    form = import_module(f".{dtype}", __package__)
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, jit=True
    )
    _engines[dtype] = compiled(form.FLOAT, form.LANES, form.PANEL, machine)
    binding.add_symbol(name(dtype), _engines[dtype].get_function_address("product"))
    return name(dtype)


def compiled(number: ir.Type, lanes: int, panel: int, machine: binding.TargetMachine) -> Any:
    """The engine that owns `product` in a machine's code."""
    engine = binding.create_mcjit_compiler(parsed(str(module(number, lanes, panel)), machine), machine)
    engine.finalize_object()
    return engine


def parsed(text: str, machine: binding.TargetMachine) -> binding.ModuleRef:
    """LLVM's module of this text, for a machine. Passes would not make it better, and take as long again."""
    made = binding.parse_assembly(text)
    made.triple, made.data_layout = machine.triple, str(machine.target_data)
    return made


def signature(number: ir.Type) -> ir.FunctionType:
    """product(a, a_row, panels, start, start_row, out, out_row, rows, inner, outputs).

    Each _row is the distance of an array's rows, and 0 of one row that counts for all; start may be out.
    """
    array = number.as_pointer()
    return ir.FunctionType(
        ir.VoidType(), [array, INDEX, array, array, INDEX, array, INDEX, INDEX, INDEX, INDEX]
    )


def module(number: ir.Type, lanes: int, panel: int) -> ir.Module:
    """LLVM's module of `product`, for registers of so many lanes."""
    made, most = ir.Module("product"), panel // lanes
    strips = [strip(made, ir.VectorType(number, lanes), v, panel) for v in range(1, most + 1)]
    function = ir.Function(made, signature(number), "product")
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_row, panels, start, start_row, out, out_row, rows, inner, outputs = function.args
    count = builder.sdiv(builder.add(outputs, at(panel - 1)), at(panel))
    with cgutils.for_range(builder, count, intp=INDEX) as each:
        column = builder.mul(each.index, at(panel))
        left = smaller(builder, builder.sub(outputs, column), at(panel))
        vectors = builder.sdiv(builder.add(left, at(lanes - 1)), at(lanes))
        given = [a, a_row, builder.gep(panels, [builder.mul(column, inner)])]
        given += [builder.gep(start, [column]), start_row, builder.gep(out, [column]), out_row]
        chosen(builder, vectors, strips, [*given, rows, inner, left])
    builder.ret_void()
    return made


def strip(made: ir.Module, vector: ir.VectorType, vectors: int, panel: int) -> ir.Function:
    """The function that makes all rows of the first vectors of a panel; outputs beyond `width` stay."""
    number, pointer = vector.element, vector.element.as_pointer()
    tiles = [tile(made, vector, rows, vectors, panel) for rows in range(1, ROWS + 1)]
    kinds = [pointer, INDEX, pointer, pointer, INDEX, pointer, INDEX, INDEX, INDEX, INDEX]
    function = private(made, kinds, f"strip_{vectors}")
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_row, weights, start, start_row, out, out_row, rows, inner, width = function.args
    spare = builder.bitcast(builder.alloca(ir.ArrayType(number, ROWS * panel)), pointer)
    ragged = builder.icmp_signed("<", width, at(vectors * vector.count))
    count = builder.sdiv(builder.add(rows, at(ROWS - 1)), at(ROWS))
    with cgutils.for_range(builder, count, intp=INDEX) as each:  # rows are shared out evenly over tiles
        row = builder.sdiv(builder.mul(each.index, rows), count)
        some = builder.sub(builder.sdiv(builder.mul(builder.add(each.index, at(1)), rows), count), row)
        begin = builder.gep(start, [builder.mul(row, start_row)])
        end = builder.gep(out, [builder.mul(row, out_row)])
        with builder.if_then(ragged):
            copied(builder, begin, start_row, spare, at(panel), some, width)
        given = [builder.gep(a, [builder.mul(row, a_row)]), a_row, weights]
        for whole, distance in ((begin, start_row), (end, out_row)):
            given += [builder.select(ragged, spare, whole), builder.select(ragged, at(panel), distance)]
        chosen(builder, some, tiles, [*given, inner])
        with builder.if_then(ragged):
            copied(builder, spare, at(panel), end, out_row, some, width)
    builder.ret_void()
    return function


def tile(made: ir.Module, vector: ir.VectorType, rows: int, vectors: int, panel: int) -> ir.Function:
    """The function that makes so many rows of a panel's first vectors.

    Few rows sum in several parts, which are added at the end, so that enough additions are under way.
    """
    pointer, count = vector.element.as_pointer(), rows * vectors
    parts = -(-UNDER_WAY // count)
    kinds = [pointer, INDEX, pointer, pointer, INDEX, pointer, INDEX, INDEX]
    function = private(made, kinds, f"tile_{rows}_{vectors}")
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_row, weights, start, start_row, out, out_row, inner = function.args
    once = f"llvm.fma.v{vector.count}{vector.element.intrinsic_name}"  # rounded once
    fma = cgutils.get_or_insert_function(made, ir.FunctionType(vector, [vector] * 3), once)
    places = [(row, v * vector.count) for row in range(rows) for v in range(vectors)]

    def with_terms(k, sums):
        line = builder.gep(weights, [builder.mul(k, at(panel))])
        weight = [loaded(builder, builder.gep(line, [at(v * vector.count)]), vector) for v in range(vectors)]
        values = [
            builder.load(builder.gep(a, [builder.add(builder.mul(a_row, at(r)), k)])) for r in range(rows)
        ]
        spread = [splat(builder, value, vector) for value in values]
        return [
            builder.call(fma, [spread[place // vectors], weight[place % vectors], total])
            for place, total in enumerate(sums)
        ]

    def each_part(k, sums):
        shares = [sums[part * count : (part + 1) * count] for part in range(parts)]
        return [s for part in range(parts) for s in with_terms(builder.add(k, at(part)), shares[part])]

    begin = [loaded(builder, place_of(builder, start, start_row, *place), vector) for place in places]
    zeros = [ir.Constant(vector, [0.0] * vector.count)] * (count * (parts - 1))
    sums, k = summed(builder, [*begin, *zeros], at(0), inner, parts, each_part)
    total = sums[:count]
    for part in range(1, parts):
        share = sums[part * count : (part + 1) * count]
        total = [builder.fadd(s, t) for s, t in zip(total, share, strict=True)]
    total = summed(builder, total, k, inner, 1, with_terms)[0] if parts > 1 else total  # what is left of K
    for place, value in zip(places, total, strict=True):
        stored(builder, value, place_of(builder, out, out_row, *place))
    builder.ret_void()
    return function


def summed(builder, sums, start, stop, stride, body):
    """The sums after body(k, sums) for every whole stride from start to stop, and the first k left."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k, carried = builder.phi(INDEX), [builder.phi(value.type) for value in sums]
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


def chosen(builder, number, functions, arguments):
    """Calls the function that belongs to the number, counted from 1."""
    after = builder.append_basic_block("chosen")
    switch = builder.switch(number, after)
    for k, function in enumerate(functions, 1):
        case = builder.append_basic_block("case")
        switch.add_case(at(k), case)
        builder.position_at_end(case)
        builder.call(function, arguments)
        builder.branch(after)
    builder.position_at_end(after)


def copied(builder, source, source_row, to, to_row, rows, width):
    """Copies the first `width` numbers of each row."""
    lines, columns = (cgutils.for_range(builder, count, intp=INDEX) for count in (rows, width))
    with lines as row, columns as column:
        value = builder.load(place_of(builder, source, source_row, row.index, column.index))
        builder.store(value, place_of(builder, to, to_row, row.index, column.index))


def private(made, kinds, name):
    """A function that is seen in this module alone."""
    function = ir.Function(made, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


def at(number):
    """A constant index, or an index as it is."""
    return ir.Constant(INDEX, number) if isinstance(number, int) else number


def smaller(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def place_of(builder, array, distance, row, column):
    """The pointer to a number of an array whose rows are so far apart."""
    return builder.gep(array, [builder.add(builder.mul(distance, at(row)), at(column))])


def splat(builder, value, vector):
    """A vector with the value in every lane."""
    nothing, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(nothing, value, ir.Constant(index, 0))
    return builder.shuffle_vector(
        one, nothing, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    )


def loaded(builder, pointer, vector):
    """The vector at a pointer to numbers, which begins where its array does."""
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = 4 if isinstance(vector.element, ir.FloatType) else 8
    return value


def stored(builder, value, pointer):
    """Writes a vector to a pointer to numbers."""
    made = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    made.align = 4 if isinstance(value.type.element, ir.FloatType) else 8
