"""A forward pass cut into small graphs: the tensors that each piece made, and copies that the rest saw.

A piece's derivative is then one small graph, and products of them can be rescaled on the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Place = tuple[int, int]  # of a tensor: the number of its node, and which of the node's it is


@dataclass
class Node:
    """One piece: a step of a recurrence, or the input of some.

    made, kept   the same tensors, each with the samples on some axis: as computed, and cut off from that
    batch        samples
    states       the places of those that are states; of an input there are none
    apart        whether each tensor is rescaled by itself (inputs at different steps)
    sources      the kept tensors that the made ones were computed from
    time         the axis of steps of a whole sequence's input, (B, T, ...)
    """

    made: list[Tensor]
    kept: list[Tensor]
    batch: int
    states: list[int]
    apart: bool
    sources: list[Place]
    time: int | None = None


@dataclass
class Cut:
    """The nodes in the order in which they were computed."""

    nodes: list[Node] = field(default_factory=list)
    places: dict[int, Place] = field(default_factory=dict)  # by the identity of the kept tensor
    seen: dict[Any, frozenset[Place]] = field(default_factory=dict)  # by node of autograd's graph

    def add(
        self,
        made: list[Tensor],
        batch: int,
        states: list[int],
        apart: bool = False,
        sources: list[Place] | None = None,
    ) -> int:
        """The number of a new node; its sources are looked for where they are not given."""
        kept = [m.detach().requires_grad_() for m in made]
        number = len(self.nodes)
        found = self.sources(made) if sources is None else sources
        self.nodes.append(Node(made, kept, batch, states, apart, found))
        self.places |= {id(k): (number, place) for place, k in enumerate(kept)}
        return number

    def inputs(self, tensors: list[Tensor], whole: Tensor, batch: int) -> tuple[int, list[Tensor]]:
        """A node of one tensor a step, all from one whole: its number, and the tensors to go on with."""
        number = self.add(tensors, batch, [], apart=True, sources=self.sources([whole]))
        return number, self.nodes[number].kept

    def sources(self, tensors: Iterable[Tensor]) -> list[Place]:
        """The kept tensors that these were computed from, in order."""
        found: set[Place] = set()
        for tensor in tensors:
            if id(tensor) in self.places:
                found.add(self.places[id(tensor)])
            elif tensor.grad_fn is not None:
                found |= self._behind(tensor.grad_fn)
        return sorted(found)

    def _behind(self, function: Any) -> frozenset[Place]:
        """The same from a node of autograd's graph, without recursion: loops are deep."""
        stack = [function]
        while stack:
            here = stack[-1]
            if here in self.seen:
                stack.pop()
                continue
            before = [f for f, _ in here.next_functions if f is not None]
            unknown = [f for f in before if f not in self.seen]
            if unknown:
                stack += unknown
                continue
            stack.pop()
            place = self.places.get(id(getattr(here, "variable", None)))
            own = frozenset() if place is None else frozenset([place])
            self.seen[here] = own.union(*(self.seen[f] for f in before))
        return self.seen[function]


def identical(left: list[Tensor], right: list[Tensor]) -> bool:
    """Whether states hold the same numbers, as a detached one and its origin do."""
    return len(left) == len(right) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(left, right, strict=True)
    )
