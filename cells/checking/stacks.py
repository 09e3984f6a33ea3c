"""The arrays of a stack: grouped by layer and direction by their names, and read as a cell's alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations, permutations

from ..derived import layers
from .assign import EXCHANGED
from .layout import CellArrays, Layout, Shapes

TORCH_SUFFIX = re.compile(r"_l(\d+)(_reverse)?$")
BACKWARD = re.compile(r"(?<![a-z])(rev(erse)?|back(ward)?s?|bwd?|right|rtl|r2l|b)(?![a-z])")
ALL = 4  # layers and directions up to which each order of them is tried, and not exchanges of two alone

Solve = Callable[[Shapes, CellArrays, Mapping[str, str]], list[Layout]]
Group = dict[str, str]  # an array's name in its group, and its whole name


def layouts(shapes: Shapes, cell_arrays: CellArrays, kinds: Mapping[str, str], solve: Solve) -> list[Layout]:
    """Layouts of a stack's arrays, likeliest first; [] where these are no such arrays.

    solve reads the arrays of one layer in one direction. Layouts after the first exchange whole layers or
    directions, and their words begin with EXCHANGED.
    """
    count = len(layers.of(cell_arrays.cell, *cell_arrays.sizes))
    for groups in _groupings(shapes):
        reader = _Reader(shapes, groups, cell_arrays, kinds, solve)
        chosen = reader.cells
        if len(chosen) == count and (first := reader.layout(_paired(groups, chosen))) is not None:
            chosen = _paired(groups, chosen)
            others = (reader.layout(order, chosen) for order in _orders(chosen))
            return [first, *(layout for layout in others if layout is not None)]
    return []


def of_layer(layout: Layout, k: int) -> Layout:
    """The layout of the k-th layer and direction, as that of a cell alone."""
    sizes = layout.cell_arrays.sizes
    place = layers.of(layout.cell, *sizes)[k]
    alone = CellArrays(layers.single(layout.cell), (place.input_size, sizes[1]))
    targets = {name + place.suffix: name for name in alone.shapes}
    pieces = (replace(p, target=targets[p.target]) for p in layout.pieces if p.target in targets)
    return Layout(alone, tuple(pieces))


def called(cell_arrays: CellArrays, k: int) -> str:
    """The words for the k-th layer and direction."""
    place = layers.of(cell_arrays.cell, *cell_arrays.sizes)[k]
    way = (" backward" if place.reverse else " forward") if cell_arrays.cell.bidirectional else ""
    return f"layer {place.depth}{way}"


def _groupings(shapes: Shapes) -> Iterator[list[Group]]:
    """Ways to group arrays by layer and direction: by torch's suffix and the modules around, or by number."""
    deepest = max((name.count(".") for name in shapes), default=0)
    keys = [lambda name, d=d: _by_module(name, d) for d in range(deepest + 1)]
    tried = []
    for key in [*keys, _by_number]:
        groups: dict[tuple[str, ...], Group] = {}
        for name in shapes:
            mark, own = key(name)
            groups.setdefault(mark, {})[own] = name
        if list(groups.values()) not in tried and sum(map(len, groups.values())) == len(shapes):
            tried.append(list(groups.values()))
            yield tried[-1]


def _by_module(name: str, depth: int) -> tuple[tuple[str, ...], str]:
    """(the modules around an array up to a depth, and torch's suffix; its name within them)."""
    parts = name.split(".")
    depth = min(depth, len(parts) - 1)
    own, suffix = ".".join(parts[depth:]), TORCH_SUFFIX.search(name)
    if suffix is None:
        return (*parts[:depth], ""), own
    return (*parts[:depth], suffix[0].lstrip("_")), own.removesuffix(suffix[0])


def _by_number(name: str) -> tuple[tuple[str, ...], str]:
    """(the numbers in an array's name, and its direction; its name without them)."""
    backward = BACKWARD.search(name.lower().replace("_", " "))
    own = re.sub(r"[._]?\d+", "", name)
    if backward:
        own = re.sub(rf"_?(?<![a-zA-Z]){backward[0]}(?![a-zA-Z])", "", own, flags=re.IGNORECASE)
    return (*re.findall(r"\d+", name), "backward" if backward else ""), own


def _paired(groups: list[Group], chosen: list[int]) -> list[int]:
    """The groups by layer, forward before backward where their names say which is which."""
    backward = [k for k in chosen if _backward(groups[k])]
    forward = [k for k in chosen if k not in backward]
    if len(backward) != len(forward):
        return chosen
    return [k for pair in zip(forward, backward, strict=True) for k in pair]


def _backward(group: Group) -> bool:
    name = next(iter(group.values())).lower()
    return bool(BACKWARD.search(name.replace("_", " ")))


def _orders(chosen: list[int]) -> Iterator[list[int]]:
    """Other orders of layers and directions: all of a few, of many those with two exchanged."""
    if len(chosen) <= ALL:
        yield from (list(order) for order in list(permutations(chosen))[1:])
        return
    for a, b in combinations(range(len(chosen)), 2):
        order = list(chosen)
        order[a], order[b] = order[b], order[a]
        yield order


class _Reader:
    """Reads groups of arrays as layers; each group is read once at each input size."""

    def __init__(
        self,
        shapes: Shapes,
        groups: list[Group],
        cell_arrays: CellArrays,
        kinds: Mapping[str, str],
        solve: Solve,
    ) -> None:
        self.shapes, self.groups, self.kinds, self.solve = shapes, groups, kinds, solve
        self.cell_arrays = cell_arrays
        self.places = layers.of(cell_arrays.cell, *cell_arrays.sizes)
        self.known: dict[tuple[int, int], Layout | None] = {}

    @property
    def cells(self) -> list[int]:
        """The groups that are a layer's arrays; another may be a read-out that is no part of the cell."""
        inputs = {place.input_size for place in self.places}
        return [k for k in range(len(self.groups)) if any(self._read(k, size) for size in inputs)]

    def layout(self, order: list[int], usual: list[int] | None = None) -> Layout | None:
        """The stack's layout where its k-th layer is the group order[k]; None where one cannot be that."""
        pieces, biases = [], 0
        for group, place in zip(order, self.places, strict=True):
            read = self._read(group, place.input_size)
            if read is None:
                return None
            biases = max(biases, read.cell.biases)
            pieces += [
                replace(p, array=self.groups[group][p.array], target=p.target + place.suffix)
                for p in read.pieces
            ]
        cell_arrays = CellArrays(
            replace(self.cell_arrays.cell, biases=biases, readout=0), self.cell_arrays.sizes
        )
        held = {piece.array for piece in pieces}
        words: tuple[str, ...] = ()
        if usual is not None:
            exchanged = (
                f"{called(cell_arrays, usual.index(group))} used as {called(cell_arrays, k)}"
                for k, group in enumerate(order)
                if usual[k] != group
            )
            words = (EXCHANGED + ", ".join(exchanged),)
        return Layout(cell_arrays, tuple(pieces), words, tuple(n for n in self.shapes if n not in held))

    def _read(self, group: int, inputs: int) -> Layout | None:
        """The likeliest layout of a group as a cell alone."""
        if (group, inputs) not in self.known:
            alone = CellArrays(layers.single(self.cell_arrays.cell), (inputs, self.cell_arrays.sizes[1]))
            names = self.groups[group]
            shapes = {own: self.shapes[name] for own, name in names.items()}
            kinds = {own: self.kinds[name] for own, name in names.items() if name in self.kinds}
            found = self.solve(shapes, alone, kinds)
            self.known[group, inputs] = found[0] if found else None
        return self.known[group, inputs]
