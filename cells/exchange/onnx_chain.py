"""The recurrent nodes of a traced ONNX graph as layers of one cell: which reads what, in which direction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from .onnx_trace import Labels, Linear, Recurrent, Trace

CUT = "cut a part out with onnx.utils.extract_model(FILE, PART, [an input], [an output]) and read that"


@dataclass(frozen=True, eq=False)
class Part:
    """One direction of a node. flipped: the graph flips x in time before it, and so its output after it."""

    layer: Recurrent
    direction: int
    flipped: bool

    @property
    def reverse(self) -> bool:
        """Whether it reads from the end."""
        node = self.layer.attributes.get("direction", "forward")
        return (node == "reverse" or self.direction == 1) != self.flipped

    @property
    def y(self) -> np.ndarray:
        """The labels of its output by time, (T, B, H)."""
        return _flip(self.layer.y[:, self.direction], self.flipped)


@dataclass(frozen=True)
class Chain:
    """x is the input's name; a depth has one part a direction.

    axes say where (T, B, I) lie in x, or (T, I) where it is one sequence.
    """

    x: str
    axes: tuple[int, ...]
    depths: list[list[Part]]

    @property
    def parts(self) -> list[Part]:
        """All parts, in the order of a stack's layers."""
        return [part for depth in self.depths for part in depth]

    @property
    def output(self) -> np.ndarray:
        """The labels of the last depth's output, (T, B, D * H)."""
        return _joined(self.depths[-1])


def _flip(ids: np.ndarray, flipped: bool) -> np.ndarray:
    return ids[::-1] if flipped else ids


def _joined(parts: list[Part]) -> np.ndarray:
    return np.concatenate([part.y for part in parts], axis=-1)


def chain(traced: Trace) -> Chain:
    """The nodes in a row. Raises ValueError, naming node and input, where they are no stack."""
    name, axes, x = _x_of(traced)
    left, depths = list(traced.layers), []
    while left:
        found = [(layer, flipped) for layer in left if (flipped := _reads(layer, x)) is not None]
        if not found:
            raise ValueError(_not_in_a_row(left[0], x))
        depths.append(_depth(found))
        left = [layer for layer in left if all(layer is not other for other, _ in found)]
        x = _joined(depths[-1])
    widths = {len(depth) for depth in depths}
    if len(widths) > 1:
        one = next(d[0].layer.what for d in depths if len(d) == 1)
        raise ValueError(
            f"{one} reads in one direction and another layer in both; a stack has the same in every layer:"
            f" {CUT}"
        )
    return Chain(name, axes, depths)


def _x_of(traced: Trace) -> tuple[str, tuple[int, ...], np.ndarray]:
    """The input that the first node reads, where T, B and I lie in it, and its labels as (T, B, I)."""
    first = traced.layers[0]
    given = first.slots.get("X")
    if not isinstance(given, Labels):
        raise ValueError(f"{first.what}: X is {'held in the file' if given is not None else 'missing'}")
    if given.ids.ndim != 3 or not given.ids.size:
        raise ValueError(f"{first.what}: X is {given.ids.shape}; it must have three axes, none of size 0")
    label = given.ids.flat[0]
    for name, ids in traced.inputs.items():
        if not ids.size or not ids.flat[0] <= label <= ids.flat[-1]:
            continue
        whole = ids[:, None] if ids.ndim == 2 else ids
        for axes in permutations(range(3)) if whole.ndim == 3 else ():
            if ids.ndim == 2 and axes != (0, 1, 2):
                continue
            turned = whole.transpose(axes)
            if _same(turned, given.ids) or _same(turned[::-1], given.ids):
                return name, axes if ids.ndim == 3 else (0, 1), turned
        raise ValueError(
            f"{first.what}: X is {given.ids.shape}, a part of the input {name} {ids.shape} or that in another"
            " order; a cell takes all of x, (T, B, I) with its axes in any order"
        )
    raise ValueError(f"{first.what}: X is computed by another layer, not the model's input; {CUT}")


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _reads(layer: Recurrent, x: np.ndarray) -> bool | None:
    """Whether the node reads these labels flipped in time; None where it reads others."""
    given = layer.slots.get("X")
    if not isinstance(given, Labels):
        return None
    return False if _same(given.ids, x) else True if _same(given.ids, x[::-1]) else None


def _depth(found: list[tuple[Recurrent, bool]]) -> list[Part]:
    """The parts that read the same, forward first."""
    parts = [
        Part(layer, direction, flipped) for layer, flipped in found for direction in range(layer.y.shape[1])
    ]
    ordered = sorted(parts, key=lambda part: part.reverse)
    directions = [part.reverse for part in ordered]
    if directions in ([False], [False, True]):
        return ordered
    what = found[0][0].what
    if directions == [True]:
        raise ValueError(
            f"{what} has direction 'reverse' alone; a cell reads forward, or in both directions: set"
            " direction to 'forward', and give x from its end"
        )
    raise ValueError(
        f"{what} and {found[-1][0].node.op_type} {found[-1][0].node.name!r} read the same input side by side;"
        f" a stack has one layer a direction: {CUT}"
    )


def _not_in_a_row(layer: Recurrent, x: np.ndarray) -> str:
    given: Any = layer.slots.get("X")
    if isinstance(given, Labels) and given.ids.size == x.size and _same(np.sort(given.ids.ravel()), _all(x)):
        return (
            f"{layer.what} takes the output of the layer below in another order; a stack takes (T, B, D * H),"
            " forward direction first"
        )
    return f"{layer.what} takes something other than the whole output of the layer below; {CUT}"


def _all(ids: np.ndarray) -> np.ndarray:
    return np.sort(ids.ravel())


def read_out(traced: Trace, chained: Chain) -> tuple[Linear, np.ndarray] | None:
    """The linear layer on the last depth, and its labels (T, B, K), -1 where it takes not every step.

    None where there is none. Raises ValueError for others, and for one that takes something else.
    """
    if not traced.linear:
        return None
    if len(traced.linear) > 1:
        names = ", ".join(linear.name for linear in traced.linear)
        raise ValueError(f"{traced.path} has the linear layers {names}; a cell has one read-out at most")
    linear, output = traced.linear[0], chained.output
    rows, taken = output.reshape(-1, output.shape[-1]), linear.taken.reshape(-1, linear.taken.shape[-1])
    order = np.argsort(rows[:, 0])
    found = order[np.searchsorted(rows[:, 0], taken[:, 0], sorter=order).clip(max=len(rows) - 1)]
    if taken.shape[1] != rows.shape[1] or not _same(rows[found], taken):
        raise ValueError(
            f"{traced.path}: {linear.name} takes something other than the output of one step, such as the"
            " last states of both directions; a read-out takes that of one step: read the model"
            f" without it: {CUT}"
        )
    ids = np.full((len(rows), linear.ids.shape[-1]), -1)
    ids[found] = linear.ids.reshape(len(found), -1)
    return linear, ids.reshape(*output.shape[:2], -1)


def check_outputs(traced: Trace, names: list[str], final: np.ndarray) -> None:
    """Raises ValueError where an output of the model has the whole of the last output in another order."""
    for name in names:
        value = traced.values.get(name)
        if not isinstance(value, Labels) or value.ids.size != final.size:
            continue
        if not _same(_all(value.ids), _all(final)):
            continue
        turned = (final.transpose(axes).ravel() for axes in permutations(range(3)))
        if not any(_same(value.ids.ravel(), each) for each in turned):
            raise ValueError(
                f"{traced.path}: the output {name!r} has the steps or units in another order (flipped or"
                f" shuffled); a cell's output is by time, (T, B, O): {CUT}"
            )
