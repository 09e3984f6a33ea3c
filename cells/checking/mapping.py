"""Maps an implementation's arrays to the cell's, from their names and shapes, or from names alone.

A name has several readings. Those that its shape excludes are dropped; of the others one is chosen for each
name, so that together they are all of the cell's arrays (`cover`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..exchange.layouts import KERAS
from . import assign, stacks
from .implementation import Implementation
from .layout import BIASES, TARGETS, Array, CellArrays, Layout, Piece, Shapes, in_one
from .words import Reading, of_read_out, readings, role, sideless

# one orientation for all arrays first: mixed ones fit too much
ORIENTATIONS = ("rows", "columns", "mixed")
WEIGHTS = "give an object, and weights={name: array} as the cell has them"
ENOUGH = 20_000  # readings tried before an implementation counts as not understood
MORE = 2_000  # readings tried for another way to share out gates, once there is one
SHARED_OUT = 4


@dataclass(frozen=True)
class Mapped:
    """Shapes of an implementation's arrays, and how they are the cell's, likeliest first."""

    cell_arrays: CellArrays
    shapes: Shapes
    layouts: list[Layout]


def mapped(
    implementation: Implementation, names: list[str], cell_arrays: CellArrays, weighed: bool
) -> tuple[list[Mapped], list[Mapped]]:
    """Each way to map the implementation's arrays, or those named that are its arguments, likeliest first.

    The second list has those that are not all of the cell's arrays. weighed: the weights were given.
    """
    if implementation.arrays:
        return [_own(implementation, cell_arrays, weighed)], []
    options = []
    for partly in (False, True):
        invented = invent(names, cell_arrays, partly, implementation.indexes_bias)
        options.append([Mapped(cell_arrays, shapes, layouts) for shapes, layouts in invented if layouts])
    complete, partial = options
    return complete, [*partial, Mapped(cell_arrays, {}, [])] if implementation.keys else []


def described(shapes: Shapes) -> str:
    """Names and shapes in a line."""
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()) or "none"


def _own(implementation: Implementation, cell_arrays: CellArrays, weighed: bool) -> Mapped:
    """The implementation's own arrays."""
    shapes, cell = implementation.shapes, cell_arrays.cell
    layouts = solve(shapes, cell_arrays, implementation.kinds, SHARED_OUT)
    order = _translated(implementation.order, cell)
    if order and order != cell.gates:
        words = (f"gates in the order {', '.join(implementation.order)}",)
        layouts = [replace(layout.permuted(order), words=words) for layout in layouts]
    if not layouts and implementation.holds:
        held = implementation.holds
        raise ValueError(
            f"{implementation.label} holds a {held}, not {cell.name!r}; check it --against {held}"
        )
    if not layouts and not weighed:
        raise ValueError(
            f"the arrays of {implementation.label} ({described(shapes)}) are not read as those of cell"
            f" {cell.name!r} with input_size {cell_arrays.sizes[0]} and hidden_size {cell_arrays.sizes[1]}"
            f" ({described(cell_arrays.shapes)}); {stack_hint(shapes, cell) or WEIGHTS}"
        )
    # weights say what the arrays hold, so that they need not be read
    return Mapped(cell_arrays, shapes, layouts or [Layout(cell_arrays, ())])


def stack_hint(shapes: Shapes, cell: GatedCell) -> str:
    """The stack or the cell of torch whose arrays these are, in words; "" where it is not known."""
    stacked = [(n, both) for n in (1, 2, 3, 4) for both in (False, True) if (n, both) != (1, False)]
    others = [replace(cell, layers=n, bidirectional=both) for n, both in stacked]
    others += [replace(cell, layers=1, bidirectional=False)] if cell.stacked else []
    read = ((other, likely_sizes(shapes, other, {})) for other in others)
    layouts = [solve(shapes, CellArrays(other, sizes))[0] for other, sizes in read if sizes is not None]
    if not layouts:
        return ""
    likeliest = min(layouts, key=lambda layout: len(layout.ignored)).cell
    if (likeliest.layers, likeliest.bidirectional) == (cell.layers, cell.bidirectional):
        return ""
    spec = ":".join(filter(None, (likeliest.name, likeliest.options))).replace("True", "true")
    return f"it has the arrays of another number of layers or directions: check it --against {spec}"


