"""Recording scalars: equations run once on Nodes, which keep the expression graph in the written order.

Nodes are hash-consed on one Tape, so that equal expressions are one node; nothing is reordered or simplified.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from math import isfinite
from numbers import Real
from typing import Any, NoReturn

ACROSS = (
    "equations say what each unit does; mean(value) averages over the units, and a matrix takes a value as"
    " wh.gate(value) of a gate in inner_gates, or as unit.name(value) of one in matrices"
)


class Node:
    """One scalar of the graph: an operator or a function over other nodes, an input, or a constant.

    `value` is an input's name, a constant's number, or the name of the matrix of a product.
    """

    __slots__ = ("args", "index", "op", "tape", "value")
    __array_ufunc__ = None  # NumPy's own functions refuse a Node instead of making an object array

    def __init__(self, tape: Tape, op: str, args: tuple[Node, ...], value: Any, index: int) -> None:
        self.tape, self.op, self.args, self.value, self.index = tape, op, args, value, index

    @property
    def is_leaf(self) -> bool:
        """Whether it is an input or a constant."""
        return self.op in ("input", "constant")

    def __add__(self, other: Any) -> Node:
        return self.tape.apply("+", self, other)

    def __radd__(self, other: Any) -> Node:
        return self.tape.apply("+", other, self)

    def __sub__(self, other: Any) -> Node:
        return self.tape.apply("-", self, other)

    def __rsub__(self, other: Any) -> Node:
        return self.tape.apply("-", other, self)

    def __mul__(self, other: Any) -> Node:
        return self.tape.apply("*", self, other)

    def __rmul__(self, other: Any) -> Node:
        return self.tape.apply("*", other, self)

    def __truediv__(self, other: Any) -> Node:
        return self.tape.apply("/", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return self.tape.apply("/", other, self)

    def __neg__(self) -> Node:
        return self.tape.apply("neg", self)

    def __pos__(self) -> Node:
        return self

    def __pow__(self, exponent: Any) -> Node:
        if not isinstance(exponent, int) or not 1 <= exponent <= 8:
            raise TypeError(
                f"a power must be a whole number from 1 to 8, not {exponent!r}; write exp(p * log(a))"
            )
        product = self
        for _ in range(exponent - 1):
            product = product * self
        return product

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Node):
            return self is other
        return bool(self)

    __hash__ = object.__hash__

    def __call__(self, *_: Any) -> NoReturn:
        raise TypeError(f"{self!r} takes no value: {ACROSS}")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self!r} has no {name}: {ACROSS}")

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError(f"{self!r} has no units to choose from: {ACROSS}")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        # without this np.mean would take it for an array of one object, and be the value itself
        raise TypeError(f"{self!r} is no array: {ACROSS}")

    def _multiplied(self, other: object) -> NoReturn:
        raise TypeError(f"@ on {self!r}: {ACROSS}")

    __matmul__ = __rmatmul__ = _multiplied

    def __bool__(self) -> NoReturn:
        raise TypeError("Python control flow on a value; use maximum, minimum, relu or a product with a gate")

    def _compared(self, other: object) -> NoReturn:
        self.__bool__()

    __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __repr__(self) -> str:
        return str(self.value) if self.is_leaf else f"{self.op}({', '.join(map(repr, self.args))})"


class Tape:
    """Makes nodes, one for each distinct expression, and remembers the order they were made in."""

    def __init__(self) -> None:
        self._nodes: dict[tuple, Node] = {}

    def _node(self, op: str, args: tuple[Node, ...] = (), value: Any = None) -> Node:
        # repr keeps -0.0 and 0.0 apart
        key = (op, tuple(map(id, args)), repr(value))
        if key not in self._nodes:
            self._nodes[key] = Node(self, op, args, value, len(self._nodes))
        return self._nodes[key]

    def input(self, name: str) -> Node:
        return self._node("input", value=name)

    def constant(self, value: Real) -> Node:
        if not isfinite(value):
            raise TypeError(f"the constant {value} is not finite")
        return self._node("constant", value=float(value))

    def apply(self, op: str, *values: Any, of: str | None = None) -> Node:
        """Records an operation on values; `of` names the matrix that a product is taken with."""
        return self._node(op, tuple(self._lift(v) for v in values), of)

    def _lift(self, value: Any) -> Node:
        if isinstance(value, Node):
            return value
        if isinstance(value, Real) and not isinstance(value, bool):
            return self.constant(value)
        raise TypeError(
            f"cannot compute with {value!r} of type {type(value).__name__}; use numbers and the cell's values"
        )


def apply(op: str, *values: Any) -> Node:
    """Records a function of the vocabulary on the tape of its arguments."""
    tape = next(v.tape for v in values if isinstance(v, Node))
    return tape.apply(op, *values)


def ordered(roots: Iterable[Node], without: Container[Node] = ()) -> list[Node]:
    """All nodes that the roots need, in the order they were written; what is in `without` is not entered."""
    reach: set[Node] = set()
    todo = list(roots)
    while todo:
        node = todo.pop()
        if node not in reach and node not in without:
            reach.add(node)
            todo.extend(node.args)
    return sorted(reach, key=lambda n: n.index)
