"""A step of a torch module on NumPy arrays, recorded on the tape: autograd is its rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract import Array, Arrays, State
from ..vocabulary.tape import Value, array_of

Run = Callable[..., tuple[Tensor, State]]  # (params, x (T, B, I), state) -> output and last states


def step(run: Run, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
    """Output (B, O) and new state; Values where one of the arguments is a Value, else arrays.

    The arithmetic is torch's, in float64 at most.
    """
    arguments = [*params.values(), x, *vars(state).values()]
    leaves = [_leaf(a) for a in arguments]
    given = dict(zip(params, leaves, strict=False))
    count = len(params)
    known = State(**dict(zip(vars(state), leaves[count + 1 :], strict=True)))
    with torch.set_grad_enabled(any(isinstance(a, Value) for a in arguments)):
        output, new = run(given, leaves[count][None], known)
    output = itself(output[0], new)
    results, kind = {id(t): t for t in (output, *vars(new).values())}, array_of(x).dtype
    values = {k: _value(result, leaves, arguments, kind) for k, result in results.items()}
    return values[id(output)], State(**{name: values[id(t)] for name, t in vars(new).items()})


def itself(output: Tensor, new: State) -> Tensor:
    """The state that the output is, as equations return it, where it is one; else the output."""
    return next((s for s in vars(new).values() if torch.equal(s, output)), output)


def _leaf(argument: Any) -> Tensor:
    array = np.asarray(array_of(argument))
    tensor = torch.tensor(np.float64(array) if array.dtype == np.longdouble else array)
    return tensor.requires_grad_(isinstance(argument, Value))


def _value(result: Tensor, leaves: list[Tensor], arguments: list[Any], kind: Any) -> Any:
    array = result.detach().numpy().astype(kind)
    if not result.requires_grad:
        return array

    def pull(g: Any, y: Any, *_: Any) -> tuple[Any, ...]:
        if isinstance(g, Value):
            raise ValueError("a torch module has no second derivative here; its first is autograd's")
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        cotangent = torch.tensor(np.asarray(g, np.float64)).to(result.dtype)
        found = iter(
            torch.autograd.grad(result, wanted, cotangent, retain_graph=True, materialize_grads=True)
        )
        return tuple(next(found).numpy() if leaf.requires_grad else None for leaf in leaves)

    return Value(array, "module", tuple(arguments), pull)
