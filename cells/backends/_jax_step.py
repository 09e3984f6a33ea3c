"""A cell on jax arrays: the recorded step inside lax.scan, and the products around it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..cell import GatedCell
from ..contract import Array, Arrays, State
from ..derived.inner import bias_of
from ..vocabulary.graph import Node
from ..vocabulary.jaxed import functions
from ..vocabulary.matrices import blocks

Results = tuple[Array, Arrays]  # the output (T, B, O), and the last states by name


def run(cell: GatedCell, params: Arrays, x: Array, state: Arrays) -> Results:
    """All steps of a cell with recorded equations; jax traces it, and goes back through it."""
    import jax
    import jax.numpy as jnp

    derivation, known = cell.derivation(), functions()
    used = cell.effective(params)
    wx = {f"wx_{gate}": rows for gate, rows in vars(cell.project(used, x)).items()}
    unit = {f"unit_{name}": used[name] for name in cell.vectors}
    unit |= {f"unit_{bias_of(g)}": cell.recurrent_rows(used, "bias_hh", (g,)) for g in cell.inner_gates}
    matrices = {f"wh_{g}": cell.recurrent_rows(used, "weight_hh", (g,)) for g in cell.inner_gates}
    multiplied = {name: partial(times, weight, cell.heads) for name, weight in matrices.items()}
    multiplied |= {name: partial(times, used[name], 1) for name in cell.matrices}

    def step(before: Arrays, rows: Arrays) -> tuple[Arrays, tuple[Array, ...]]:
        given = rows | unit | {f"prev_{name}": value for name, value in before.items()}
        if cell.fed_gates:
            fed = cell.products_of_state(used, State(**before))
            given |= {f"wh_{gate}": value for gate, value in vars(fed).items()}
        values: dict[Node, Any] = {
            node: given[name] for name, node in derivation.inputs.items() if name in given
        }

        def value(node: Node) -> Any:
            return node.value if node.op == "constant" else values[node]

        for node in derivation.forward:
            function = multiplied[str(node.value)] if node.op == "product" else known[node.op]
            values[node] = function(*map(value, node.args))
        shape = next(iter(before.values()))
        new = {
            name: jnp.broadcast_to(value(node), shape.shape).astype(shape.dtype)
            for name, node in derivation.states.items()
        }
        return new, tuple(jnp.broadcast_to(value(node), shape.shape) for node in derivation.outputs)

    last, outputs = jax.lax.scan(step, state, wx)
    output = cell.emit(used, x, tuple(outputs) if derivation.several else outputs[0])
    if cell.readout:
        output = output @ params["weight_out"].T + params["bias_out"]
    return output, last


def times(weight: Array, heads: int, value: Array) -> Array:
    """The product of one matrix with a value of the step, which may be the same in all units."""
    import jax.numpy as jnp

    width = weight.shape[-1] * heads
    return blocks(jnp.broadcast_to(value, (*jnp.shape(value)[:-1], width)), weight, None, heads, 1)
