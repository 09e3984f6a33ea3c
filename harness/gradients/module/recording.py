"""A forward pass cut at every step of its recurrent parts, recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .cut import Cut, Place, identical
from .states import leaves


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

        It depends on the chain's last state, or holds the same numbers, cut off from them; an input may stand
        before it.
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
        cut_off = identical(values, kept) or identical(values[1:], kept)
        same = cut_off and any(bool((v != 0).any()) for v in kept)
        return own[-1] if same else None
