"""Assigns arrays to a cell that has more than matrices by gate and biases: gains, peepholes, blocks.

A cell's array falls into blocks: rows by gate, columns by what they multiply. Somebody's array may hold one
block, several in a row, or those of several arrays side by side. Shapes say what is possible, names what is
likely; where names say nothing, every possibility is kept, for the outputs tell which it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, permutations

import numpy as np

from .layout import TARGETS, CellArrays, Layout, Piece, Shapes, View
from .words import SIDES, SYNONYMS

EXACT, SAID, SILENT, OTHER, ASIDE = 0, 1, 3, 6, 40  # costs of a name, and of an array that is left aside
SLACK = 8  # how much dearer than the cheapest a layout may be that is kept
MOST, TRIES = 96, 30_000  # layouts that are kept, and steps of the search
EXCHANGED = "arrays exchanged: "
# what else the words of a cell's arrays are called; a cell's own words need no entry
WORDS = {
    "ih": SIDES["x"],
    "hh": SIDES["h"],
    "gain": "gain gamma scale g ln norm",
    "shift": "shift beta b ln norm",
    "peephole": "peephole peep p w wc v",
    "weight": "weight w kernel linear proj",
    "bias": "bias b",
    "skip": "skip d",
    "output": "output out c",
    "log": "log",
    "re": "re real r",
    "im": "im imag i",
    "delta": "delta dt step",
    "dt": "dt delta",
    "lambda": "lambda lam eig a",
    "decay": "decay lambda lam a",
    "skew": "skew a w",
    "modrelu": "modrelu nonlin act",
    "u": "u recurrent rec hh",
    "nu": "nu",
    "v": "v wc",
    "c": "c cell",
}


@dataclass(frozen=True)
class Block:
    """One block of a cell's array: its rows (and columns), and the words that may name it."""

    target: str
    part: str
    column: str
    bounds: tuple[tuple[int, int], ...]  # of its rows, and of its columns

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in self.bounds)

    def view(self, target: np.ndarray) -> np.ndarray:
        return target[tuple(slice(start, stop) for start, stop in self.bounds)]


@dataclass(frozen=True)
class Option:
    """One thing that an array may be: the blocks that it holds, each with its view of the array."""

    name: str
    held: tuple[tuple[Block, View], ...]
    cost: int
    packs: Mapping[str, View] = field(default_factory=dict)  # all rows of an array at once, (gates, H[, K])

    @cached_property
    def blocks(self) -> frozenset[Block]:
        return frozenset(block for block, _ in self.held)


def blocks_of(cell_arrays: CellArrays) -> dict[str, list[list[Block]]]:
    """The blocks of each of the cell's arrays, as rows of columns."""
    found = {}
    for target, shape in cell_arrays.shapes.items():
        parts = _parts(target, shape, cell_arrays)
        height = shape[0] // len(parts)
        columns: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
        if len(shape) == 2:
            columns = [("", ((0, shape[1]),))]
            fed = cell_arrays.cell.fed_back if target == "weight_hh" else ()
            if len(fed) > 1 and shape[1] % len(fed) == 0:
                wide = shape[1] // len(fed)
                columns = [(state, ((k * wide, (k + 1) * wide),)) for k, state in enumerate(fed)]
        found[target] = [
            [Block(target, part, c, ((k * height, (k + 1) * height), *cut)) for c, cut in columns]
            for k, part in enumerate(parts)
        ]
    return found


def _parts(target: str, shape: tuple[int, ...], cell_arrays: CellArrays) -> tuple[str, ...]:
    """The names of an array's row blocks; ("",) where it is one."""
    cell, units = cell_arrays.cell, cell_arrays.cell.units(cell_arrays.sizes[1])
    letters = target.rpartition("_")[2]
    count, rest = divmod(shape[0], units)
    gates = cell.recurrent if target in ("weight_hh", "bias_hh") else cell.gates
    if not rest and 1 < count <= len(gates):
        return gates[:count]
    if target == "weight_ih" and shape[0] % len(cell.gates) == 0 and count > len(cell.gates):
        return cell.gates
    of_gates = len(letters) > 1 and set(letters) <= set("ifgocrz") and shape[0] % len(letters) == 0
    return tuple(letters) if of_gates and (rest or count == 0) else ("",)


