"""What stands in for the forward of a recurrent part, so that every step of it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .layers import Layers
from .masking import refuse_other
from .one_step import outputs_from_states
from .recording import Chain, Recording
from .states import leaves, mapped


class FusedRecorder:
    """In place of the forward of a module that hides its steps: all of them in the cell's form, recorded."""

    def __init__(self, name: str, layers: Layers, recording: Recording) -> None:
        self.name, self.layers, self.recording = name, layers, recording

    def __call__(self, input: Any, hx: Any = None) -> Any:
        layers, count = self.layers, len(self.layers.cell.states)
        refuse_other(input, self.recording.starts, layers)
        x, lengths = layers.padded(input)
        sizes = None if lengths is None else lengths.numpy()
        state = layers.unpacked(hx, x)
        if layers.directions == 1:
            names = [f"l{k}" for k in range(layers.module.num_layers)]
            block = self._block(x)
            outputs, state = self._run("forward", None, block, x, state, names, sizes)
            self.recording.chains[-1].packing = layers.packing(input)
            return layers.like(outputs, input), layers.packed(state, input)
        ends: list[Tensor] = []
        stacked = layers.module.num_layers > 1
        for layer in range(layers.module.num_layers):
            block, both = self._block(x), []
            for k, direction in enumerate(("forward", "reverse")):
                name = f"l{layer}" + ("_reverse" if k else "")
                own = state[count * (2 * layer + k) :][:count]
                out, end = self._run(direction, layer if stacked else None, block, x, own, [name], sizes)
                self.recording.chains[-1].packing = layers.packing(input)
                both.append(out)
                ends += end
            x = torch.cat(both, -1)
        return layers.like(x, input), layers.packed(ends, input)

    def _block(self, x: Tensor) -> tuple[int, list[Tensor]]:
        return self.recording.cut.inputs(list(x), x, x.shape[1])

    def _run(
        self,
        direction: str,
        layer: int | None,
        block: tuple[int, list[Tensor]],
        x: Tensor,
        state: list[Tensor],
        names: list[str],
        sizes: np.ndarray | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The outputs (T, B, H) in the order of time, and the last states, of one direction."""
        cut, (number, entries) = self.recording.cut, block
        back = direction == "reverse"
        order = _reversal(len(x), x.shape[1], sizes) if back else None
        rows = torch.arange(x.shape[1], device=x.device)
        alone = not back and sizes is None and self.recording.starts is None and self.layers.directions == 1
        chain = self.recording.continued(self.name, direction, state) if alone else None
        chain = chain or self.recording.chain(self.name, direction, layer)
        chain.lengths = sizes
        chain.entries += [(number, t) for t in range(len(x))]
        chain.inputs += list(x.detach())
        if order is not None:  # each sequence is read from its own end
            turned = torch.stack(entries)[order.to(x.device), rows]
            number, entries = cut.inputs(list(turned), turned, x.shape[1])
        sources = cut.sources(state)
        outputs = []
        known = None if sizes is None and chain.starts is None else ~np.isnan(chain.times()[-len(x) :])
        for s, x_s in enumerate(entries):
            run = None if known is None else torch.as_tensor(known[s], device=x.device)
            made, output, saturated = self.layers.step(x_s, state, names, run)
            states = list(range(len(made)))
            # most outputs are a state, and one tensor with it, so that their gradient is not counted twice
            place = next((k for k, m in enumerate(made) if m is output), len(made))
            every = made if place < len(made) else [*made, output]
            node = cut.add(every, x.shape[1], states, sources=[*sources, (number, s)])
            chain.nodes.append(node)
            chain.saturated.append(saturated)
            kept = cut.nodes[node].kept
            state, sources = kept[: len(made)], [(node, k) for k in states]
            outputs.append(kept[place])
        result = torch.stack(outputs)
        if order is not None:
            result = result[order.to(x.device), rows]
        if known is not None:
            within = torch.as_tensor(known[::-1].copy() if back and sizes is None else known, device=x.device)
            result = torch.where(within[..., None], result, torch.zeros_like(result))
        return result, list(state)


def _reversal(steps: int, batch: int, sizes: np.ndarray | None) -> Tensor:
    """(T, B): where each step of a sequence read backwards lies; padding stays in its place."""
    own = np.arange(steps)[:, None]
    ends = np.full((1, batch), steps) if sizes is None else sizes[None]
    return torch.as_tensor(np.where(own < ends, ends - 1 - own, own))


class StepRecorder:
    """Stands in for the forward of a module that is called once a step."""

    def __init__(self, name: str, module: nn.Module, forward: Callable, recording: Recording) -> None:
        self.name, self.module, self.forward, self.recording = name, module, forward, recording

    def __call__(self, *args: Any, **more: Any) -> Any:
        cut, recording = self.recording.cut, self.recording
        x = next((t for t in leaves((args, more))), torch.empty(0))
        chain = recording.continued(self.name, "forward", (args, more))
        mixed = chain is not None and any(node == chain.nodes[-1] for node, _ in cut.sources([x]))
        if chain is not None:
            before = cut.nodes[chain.nodes[-1]]
            used = {k for node, k in cut.sources(leaves((args, more))) if node == chain.nodes[-1]}
            before.states = sorted({*before.states, *used})
        chain = chain or recording.chain(self.name, "forward")
        entry, alias = None, x
        if x.is_floating_point() and not mixed:
            number = cut.add([x], len(x), [], apart=True)
            entry, alias = (number, 0), cut.nodes[number].kept[0].clone()
        call, named = mapped((args, more), lambda t: alias if t is x else t)
        with outputs_from_states(self.module):
            result = self.forward(*call, **named)
        # an output that is a state too is one tensor, so that its gradient is not counted twice
        distinct = {id(t): t for t in leaves(result) if t.is_floating_point()}
        node = cut.add(list(distinct.values()), len(x), self._states(chain, list(distinct.values()), result))
        kept = dict(zip(distinct, (k.clone() for k in cut.nodes[node].kept), strict=True))
        chain.nodes.append(node)
        chain.entries.append(entry)
        chain.inputs.append(x.detach())
        chain.given.append(args)
        chain.mixed = chain.mixed or mixed
        return mapped(result, lambda t: kept.get(id(t), t))

    def _states(self, chain: Chain, made: list[Tensor], result: Any) -> list[int]:
        """Places of the states: what the steps so far handed on, or what the module returns as such."""
        if isinstance(self.module, nn.RNNCellBase):
            return list(range(len(made)))
        if chain.nodes and (known := self.recording.cut.nodes[chain.nodes[-1]].states):
            return [k for k in known if k < len(made)]
        if isinstance(result, tuple) and len(result) == 2:
            in_state = {id(t) for t in leaves(result[1])}
            return [k for k, t in enumerate(made) if id(t) in in_state]
        return []


def output_and_state(module: nn.Module, result: Any, is_state: bool = False) -> tuple[Any, Any]:
    """What a step returned; is_state: a state alone, whose first tensor is its output, as torch's cells do.

    Raises ValueError for what is no (output, state).
    """
    if is_state or isinstance(module, nn.RNNCellBase):
        return first_of(result), result
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(_no_step(module, _named(result)))
    if not any(t.is_floating_point() for t in leaves(result[1])):
        raise ValueError(_no_step(module, "no state of floating-point numbers"))
    return result


def _no_step(module: nn.Module, returned: str) -> str:
    return (
        f"{type(module).__name__} returned {returned} when it was called with (x_t, state); a module that is"
        " called once a step must return (output, state), or its new state alone; return one of them, or"
        " give a model that takes the whole sequence"
    )


def _named(result: Any) -> str:
    if isinstance(result, Tensor):
        return f"a tensor of shape {tuple(result.shape)}"
    return f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"


def first_of(state: Any) -> Any:
    """The first tensor of a state that may be a pair."""
    return state[0] if isinstance(state, (tuple, list)) else state
