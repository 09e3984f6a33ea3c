"""What the loss is handed: the tensor that the model answers with, or all that it returned.

People write loss(output, target) of a tensor, of a tuple, a dict or an object with the answer in it, or of
packed sequences. The diagnosis works on one tensor. What else was returned goes along with the target.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .loss import REFUSALS, of_two
from .states import Opened, leaves, mapped

NAMES = ("logits", "output", "outputs", "prediction")  # of the answer among several things, in this order


@dataclass(frozen=True)
class Place:
    """Stands where a tensor of the answer was, which is these columns of it."""

    first: int
    last: int


@dataclass(frozen=True)
class Handed:
    """How a loss is handed what the model returned.

    whole     whether it takes all of it
    members   of its tensors in order, those that are the answer, side by side
    """

    whole: bool = False
    members: tuple[int, ...] = ()

    def answer(self, returned: Any) -> Tensor:
        """The one tensor to look at. Raises ValueError where there is none."""
        if not self.whole:
            return answer_of(returned)
        tensors = leaves(opened(returned))
        chosen = [tensors[k] for k in self.members]
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen, -1)

    def target(self, returned: Any, target: Any) -> Any:
        """The target as `loss` takes it: with what else was returned."""
        return (self._rest(returned), opened(target)) if self.whole else opened(target)

    def _rest(self, returned: Any) -> Any:
        """What was returned, with a Place for each tensor of the answer."""
        tree, column = opened(returned), 0
        tensors = leaves(tree)
        places: dict[int, Any] = {}
        for k in self.members:
            width = tensors[k].shape[-1]
            places[id(tensors[k])] = Place(column, column + width)
            column += width
        return mapped(tree, lambda t: places[id(t)] if id(t) in places else t.detach())

    def loss(self, loss: Callable) -> Callable[[Tensor, Any], Tensor]:
        """The caller's, of an answer and what `target` made."""
        call = of_two(loss)
        if not self.whole:
            return lambda output, target: call(output, closed(target))
        many = len(self.members) > 1

        def of_whole(output: Tensor, told: Any) -> Tensor:
            rest, target = told
            filled = _filled(rest, lambda p: output[..., p.first : p.last] if many else output)
            return call(closed(filled), closed(target))

        return of_whole


TENSOR = Handed()


def find_handed(loss: Callable, returned: Any, target: Any) -> Handed:
    """The loss is given what the model returned; where it refuses that, its first tensor."""
    if isinstance(returned, Tensor):
        return Handed()
    tree = mapped(opened(returned), _leaf)
    try:
        with torch.enable_grad():
            value = of_two(loss)(closed(tree), target)
            known = [t for t in leaves(tree) if t.requires_grad]
            found = torch.autograd.grad(value, known, allow_unused=True)
    except (*REFUSALS, ValueError):
        return Handed()
    used = {id(t) for t, g in zip(known, found, strict=True) if g is not None}
    members = [k for k, t in enumerate(leaves(tree)) if id(t) in used and t.ndim]
    if not members:
        return Handed()
    first = leaves(tree)[members[0]]
    alike = [k for k in members if leaves(tree)[k].shape[:-1] == first.shape[:-1]]
    return Handed(True, tuple(alike))


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_() if tensor.is_floating_point() else tensor


def opened(tree: Any) -> Any:
    """Packed sequences as padded tensors (B, T, ...) with lengths, and objects as their attributes."""
    if isinstance(tree, PackedSequence):
        padded, lengths = pad_packed_sequence(tree, batch_first=True)
        return Opened(PackedSequence, {"padded": padded, "lengths": lengths})
    if isinstance(tree, Tensor) or not leaves(vars(tree) if hasattr(tree, "__dict__") else tree):
        return tree
    if isinstance(tree, dict):
        return {k: opened(v) for k, v in tree.items()} if type(tree) is dict else Opened(tree, _items(tree))
    if isinstance(tree, (tuple, list)):
        branches = [opened(v) for v in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return Opened(tree, {k: opened(v) for k, v in vars(tree).items()})


def _items(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: opened(v) for k, v in tree.items()}


def closed(tree: Any) -> Any:
    """The reverse."""
    if isinstance(tree, Opened):
        held = {k: closed(v) for k, v in tree.held.items()}
        if tree.kind is PackedSequence:
            lengths = held["lengths"].cpu()
            return pack_padded_sequence(held["padded"], lengths, batch_first=True, enforce_sorted=False)
        made = copy.copy(tree.kind)
        if isinstance(made, dict):
            for k, v in held.items():
                made[k] = v
        else:
            vars(made).update(held)
        return made
    if isinstance(tree, dict):
        return {k: closed(v) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)) and not isinstance(tree, PackedSequence):
        branches = [closed(v) for v in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


def _filled(tree: Any, fill: Callable[[Place], Tensor]) -> Any:
    """With the answer in its places."""
    if isinstance(tree, Place):
        return fill(tree)
    if isinstance(tree, Opened):
        return Opened(tree.kind, {k: _filled(v, fill) for k, v in tree.held.items()})
    if isinstance(tree, dict):
        return {k: _filled(v, fill) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        branches = [_filled(v, fill) for v in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


def answer_of(returned: Any) -> Tensor:
    """The first tensor of a tuple; of a dict or an object its logits, output or first tensor."""
    found = _first(returned)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise ValueError(
            f"the model's output is of type {type(found).__name__}; it must be a floating-point tensor, or"
            " hold one"
        )
    return found


def _first(returned: Any) -> Any:
    if isinstance(returned, PackedSequence):
        return returned.data
    if isinstance(returned, (tuple, list)) and returned:
        return _first(returned[0])
    held = returned if isinstance(returned, dict) else getattr(returned, "__dict__", {})
    if held and not isinstance(returned, Tensor):
        name = next((n for n in NAMES if held.get(n) is not None), None)
        return held[name] if name else next((v for v in held.values() if isinstance(v, Tensor)), returned)
    return returned
