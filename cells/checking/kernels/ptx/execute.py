"""Instructions as functions of a block: each is read once, and then run for all threads."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import arithmetic
from .bits import UNSIGNED, halves, joined, read, to_bf16, to_tf32, unsigned, write
from .block import Block
from .memory import Fault
from .text import Instruction, Text, group

REGISTER = re.compile(r"%(r|rd|rs|p|f|fd)\d+$")
FLOATING = ("f32", "f16", "bf16")
PAIRS = {"f16x2": "f16", "bf16x2": "bf16"}  # two numbers of 16 bits in a register
IGNORED = ("fence", "membar", "griddepcontrol")
END = -1
Value = Callable[[Block], Any]
Run = Callable[[Block], int | None]  # the next piece, or None: go on


def compiled(text: Text) -> list[list[Run]]:
    """The pieces of a kernel as functions."""
    barriers = 0
    pieces = []
    for piece in text.pieces:
        runs: list[Run] = []
        for one in piece:
            if one.name[0] in ("bar", "barrier"):
                runs.append(partial(_barrier, barriers))
                barriers += 1
            elif one.name[0] not in IGNORED and one.name[:2] != ("bar", "warp"):
                runs.append(function(one, text.labels))
        pieces.append(runs)
    return pieces


def _barrier(number: int, block: Block) -> None:
    block.barrier(number)


def function(one: Instruction, labels: dict[str, int]) -> Run:
    """What the instruction does. Raises Fault for one that is not known."""
    head = one.name[0]
    if head == "ret":
        return lambda block: END
    if head == "bra":
        return branch(one, labels[one.operands[0]])
    special = SPECIAL.get(head)
    if head in ("ld", "st") and "param" in one.name:
        special = parameter
    return special(one) if special else pointwise(one)


def condition(one: Instruction) -> Value:
    """Which threads take part."""
    if one.predicate is None:
        return lambda block: True
    name, negated = one.predicate, one.negated
    return lambda block: np.asarray(block.registers[name], bool) ^ negated


def value(text: str, kind: str) -> Value:
    """The bits of an operand: of a register, a special register, or a number of this kind."""
    if REGISTER.match(text):
        return lambda block: block.registers[text]
    if text.startswith("%") or text == "global_smem":
        return lambda block: block.special[text]
    if text.startswith(("0f", "0d")):
        bits: Any = UNSIGNED[4 if text[1] == "f" else 8](int(text[2:], 16))
    else:
        size = int(re.sub(r"\D", "", kind) or 32) // 8 if kind not in ("pred",) else 4
        bits = UNSIGNED.get(size, np.uint32)(int(text.removesuffix("U"), 0) & ((1 << 8 * size) - 1))
    return lambda block: bits


def put(one: Instruction, target: str, bits: Callable[[Block], Any]) -> Run:
    """Sets a register of the threads that take part."""
    if one.predicate is None:

        def always(block: Block) -> None:
            block.registers[target] = bits(block)

        return always
    where = condition(one)

    def some(block: Block) -> None:
        block.registers[target] = np.where(where(block), bits(block), block.registers.get(target, 0))

    return some


def branch(one: Instruction, to: int) -> Run:
    if one.predicate is None:
        return lambda block: to
    where = condition(one)

    def run(block: Block) -> int | None:
        taken = np.unique(np.asarray(where(block)))
        if len(taken) > 1:
            raise Fault(f"threads of a block part ({one})")
        return to if taken[0] else None

    return run


def address(text: str) -> Value:
    """Of '[%rd1 + 16]'."""
    base, _, offset = text.strip("[] ").partition("+")
    start, more = value(base.strip(), "b64"), int(offset or 0)
    return lambda block: np.asarray(start(block)).astype(np.int64) + more


def parameter(one: Instruction) -> Run:
    name = one.operands[1].strip("[]")
    return put(one, one.operands[0], lambda block: block.parameters[name])


def count(one: Instruction) -> Run:
    """atom.add, and a load that acquires: what programs wait for each other with."""
    adds = one.name[0] == "atom"
    if adds and one.name[-2:] != ("add", "u32"):
        raise Fault(f"{one} is not known")
    at, where = address(one.operands[1]), condition(one)
    more = value(one.operands[2], "b32") if adds else lambda block: np.uint32(0)
    return put(
        one, one.operands[0], lambda block: block.count(at(block), where(block), more(block), one.name)
    )


def access(one: Instruction) -> Run:
    """Loads and stores, of several registers in a row too."""
    if "acquire" in one.name:
        return count(one)
    space = "shared" if any(word.startswith("shared") for word in one.name) else "global"
    kind, line, where = one.name[-1], str(one), condition(one)
    size = int(re.sub(r"\D", "", kind)) // 8
    if one.name[0] == "st":
        at, values = address(one.operands[0]), [value(text, kind) for text in group(one.operands[1])]
        return lambda block: block.store(
            space, at(block), where(block), size, [each(block) for each in values], line
        )
    at, targets = address(one.operands[1]), group(one.operands[0])

    def run(block: Block) -> None:
        on = where(block)
        for name, bits in zip(
            targets, block.load(space, at(block), on, size, len(targets), line), strict=True
        ):
            old = block.registers.get(name, 0)
            block.registers[name] = bits if one.predicate is None else np.where(on, bits, old)

    return run


def several(one: Instruction, computed: Callable[[Block], list[Any]]) -> Run:
    """Sets the registers of the first operand."""
    targets = group(one.operands[0])

    def run(block: Block) -> None:
        block.registers.update(zip(targets, computed(block), strict=True))

    return run


def load_matrices(one: Instruction) -> Run:
    at, transposed, count = address(one.operands[1]), "trans" in one.name, len(group(one.operands[0]))
    return several(one, lambda block: block.load_matrices(at(block), transposed, count, str(one)))


def store_matrices(one: Instruction) -> Run:
    at, values = address(one.operands[0]), [value(text, "b32") for text in group(one.operands[1])]
    return lambda block: block.store_matrices(
        at(block), [each(block) for each in values], "trans" in one.name, str(one)
    )


def multiply(one: Instruction) -> Run:
    kind = next((name for name in ("tf32", "bf16", "f16") if name in one.name), None)
    if kind is None:
        raise Fault(f"{one}: matrices of another kind")
    a, b, c = ([value(text, "f32") for text in group(operand)] for operand in one.operands[1:])
    return several(
        one, lambda block: block.multiply(kind, *([each(block) for each in of] for of in (a, b, c)))
    )


def shuffle(one: Instruction) -> Run:
    bits, by, clamp = (value(text, "b32") for text in one.operands[1:4])
    target = one.operands[0].partition("|")[0]
    return put(
        one,
        target,
        lambda block: block.shuffle(one.name[2], bits(block), by(block), int(np.ravel(clamp(block))[0])),
    )


def move(one: Instruction) -> Run:
    """A register, or two halves from or to one."""
    kind, (target, source) = one.name[-1], one.operands
    size = 4 if kind.endswith("32") else 8
    if target.startswith("{"):
        whole, shift = value(source, kind), 4 * size
        mask, half = (1 << shift) - 1, UNSIGNED[size // 2]
        return several(
            one,
            lambda block: [(unsigned(whole(block), size) >> k * shift & mask).astype(half) for k in (0, 1)],
        )
    if source.startswith("{"):
        low, high = (value(text, f"b{4 * size}") for text in group(source))
        return put(one, target, lambda block: joined(low(block), high(block), size))
    return put(one, target, value(source, "b32" if kind == "pred" else kind))


def convert(one: Instruction) -> Run:
    kinds = [
        word for word in one.name[1:] if word in FLOATING or re.fullmatch(r"[sub]\d+|b?f16x2|tf32", word)
    ]
    if len(kinds) != 2:
        raise Fault(f"{one} is not known")
    to, of = kinds
    first, *rest = (value(text, of) for text in one.operands[1:])
    if to.endswith("x2"):
        (second,) = rest
        narrow = {"bf16x2": to_bf16, "f16x2": lambda bits: write("f16", read("f32", bits))}[to]
        return put(
            one,
            one.operands[0],
            lambda block: joined(narrow(unsigned(second(block), 4)), narrow(unsigned(first(block), 4)), 4),
        )
    if to == "tf32":
        return put(one, one.operands[0], lambda block: to_tf32(first(block)))
    down = np.trunc if of in FLOATING and to not in FLOATING else lambda values: values
    return put(one, one.operands[0], lambda block: write(to, down(read(of, first(block)))))


def compare(one: Instruction) -> Run:
    kind, how = one.name[-1], arithmetic.COMPARED[one.name[1]]
    a, b = (value(text, kind) for text in one.operands[1:])
    if kind in PAIRS:
        of = PAIRS[kind]
        return compare_pairs(one, lambda block: how(*(read(of, halves(each(block))) for each in (a, b))))
    return put(one, one.operands[0], lambda block: how(read(kind, a(block)), read(kind, b(block))))


def compare_pairs(one: Instruction, both: Value) -> Run:
    """Two numbers of 16 bits in each register: a predicate for the lower ones, and one for the upper ones."""
    if one.predicate is not None:
        raise Fault(f"{one} of some threads is not known")
    targets = one.operands[0].split("|")

    def run(block: Block) -> None:
        found = both(block)
        block.registers.update({name: found[..., k] for k, name in enumerate(targets)})

    return run


def select(one: Instruction) -> Run:
    kind = one.name[-1]
    a, b = (value(text, kind) for text in one.operands[1:3])
    which = value(one.operands[3], "pred")
    size = int(re.sub(r"\D", "", kind)) // 8
    return put(
        one,
        one.operands[0],
        lambda block: np.where(which(block), unsigned(a(block), size), unsigned(b(block), size)),
    )


def permute(one: Instruction) -> Run:
    """Four of the eight bytes of two registers; with its bit 8 a selecting number takes a byte's sign."""
    if one.name != ("prmt", "b32"):
        raise Fault(f"{one} is not known")
    a, b, which = (value(text, "b32") for text in one.operands[1:])

    def bits(block: Block) -> np.ndarray:
        given = joined(unsigned(a(block), 4), unsigned(b(block), 4), 8)
        chosen, found = unsigned(which(block), 4), np.zeros(1, np.uint32)
        for k in range(4):
            number = (chosen >> np.uint32(4 * k)) & np.uint32(15)
            byte = (given >> (8 * (number & 7)).astype(np.uint64)).astype(np.uint32) & np.uint32(255)
            byte = np.where(number & 8, (byte >> np.uint32(7)) * np.uint32(255), byte)
            found = found | (byte << np.uint32(8 * k)).astype(np.uint32)
        return found

    return put(one, one.operands[0], bits)