def _translated(gates: tuple[str, ...], cell: GatedCell) -> tuple[str, ...]:
    """A user's names of gates in the cell's words, in their order; () where they are others."""
    if set(gates) == set(cell.gates):
        return gates
    meanings = [{g for r in readings(f"{name}_ih", cell) for g in r.gates} or {name} for name in gates]
    order = next((order for order in product(*meanings) if set(order) == set(cell.gates)), ())
    return order if len(order) == len(cell.gates) else ()


def solve(
    shapes: Shapes, cell_arrays: CellArrays, kinds: Mapping[str, str] | None = None, most: int = 1
) -> list[Layout]:
    """Layouts of arrays with these names and shapes, likeliest first; [] where they are not the cell's.

    most: how many ways to share out gates are given where names do not say them.
    """
    if cell_arrays.cell.stacked:
        return stacks.layouts(shapes, cell_arrays, kinds or {}, solve)
    exact = _by_name(shapes, cell_arrays)
    if exact is not None:
        return [exact]
    if not cell_arrays.plain:
        return assign.layouts(shapes, cell_arrays, kinds or {})
    for orientation in ORIENTATIONS:
        options = {
            n: list(_readings(Array(n, shape, cell_arrays, orientation))) for n, shape in shapes.items()
        }
        chosen = covers(options, cell_arrays.cell, most)
        layouts = [_layout(choice, shapes, cell_arrays, orientation) for choice in chosen]
        if layouts:
            return [layout for found in layouts for layout in found.orders(shapes)]
    return in_one(*next(iter(shapes.items())), cell_arrays) if len(shapes) == 1 else []


def _by_name(shapes: Shapes, cell_arrays: CellArrays) -> Layout | None:
    """The layout of arrays that have the cell's own names and shapes, or None."""
    tails = {name.rpartition(".")[2].removesuffix("_l0"): name for name in shapes}
    for biases in dict.fromkeys((cell_arrays.cell.biases, 2, 1, 0)):
        same = _with_biases(cell_arrays, biases)
        more_biases = any("bias" in name for name in set(tails) - set(same.shapes))
        if more_biases or not set(same.shapes) <= set(tails):
            continue
        if all(shapes[tails[name]] == shape for name, shape in same.shapes.items()):
            return _exact(same, {name: tails[name] for name in same.shapes}, shapes)
    return None


def _with_biases(cell_arrays: CellArrays, biases: int) -> CellArrays:
    return CellArrays(replace(cell_arrays.cell, biases=biases), cell_arrays.sizes)


