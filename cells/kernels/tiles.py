# mypy: allow-untyped-defs, allow-incomplete-defs, disable-error-code="no-any-return"
"""The product of a step, written for LLVM: start + a (B, K) times weights that are packed once, into out.

A step's product is small, and the weights are the same at every step. BLAS lays them out anew at every call;
here they lie in panels of so many outputs each, (K, panel). A tile of up to six sequences and one panel stays
in the processor's registers over all of K. Numba does not emit such a loop. It is compiled once a machine and
dtype, lies sealed beside the kernels, and kernels call it by its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from ctypes import CFUNCTYPE, c_ssize_t, c_void_p
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding, ir
from numba.core import cgutils

from . import modules, sealed

ROWS = 6  # of the largest tile of a panel
TALL = 8  # of one of half a panel, for FAR weights and WIDE registers: each weight is then read once
UNDER_WAY = 8  # sums, so that none waits for its last term: two a cycle, and each takes four
WIDE = 64  # bytes of a register; there are 32 such, and one or two rows take twice as many sums
TERMS = 4  # of a sum, from one look at the counter to the next
AHEAD = 512  # numbers from a weight to the one that is fetched: across the page, where processors stop
FAR = 1 << 19  # weights, from which on they come from memory, or from a cache that cores share
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
    """The same, and the product is there from now on: this processor's code, compiled by some process."""
    form = import_module(f".{dtype}", __package__)
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, jit=True
    )
    made_by = "\0".join([VERSION, llvmlite.__version__, machine.triple, cpu, features])
    path = modules.folder() / f"product_{dtype}_{hashlib.sha256(made_by.encode()).hexdigest()[:12]}.o"
    try:
        _engines[dtype] = engine(sealed.opened(path), machine)
    except OSError:  # not there, or not this user's
        code = machine_code(form.FLOAT, form.LANES, form.PANEL, machine)
        with suppress(OSError):  # each process then compiles it again
            sealed.write(path, code)
        _engines[dtype] = engine(code, machine)
    binding.add_symbol(name(dtype), _engines[dtype].get_function_address("product"))
    return name(dtype)


@lru_cache
def product(dtype: str) -> Callable[..., None]:
    """The product as a function of addresses and numbers, in the order of `signature`."""
    ready(dtype)
    kinds = [c_void_p, c_ssize_t, c_void_p, c_void_p, c_ssize_t, c_void_p, *[c_ssize_t] * 5]
    return CFUNCTYPE(None, *kinds)(_engines[dtype].get_function_address("product"))


def machine_code(number: ir.Type, lanes: int, panel: int, machine: binding.TargetMachine) -> bytes:
    """The object file of `product` for a machine."""
    return machine.emit_object(parsed(str(module(number, lanes, panel)), machine))


def engine(code: bytes, machine: binding.TargetMachine) -> Any:
    """The engine that owns the code of an object file."""
    made = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    made.add_object_file(binding.ObjectFileRef.from_data(code))
    made.finalize_object()
    return made


def parsed(text: str, machine: binding.TargetMachine) -> binding.ModuleRef:
    """LLVM's module of this text, for a machine. Passes would not make it better, and take as long again."""
    made = binding.parse_assembly(text)
    made.triple, made.data_layout = machine.triple, str(machine.target_data)
    return made


def signature(number: ir.Type) -> ir.FunctionType:
    """product(a, a_row, panels, start, start_row, out, out_row, rows, inner, outputs, turn).

    Each _row is the distance of an array's rows, and 0 of one row that counts for all; start may be out.
    In odd turns the panels come from the last to the first.
    """
    array = number.as_pointer()
    return ir.FunctionType(ir.VoidType(), [array, INDEX, array, array, INDEX, array, *[INDEX] * 5])