def pointwise(one: Instruction) -> Run:
    """Arithmetic of each thread by itself."""
    head, kind = one.name[0], one.name[-1]
    table = {"pred": arithmetic.LOGICAL}.get(kind, arithmetic.WHOLE)
    if kind in (*FLOATING, *PAIRS, "f32x2"):
        table = arithmetic.FLOATING | (arithmetic.WITH_NAN if "NaN" in one.name else {})
    how = partial(arithmetic.extracted, kind[0] == "s") if head == "bfe" else table.get(head)
    if one.name == ("mul", "hi", kind) and kind.endswith("64"):
        how = partial(arithmetic.upper_half, kind[0] == "s")
    if how is None:
        raise Fault(f"{one} is not known")
    values = [value(text, kind) for text in one.operands[1:]]
    kinds, result = [kind] * len(values), kind
    if "wide" in one.name:
        result = kind[0] + str(2 * int(kind[1:]))
        kinds = [kind, kind, result][: len(values)]
        values = [value(text, of) for text, of in zip(one.operands[1:], kinds, strict=True)]
    if head in ("shl", "shr", "bfe"):
        kinds = [kind] + ["b32"] * (len(values) - 1)
        values = [value(text, of) for text, of in zip(one.operands[1:], kinds, strict=True)]

    def numbers(block: Block) -> list[Any]:
        bits = [each(block) for each in values]
        if kind == "pred":
            return [np.asarray(each, bool) for each in bits]
        if kind == "f32x2":
            return [unsigned(block.full(each), 8).view(np.float32).astype(np.float64) for each in bits]
        if kind in PAIRS:
            return [read(PAIRS[kind], halves(each)) for each in bits]
        return [read(of, each) for of, each in zip(kinds, bits, strict=True)]

    def computed(block: Block) -> Any:
        found = how(*numbers(block))
        if kind == "pred":
            return found
        if kind == "f32x2":
            return np.asarray(found, np.float32).view(np.uint64)
        if kind in PAIRS:
            both = write(PAIRS[kind], found)
            return joined(both[..., 0], both[..., 1], 4)
        return write(result, found >> 32 if "hi" in one.name and not kind.endswith("64") else found)

    return put(one, one.operands[0], computed)


SPECIAL: dict[str, Callable[[Instruction], Run]] = {
    "ld": access,
    "atom": count,
    "st": access,
    "ldmatrix": load_matrices,
    "stmatrix": store_matrices,
    "mma": multiply,
    "shfl": shuffle,
    "mov": move,
    "cvt": convert,
    "setp": compare,
    "selp": select,
    "prmt": permute,
}