def layouts(shapes: Shapes, cell_arrays: CellArrays, kinds: Mapping[str, str]) -> list[Layout]:
    """Layouts of arrays of these names and shapes, likeliest first; [] where they are not the cell's.

    kinds: gain, shift, weight or bias of those arrays whose module says it. Those whose words begin with
    EXCHANGED contradict a name.
    """
    cell, tried, best = cell_arrays.cell, [], None
    for biases in dict.fromkeys((cell.biases, 2, 1, 0)):
        with suppress(ValueError):  # a cell may refuse so many biases
            same = CellArrays(replace(cell, biases=biases), cell_arrays.sizes)
            if same.shapes in tried:
                continue
            tried.append(same.shapes)
            search = _Search(shapes, same, kinds)
            if search.run() and (best is None or search.limit < best.limit):
                best = search
    return best.layouts if best else []


class _Search:
    """The cheapest choices of an option for each array that hold every block exactly once."""

    def __init__(self, shapes: Shapes, cell_arrays: CellArrays, kinds: Mapping[str, str]) -> None:
        self.cell_arrays, self.shapes = cell_arrays, shapes
        self.blocks = blocks_of(cell_arrays)
        self.needed = frozenset(b for rows in self.blocks.values() for row in rows for b in row)
        self.options = {n: self._pruned(n, kinds.get(n, "")) for n in shapes}
        self.by_block: dict[Block, list[Option]] = {block: [] for block in self.needed}
        for options in self.options.values():
            for option in options:
                for block in option.blocks:
                    self.by_block[block].append(option)
        for options in self.by_block.values():
            options.sort(key=lambda option: option.cost)
        self.found: list[tuple[int, list[Option]]] = []
        self.limit, self.tries = 10**6, TRIES

    def _pruned(self, name: str, kind: str) -> list[Option]:
        options = sorted(_options(name, self.shapes[name], self.blocks, kind), key=lambda o: o.cost)
        unique: dict[tuple[Block, ...], Option] = {}
        for option in options:
            unique.setdefault(tuple(block for block, _ in option.held), option)
        return list(unique.values())

    def run(self) -> bool:
        """Whether every block is found."""
        if any(not options and not _neutral(block) for block, options in self.by_block.items()):
            return False
        self._choose(self.needed, [], 0)
        return bool(self.found)

    def _choose(self, left: frozenset[Block], chosen: list[Option], cost: int) -> None:
        self.tries -= 1
        if cost > self.limit + SLACK or self.tries < 0:
            return
        if not left:
            total = cost + ASIDE * (len(self.shapes) - len({option.name for option in chosen}))
            self.limit = min(self.limit, total)
            self.found.append((total, chosen))
            return
        names = {option.name for option in chosen}
        free = {b: [o for o in self.by_block[b] if o.name not in names and o.blocks <= left] for b in left}
        block = min(left, key=lambda b: (len(free[b]), b.target, b.bounds))
        for option in free[block]:
            self._choose(left - option.blocks, [*chosen, option], cost + option.cost)
        if _neutral(block):  # a whole array of zeros may be left out
            self._choose(left - {b for b in left if b.target == block.target}, chosen, cost + SILENT)

    @property
    def layouts(self) -> list[Layout]:
        """The layouts that were found, cheapest first."""
        kept = sorted((f for f in self.found if f[0] <= self.limit + SLACK), key=lambda f: f[0])
        first = {option.name: option for option in kept[0][1]}
        return [self._layout(chosen, first) for _, chosen in kept[:MOST]]

    def _layout(self, chosen: list[Option], first: dict[str, Option]) -> Layout:
        """The layout of a choice; its words say which clear names it reads otherwise than the first does."""
        pieces = [piece for option in chosen for piece in _pieces(option, self.blocks, self.cell_arrays)]
        names = {option.name for option in chosen}
        aside = tuple(name for name in self.shapes if name not in names)
        other = [
            f"{option.name} used as {_described(option)}"
            for option in chosen
            if option.cost > SAID and self.options[option.name][0].cost <= SAID
            if option.name not in first or option.held[0][0] != first[option.name].held[0][0]
        ]
        words = (EXCHANGED + ", ".join(other),) if other else ()
        return Layout(self.cell_arrays, tuple(pieces), words, aside)


def _described(option: Option) -> str:
    block = option.held[0][0]
    return f"{block.target}{f' of {block.part}' if block.part and len(option.held) == 1 else ''}"


def _neutral(block: Block) -> bool:
    """Whether an array that holds zeros is as good as none."""
    return block.target.startswith(("bias_", "shift")) and block.target != "bias_modrelu"


