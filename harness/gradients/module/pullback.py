"""The gradient of a recorded forward pass, node by node from the end.

It is rescaled at every step, so that nothing under- or overflows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

import numpy as np
import torch
from torch import Tensor
from torch.autograd import grad

from .cut import Node, Place
from .recording import Chain, Recording

# gradients at some of a node's kept tensors (None at the others), to be taken times exp of a scale (B,)
Part = tuple[list[Tensor | None], Tensor]


@dataclass
class Pullback:
    """The gradient of one loss term.

    log_norm    (steps, B) by time: natural log of the norm of the joint state's gradient of the examined
                part; log_reach of its input's. NaN beyond a sequence's end
    cotangents  by node, of its `made` in true size (they may underflow), for gradients of parameters
    states      by node, (B,): log of the norm at its states; inputs the same by place of an input
    """

    log_norm: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    log_reach: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    cotangents: dict[int, list[Tensor]] = field(default_factory=dict)
    states: dict[int, np.ndarray] = field(default_factory=dict)
    inputs: dict[Place, np.ndarray] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        """Whether a gradient is NaN; padding does not count."""
        return any(bool(np.isnan(n).any()) for n in (*self.states.values(), *self.inputs.values()))

    def by_step(self, chain: Chain) -> tuple[np.ndarray, np.ndarray]:
        """(steps, B) at the states and at the inputs of a chain, in its own order."""
        none = np.full(chain.batch, -np.inf)
        norms = np.array([self.states.get(k, none) for k in chain.nodes])  # none where no state is seen
        reach = np.array(
            [np.full(chain.batch, np.nan) if e is None else self.inputs.get(e, none) for e in chain.entries]
        )
        times = chain.times()
        known = ~np.isnan(times)
        index = np.where(known, times, 0).astype(int)
        reach = np.take_along_axis(reach, index, 0)
        reach = np.where(known, reach, np.nan)
        return np.where(known, norms, np.nan) if chain.nodes else reach, reach


def pull(recording: Recording, d_output: Tensor) -> Pullback:
    """From a cotangent of the model's output."""
    nodes = recording.cut.nodes
    pending = _direct(recording, d_output)
    found = Pullback()
    for number in range(len(nodes) - 1, -1, -1):
        node, parts = nodes[number], pending.pop(number, [])
        if not parts:
            continue
        if node.apart:
            for place in {p for gradients, _ in parts for p, g in enumerate(gradients) if g is not None}:
                own: list[Part] = [([g[place]], scale) for g, scale in parts if g[place] is not None]
                unit, log_scale = _merged(own, [node.kept[place]], node.batch)
                for t, rows in enumerate([unit[0]] if node.time is None else unit[0].unbind(node.time)):
                    found.inputs[number, place + t] = _norms([rows], log_scale)
            if not node.sources:
                continue
        unit, log_scale = _merged(parts, node.kept, node.batch)
        if not node.apart:
            found.states[number] = _norms(_state_gradient(node, unit), log_scale)
            found.cotangents[number] = [_scaled(d, torch.exp(log_scale)) for d in unit]
        for source, part in _back(nodes, node, unit, log_scale):
            pending[source].append(part)
    found.log_norm, found.log_reach = _by_time(recording, found)
    return found


def parameter_gradient(
    recording: Recording,
    pullback: Pullback,
    ends: np.ndarray,
    lags: tuple[int, int],
    rows: Tensor,
    params: list[Tensor],
) -> Tensor:
    """Flat: what the part's steps at lags low..high before `ends` (B,) give to the gradient of params.

    It is summed over the samples where rows (B,) is 1.
    """
    outputs, d_outputs = [], []
    for chain in recording.main:
        lag = ends[None] - chain.times()
        inside = (lag >= lags[0]) & (lag <= lags[1])
        for own in np.flatnonzero(inside.any(1)) if chain.nodes else []:
            number = chain.nodes[own]
            weight = rows * torch.as_tensor(inside[own]).to(rows)
            for m, d in zip(
                recording.cut.nodes[number].made, pullback.cotangents.get(number, []), strict=False
            ):
                if m.requires_grad:
                    outputs.append(m)
                    d_outputs.append(_scaled(d, weight))
    if not outputs:
        return torch.cat([torch.zeros_like(p).flatten() for p in params])
    gradients = grad(outputs, params, d_outputs, retain_graph=True, allow_unused=True)
    return torch.cat([_or_zero(g, p).flatten() for g, p in zip(gradients, params, strict=True)])


