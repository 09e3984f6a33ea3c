"""What is not finite in a batch, in the model's own dtype, and the first operation that made it so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .layers import FUSED, layers_of
from .recording import Chain, Recording
from .replay import Replay
from .states import leaves

FILLING = ("empty", "fill", "full", "scalar_tensor", "where", "new_")  # operations that may mean an infinity
UNDEFINED = ("div", "log", "log1p", "log2", "reciprocal", "rsqrt", "nll_loss", "nll_loss2d", "mean")  # of 0


@dataclass(frozen=True)
class Trouble:
    """Of one batch.

    kind   "forward": a state or the output; "backward": a gradient, though the loss is finite;
           "undefined": the loss and its gradient, by an operation that has no value there;
           "loss": the loss alone
    """

    kind: str
    text: str


class FirstNotFinite(TorchDispatchMode):
    """Remembers the first operation with a result that is not finite and arguments that are."""

    def __init__(self) -> None:
        super().__init__()
        self.operation = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        watched = not self.operation and not any(word in name for word in FILLING)
        watched = watched and _finite([*leaves(args), *leaves(kwargs)])
        result = func(*args, **kwargs)
        if watched and not _finite(leaves(result)):
            self.operation = name.removeprefix("_").removesuffix("_forward").removesuffix("_")
        return result


def trouble(replay: Replay, loss: Callable, x: Any, target: Any, number: int) -> Trouble | None:
    """Of batch `number`; None where all is finite, or where the loss cannot be had in this dtype."""
    try:
        output = replay.answer(x)
        value = loss(output, target)
        if _finite([output, value]) and _finite(_gradients(replay, output, value)):
            return None
        return _explained(replay, loss, x, target, number)
    except (RuntimeError, ValueError, TypeError):  # later steps say what is wrong, in float64
        return None


def _gradients(replay: Replay, output: Tensor, value: Tensor) -> list[Tensor]:
    """Of the output and of all parameters."""
    sources = [t for t in (output, *replay.model.parameters()) if t.requires_grad]
    if not value.requires_grad or not sources:
        return []
    found = torch.autograd.grad(value, sources, allow_unused=True)
    return [g for g in found if g is not None]


def _explained(replay: Replay, loss: Callable, x: Any, target: Any, number: int) -> Trouble | None:
    with FirstNotFinite() as first:
        recording = replay.record(x)
    if found := _forward(replay, recording, number):
        return Trouble("forward", f"{found}; {_made(first)}")
    of_loss = _loss(loss, recording.output, target, number)
    if isinstance(of_loss, Trouble):
        return of_loss
    value, d_output, words = of_loss
    with FirstNotFinite() as first:
        found = _backward(replay, recording, d_output, number)
    if found:
        return Trouble("backward", f"{found}; {_made(first)}, on the way back")
    return Trouble("loss", words) if not _finite([value]) else None


def _forward(replay: Replay, recording: Recording, number: int) -> str:
    """The first array of the pass that is not finite, in words."""
    for k, node in enumerate(recording.cut.nodes):
        for place, made in enumerate(node.made):
            if not _finite([made]):
                return f"{_name(replay, recording, k, place)} of batch {number} ({_what([made])})"
    if not _finite([recording.output]):
        return f"the output of batch {number} ({_what([recording.output])})"
    return ""


def _loss(loss: Callable, output: Tensor, target: Any, number: int) -> Trouble | tuple[Tensor, Tensor, str]:
    """The trouble with the loss's gradient at the output; else its value, that gradient and words on it."""
    leaf = output.detach().requires_grad_()
    with FirstNotFinite() as first:
        value = loss(leaf, target)
        (d_output,) = torch.autograd.grad(value, leaf)
    batch = f"the loss of batch {number} is {_what([value])}"
    words = f"{batch} though outputs, states and gradients are finite; {_made(first)}"
    if first.operation.startswith("nll_loss"):
        words += ": all of its targets are ignored (0 / 0)"
    if _finite([d_output]):
        return value.detach(), d_output, f"{words}; that batch is left out"
    at = f"its gradient at the output is {_what([d_output])}"
    if _finite([value]):
        batch = f"the loss of batch {number} is {float(value):.3g}"
    if first.operation in UNDEFINED:
        return Trouble(
            "undefined",
            f"{batch} and {at}, though outputs and states are finite; {_made(first)}, so that one update"
            " makes every parameter NaN: leave such a batch out, or keep that operation's argument off 0",
        )
    return Trouble("forward", f"{batch} and {at}; {_made(first)} in the loss")