def module(number: ir.Type, lanes: int, panel: int) -> ir.Module:
    """LLVM's module of `product`, for registers of so many lanes."""
    made, vector = ir.Module("product"), ir.VectorType(number, lanes)
    one_strip = strip(made, vector, panel)
    function = ir.Function(made, signature(number), "product")
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_row, panels, start, start_row, out, out_row, rows, inner, outputs, turn = function.args
    count = builder.sdiv(builder.add(rows, at(ROWS - 1)), at(ROWS))
    width, far = at(panel), builder.icmp_signed(">", builder.mul(inner, outputs), at(FAR))
    for height in heights(vector):  # rows of a single tile; of several, none is low
        wide, here = at(across(height, vector, panel) * lanes), builder.icmp_signed("==", rows, at(height))
        here = builder.and_(here, far) if height > ROWS else here
        width, count = builder.select(here, wide, width), builder.select(here, at(1), count)
    strips = builder.sdiv(builder.sub(builder.add(outputs, width), at(1)), width)
    many = builder.and_(far, builder.icmp_signed(">", count, at(1)))
    back = builder.trunc(turn, ir.IntType(1))
    last, size = builder.sub(strips, at(1)), builder.mul(width, inner)
    onward = builder.select(back, builder.sub(at(0), size), size)  # from a strip's weights to the next one's
    with cgutils.for_range(builder, strips, intp=INDEX) as each:
        which = builder.select(back, builder.sub(last, each.index), each.index)
        column = builder.mul(which, width)
        within = builder.srem(column, at(panel))
        begin = builder.add(builder.mul(builder.sub(column, within), inner), within)
        given = [a, a_row, builder.gep(panels, [begin])]
        given += [builder.gep(start, [column]), start_row, builder.gep(out, [column]), out_row]
        left = builder.sub(outputs, column)
        smaller = builder.select(builder.icmp_signed("<", left, width), left, width)
        builder.call(one_strip, [*given, rows, inner, smaller, count, many, onward])
    builder.ret_void()
    return made


def heights(vector: ir.VectorType) -> range:
    """The rows that a single tile may have."""
    return range(1, (TALL if is_wide(vector) else ROWS) + 1)


def is_wide(vector: ir.VectorType) -> bool:
    """Whether it is a register of those of which there are 32."""
    return vector.count * bytes_of(vector.element) == WIDE


def across(rows: int, vector: ir.VectorType, panel: int) -> int:
    """Vectors of a tile: whole panels, as many as registers hold, so that no sum waits for its last term.

    Of more rows than ROWS it is half a panel.
    """
    most = panel // vector.count
    if rows > ROWS:
        return most // 2
    wanted = 2 * UNDER_WAY if rows < 3 and is_wide(vector) else UNDER_WAY
    return most * max(1, min(-(-wanted // (rows * most)), ROWS // rows))


def strip(made: ir.Module, vector: ir.VectorType, panel: int) -> ir.Function:
    """The function that makes all rows of `width` outputs in `count` tiles, which share out the rows.

    `onward` is the distance to the next strip's weights. Where they are many, each tile has its share of them
    fetched, so that the traffic is even. Each also has the lines fetched that the next one starts from, or
    writes: they come from a cache far away, for all weights have been read since.
    """
    number, lanes, pointer = vector.element, vector.count, vector.element.as_pointer()
    widest = {rows: across(rows, vector, panel) for rows in heights(vector)}
    tiles = {
        (rows, vectors, shared): tile(made, vector, rows, vectors, panel, shared)
        for rows in widest
        for vectors in range(1, widest[rows] + 1)
        # of several tiles, none has fewer rows
        for shared in ([False, True] if rows >= ROWS // 2 and vectors == panel // lanes else [False])
    }
    kinds = [pointer, INDEX, pointer, pointer, INDEX, pointer, *[INDEX] * 5, ir.IntType(1), INDEX]
    function = private(made, kinds, "strip")
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_row, weights, start, start_row, out, out_row, rows, inner, width, count, many, onward = function.args
    most = max(rows * vectors for rows, vectors, _ in tiles)
    spare = builder.bitcast(builder.alloca(ir.ArrayType(number, most * lanes)), pointer)
    vectors = builder.sdiv(builder.add(width, at(lanes - 1)), at(lanes))
    whole = builder.mul(vectors, at(lanes))
    ragged = builder.icmp_signed("<", width, whole)  # outputs beyond width stay
    size, step = builder.mul(inner, at(panel)), builder.sdiv(builder.add(count, at(panel - 1)), count)
    shared = builder.and_(many, builder.icmp_signed("==", vectors, at(panel // lanes)))
    with cgutils.for_range(builder, count, intp=INDEX) as each:
        row = builder.sdiv(builder.mul(each.index, rows), count)
        some = builder.sub(builder.sdiv(builder.mul(builder.add(each.index, at(1)), rows), count), row)
        begin = builder.gep(start, [builder.mul(row, start_row)])
        end = builder.gep(out, [builder.mul(row, out_row)])
        with builder.if_then(ragged):
            copied(builder, begin, start_row, spare, whole, some, width)
        given = [builder.gep(a, [builder.mul(row, a_row)]), a_row, weights]
        for place, distance in ((begin, start_row), (end, out_row)):
            given += [builder.select(ragged, spare, place), builder.select(ragged, whole, distance)]
        share = builder.add(onward, builder.sdiv(builder.mul(each.index, size), count))
        following = builder.select(
            builder.icmp_signed("<", builder.add(each.index, at(1)), count),
            builder.gep(end, [builder.mul(some, out_row)]),
            builder.gep(out, [width]),
        )
        for ahead in range(ROWS):
            prefetched(builder, builder.gep(following, [builder.mul(out_row, at(ahead))]), write=True)
        numbers = (some, vectors, builder.zext(shared, INDEX))
        chosen(builder, numbers, tiles, [*given, inner, builder.gep(weights, [share]), step])
        with builder.if_then(ragged):
            copied(builder, spare, whole, end, out_row, some, width)
    builder.ret_void()
    return function


def tile(
    made: ir.Module, vector: ir.VectorType, rows: int, vectors: int, panel: int, shared: bool
) -> ir.Function:
    """The function that makes so many rows of the first vectors of one panel or more.

    Of one panel it has a line fetched with each term: of this panel, or `shared` with other tiles that at
    `soon`, and then always the one `step` numbers on.
    """
    pointer, lanes = vector.element.as_pointer(), vector.count
    kinds = [pointer, INDEX, pointer, pointer, INDEX, pointer, INDEX, INDEX, pointer, INDEX]
    function = private(made, kinds, f"tile_{rows}_{vectors}{'_shared' * shared}")
    builder = ir.IRBuilder(function.append_basic_block())
    a, a_row, weights, start, start_row, out, out_row, inner, soon, step = function.args
    # an address holds a register's distance up to twice, so that one pointer does for three rows
    triples = [builder.gep(a, [builder.mul(a_row, at(row))]) for row in range(0, rows, 3)]
    apart = builder.mul(inner, at(panel))
    panels = [builder.gep(weights, [builder.mul(apart, at(p))]) for p in range(-(-vectors * lanes // panel))]
    places = [(row, v) for row in range(rows) for v in range(vectors)]
    parts = parts_of(len(places)) if rows < 3 else 1  # of more rows, what is narrow is rare

    def value(pointers, k, row):
        of_row = builder.gep(pointers[row // 3], [builder.mul(a_row, at(row % 3))])
        return splat(builder, builder.load(builder.gep(of_row, [at(k)])), vector)

    def weight(pointers, k, v):
        which, offset = divmod(v * lanes, panel)
        line = builder.gep(pointers[len(triples) + which], [at(k * panel)])
        return loaded(builder, builder.gep(line, [at(offset)]), vector)

    def with_terms(pointers, k, sums):
        if shared:
            prefetched(builder, builder.gep(pointers[-1], [builder.mul(step, at(k))]))
        elif len(panels) == 1:  # of several, the processor has enough under way
            for line in range(vectors if rows > ROWS else 1):
                ahead = at(k * panel + AHEAD + line * lanes)
                prefetched(builder, builder.gep(pointers[len(triples)], [ahead]))
        new, first = dict(enumerate(sums)), k % parts * len(places)

        def add(row, v, one, other):
            at_sum = first + row * vectors + v
            new[at_sum] = fused(builder, one, other, new[at_sum])

        # the fewer are held and the others come one by one, or LLVM runs out of registers
        if rows < vectors:
            held = [value(pointers, k, row) for row in range(rows)]
            for v in range(vectors):
                one = weight(pointers, k, v)
                for row in range(rows):
                    add(row, v, held[row], one)
        else:
            held = [weight(pointers, k, v) for v in range(vectors)]
            for row in range(rows):
                one = value(pointers, k, row)
                for v in range(vectors):
                    add(row, v, one, held[v])
        return list(new.values())

    pointers = [*triples, *panels, soon]
    strides = [*[at(1)] * len(triples), *[at(panel)] * len(panels), step]
    sums = [loaded(builder, place_of(builder, start, start_row, row, v * lanes), vector) for row, v in places]
    if parts > 1 or shared or vectors == across(rows, vector, panel):
        sums += [ir.Constant(vector, None)] * len(places) * (parts - 1)
        pointers, sums, inner = summed(builder, pointers, strides, sums, inner, TERMS, with_terms)
    while len(sums) > len(places):
        half = len(sums) // 2
        sums = [builder.fadd(*pair) for pair in zip(sums[:half], sums[half:], strict=True)]
    _, sums, _ = summed(builder, pointers, strides, sums, inner, 1, with_terms)
    for (row, v), value in zip(places, sums, strict=True):
        stored(builder, value, place_of(builder, out, out_row, row, v * lanes))
    builder.ret_void()
    return function


def parts_of(sums: int) -> int:
    """The parts in which so few sums are made, so that enough are under way: 1, 2 or TERMS."""
    return 1 if sums >= UNDER_WAY else 2 if sums >= UNDER_WAY // 2 else TERMS


def summed(builder, pointers, strides, sums, left, terms, body):
    """Moved pointers, sums and what is left after body(pointers, k, sums) for k below `terms`, in turns.

    A turn takes so many terms; the last is the one after which too few are left.
    """
    before, first = builder.block, [left, *pointers, *sums]
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.type) for value in first]
    rest, here, carried = phis[0], phis[1 : len(pointers) + 1], phis[len(pointers) + 1 :]
    builder.cbranch(builder.icmp_signed(">=", rest, at(terms)), inside, after)
    builder.position_at_end(inside)
    new = carried
    for k in range(terms):
        new = body(here, k, new)
    steps = [builder.mul(stride, at(terms)) for stride in strides]
    moved = [builder.gep(p, [step]) for p, step in zip(here, steps, strict=True)]
    then = [builder.sub(rest, at(terms)), *moved, *new]
    builder.branch(head)
    for phi, *sources in zip(phis, first, then, strict=True):
        for value, block in zip(sources, (before, inside), strict=True):
            phi.add_incoming(value, block)
    builder.position_at_end(after)
    return here, carried, rest


def chosen(builder, numbers, functions, arguments):
    """Calls the function of these numbers, each of which is below 16."""
    after, key = builder.append_basic_block("chosen"), at(0)
    for number in numbers:
        key = builder.add(builder.mul(key, at(16)), number)
    switch = builder.switch(key, after)
    for (rows, vectors, shared), function in functions.items():
        case = builder.append_basic_block("case")
        switch.add_case(at((rows * 16 + vectors) * 16 + shared), case)
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


def fused(builder, a, b, c):
    """a b + c of vectors, rounded once."""
    name = f"llvm.fma.v{a.type.count}{a.type.element.intrinsic_name}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


def prefetched(builder, pointer, write=False):
    """Tells the processor that the line at this pointer will be read, or read and written."""
    byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(
        function, [builder.bitcast(pointer, byte), whole(int(write)), whole(3), whole(1)]
    )  # keep, data


def place_of(builder, array, distance, row, column):
    """The pointer to a number of an array whose rows are so far apart."""
    return builder.gep(array, [builder.add(builder.mul(distance, at(row)), at(column))])


def bytes_of(number):
    """Bytes of a float or a double."""
    return 4 if isinstance(number, ir.FloatType) else 8


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
    value.align = bytes_of(vector.element)
    return value


def stored(builder, value, pointer):
    """Writes a vector to a pointer to numbers."""
    made = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    made.align = bytes_of(value.type.element)