def lagged(by_time: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(lags, B) from (steps, B): lag k is the step k before each one's end; NaN before the start."""
    times = ends[None] - np.arange(len(by_time))[:, None]
    return np.where(times >= 0, np.take_along_axis(by_time, np.maximum(times, 0), 0), np.nan)


def _direct(recording: Recording, d_output: Tensor) -> dict[int, list[Part]]:
    """The gradients that each node gets from the output itself."""
    nodes = recording.cut.nodes
    pending: dict[int, list[Part]] = defaultdict(list)
    if not recording.output.requires_grad:
        return pending
    kept = [k for node in nodes for k in node.kept]
    gradients = iter(grad(recording.output, kept, d_output, retain_graph=True, allow_unused=True))
    for number, node in enumerate(nodes):
        own = [next(gradients) for _ in node.kept]
        if any(g is not None for g in own):
            pending[number].append((list(own), own_zero(node)))
    return pending


def own_zero(node: Node) -> Tensor:
    """A scale of 1 for each sample, as a logarithm."""
    return torch.zeros(node.batch, dtype=torch.float64, device=node.kept[0].device)


def _merged(parts: list[Part], like: list[Tensor], batch: int) -> tuple[list[Tensor], Tensor]:
    """Their sum, as gradients of norm about 1 for each sample, and the log of their scale."""
    sizes = [_norm([g for g in gradients if g is not None], batch) for gradients, _ in parts]
    logs = [scale + _log(size) for (_, scale), size in zip(parts, sizes, strict=True)]
    log_scale = torch.stack(logs).amax(0)
    log_scale = torch.where(torch.isfinite(log_scale), log_scale, torch.zeros_like(log_scale))
    sums: list[Tensor | None] = [None] * len(like)
    for (gradients, _), size, log in zip(parts, sizes, logs, strict=True):
        # each is brought to norm 1 before its share of the largest: neither factor can overflow
        inverse, share = _inverse(size), torch.exp(log - log_scale)
        for k, g in enumerate(gradients):
            if g is not None:
                scaled = _scaled(_scaled(g, inverse), share)
                so_far = sums[k]
                sums[k] = scaled if so_far is None else so_far + scaled
    return [_or_zero(s, k) for s, k in zip(sums, like, strict=True)], log_scale


def _back(nodes: list[Node], node: Node, unit: list[Tensor], log_scale: Tensor) -> list[tuple[int, Part]]:
    """What a node hands to the nodes that it was computed from."""
    pairs = [(m, d) for m, d in zip(node.made, unit, strict=True) if m.requires_grad]
    if not pairs or not node.sources:
        return []
    alike = all(nodes[k].batch == node.batch for k, _ in node.sources)
    if not alike:  # another batch has scales of its own: it gets the true size
        pairs = [(m, _scaled(d, torch.exp(log_scale))) for m, d in pairs]
    sources = [nodes[k].kept[place] for k, place in node.sources]
    gradients = grad(
        [m for m, _ in pairs], sources, [d for _, d in pairs], retain_graph=True, allow_unused=True
    )
    handed: dict[int, list[Tensor | None]] = {}
    for (k, place), g in zip(node.sources, gradients, strict=True):
        if g is not None:
            handed.setdefault(k, [None] * len(nodes[k].kept))[place] = g
    return [(k, (own, log_scale if alike else own_zero(nodes[k]))) for k, own in handed.items()]


def _by_time(recording: Recording, found: Pullback) -> tuple[np.ndarray, np.ndarray]:
    """(steps, B) of the examined part: over all its chains, each step where it lies in time."""
    norms: list[np.ndarray] = []
    reaches: list[np.ndarray] = []
    for chain in recording.main:
        norm, reach = found.by_step(chain)
        times = chain.times()
        known = ~np.isnan(times)
        index = np.where(known, times, chain.spare()).astype(int)
        for arrays, values in ((norms, norm), (reaches, reach)):
            placed = np.full_like(values, np.nan)
            np.put_along_axis(placed, index, values, 0)
            arrays.append(placed)
    with np.errstate(invalid="ignore"):
        joint = norms[0] if len(norms) == 1 else np.logaddexp.reduce([2 * n for n in norms]) / 2
    return joint, reaches[0]


def _norms(gradients: list[Tensor], log_scale: Tensor) -> np.ndarray:
    """(B,): the log of the norm over all of them."""
    norms: np.ndarray = (log_scale + _log(_norm(gradients, len(log_scale))).to(log_scale)).cpu().numpy()
    return norms


def _state_gradient(node: Node, unit: list[Tensor]) -> list[Tensor]:
    """The states' cotangents, with those of outputs that the step computed from its new states added."""
    if not node.states:
        return unit
    states = [node.made[k] for k in node.states]
    direct = [unit[k] for k in node.states]
    outputs = [k for k in range(len(node.made)) if k not in node.states and node.made[k].requires_grad]
    if not any(bool((unit[k] != 0).any()) for k in outputs):
        return direct
    total = _through([node.made[k] for k in outputs], [unit[k] for k in outputs], states)
    return [d if g is None else d + g for d, g in zip(direct, _partial(states, total), strict=True)]


def _partial(states: list[Tensor], total: list[Tensor | None]) -> list[Tensor | None]:
    """Gradients with the other states held fixed, from total ones.

    autograd's gradient of c holds that of h as well where h = o tanh(c) was computed from c. States are
    taken from the last computed to the first: those computed from one come before it, and their own
    gradients, pulled back to it, are taken off.
    """
    places = range(len(states))
    after = {k: [j for j in places if j != k and _feeds(states[k], states[j])] for k in places}
    partial: dict[int, Tensor | None] = {}
    for k in TopologicalSorter(after).static_order():
        passed = [_through([states[j]], [d], [states[k]])[0] for j, d in partial.items() if d is not None]
        gradient = total[k]
        partial[k] = None if gradient is None else gradient - sum(p for p in passed if p is not None)
    return [partial[k] for k in places]


def _feeds(source: Tensor, end: Tensor) -> bool:
    """Whether the end was computed from the source."""
    return _through([end], [torch.ones_like(end)], [source])[0] is not None


def _through(ends: list[Tensor], cotangents: list[Tensor], sources: list[Tensor]) -> list[Tensor | None]:
    """Gradients at sources; None where the ends do not depend on one."""
    known = [s for s in sources if s.requires_grad]
    if not known or not all(e.requires_grad for e in ends):
        return [None] * len(sources)
    gradients = iter(grad(ends, known, cotangents, retain_graph=True, allow_unused=True))
    return [next(gradients) if s.requires_grad else None for s in sources]


def sample_rows(tensor: Tensor, batch: int) -> Tensor:
    """(B, n): a tensor with its axis of samples first, the first axis of that size."""
    axes = [k for k, n in enumerate(tensor.shape) if n == batch]
    if not axes:
        raise ValueError(
            f"a state is of shape {tuple(tensor.shape)}, which has no axis of the batch's {batch} sequences"
        )
    return tensor.movedim(axes[0], 0).reshape(batch, -1)


def _scaled(tensor: Tensor, factor: Tensor) -> Tensor:
    """A factor for each sample."""
    axis = tensor.shape.index(len(factor))
    wide = factor.reshape(-1, *[1] * (tensor.ndim - 1 - axis))
    return torch.where(wide == 0, torch.zeros_like(tensor), tensor * wide)  # 0 times inf is to be 0


def _norm(tensors: list[Tensor], batch: int) -> Tensor:
    """(B,) over all tensors, scaled by the largest entry, so that no square under- or overflows."""
    if not tensors:
        return torch.zeros(batch)
    rows = torch.cat([sample_rows(t, batch) for t in tensors], 1)
    largest = rows.abs().amax(1)
    scale = torch.where((largest > 0) & torch.isfinite(largest), largest, torch.ones_like(largest))
    return scale * torch.linalg.vector_norm(rows / scale[:, None], dim=1)


def _inverse(norm: Tensor) -> Tensor:
    return torch.where(norm > 0, 1 / norm, torch.zeros_like(norm))


def _log(norm: Tensor) -> Tensor:
    return torch.log(norm.double())


def _or_zero(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient
