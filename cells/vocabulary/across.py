"""What joins the units of a value: the product with a matrix of the cell, and the mean over the units.

Everything else that equations say is pointwise. Recorded, these are the nodes `product` (W a), `transposed`
(W' a, of derivatives) and `mean`. A recorded mean is a value of every unit, the same in all of them. So it is
a product too, with a matrix that is its own transpose, and its derivative is the mean of the cotangents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Node, Tape, apply, ordered
from .jaxed import of_jax
from .matrices import blocks, constant
from .primitives import Rule, pullbacks
from .tape import Value

JOINS = ("product", "transposed", "mean")


def mean(value: Any) -> Any:
    """The mean over the units, (..., 1), of a value (..., units); of a number that itself."""
    if isinstance(value, Node):
        return apply("mean", value)
    if not getattr(value, "shape", ()):
        return value
    if isinstance(value, (np.ndarray, Value)) or of_jax(value):
        return value.sum(-1, keepdims=True) / value.shape[-1]
    return value.mean(-1, keepdim=True)  # a tensor's, whose sum could leave a short format's range


@dataclass(frozen=True)
class Multiplied:
    """The product with one matrix, as equations take it: wh.n(value), or unit.weight(value)."""

    weight: Any  # (units, units / heads)
    bias: Any | None = None
    heads: int = 1

    def __call__(self, value: Any) -> Any:
        width = self.weight.shape[-1] * self.heads
        if value.shape[-1] != width:  # a mean is the same in all units
            value = value * constant(np.ones(width), self.weight)
        return blocks(value, self.weight, self.bias, self.heads, 1)


class RecordedProduct:
    """The product with one matrix, as equations take it: wh.n(value) or unit.weight(value)."""

    def __init__(self, tape: Tape, label: str, name: str, bias: Node | None = None) -> None:
        self.tape, self.label, self.name, self.bias = tape, label, name, bias

    def __call__(self, value: Any) -> Node:
        if not isinstance(value, Node):
            raise TypeError(f"{self.label} takes a value of the step, not {value!r}")
        product = self.tape.apply("product", value, of=self.name)
        return product if self.bias is None else product + self.bias

    def __repr__(self) -> str:
        return f"{self.label}, which takes a value of the step: {self.label}(value)"


def rules(node: Node, unsaturated: bool = False) -> tuple[Rule, ...]:
    """Derivative rules of any operation of the graph, one an argument; see `primitives.pullbacks`."""
    if node.op == "mean":
        return (lambda g, y, a: mean(g),)
    if node.op in JOINS:
        back = "transposed" if node.op == "product" else "product"
        return (lambda g, y, a: g.tape.apply(back, g, of=node.value),)
    return pullbacks(node.op, unsaturated)


def forward_rules(node: Node, unsaturated: bool = False) -> tuple[Rule, ...]:
    """The same for tangents: what each argument's tangent adds to the node's."""
    if node.op in ("product", "transposed"):
        return (lambda d, y, a: d.tape.apply(node.op, d, of=node.value),)
    return rules(node, unsaturated)  # a pointwise derivative is its own transpose, and so is a mean


def joins(roots: Iterable[Node], *ops: str) -> list[Node]:
    """The nodes of these operations (all that join units, unless given) that the roots need, in order."""
    return [node for node in ordered(roots) if node.op in (ops or JOINS)]


def uniform(node: Node) -> bool:
    """Whether the value is the same in all units: a number, a mean, or made of these alone."""
    if node.op in ("constant", "mean"):
        return True
    return node.op not in ("input", *JOINS) and all(map(uniform, node.args))
