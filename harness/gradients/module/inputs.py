"""What a model is called with: tensors by position and by name, packed ones among them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .states import leaves, mapped

# names by which forward takes a first state; no item of a batch goes there while another reading is possible
STATES = ("h", "h0", "h_0", "hc", "hx", "hidden", "state", "states", "carry", "memory", "cell_state", "prev")
TARGETS = ("labels", "label", "target", "targets", "y", "tgt", "tags")  # keys of a batch, in this order


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of the model.

    starts   (B,), the step at which each sequence begins, where they are padded in front
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    starts: np.ndarray | None = None

    def call(self, model: Callable) -> Any:
        """Of copies, for a forward may change what it is given in place."""
        args, kwargs = mapped((self.args, self.kwargs), Tensor.clone)
        return model(*args, **kwargs)

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, of a packed sequence its data."""
        return leaves((self.args, self.kwargs))

    @property
    def first(self) -> Tensor:
        """The sequence: the first tensor with an axis of steps and one of samples, else the first."""
        return next((t for t in self.tensors if t.ndim >= 2), self.tensors[0])

    @property
    def device(self) -> torch.device:
        return self.first.device

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [tuple(t.shape) for t in self.tensors]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        args, kwargs = mapped((self.args, self.kwargs), change)
        return Inputs(args, kwargs, self.starts)

    def replaced(self, old: Tensor, new: Tensor) -> Inputs:
        """The same call with one tensor in another's place."""
        return self.mapped(lambda t: new if t is old else t)

    @property
    def packed(self) -> PackedSequence | None:
        """The first packed sequence among them."""
        return next((a for a in self.args if isinstance(a, PackedSequence)), None)


def split_batch(k: int, batch: Any, model: nn.Module) -> tuple[Inputs, Any]:
    """The model's inputs and the target of batch k.

    Read are (x, target), (x, more, ..., target), ((x, more), target), a dict that holds the target, and
    (dict, target). Raises ValueError for anything else.
    """
    if isinstance(batch, Mapping):
        return _of_mapping(k, dict(batch), model)
    if not isinstance(batch, (tuple, list)) or isinstance(batch, PackedSequence) or len(batch) < 2:
        what = f"a {type(batch).__name__}"
        if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence):
            what += f" of {len(batch)}"
        raise ValueError(
            f"batch {k} is {what}; it must be (x, target), or a dict that holds the target; {WAY}"
        )
    if len(batch) == 2:
        x, target = batch
        inputs = _of_dict(dict(x), model) if isinstance(x, Mapping) else Inputs(_nested(x, model))
    else:
        count = _taken(model, len(batch) - 1)
        inputs, rest = Inputs(tuple(batch[:count])), tuple(batch[count:])
        target = rest[0] if len(rest) == 1 else rest
    if not (inputs.tensors and leaves(target)):
        way = "torch.as_tensor makes one of an array" if "ndarray" in _kinds(batch) else WAY
        raise ValueError(
            f"batch {k} holds {_kinds(batch)}; the model's inputs and the target must be tensors; {way}"
        )
    return inputs, target


WAY = "another form is turned into one: [((x, lengths), y) for x, lengths, y in loader]"


def _kinds(batch: Any) -> str:
    return ", ".join(type(item).__name__ for item in batch)


def _nested(x: Any, model: nn.Module) -> tuple[Any, ...]:
    """((x, lengths), target): several arguments, unless forward takes a single one."""
    if isinstance(x, (tuple, list)) and not isinstance(x, PackedSequence):
        return tuple(x) if _most(model) >= len(x) else (x,)
    return (x,)


def _of_dict(x: dict[str, Any], model: nn.Module) -> Inputs:
    """(dict, target): arguments by name, or the dict itself where forward has no argument of these names."""
    takes = _all_parameters(model)
    any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes)
    return Inputs((), x) if any_name or {p.name for p in takes} & set(x) else Inputs((x,))


def parameters(model: nn.Module) -> list[inspect.Parameter]:
    """Of forward, those that are given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in _all_parameters(model) if p.kind in kinds]


def _all_parameters(model: nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # a scripted forward has no signature
        given = model.forward.schema.arguments[1:]  # type: ignore[attr-defined]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        missing = inspect.Parameter.empty
        return [
            inspect.Parameter(a.name, kind, default=a.default_value if a.has_default_value() else missing)
            for a in given
        ]


def _most(model: nn.Module) -> int:
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in _all_parameters(model)):
        return 1_000_000
    return len(parameters(model))


def is_state(parameter: inspect.Parameter) -> bool:
    """Whether an argument of forward has a name under which first states are given."""
    name = parameter.name.lower()
    return name in STATES or any(word in name for word in ("hidden", "state"))


def _taken(model: nn.Module, items: int) -> int:
    """How many of a batch's items, the target left out, forward takes."""
    if _most(model) == 1_000_000:
        return items
    no_states = [p for p in parameters(model) if not is_state(p)]
    return min(items, max(len(no_states), 1))


def _of_mapping(k: int, batch: dict[str, Any], model: nn.Module) -> tuple[Inputs, Any]:
    key = next((name for name in TARGETS if name in batch), None)
    if key is None:
        raise ValueError(
            f"batch {k} is a dict of {', '.join(map(str, batch))}; none of them is a target"
            f" ({', '.join(TARGETS)}); give (dict, target)"
        )
    rest = {name: value for name, value in batch.items() if name != key and leaves(value)}
    names = {p.name for p in _all_parameters(model)}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in _all_parameters(model)):
        return Inputs((), rest), batch[key]
    known = {name: value for name, value in rest.items() if name in names}
    if known:
        return Inputs((), known), batch[key]
    if _annotated_dict(model) or len(rest) > 1:
        return Inputs((rest,)), batch[key]
    return Inputs(tuple(rest.values())), batch[key]


def own_loss(model: nn.Module) -> str:
    """The way for a model that computes its loss itself, as those of Hugging Face do; "" for another."""
    name = next((p.name for p in _all_parameters(model) if p.name in TARGETS), None)
    if name is None:
        return ""
    return (
        f"; {name} go to the loss here, not to the model, which so returns no loss of its own: give"
        f" loss(output, {name}), such as lambda logits, {name}: torch.nn.functional.cross_entropy("
        f"logits.flatten(0, -2), {name}.flatten())"
    )


def _annotated_dict(model: nn.Module) -> bool:
    """Whether forward says that it takes the batch as it is."""
    first = next(iter(parameters(model)), None)
    return first is not None and (first.name == "batch" or "dict" in str(first.annotation).lower())
