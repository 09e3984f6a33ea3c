"""A cell on jax arrays: the recorded step inside lax.scan, and the products around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cell import GatedCell
from ..contract import Array, Arrays, State, split
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
    }


def run(cell: GatedCell, params: Arrays, x: Array, state: Arrays) -> Results:
    """All steps of a cell with recorded equations; jax traces it, and goes back through it."""
    import jax
    import jax.numpy as jnp

    derivation, known = cell.derivation(), functions()
    used = cell.effective(params)
    wx = {f"wx_{gate}": rows for gate, rows in vars(cell.project(used, x)).items()}
    unit = {f"unit_{name}": used[name] for name in cell.vectors}

    def step(before: Arrays, rows: Arrays) -> tuple[Arrays, tuple[Array, ...]]:
        given = rows | unit | {f"prev_{name}": value for name, value in before.items()}
        given |= {f"wh_{gate}": value for gate, value in vars(recur(cell, used, before)).items()}
        values: dict[Node, Any] = {
            node: given[name] for name, node in derivation.inputs.items() if name in given
        }

        def value(node: Node) -> Any:
            return node.value if node.op == "constant" else values[node]

        for node in derivation.forward:
            values[node] = known[node.op](*map(value, node.args))
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

    if not cell.recurrent:
        return State()
    joint = jnp.concatenate([before[name] for name in cell.fed_back], -1)
    gates = len(cell.recurrent)
    return split(cell.recurrent, blocks(joint, params["weight_hh"], params.get("bias_hh"), cell.heads, gates))
