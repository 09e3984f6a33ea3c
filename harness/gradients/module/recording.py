"""A forward pass cut at every step of its recurrent parts, recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .cut import Cut, Place, identical
from .layers import Layers
from .masking import refuse_other
from .one_step import outputs_from_states
from .states import leaves, mapped


@dataclass
class Chain:
    """The steps of one part in one direction, in its own order: a reverse one begins at the end.

    nodes      of the steps
    entries    by time, the places of the inputs; None of whole numbers and of one that holds the state too
    inputs     by time, (B, I); given: a step's other arguments
    mixed      whether the input and the state are one tensor
    lengths    (B,) of a packed sequence; packing (2, N): sample and step of each of its rows
    starts     (B,), the first step of sequences that are padded in front
    saturated  share of (unit, sample) by step, where it is known
    """

    part: str
    direction: str
    call: int
    layer: int | None = None
    mixed: bool = False
    nodes: list[int] = field(default_factory=list)
    entries: list[Place | None] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    given: list[tuple[Any, ...]] = field(default_factory=list)
    lengths: np.ndarray | None = None
    packing: Tensor | None = None
    starts: np.ndarray | None = None
    saturated: list[float] = field(default_factory=list)

    @property
    def batch(self) -> int:
        return len(self.inputs[0])

    def sizes(self) -> np.ndarray:
        """(B,): steps of each sequence."""
        return np.full(self.batch, len(self.inputs)) if self.lengths is None else self.lengths

    def times(self) -> np.ndarray:
        """(steps, B): the place in time of each own step; NaN where it is padding."""
        own = np.arange(len(self.inputs), dtype=float)[:, None]
        sizes = self.sizes()[None]
        times = (
            sizes - 1 - own if self.direction == "reverse" else np.broadcast_to(own, (len(own), sizes.size))
        )
        known = own < sizes if self.starts is None else times >= self.starts
        return np.where(known, times, np.nan)

    def spare(self) -> np.ndarray:
        """(steps, 1): a place in time for padding, which no other step of its sequence has."""
        own = np.arange(len(self.inputs))[:, None]
        return own[::-1] if self.direction == "reverse" and self.starts is not None else own


@dataclass
class RecordedStep:
    """One step of the examined part: its input, what it made, and which of it are states."""

    input: Tensor
    made: list[Tensor]
    states: list[int]
    given: tuple[Any, ...]


@dataclass
class Recording:
    """A forward pass. main: the chains of the examined part, by time one recurrence."""

    cut: Cut = field(default_factory=Cut)
    chains: list[Chain] = field(default_factory=list)
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    main: list[Chain] = field(default_factory=list)
    surface: int | None = None  # the node of the model's own input, where a part does not show its input
    seen: list[Tensor] = field(default_factory=list)  # by step, the model's own input
    starts: np.ndarray | None = None  # (B,), of sequences that are padded in front
    _steps: list[RecordedStep] = field(default_factory=list)

    @property
    def steps(self) -> list[RecordedStep]:
        """By time: of two directions the step of each."""
        if not self._steps:
            self._steps = [self._step(t) for t in range(len(self.main[0].inputs))]
        return self._steps

    def _step(self, t: int) -> RecordedStep:
        made: list[Tensor] = []
        states: list[int] = []
        for chain in self.main if self.main[0].nodes else []:
            own = len(chain.nodes) - 1 - t if chain.direction == "reverse" else t
            node = self.cut.nodes[chain.nodes[own]]
            states += [len(made) + k for k in node.states]
            made += node.made
        first = self.main[0]
        return RecordedStep(first.inputs[t], made, states, first.given[t] if first.given else ())

    @property
    def batch(self) -> int:
        """Sequences: the recurrence's own batch, whatever axis the model's input has it on."""
        return self.main[0].batch

    @property
    def lengths(self) -> np.ndarray:
        """(B,): steps of each sequence."""
        return self.main[0].sizes()

    @property
    def saturated(self) -> list[float]:
        """Share of (unit, sample) by step, empty where the step has no known form."""
        return [share for chain in self.main for share in chain.saturated]

    def ends(self, position: int | None) -> np.ndarray:
        """(B,): the step at which the loss is; each sequence's own last one where it has no position."""
        return self.lengths - 1 if position is None else np.full(self.batch, position)

    def choose(self, batches: set[int]) -> str:
        """The part to be examined: the first of those that see one of these numbers of sequences.

        Where its input holds the state too, the model's own input stands for it.
        """
        part = next((c.part for c in self.chains if c.batch in batches), self.chains[0].part)
        self.main = [c for c in self.chains if c.part == part and c.call == 1]
        first = self.main[0]
        if (
            self.surface is not None
            and (first.mixed or not first.nodes)
            and len(self.seen) == len(first.inputs)
        ):
            first.inputs, first.entries = self.seen, [(self.surface, t) for t in range(len(self.seen))]
        return part

    def chain(self, part: str, direction: str, layer: int | None = None) -> Chain:
        """A new one; its call is counted from 1 by part, layer and direction."""
        calls = sum((c.part, c.direction, c.layer) == (part, direction, layer) for c in self.chains)
        self.chains.append(Chain(part, direction, calls + 1, layer, starts=self.starts))
        return self.chains[-1]

    def continued(self, part: str, direction: str, state: Any) -> Chain | None:
        """The chain of the part that a call with this state goes on with; None of a fresh start.

        It depends on the chain's last state, or holds the same numbers, cut off from them.
        """
        own = [c for c in self.chains if c.part == part and c.direction == direction and c.nodes]
        given = [t for t in leaves(state) if t.is_floating_point()]
        if not own or not given:
            return None
        last = own[-1].nodes[-1]
        if any(node == last for node, _ in self.cut.sources(given)):
            return own[-1]
        node = self.cut.nodes[last]
        kept = [node.kept[k].detach().flatten() for k in node.states]
        values = [t.detach().flatten() for t in given]
        same = identical(values, kept) and any(bool((v != 0).any()) for v in values)
        return own[-1] if same else None


class FusedRecorder:
    """Stands in for the forward of nn.RNN, GRU or LSTM: all steps in the cell's form, recorded."""

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
            made, saturated = self.layers.step(x_s, state, names, run)
            node = cut.add(made, x.shape[1], list(range(len(made))), sources=[*sources, (number, s)])
            chain.nodes.append(node)
            chain.saturated.append(saturated)
            state = cut.nodes[node].kept
            sources = [(node, k) for k in range(len(made))]
            outputs.append(self.layers.output(state))
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


def output_and_state(module: nn.Module, result: Any) -> tuple[Any, Any]:
    """What a step returned; a cell of torch returns its state alone, whose first tensor is its output."""
    if isinstance(module, nn.RNNCellBase):
        return first_of(result), result
    if not isinstance(result, tuple) or len(result) != 2:
        what = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(
            f"{type(module).__name__} returned {what}; a recurrent module must return (output, state)"
        )
    if not any(t.is_floating_point() for t in leaves(result[1])):
        raise ValueError(
            f"{type(module).__name__} returned no state of floating-point numbers; it must return"
            " (output, state)"
        )
    return result


def first_of(state: Any) -> Any:
    """The first tensor of a state that may be a pair."""
    return state[0] if isinstance(state, (tuple, list)) else state
