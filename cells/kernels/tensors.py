"""A chunked scan on torch tensors: about sqrt(T) steps in Python, each of all chunks at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..derived.affine import closure

Entry = tuple[int, int]  # of J: (new state, old state)
Blocks = dict[Entry, Tensor]  # the entries of J that are not 0, each (T, B, units)
Products = dict[Entry, Tensor | None]  # of several J; None where an entry is 0


def scan(jacobian: Blocks, constant: Sequence[Tensor], first: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The states (T, B, units) after every step of new = J old + c, differentiable in J, c and first.

    c are (T, B, units), one a state; first are (B, units), the states before.
    """
    return _Scan.apply(tuple(jacobian), len(constant), *jacobian.values(), *constant, *first)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, entries: tuple[Entry, ...], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        blocks, constant, first = _grouped(entries, count, tensors)
        states = chunked(blocks, constant, first)
        ctx.entries, ctx.count = entries, count
        ctx.save_for_backward(*blocks.values(), *first, *states)
        return tuple(states)

    @staticmethod
    def backward(ctx: Any, *d_states: Tensor) -> tuple[Any, ...]:
        """The cotangents obey the same recurrence from the end, with J transposed."""
        blocks, first, states = _grouped(ctx.entries, ctx.count, ctx.saved_tensors)
        later = {(old, new): _shifted(J.flip(0)) for (new, old), J in blocks.items()}
        reversed_states = [d.flip(0) for d in d_states]
        d_constant = [
            d.flip(0) for d in chunked(later, reversed_states, [torch.zeros_like(s) for s in first])
        ]
        d_first = [torch.zeros_like(s) for s in first]
        d_blocks = []
        for (new, old), J in blocks.items():
            d_first[old] = torch.addcmul(d_first[old], J[0], d_constant[new][0])
            d_J = torch.empty_like(states[old])
            torch.mul(d_constant[new][1:], states[old][:-1], out=d_J[1:])
            torch.mul(d_constant[new][0], first[old], out=d_J[0])
            d_blocks.append(d_J)
        return None, None, *d_blocks, *d_constant, *d_first


def _grouped(entries: tuple[Entry, ...], count: int, tensors: Sequence[Tensor]) -> tuple[Blocks, Any, Any]:
    blocks = dict(zip(entries, tensors, strict=False))
    rest = tensors[len(entries) :]
    return blocks, rest[:count], rest[count:]


def _shifted(array: Tensor) -> Tensor:
    """Every entry a step later, zeros at the first: no later step gives the last one a cotangent."""
    return torch.cat([torch.zeros_like(array[:1]), array[:-1]])


def chunked(blocks: Blocks, constant: Sequence[Tensor], first: Sequence[Tensor]) -> list[Tensor]:
    """The states after every step.

    Chunk k of the steps is k L ... k L + L - 1, so that step l of all chunks is [l::L].
    """
    steps, count = len(constant[0]), len(constant)
    length = math.isqrt(steps - 1) + 1
    complete = steps // length  # chunks with all their steps; nobody asks for the end of a shorter last one
    ends: list[Any] = [torch.zeros_like(c[:complete]) for c in constant]
    product: Products = {
        (a, b): torch.full_like(ends[0], float(a == b)) for a, b in closure(blocks, range(count))
    }
    for step in range(length):
        here = {at: J[step::length][:complete] for at, J in blocks.items()}
        ends = _applied(here, ends, [c[step::length][:complete] for c in constant])
        columns = [_applied(here, [product.get((b, a)) for b in range(count)]) for a in range(count)]
        product = {(a, b): columns[b][a] for a, b in product}
    begins = _carried(product, ends, first, -(-steps // length))
    states = [torch.empty_like(c, memory_format=torch.contiguous_format) for c in constant]
    now = begins
    for step in range(length):
        shares = [c[step::length] for c in constant]
        here = {at: J[step::length] for at, J in blocks.items()}
        now = _applied(here, [s[: len(shares[0])] for s in now], shares)
        for state, value in zip(states, now, strict=True):
            state[step::length] = value
    return states


def _carried(product: Products, ends: list[Tensor], first: Sequence[Tensor], chunks: int) -> list[Tensor]:
    """The states that the chunks begin with, (chunks, B, units): one after the other."""
    states: list[list[Any]] = [list(first)]
    for chunk in range(chunks - 1):
        here = {at: p[chunk] for at, p in product.items() if p is not None}
        states.append(_applied(here, states[-1], [e[chunk] for e in ends]))
    return [torch.stack(each) for each in zip(*states, strict=True)]


def _applied(
    blocks: Blocks, old: Sequence[Tensor | None], constant: Sequence[Tensor] | None = None
) -> list[Any]:
    """J old, and c where it is given. An old state that is None is 0; so is a new one that would be."""
    new: list[Any] = list(constant) if constant is not None else [None] * len(old)
    for (a, b), J in blocks.items():
        before = old[b]
        if before is not None:
            new[a] = J * before if new[a] is None else torch.addcmul(new[a], J, before)
    return new