def _pieces(option: Option, blocks: dict[str, list[list[Block]]], cell_arrays: CellArrays) -> Iterator[Piece]:
    """The pieces of a choice, by gate where the whole rows of a gate are held."""
    gates = cell_arrays.gates
    by_gate = [
        (block, view)
        for block, view in option.held
        if block.target in TARGETS.values()
        and gates.get(block.target) == tuple(row[0].part for row in blocks[block.target])
        and len(blocks[block.target][0]) == 1
    ]
    for target in dict.fromkeys(block.target for block, _ in by_gate):
        some = [(block, view) for block, view in by_gate if block.target == target]
        pack = option.packs.get(target)
        order = tuple(block.part for block, _ in some)
        packed = pack is not None and len(some) > 1
        yield Piece(option.name, target, order, pack or _several([view for _, view in some]), packed)
    for block, view in option.held:
        if (block, view) not in by_gate:
            yield Piece(option.name, block.target, (), view, False, block.view)


def _several(views: list[View]) -> View:
    """A view that gives blocks one by one."""
    return lambda a: [view(a) for view in views]  # type: ignore[return-value]


def _options(
    name: str, shape: tuple[int, ...], blocks: dict[str, list[list[Block]]], kind: str
) -> Iterator[Option]:
    """All that an array of this name and shape may be."""
    for form, view in _forms(shape):
        for sequence in _sequences(form, blocks):
            yield _option(name, kind, sequence, form, view)
    if len(shape) == 3:
        yield from _stacked(name, kind, shape, blocks)


def _forms(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], View]]:
    """The shapes (rows,) and (rows, columns) in which an array may be read, with its view."""
    flat = tuple(n for n in shape if n != 1) or (1,)
    if len(flat) == 1:
        yield flat, lambda a: a.reshape(-1)
        yield (*flat, 1), lambda a: a.reshape(-1, 1)
        yield (1, *flat), lambda a: a.reshape(1, -1)
    elif len(flat) == 2:
        yield flat, lambda a: a.reshape(flat)
        yield flat[::-1], lambda a: a.reshape(flat).T


def _sequences(form: tuple[int, ...], blocks: dict[str, list[list[Block]]]) -> Iterator[list[list[Block]]]:
    """Grids of blocks, rows of columns, that fill the form."""
    sides = [[target] for target, rows in blocks.items() if len(rows[0][0].shape) == len(form)]
    if len(form) == 2:
        for several in combinations([target for (target,) in sides], 2):
            if len({tuple(row[0].shape[0] for row in blocks[t]) for t in several}) == 1:
                sides.append(list(several))
    yield from _vectors(form, blocks)
    for targets in sides:
        count = len(blocks[targets[0]])
        rows = [[b for t in targets for b in blocks[t][k]] for k in range(count)]
        for chosen in _chosen(rows, form[0]):
            yield from _orders(chosen, form, len(targets) > 1)


def _vectors(form: tuple[int, ...], blocks: dict[str, list[list[Block]]]) -> Iterator[list[list[Block]]]:
    """All vectors of one kind below each other, such as the three peepholes, in each order."""
    kinds: dict[str, list[Block]] = {}
    for target, rows in blocks.items():
        if target not in TARGETS.values() and len(rows) == 1 and len(rows[0][0].shape) == 1:
            kinds.setdefault(target.partition("_")[0], []).append(rows[0][0])
    for some in kinds.values():
        if 1 < len(some) <= 4 and form == (sum(block.shape[0] for block in some),):
            yield from ([[block] for block in order] for order in permutations(some))


def _chosen(rows: list[list[Block]], height: int) -> Iterator[list[list[Block]]]:
    """Rows in a row, in their order, that are as high."""
    each = rows[0][0].shape[0]
    count, rest = divmod(height, each)
    if rest or not 0 < count <= len(rows):
        return
    if count in (1, len(rows)):
        starts: list[tuple[int, ...]] = list(combinations(range(len(rows)), count))
    else:
        starts = list(combinations(range(len(rows)), count))[:20]
    for some in starts:
        yield [rows[k] for k in some]


def _orders(rows: list[list[Block]], form: tuple[int, ...], all_columns: bool) -> Iterator[list[list[Block]]]:
    """The rows with their columns in each order, or some of them, that are as wide."""
    if len(form) == 1:
        yield rows
        return
    width = len(rows[0])
    targets = {block.target for block in rows[0]}
    for count in range(width, 0, -1):
        for order in permutations(range(width), count):
            fits = sum(rows[0][k].shape[1] for k in order) == form[1]
            if fits and (not all_columns or {rows[0][k].target for k in order} == targets):
                yield [[row[k] for k in order] for row in rows]


def _option(name: str, kind: str, grid: list[list[Block]], form: tuple[int, ...], view: View) -> Option:
    held: list[tuple[Block, View]] = []
    packs: dict[str, View] = {}
    top, targets = 0, [block.target for block in grid[0]]
    for row in grid:
        left, height = 0, row[0].shape[0]
        for block in row:
            cut: tuple[slice, ...] = (slice(top, top + height),)
            if len(form) == 2:
                cut = (*cut, slice(left, left + block.shape[1]))
                left += block.shape[1]
            held.append((block, _cut(view, cut)))
            if targets.count(block.target) == 1:
                packs.setdefault(block.target, _packed(view, cut[1:], len(grid), block.shape))
        top += height
    return Option(name, tuple(held), cost(name, kind, [block for block, _ in held], len(grid)), packs)