def _reshaped(form: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    return np.reshape(array, form)  # by place: NumPy 2.0 has no keyword `shape`


def _exact(cell_arrays: CellArrays, pairs: dict[str, str], shapes: Shapes) -> Layout:
    """The layout of arrays that are the cell's, as row blocks where they are such."""
    pieces = []
    for target, array in pairs.items():
        if cell_arrays.blocked and target in TARGETS.values():
            gates = cell_arrays.gates[target]
            form = (len(gates), cell_arrays.sizes[1], *shapes[array][1:])
            pieces.append(Piece(array, target, gates, partial(_reshaped, form), True))
        else:
            pieces.append(Piece(array, target, (), lambda a: a))
    ignored = tuple(name for name in shapes if name not in pairs.values())
    return Layout(cell_arrays, tuple(pieces), (), ignored)


def _readings(array: Array) -> Iterator[Reading]:
    """The readings of an array's name that its shape allows, likeliest first, with all gates named."""
    cell, tail = array.cell_arrays.cell, array.name.rpartition(".")[2]
    if tail in cell.vectors and array.shape == (array.cell_arrays.sizes[1],):
        yield Reading(tail, ())
        return
    if role(array.name, cell) in (*cell.states, "state"):
        return  # a state that an object keeps
    for reading in dict.fromkeys(_possible(array)):
        named, count = every(reading.side, cell), array.count(reading.side)
        if count is None or not set(reading.gates) <= set(named):
            continue
        if reading.gates and count == len(reading.gates):
            yield reading
        elif count == len(named):
            order = KERAS[cell.name].order if _of_keras(array.name, cell) else named
            yield replace(reading, gates=order if set(order) == set(named) else named)
        elif not reading.gates and count < len(named):
            yield from (replace(reading, gates=some) for some in combinations(named, count))


def _possible(array: Array) -> Iterator[Reading]:
    """What a name says, then what it does not say: every side, with the gates that the name has."""
    for bias in _kinds(array):
        said = readings(_stem(array.name), array.cell_arrays.cell, bias)
        yield from said
        for side in BIASES if bias else ("x", "h", "xh"):
            for gates in ((), *dict.fromkeys(r.gates for r in said if r.gates)):
                yield Reading(side, gates, False)


def _kinds(array: Array) -> list[bool]:
    """[True] for a bias, [False] for a matrix; both, likelier first, where it can be either."""
    if array.name.endswith((".weight", ".bias")):
        return [array.name.endswith(".bias")]
    name, shape = array.name.lower(), array.shape
    named = name.rpartition(".")[2].startswith("b") or "bias" in name
    flat = len([n for n in shape if n > 1]) <= 1
    two = len(shape) == 2 and shape[-1] % array.cell_arrays.sizes[1] == 0 and named
    kinds = [True] * (flat or two) + [False] * (len(shape) > 1)
    return sorted(kinds, reverse=named)


def _stem(name: str) -> str:
    """The name without what every torch parameter ends in."""
    return name.removesuffix(".weight").removesuffix(".bias")


def _of_keras(name: str, cell: GatedCell) -> bool:
    """Whether an array with this name is one of a Keras layer that computes the cell."""
    return "kernel" in name and cell.name in KERAS


def every(side: str, cell: GatedCell) -> tuple[str, ...]:
    """The gates that an array of this side has where no name says which."""
    return cell.recurrent if side in ("h", "bh") else cell.gates


def cover(options: Mapping[str, Sequence[Reading]], cell: GatedCell) -> dict[str, Reading] | None:
    """One reading a name, so that every block of both matrices is held exactly once, or None.

    First every name must be read, and a side with a bias have one for every gate. Only where no choice does
    that, names may be left out.
    """
    return next(covers(options, cell, 1), None)


def covers(
    options: Mapping[str, Sequence[Reading]], cell: GatedCell, most: int
) -> Iterator[dict[str, Reading]]:
    """The same, and up to `most` where names say nothing: others that no exchange of gates makes the same."""
    for complete in (True, False):
        search, marks = _Search(options, cell, complete), dict[Any, dict[str, Reading]]()
        for chosen in search.choices(0, frozenset(), {}):
            first = next(iter(marks.values()), chosen)
            said = (name for name in chosen if search.says_gate(name))
            if set(chosen) != set(first) or any(chosen[n].gates != first[n].gates for n in said):
                continue
            mark = _without_names(chosen)
            if mark not in marks:
                marks[mark] = chosen
                yield chosen
            if len(marks) == most:
                return
            search.tries = min(search.tries, MORE)
        if marks:
            return


def _without_names(chosen: Mapping[str, Reading]) -> Any:
    """A choice with numbers in place of its gates, in the order in which they come up."""
    numbers: dict[str, int] = {}
    return tuple(
        (
            name,
            chosen[name].side,
            tuple(numbers.setdefault(gate, len(numbers)) for gate in chosen[name].gates),
        )
        for name in sorted(chosen)
    )


Block = tuple[str, str]  # (side, gate), or ("v", name) of a vector


@dataclass
class _Search:
    """A search, depth first, for one reading of each name.

    Names that say a gate come first, so that none else takes it; then those with few readings.
    """

    options: Mapping[str, Sequence[Reading]]
    cell: GatedCell
    complete: bool
    tries: int = field(default=ENOUGH, init=False)

    def __post_init__(self) -> None:
        names = sorted(self.options, key=lambda name: (not self.says_gate(name), len(self.options[name])))
        # a bias comes after its weight, whose side and gates it then shares
        pairs = {name: re.sub(r"bias(?=[^.]*$)", "weight", name) for name in names}
        self.weights = {n: weight for n, weight in pairs.items() if weight != n and weight in pairs}
        self.names = [name for name in names if name not in self.weights] + list(self.weights)
        self.twins = _twins(self.names)
        self.needed = {("x", g) for g in self.cell.gates} | {("h", g) for g in self.cell.recurrent}
        self.needed |= {("v", vector) for vector in self.cell.vectors}

    def says_gate(self, name: str) -> bool:
        first = self.options[name][0].gates if self.options[name] else ()
        return bool(first) and any(reading.gates == first for reading in readings(_stem(name), self.cell))

    def choices(
        self, k: int, used: frozenset[Block], chosen: dict[str, Reading]
    ) -> Iterator[dict[str, Reading]]:
        """Each choice that is right, with readings of the names from the k-th on added."""
        self.tries -= 1
        if k == len(self.names):
            if self._enough(used):
                yield chosen
            return
        if self.tries < 0:
            return
        for reading in self._possible(self.names[k], chosen):
            blocks = self._blocks(reading)
            if not blocks & used:
                yield from self.choices(k + 1, used | blocks, chosen | {self.names[k]: reading})
        if not self.complete:
            yield from self.choices(k + 1, used, chosen)

    def _enough(self, used: frozenset[Block]) -> bool:
        """Whether the blocks are all that the cell needs; complete ones have all of a bias or none of it."""
        biased = {side for side, _ in used if side in BIASES} if self.complete else set()
        return self.needed | {(side, g) for side in biased for g in every(side, self.cell)} <= used

    def _possible(self, name: str, chosen: dict[str, Reading]) -> Sequence[Reading]:
        weight, twin = chosen.get(self.weights.get(name, "")), chosen.get(self.twins.get(name, ""))
        if weight is None:
            gates = set(twin.gates) if twin else set()
            return sorted(self.options[name], key=lambda reading: set(reading.gates) != gates)
        side = "bh" if weight.side == "h" else "bx"
        same = (r for r in self.options[name] if r.side == side and set(r.gates) == set(weight.gates))
        first = next(same, None)
        return self.options[name] if first is None else [first]

    def _blocks(self, reading: Reading) -> frozenset[Block]:
        if reading.side in self.cell.vectors:
            return frozenset({("v", reading.side)})
        sides = ("x", "h") if reading.side == "xh" else (reading.side,)
        return frozenset((side, gate) for side in sides for gate in reading.gates)


def _twins(names: Sequence[str]) -> dict[str, str]:
    """For each of two names that differ in x and h alone, as x2h and h2h do: the other."""
    apart: dict[str, list[str]] = {}
    for name in names:
        apart.setdefault(sideless(name), []).append(name)
    pairs = [pair for pair in apart.values() if len(pair) == 2]
    return {name: other for a, b in pairs for name, other in ((a, b), (b, a))}


def _layout(chosen: dict[str, Reading], shapes: Shapes, cell_arrays: CellArrays, orientation: str) -> Layout:
    """The layout of arrays whose readings were chosen."""
    keras = any("kernel" in name for name in chosen)
    order = (
        KERAS[cell_arrays.cell.name].order
        if any(_of_keras(name, cell_arrays.cell) for name in chosen)
        else ()
    )
    pieces: list[Piece] = []
    for name, reading in chosen.items():
        gates = order if order and set(order) == set(reading.gates) else reading.gates
        pieces += Array(name, shapes[name], cell_arrays, orientation).pieces(reading.side, gates)
    targets = {piece.target for piece in pieces}
    biases = 2 if "bias_hh" in targets else 1 if "bias_ih" in targets else 0
    words = [f"Keras arrays, gate order {', '.join(order)}"] if order else []
    words += ["matrices (K, G * H)"] if orientation == "columns" and not keras else []
    ignored = tuple(name for name in shapes if name not in chosen)
    return Layout(_with_biases(cell_arrays, biases), tuple(pieces), tuple(words), ignored)


def invent(
    names: Sequence[str], cell_arrays: CellArrays, partly: bool = False, two: bool = False
) -> Iterator[tuple[Shapes, list[Layout]]]:
    """For arrays of which only the names are known: shapes that fit, and their layouts, likeliest first.

    partly: the names need not be all of the cell's arrays. two: one array of both biases is likelier than one
    bias, as it is in Keras. Names of a read-out, such as Why, get arrays that change nothing.
    """
    exact = {name for name in names if name in cell_arrays.shapes}
    if exact == set(names):
        shapes = {name: s for name, s in _with_biases(cell_arrays, 2).shapes.items() if name in exact}
        yield shapes, solve(shapes, cell_arrays)
    if not cell_arrays.blocked:
        return
    kernels = any("kernel" in name for name in names)
    answers = [name for name in names if of_read_out(name, cell_arrays.cell)]
    options = {n: _unshaped(n, cell_arrays.cell) for n in names if n not in answers}
    if partly:
        said = [found for found in options.values() if found]
        # W_f may take x alone, or x and h side by side
        for k in range(max(map(len, said), default=1)):
            some = {n: found[min(k, len(found) - 1)] for n, found in options.items() if found}
            if some or answers:
                yield from _invented(some, answers, cell_arrays, two or kernels, kernels)
    elif every_one := cover(options, cell_arrays.cell):
        chosen = {name: every_one[name] for name in options if name in every_one}
        yield from _invented(chosen, answers, cell_arrays, two or kernels, kernels)
    elif list(options.values()) == [[]]:
        wide, rows = sum(cell_arrays.sizes) + 1, len(cell_arrays.cell.gates) * cell_arrays.sizes[1]
        for shape in ((wide, rows), (rows, wide)):
            yield {names[0]: shape}, in_one(names[0], shape, cell_arrays)


def _invented(
    chosen: dict[str, Reading], answers: Sequence[str], cell_arrays: CellArrays, two: bool, kernels: bool
) -> Iterator[tuple[Shapes, list[Layout]]]:
    """Shapes of arrays whose readings were chosen, and of a read-out's, with their layouts."""
    for orientation in ("columns", "rows") if kernels else ("rows", "columns"):
        for bias in _bias_forms(chosen, two):
            shapes = {
                name: _shape(reading, cell_arrays, orientation, bias) for name, reading in chosen.items()
            }
            layout = _layout(chosen, shapes, cell_arrays, orientation)
            for answer in _read_outs(answers, cell_arrays, orientation, bias):
                yield shapes, replace(layout, readout=answer).orders(shapes)


def _read_outs(
    names: Sequence[str], cell_arrays: CellArrays, orientation: str, bias: str
) -> Iterator[dict[str, np.ndarray]]:
    """Arrays of a read-out that hands the state on: wider than the state, so that nobody takes its answers
    for one, and as wide, for outputs that are answers.
    """
    units = cell_arrays.sizes[1]
    for width in (units + 4, units) if names else (units,):
        matrix = np.eye(width, units)
        weight = matrix if orientation == "rows" else matrix.T
        shift = np.zeros((width, 1) if bias == "column" else width)
        yield {name: shift if name.lower().startswith("b") else weight for name in names}


def _unshaped(name: str, cell: GatedCell) -> list[Reading]:
    """The readings of a name alone, with all gates where none is named; [] where it says nothing."""
    if name in cell.vectors:
        return [Reading(name, ())]
    said = readings(_stem(name), cell)
    if not any(reading.certain or reading.gates for reading in said):
        return []
    return [r if r.gates else replace(r, gates=every(r.side, cell)) for r in said]


def _bias_forms(chosen: dict[str, Reading], two: bool) -> list[str]:
    """Forms of bias to try: flat (G * H,), column (G * H, 1), two (2, G * H) for both in one array."""
    biases = [reading for reading in chosen.values() if reading.side in BIASES]
    forms = ["two", "flat", "column"] if two else ["flat", "column", "two"]
    return [f for f in forms if f == "flat" or (len(biases) == 1 if f == "two" else biases)]


def _shape(reading: Reading, cell_arrays: CellArrays, orientation: str, bias: str) -> tuple[int, ...]:
    """The shape of an array that is what the reading says."""
    units = cell_arrays.sizes[1]
    length = len(reading.gates) * units
    if reading.side in cell_arrays.cell.vectors:
        return (units,)
    if reading.side in BIASES:
        return {"flat": (length,), "column": (length, 1), "two": (2, length)}[bias]
    width = cell_arrays.widths[reading.side]
    return (width, length) if orientation == "columns" else (length, width)


def readable(
    implementation: Implementation, cell: GatedCell, sizes: tuple[int, int]
) -> tuple[int, int] | None:
    """The sizes at which its arrays are the cell's: those, or hidden_size for both; None where at neither."""
    for pair in dict.fromkeys((sizes, (sizes[1], sizes[1]))):
        fits = cell.unfit(*pair) is None and implementation.arrays
        if fits and solve(implementation.shapes, CellArrays(cell, pair), implementation.kinds):
            return pair
    return None


def at_sizes(
    implementation: Implementation, cell: GatedCell, sizes: tuple[int, int], fixed: bool
) -> CellArrays:
    """The cell at the sizes of the implementation's own arrays, or at `sizes` where these do not show.

    Raises ValueError where others were asked for.
    """
    likely = implementation.sizes
    if not implementation.made:
        likely = likely_sizes(implementation.shapes, cell, implementation.kinds)
    if likely and fixed and likely != sizes and implementation.made:
        raise ValueError(
            f"{implementation.label} takes inputs as wide as it has units; give input_size={sizes[1]}"
        )
    if likely and fixed and likely != sizes:
        raise ValueError(
            f"{implementation.label} has arrays of input_size and hidden_size {likely}, asked for are"
            f" {sizes}; leave the sizes out"
        )
    return CellArrays(cell, likely or sizes)


def likely_sizes(shapes: Shapes, cell: GatedCell, kinds: Mapping[str, str]) -> tuple[int, int] | None:
    """The (input_size, hidden_size) at which the arrays are the cell's, or None."""
    lengths = sorted({n for shape in shapes.values() for n in shape if n})
    blocks = {n // k for n in lengths for k in range(1, 2 * len(cell.gates) + 1) if n % k == 0}
    units, fed = sorted(blocks, reverse=True), range(1, 1 + len(cell.fed_back))
    side_by_side = {n - k * h for n in lengths for h in units for k in fed if n > k * h}
    inputs = sorted({*lengths, *side_by_side}, reverse=True)
    pairs = [(i, h) for h in units for i in inputs if any(i + k * h in lengths for k in (0, *fed))]
    count = sum(int(np.prod(shape)) for shape in shapes.values())

    def likely(pair: tuple[int, int]) -> tuple[bool, int]:
        return pair[0] not in lengths, abs(cell.parameter_count(*pair) - count)

    for sizes in sorted((pair for pair in pairs if cell.unfit(*pair) is None), key=likely):
        cell_arrays = CellArrays(cell, sizes)
        # the count of numbers is cheap to compare, so it comes before everything is tried
        if cell_arrays.least <= count and solve(shapes, cell_arrays, kinds):
            return sizes
    return None