def _backward(replay: Replay, recording: Recording, d_output: Tensor, number: int) -> str:
    """The first gradient on the way back that is not finite, in words."""
    nodes = recording.cut.nodes
    params = {k: p for k, p in replay.model.named_parameters() if p.requires_grad}
    kept = [k for node in nodes for k in node.kept]
    outside = _grad([recording.output], [*kept, *params.values()], [d_output])
    direct, of_params = iter(outside[: len(kept)]), outside[len(kept) :]
    if name := _which(params, of_params):
        return f"the gradient of {name} in batch {number}"
    pending = {(k, place): next(direct) for k, node in enumerate(nodes) for place in range(len(node.kept))}
    for k in range(len(nodes) - 1, -1, -1):
        node = nodes[k]
        whole = [pending[k, place] for place in range(len(node.kept))]
        for place, d in enumerate(whole):
            if d is not None and not _finite([d]):
                where = _name(replay, recording, k, place)
                return f"the gradient of {where} of batch {number} ({_what([d])})"
        pairs = [(m, d) for m, d in zip(node.made, whole, strict=True) if d is not None and m.requires_grad]
        if not pairs:
            continue
        sources = [nodes[n].kept[place] for n, place in node.sources]
        found = _grad([m for m, _ in pairs], [*sources, *params.values()], [d for _, d in pairs])
        for source, gradient in zip(node.sources, found, strict=False):
            pending[source] = _sum(pending[source], gradient)
        of_params = [_sum(a, b) for a, b in zip(of_params, found[len(sources) :], strict=True)]
        if name := _which(params, of_params):
            return f"the gradient of {name} in batch {number}, from {_name(replay, recording, k, 0)}"
    return ""


def _grad(ends: list[Tensor], sources: list[Tensor], cotangents: list[Tensor]) -> list[Tensor | None]:
    return list(torch.autograd.grad(ends, sources, cotangents, retain_graph=True, allow_unused=True))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _which(params: dict[str, nn.Parameter], gradients: list[Tensor | None]) -> str:
    """The first parameter whose gradient is not finite."""
    bad = (k for k, g in zip(params, gradients, strict=True) if g is not None and not _finite([g]))
    return next(bad, "")


def _name(replay: Replay, recording: Recording, number: int, place: int) -> str:
    """A tensor of a node with its step, as the module's documentation calls it."""
    for chain in recording.chains:
        for own, node in enumerate(chain.nodes):
            if node == number:
                step = len(chain.nodes) - 1 - own if chain.direction == "reverse" else own
                return f"{_state(replay, recording, chain, number, place)} at step {step}"
        entries = [e for e in chain.entries if e is not None]
        if (number, place) in entries:
            return f"the input of {chain.part or replay.name} at step {entries.index((number, place))}"
    return "the model's input"


def _state(replay: Replay, recording: Recording, chain: Chain, number: int, place: int) -> str:
    """h or c, and of which layer and direction."""
    module = (replay.parts or {}).get(chain.part)
    part = chain.part or replay.name
    states = recording.cut.nodes[number].states
    if place not in states:
        return f"the output of {part}"
    if isinstance(module, nn.RNNCellBase):
        return f"{'hc'[states.index(place)]} of {part}"
    if not isinstance(module, FUSED):
        return f"state {states.index(place)} of {part}" if len(states) > 1 else f"the state of {part}"
    names = layers_of(module).cell.states
    layer, which = divmod(place, len(names))
    layer = layer if chain.layer is None else chain.layer
    where = f"layer {layer} of {part}" if module.num_layers > 1 else part
    back = " in the reverse direction" if chain.direction == "reverse" else ""
    return f"{names[which]} of {where}{back}"


def _made(first: FirstNotFinite) -> str:
    return f"first made by {first.operation}" if first.operation else "no single operation made it"


def _what(tensors: list[Tensor]) -> str:
    """nan or inf, whichever there is; inf where both are, for it came first."""
    return "inf" if any(bool(torch.isinf(t).any()) for t in tensors) else "nan"


def _finite(tensors: list[Any]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())
