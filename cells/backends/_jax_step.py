"""A cell on jax arrays: the recorded step inside lax.scan, and the products around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cell import GatedCell
from ..contract import Array, Arrays, State, split
from ..derived.inner import bias_of
from ..vocabulary.graph import Node
from ..vocabulary.matrices import blocks

Results = tuple[Array, Arrays]  # the output (T, B, O), and the last states by name


def functions() -> dict[str, Callable[..., Any]]:
    """What a node of the graph is on jax arrays, with the derivatives that the vocabulary states."""
    import jax
    import jax.numpy as jnp

    return {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "neg": lambda a: -a,
        "exp": jnp.exp,
        "log": jnp.log,
        "sqrt": jnp.sqrt,
        "sin": jnp.sin,
        "cos": jnp.cos,
        "sigmoid": jax.nn.sigmoid,
        "tanh": jnp.tanh,
        "softplus": jax.nn.softplus,
        "logsigmoid": jax.nn.log_sigmoid,
        "relu": jax.nn.relu,
        "absolute": jnp.abs,
        "maximum": jnp.maximum,
        "minimum": jnp.minimum,
        "positive": lambda a: (a > 0).astype(a.dtype),
        "select": lambda c, a, b: jnp.where(c > 0, a, b),
        "mean": lambda a: jnp.mean(a, -1, keepdims=True) if jnp.ndim(a) else a,
    }


def run(cell: GatedCell, params: Arrays, x: Array, state: Arrays) -> Results:
    """All steps of a cell with recorded equations; jax traces it, and goes back through it."""
    import jax
    import jax.numpy as jnp

    derivation, known = cell.derivation(), functions()
    used = cell.effective(params)
    wx = {f"wx_{gate}": rows for gate, rows in vars(cell.project(used, x)).items()}
    unit = {f"unit_{name}": used[name] for name in cell.vectors}
    unit |= {f"unit_{bias_of(g)}": rows_of(cell, used, "bias_hh", (g,)) for g in cell.inner_gates}
    matrices = {f"wh_{g}": rows_of(cell, used, "weight_hh", (g,)) for g in cell.inner_gates}
    multiplied = {name: partial(times, weight, cell.heads) for name, weight in matrices.items()}
    multiplied |= {name: partial(times, used[name], 1) for name in cell.matrices}

    def step(before: Arrays, rows: Arrays) -> tuple[Arrays, tuple[Array, ...]]:
        given = rows | unit | {f"prev_{name}": value for name, value in before.items()}
        given |= {f"wh_{gate}": value for gate, value in vars(recur(cell, used, before)).items()}
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


def recur(cell: GatedCell, params: Arrays, before: Arrays) -> State:
    """As the cell's own, which joins NumPy's arrays and torch's alone."""
    import jax.numpy as jnp

    if not cell.fed_gates:
        return State()
    joint = jnp.concatenate([before[name] for name in cell.fed_back], -1)
    weight, bias = (rows_of(cell, params, name, cell.fed_gates) for name in ("weight_hh", "bias_hh"))
    return split(cell.fed_gates, blocks(joint, weight, bias, cell.heads, len(cell.fed_gates)))


def rows_of(cell: GatedCell, params: Arrays, name: str, gates: tuple[str, ...]) -> Any:
    """These gates' rows of weight_hh or bias_hh, as `GatedCell.recurrent_rows`; None where there is none."""
    import jax.numpy as jnp

    if name not in params:
        return None
    array = params[name]
    by_gate = array.reshape(len(cell.recurrent), -1, *array.shape[1:])
    return jnp.concatenate([by_gate[cell.recurrent.index(gate)] for gate in gates])


def times(weight: Array, heads: int, value: Array) -> Array:
    """The product of one matrix with a value of the step, which may be the same in all units."""
    import jax.numpy as jnp

    width = weight.shape[-1] * heads
    return blocks(jnp.broadcast_to(value, (*jnp.shape(value)[:-1], width)), weight, None, heads, 1)
