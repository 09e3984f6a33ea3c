"""What the vocabulary is on jax arrays, for who has JAX: it is not imported here before somebody else did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def of_jax(*values: Any) -> bool:
    """Whether one of the values is an array of JAX, or stands for one while JAX traces."""
    jax = sys.modules.get("jax")
    return jax is not None and any(isinstance(v, jax.Array) for v in values)


@cache
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
