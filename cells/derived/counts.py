"""Operation counts by closed form: 2 FLOP a multiply-add in products, 1 an elementwise primitive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from ..contract import Array, Arrays, Equations, State
from ..vocabulary.across import uniform
from ..vocabulary.graph import Node, ordered
from ..vocabulary.tape import Value, gradients, recorded
from . import layers
from .derive import derive, vector_jacobian
from .inner import inner_biases

MOST_ENTRIES = 100_000_000  # of the arrays with which a written cell is run to be counted


@dataclass(frozen=True)
class Operations:
    """FLOPs of one time step of one sequence. `backward` is what the backward adds to the forward."""

    forward_products: int
    forward_elementwise: int
    backward_products: int
    backward_elementwise: int

    @property
    def forward(self) -> int:
        return self.forward_products + self.forward_elementwise

    @property
    def backward(self) -> int:
        return self.backward_products + self.backward_elementwise

    def of(self, direction: str) -> int:
        """The count of a forward, or of a forward and backward."""
        return self.forward + (self.backward if direction == "backward" else 0)


def operations(cell: Equations, input_size: int, hidden_size: int) -> Operations:
    """Counts of the equations as written: products, biases, and each primitive once for each unit.

    A backward multiplies twice for each product of the forward (for its weights and for its input); the sums
    over time of the weight gradients are inside those products. More additions bring in the output's gradient
    and the one through the recurrent product, one a unit each, and the gradients of biases and per-unit
    vectors, one an entry. A mean is a sum and a division, and what is made of means alone is computed once
    for all units. What a cell writes out (`project`, `emit`, `step`) is counted as it runs; `effective`, done
    once for a whole sequence, is not.
    """
    shapes = layers.shapes(cell, input_size, hidden_size)
    if reason := layers.unfit(cell, input_size, hidden_size):
        raise ValueError(reason)
    terms = [_product(shapes["weight_out"], shapes["bias_out"])] if cell.readout else []
    if cell.stacked:
        return _sum([*terms, *_of_layers(cell, input_size, hidden_size)])
    if cell.written_out:
        return _sum([*terms, _of_step(cell, input_size, hidden_size)])
    units = cell.units(hidden_size)
    terms.append(_pointwise(cell, units))
    if cell.fed_gates:
        rows, columns = len(cell.fed_gates) * units, len(cell.fed_back) * units // cell.heads
        terms.append(_product((rows, columns), (rows * ("bias_hh" in shapes),)))
    for product in derive(cell).products:  # its bias is a sum of the equations
        heads = 1 if product.value in cell.matrices else cell.heads
        terms.append(_product((units, units // heads), (0,)))
    if cell.writes("project"):
        terms.append(_of_project(cell, input_size, hidden_size))
    else:
        terms.append(_product(shapes["weight_ih"], shapes.get("bias_ih", (0,))))
    if cell.writes("emit"):
        terms.append(_of_emit(cell, input_size, hidden_size))
    return _sum(terms)


def _of_layers(cell: Equations, input_size: int, hidden_size: int) -> list[Operations]:
    """Of each layer in each direction; two directions also add up what their input gets."""
    terms = []
    for layer in layers.of(cell, input_size, hidden_size):
        terms.append(operations(layers.single(cell), layer.input_size, hidden_size))
        if layer.reverse:
            terms.append(Operations(0, 0, 0, layer.input_size))
    return terms


def _sum(terms: Iterable[Operations]) -> Operations:
    return Operations(*map(sum, zip(*map(astuple, terms), strict=True)))


def _product(weight: tuple[int, ...], bias: tuple[int, ...]) -> Operations:
    """A product with a bias, which is one addition an entry both ways."""
    multiply_adds, additions = math.prod(weight), math.prod(bias)
    return Operations(2 * multiply_adds, additions, 4 * multiply_adds, additions)


def _pointwise(cell: Equations, units: int) -> Operations:
    derivation = derive(cell)
    forward = set(derivation.forward)
    backward = [
        n for n in ordered(vector_jacobian(derivation).values()) if not n.is_leaf and n not in forward
    ]
    more = (2 if cell.fed_gates else 1) + len(cell.vectors) + len(inner_biases(cell))
    return Operations(0, _elementwise(forward, units), 0, _elementwise(backward, units) + more * units)


def _elementwise(nodes: Iterable[Node], units: int) -> int:
    """FLOP of nodes at all units, without products; what is the same in all units is computed once."""
    each = {"mean": units + 1, "product": 0, "transposed": 0}  # a mean is a sum and a division
    return sum(each.get(node.op, 1 if uniform(node) else units) for node in nodes)


def _of_step(cell: Equations, input_size: int, hidden_size: int) -> Operations:
    shapes = cell.state_shapes(1, hidden_size)

    def step(params: Arrays, x: Array, *values: Array) -> list[Array]:
        output, new = cell.step(params, x, State(**dict(zip(shapes, values, strict=True))))
        return [output, *vars(new).values()]

    return _recorded(cell, step, input_size, hidden_size, shapes.values())


def _of_project(cell: Equations, input_size: int, hidden_size: int) -> Operations:
    return _recorded(
        cell, lambda params, x: list(vars(cell.project(params, x)).values()), input_size, hidden_size
    )


def _of_emit(cell: Equations, input_size: int, hidden_size: int) -> Operations:
    derivation, shape = derive(cell), (1, cell.units(hidden_size))

    def emit(params: Arrays, x: Array, *outputs: Array) -> list[Array]:
        return [cell.emit(params, x, outputs if derivation.several else outputs[0])]

    return _recorded(cell, emit, input_size, hidden_size, [shape] * len(derivation.outputs))


def _recorded(
    cell: Equations, function: Callable, input_size: int, hidden_size: int, shapes: Iterable = ()
) -> Operations:
    """Counts of a function (params, x, *arrays) -> values, both ways, recorded on arrays of ones."""
    sizes = layers.shapes(cell, input_size, hidden_size)
    if (entries := sum(math.prod(map(int, s)) for s in sizes.values())) > MOST_ENTRIES:
        raise ValueError(
            f"cell {cell.name!r} at input_size {input_size} and hidden_size {hidden_size} has {entries:,}"
            f" parameters; what it writes out is counted by running it, up to {MOST_ENTRIES:,}; choose"
            " smaller sizes"
        )
    stored = {k: np.ones(s) for k, s in sizes.items()}
    params = {k: Value(v) for k, v in cell.effective(stored).items()}
    leaves = [Value(np.ones((1, input_size))), *(Value(np.ones(s)) for s in shapes)]
    results = [v for v in function(params, *leaves) if isinstance(v, Value)]
    forward = set(recorded(results))
    with np.errstate(all="ignore"):  # only operations are counted; what they give on ones is of no interest
        pulled = gradients(results, [Value(np.ones(v.shape)) for v in results], [*params.values(), *leaves])
    backward = [v for v in recorded([v for v in pulled if isinstance(v, Value)]) if v not in forward]
    (products, rest), (more_products, more) = map(_flop, (forward, backward))
    return Operations(products, rest, more_products, more)


def _flop(values: Iterable[Any]) -> tuple[int, int]:
    """FLOPs of products, and of everything else; moving data is none."""
    products = rest = 0
    for value in values:
        if value.op == "@":
            products += 2 * value.array.size * value.args[0].shape[-1]
        elif value.op == "sum":
            rest += value.args[0].array.size
        elif value.op not in ("leaf", "view"):
            rest += value.array.size
    return products, rest