def _packed(view: View, columns: tuple[slice, ...], count: int, shape: tuple[int, ...]) -> View:
    return lambda a: view(a)[(slice(None), *columns)].reshape(count, *shape)


def _cut(view: View, cut: tuple[slice, ...]) -> View:
    return lambda a: view(a)[cut]


def _stacked(
    name: str, kind: str, shape: tuple[int, ...], blocks: dict[str, list[list[Block]]]
) -> Iterator[Option]:
    """Gates, or real and imaginary part, along an axis of their own; a convolution's kernel."""
    for target, rows in blocks.items():
        plain = [row[0] for row in rows]
        pair = [r[0] for t in _pair(target) for r in blocks.get(t, [])]
        for some in [plain] if len(rows) > 1 else [pair] if len(pair) == 2 else []:
            for axis in (0, 2):
                rest = tuple(n for k, n in enumerate(shape) if k != axis)
                if shape[axis] == len(some) and all(block.shape == rest for block in some):
                    held = tuple((block, _taken(axis, k)) for k, block in enumerate(some))
                    yield Option(name, held, cost(name, kind, some, len(some)))
        height, lags = plain[0].shape[0], shape[2]
        now = len(plain) // lags
        if lags > 1 and len(plain) == now * lags and shape[:2] == (now * height, plain[0].shape[-1]):
            views = [(b, _tap(lags - 1 - k // now, k % now, height)) for k, b in enumerate(plain)]
            yield Option(name, tuple(views), cost(name, kind, plain, len(plain)))


def _pair(target: str) -> tuple[str, ...]:
    """The names of real and imaginary part, of the real part's."""
    return (target, target.removesuffix("_re") + "_im") if target.endswith("_re") else ()


def _taken(axis: int, k: int) -> View:
    return lambda a: a[k] if axis == 0 else a[..., k]


def _tap(tap: int, k: int, height: int) -> View:
    return lambda a: a[k * height : (k + 1) * height, :, tap]


def cost(name: str, kind: str, blocks: list[Block], rows: int) -> int:
    """What it costs to read an array's name so: little where it says that, much where it does not."""
    targets = list(dict.fromkeys(block.target for block in blocks))
    tail = name.rpartition(".")[2]
    total = 0
    words = split(name)
    for target in targets:
        if tail == target:
            total += EXACT
            continue
        total += _cost_of_target(words, kind, target)
    if rows == 1:
        total += sum(_cost_of_part(words, part) for part in {b.part for b in blocks} if part)
    columns = [block.column for block in blocks if block.column]
    if rows == 1 and len(columns) == 1:
        total += _cost_of_part(words, columns[0])
    return total


def split(name: str) -> list[str]:
    """The words of a name in lower case: W_ci.weight has w, ci, weight."""
    source = re.sub(r"(?i)(?<=[a-z])(2|_to_)(h|hidden|hid|gates?)(?=$|[._0-9])", "", name)
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", source)]


def _cost_of_target(words: list[str], kind: str, target: str) -> int:
    """The share of the array's name."""
    said, parts = 0, target.split("_")
    if kind:
        own = {"gain": "gain", "shift": "shift"}.get(kind)
        norm = parts[0] in ("gain", "shift")
        if (own is not None) != norm or (norm and parts[0] != own):
            return OTHER * 2
        if kind in ("weight", "bias") and (parts[0] == "bias") != (kind == "bias"):
            return OTHER * 2
    elif parts[0] in ("gain", "shift"):
        other = {"gain": "shift beta bias", "shift": "gain gamma weight scale"}[parts[0]].split()
        if any(word in other for word in words[-1:]):
            return OTHER
    for part in parts:
        names = {part, *WORDS.get(part, part).split(), *SYNONYMS.get(part, "").split()}
        if any(_says(word, names) for word in words):
            said += 1
    return SAID if said == len(parts) else SILENT if said == 0 else 2


def _says(word: str, names: set[str]) -> bool:
    """Whether a word is one of the names, or a short one with it inside: ci has i."""
    return word in names or (len(word) <= 3 and any(word.endswith(n) for n in names if len(n) == 1))


def _cost_of_part(words: list[str], part: str) -> int:
    names = {part, *SYNONYMS.get(part, "").split(), *WORDS.get(part, "").split()}
    return 0 if any(_says(word, names) for word in words) else SAID + 1
