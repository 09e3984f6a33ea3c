"""States of any shape, nested tuples, lists and dicts of tensors, and the search for a module's first one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

HIDDEN = "hidden_size"
MAKERS = ("initial_state", "init_state", "init_hidden", "begin_state")  # methods, tried in this order
# errors by which a forward that was not written for a state refuses it
REFUSALS = (TypeError, AttributeError, RuntimeError, ValueError, IndexError)


@dataclass(frozen=True)
class Opened:
    """A thing that holds tensors, taken apart: what it was, and what it held by name."""

    kind: Any
    held: dict[str, Any]


def leaves(tree: Any) -> list[Tensor]:
    """All tensors of nested tuples, lists and dicts; of a packed sequence its data."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, PackedSequence):
        return [tree.data]
    if isinstance(tree, Opened):
        return leaves(tree.held)
    branches = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else ()
    return [leaf for branch in branches for leaf in leaves(branch)]


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tree with every tensor changed; a named tuple stays one."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, PackedSequence):
        return tree._replace(data=change(tree.data))
    if isinstance(tree, Opened):
        return Opened(tree.kind, mapped(tree.held, change))
    if isinstance(tree, dict):
        changed = {k: mapped(v, change) for k, v in tree.items()}
        return changed if type(tree) is dict else _like(tree, changed)
    if isinstance(tree, (tuple, list)):
        branches = [mapped(v, change) for v in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


def _like(tree: dict[str, Any], changed: dict[str, Any]) -> Any:
    """A dict of a kind of its own (a model's output, an ordered dict) with other values."""
    made = copy.copy(tree)
    for k, v in changed.items():
        made[k] = v
    return made


def for_batch(state: Any, batch: int) -> Any:
    """A caller's first state: a callable of the batch size, or tensors whose axis of samples may be 1."""
    if callable(state):
        return state(batch)
    kind = torch.get_default_dtype()

    def widen(t: Tensor) -> Tensor:
        t = t.detach().to(kind) if t.is_floating_point() else t
        return t.expand(batch, *t.shape[1:]) if t.ndim and len(t) == 1 else t

    return mapped(state, widen)


def find_maker(model: nn.Module, forward: Callable, x: Tensor) -> Callable[[int], Any]:
    """A function of the batch size that makes a first state from which the module runs on x (T, B, ...).

    Tried are its own methods, then None, then zeros of its hidden_size, one and as a pair: what the author
    wrote comes before a guess. Raises ValueError, with the refusal of None, where none of them runs.
    """
    refusals = {}
    for name, maker in _makers(model, x).items():
        try:
            with torch.no_grad():
                forward(x[0], maker(x.shape[1]))
            return maker
        except REFUSALS as error:
            refusals[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ValueError(
        f"{type(model).__name__} does not run from state None ({refusals['None']}); give its first state with"
        " state="
    )


def is_state(model: nn.Module, x: Tensor, result: Any) -> bool:
    """Whether the one tensor that a step on x[0] returned is its state.

    It is where the next step takes it, returns another such, and makes something else of another one. torch's
    own layers have no state: what they take second is a mask.
    """
    if not isinstance(result, Tensor) or type(model).__module__.startswith("torch.nn"):
        return False
    try:
        with torch.no_grad():
            after, other = model(x[-1], result), model(x[-1], result + 1)
    except REFUSALS:
        return False
    return after.shape == result.shape and not torch.equal(after, other)


def _makers(model: nn.Module, x: Tensor) -> dict[str, Callable[[int], Any]]:
    """By name, in the order in which they are tried."""

    def zeros(batch: int) -> Tensor:
        return x.new_zeros((batch, int(getattr(model, HIDDEN))), dtype=torch.get_default_dtype())

    methods = {
        name: lambda batch, name=name: getattr(model, name)(batch) for name in MAKERS if hasattr(model, name)
    }
    return {
        **methods,
        "None": lambda batch: None,
        "zeros": zeros,
        "two zeros": lambda batch: (zeros(batch), zeros(batch)),
    }
