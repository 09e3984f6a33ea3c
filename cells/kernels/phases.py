"""A step that joins its own units, cut into phases: pointwise loops with a product or a mean between them.

Phase (p, m) is a loop over the units after p products, and after m means since the last of these. What an
earlier phase computed is read from where it was kept or held for this one, or computed again where that is
cheap. Forward and backward are planned alike, each from the nodes that it writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..vocabulary.across import JOINS, uniform
from ..vocabulary.graph import Node, ordered
from ..vocabulary.primitives import OPERATORS
from .printing import assignments

Place = tuple[int, int]
AGAIN = 3  # operations up to which a value is computed again instead of being stored and read
COST = {"/": 4}  # a division takes as long as some multiplications


@dataclass(frozen=True)
class Reads:
    """Where a kernel finds values that it does not compute: {node: (variable, text that reads it)}.

    Numbers of a sequence (means) are read once for it, all others in every loop that uses them.
    """

    units: Mapping[Node, tuple[str, str]]
    sequences: Mapping[Node, tuple[str, str]] = field(default_factory=dict)

    @property
    def known(self) -> set[Node]:
        return {*self.units, *self.sequences}


@dataclass(frozen=True)
class Text:
    """How a plan is printed: names of the author, constants, names that no variable may take, and arrays.

    operand, with the product's number in it, is the array (B, units) that a product is taken of, unless its
    operand is in `written`: {node: the array that one of the writes fills}.
    """

    names: Mapping[Node, str]
    number: Callable[[float], str]
    reserved: Collection[str]
    operand: str
    written: Mapping[Node, str] = field(default_factory=dict)


@dataclass
class Phase:
    """One loop over the units: its lines, and what follows it.

    averaged are the means that are taken of rows after it; multiplied the products after it, of all
    sequences.
    """

    place: Place
    lines: list[str]
    averaged: list[Node]
    multiplied: list[Node]


class Plan:
    """The phases that compute nodes and write them: writes are (text such as `h_at[b, j] =`, node).

    stored is {node: text} of those written ones that later phases may read again. first are lines with which
    the first phase begins, and which leave the variables of the nodes `begun`.
    """

    def __init__(
        self,
        writes: Iterable[tuple[str, Node]],
        reads: Reads,
        stored: Mapping[Node, str],
        text: Text,
        first: Iterable[str] = (),
        begun: Iterable[Node] = (),
    ) -> None:
        self.writes, self.reads, self.text = list(writes), reads, text
        self.first, self.begun = list(first), set(begun)
        roots = [node for _, node in self.writes]
        inner = [n for n in ordered(roots, without=reads.known) if not n.is_leaf]
        self.place = places(inner)
        self.means = [n for n in inner if n.op == "mean"]
        self.products = [n for n in inner if n.op in ("product", "transposed")]
        self.stored = {node: text for node, text in stored.items() if node in self.place}
        self.held: list[Node] = []
        self.loaded: dict[Place, dict[Node, None]] = defaultdict(dict)
        self.wanted: dict[Place, dict[Node, None]] = defaultdict(dict)
        for node in [*roots, *(n.args[0] for n in (*self.means, *self.products))]:
            self.wanted[self.at(node)][node] = None
        self.wanted.setdefault((0, 0), {})
        self._cross()

    def at(self, node: Node) -> Place:
        """The phase that computes the node; the first for what is read."""
        return self.place.get(node, (0, 0))

    def _cross(self) -> None:
        """Finds, from the last phase to the first, what each reads of earlier ones."""
        todo = {*self.wanted, *self.place.values()}
        for place in sorted(todo, reverse=True):
            for node in list(self.wanted[place]):
                self._visit(node, place)

    def _visit(self, node: Node, place: Place) -> None:
        if node.op == "constant":
            return
        if node not in self.place or node in self.products or node in self.means:
            self.loaded[place][node] = None
        elif self.at(node) == place or self._cheap(node):
            for arg in node.args:
                self._visit(arg, place)
        else:
            if node not in self.stored and node not in self.held:
                self.held.append(node)
                self.wanted[self.at(node)][node] = None
            self.loaded[place][node] = None

    def _cheap(self, node: Node) -> bool:
        return node not in self.stored and node not in self.held and (uniform(node) or self._left(node) >= 0)

    def _left(self, node: Node, budget: int = AGAIN) -> int:
        """What is left of so many operations once the node is computed from what is in memory."""
        if node.op == "constant" or node not in self.place or node.op in JOINS:
            return budget
        if node in self.stored or node in self.held:
            return budget
        if node.op not in OPERATORS:
            return -1
        budget -= COST.get(node.op, 1)
        for arg in node.args:
            budget = budget if budget < 0 else self._left(arg, budget)
        return budget

    def phases(self) -> list[Phase]:
        """All of them, in order."""
        return [self._phase(place) for place in sorted({*self.wanted, *self.place.values()})]

    def _phase(self, place: Place) -> Phase:
        known = {node: self.source(node)[0] for node in self.loaded[place]}
        begins = place == (0, 0)
        lines = list(self.first) if begins else []
        for node in self.loaded[place]:
            name, text = self.source(node)
            if text and not (begins and node in self.begun):
                lines.append(f"{name} = {text}")
        taken = {*self.text.reserved, *(name for name, _ in self.reads.units.values())}
        number = self.text.number
        more, variable = assignments(list(self.wanted[place]), known, self.text.names, number, taken)
        after_mean = [n for n in self.means if self.at(n.args[0]) == place]
        after_product = [n for n in self.products if self.at(n.args[0]) == place]

        def value(node: Node) -> str:
            return number(node.value) if node.op == "constant" else variable[node]

        stores = [f"{target} {value(node)}" for target, node in self.writes if self.at(node) == place]
        stores += [f"held[{k}, b, j] = {value(n)}" for k, n in enumerate(self.held) if self.at(n) == place]
        stores += [f"averaged[{self.means.index(n)}, j] = {value(n.args[0])}" for n in after_mean]
        stores += [
            f"{self.operand(n)[:-1]}, b, j] = {value(n.args[0])}"
            for n in after_product
            if n.args[0] not in self.text.written
        ]
        return Phase(place, lines + more + stores, after_mean, after_product)

    def operand(self, product: Node) -> str:
        """The array (B, units) that a product is taken of."""
        (arg,) = product.args
        return self.text.written.get(arg) or self.text.operand.format(self.products.index(product))

    def source(self, node: Node) -> tuple[str, str]:
        """(variable, text that reads it in a loop) of a value that a phase does not compute."""
        if node in self.reads.units:
            return self.reads.units[node]
        if node in self.reads.sequences:
            return self.reads.sequences[node][0], ""
        if node in self.products:
            k = self.products.index(node)
            return f"product_{k}", f"results[{k}, b, j]"
        if node in self.means:
            return f"mean_{self.means.index(node)}", ""
        if node in self.stored:
            return f"stored_{list(self.stored).index(node)}", self.stored[node]
        return f"held_{self.held.index(node)}", f"held[{self.held.index(node)}, b, j]"

    def sequence_numbers(self, product: int) -> list[Node]:
        """The means that the phases after so many products read, and do not take themselves."""
        used = [n for place, nodes in sorted(self.loaded.items()) if place[0] == product for n in nodes]
        return [
            n
            for n in dict.fromkeys(used)
            if n in self.reads.sequences or (n in self.means and self.at(n)[0] != product)
        ]


def places(nodes: Iterable[Node]) -> dict[Node, Place]:
    """The phase that each node is computed in; nodes are in order, and what is not among them is read."""
    place: dict[Node, Place] = {}
    for node in nodes:
        product, mean = max((place.get(a, (0, 0)) for a in node.args), default=(0, 0))
        if node.op in ("product", "transposed"):
            product, mean = product + 1, 0
        elif node.op == "mean":
            mean += 1
        place[node] = product, mean
    return place
