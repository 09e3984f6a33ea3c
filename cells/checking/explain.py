"""Explains a comparison in a line: what agrees, or what would make the port right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..exchange.layouts import KERAS, ONNX
from ..programs.tolerance import relative_error, tolerance
from .compare import Comparison, compared
from .layout import Layout
from .port import Port
from .variants import Variant, variants

GLANCE = 3  # steps on which variants are tried before all is computed


def diagnosis(comparison: Comparison, against: str) -> str:
    """What the comparison says of the port, in a line."""
    if comparison.first is None:
        return _right(comparison, against)
    if comparison.outputs_agree:
        return _gradients_only(comparison)
    return _explained(comparison.port)


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What was understood, and what was not compared."""
    port, layout, computed = comparison.port, comparison.layout, comparison.port.computed
    biases = {0: "no bias", 1: "one bias", 2: "two biases"}[layout.cell.biases]
    lines = [f"called as {port.way.call}; {biases}; {port.dtype}"]
    if missing := [name for name in layout.cell.states if name not in computed.state]:
        lines.append(f"not returned, so not compared: state {', '.join(missing)}")
    if not port.way.takes_state:
        lines.append("no initial state is taken: it starts from zero, and d_state is not compared")
    if layout.ignored:
        lines.append(f"arrays left aside: {', '.join(layout.ignored)}")
    if port.no_gradients:
        lines.append(f"gradients: {port.no_gradients}")
    elif port.implementation.library == "numpy":
        lines.append(f"gradients by central differences in {port.exact}")
    return tuple(lines)


def _right(comparison: Comparison, against: str) -> str:
    port = comparison.port
    compared = ["outputs"]
    compared += ["states"] if port.computed.state else []
    compared += [] if port.no_gradients else ["gradients"]
    words = f" ({'; '.join(comparison.layout.words)})" if comparison.layout.words else ""
    joined = f"{', '.join(compared[:-1])}{' and ' if compared[1:] else ''}{compared[-1]}"
    return f"right: {joined} agree with {against}{words}"


def _gradients_only(comparison: Comparison) -> str:
    agree = f"outputs and states agree, gradients do not ({', '.join(comparison.wrong)})"
    if unreached := comparison.port.computed.unreached:
        look = "look for detach, .data, no_grad or a copy on the way"
        return f"{agree}: none comes to {', '.join(unreached)}; {look}"
    return f"{agree}: a backward of its own is wrong, or something is detached"


@dataclass(frozen=True)
class Candidate:
    """What may make a port right: a variant of the reference, and what differs in layout or call (words)."""

    port: Port
    layout: Layout
    variant: Variant
    words: tuple[str, ...] = ()

    @property
    def differences(self) -> int:
        """How many things differ from what was meant."""
        return (self.variant.order is not None) + len(self.variant.words) + len(self.words)

    def glance(self) -> bool:
        """Whether the variant gives the port's output over the first steps."""
        import torch

        port = self.port
        params = port.params(self.layout, self.variant.order, self.variant.cell.biases)
        leaves = {name: torch.as_tensor(value) for name, value in params.items()}
        state = {name: torch.as_tensor(value) for name, value in port.problem.state.items()}
        with torch.no_grad():
            output, _ = self.variant.unroll(leaves, torch.as_tensor(port.problem.x[:GLANCE]), state)
        error = relative_error(port.outputs.output[:GLANCE], output.numpy())
        return error <= tolerance(port.dtype, len(port.problem.x))

    def sentence(self, comparison: Comparison) -> str:
        """What would make the port right, and which gradients would still deviate."""
        order = [_order_words(self.layout, self.variant.order)] if self.variant.order else []
        words = sorted([*self.words, *order, *self.variant.words], key=lambda w: not w.startswith("this is"))
        wrong = f", but gradients still deviate ({', '.join(comparison.wrong)})" if comparison.wrong else ""
        if not words[0].startswith("this is"):
            return f"right with {' and '.join(words)}{wrong}"
        if not words[1:]:
            return f"{words[0]}{wrong}"
        name = words[0].rpartition(" --against ")[2]
        return f"this is {name} with {' and '.join(words[1:])}{wrong}"


def _explained(port: Port) -> str:
    """The simplest candidate that makes the outputs right, in a line."""
    tried = 0
    for candidate in _candidates(port):
        tried += 1
        if candidate.glance():
            comparison = compared(candidate.port, candidate.layout, candidate.variant)
            if comparison.outputs_agree:
                return candidate.sentence(comparison)
    return (
        f"no variant makes it right, of {tried} tried: gate orders, biases, arrays transposed or interleaved,"
        " functions exchanged or left out, other cells"
    )


def _candidates(port: Port) -> Iterator[Candidate]:
    """All that is tried, fewest differences first."""
    later: list[Candidate] = []
    for candidate in (c for layout in port.layouts for c in _of_layout(port, layout)):
        if candidate.differences > 1:
            later.append(candidate)
        else:
            yield candidate
    others = list(_otherwise(port))
    yield from others
    yield from sorted(later, key=lambda candidate: candidate.differences)
    for variant in variants(port.layouts[0].cell):
        if (variant.order is not None) + len(variant.words) == 1:
            yield from (Candidate(c.port, c.layout, variant, c.words) for c in others)


def _of_layout(port: Port, layout: Layout) -> Iterator[Candidate]:
    words = tuple(w for w in layout.words if w.startswith("matrices take"))
    for variant in variants(layout.cell):
        if variant.order is None or layout.pieces:
            yield Candidate(port, layout, variant, words)


def _otherwise(port: Port) -> Iterator[Candidate]:
    """The port with packed rows read by unit, and called in other ways that may have been meant."""
    by_unit = ("the rows of packed arrays in the order of units, gates within each",)
    for layout in port.layouts:
        if interleaved := layout.interleaved():
            yield Candidate(port, interleaved, Variant(layout.cell), by_unit)
    first = port.layouts[0]
    for words, other in port.others():
        yield Candidate(other, first, Variant(first.cell), (words,))


def _order_words(layout: Layout, order: tuple[str, ...]) -> str:
    """How the arrays hold the gates when the cell's k-th gate is read from those of gate order[k]."""
    cell = layout.cell
    actual = dict(zip(cell.gates, order, strict=True))
    packed = next((p.gates for p in layout.pieces if p.packed and len(p.gates) == len(cell.gates)), None)
    if packed is None:
        exchanged = (f"{g}'s arrays are used as {h}'s" for g, h in actual.items() if g != h)
        return f"gates exchanged: {', '.join(exchanged)}"
    real = tuple(actual[gate] for gate in packed)
    orders = {"torch's": cell.gates}
    for owner, layouts in (("Keras's", KERAS), ("ONNX's", ONNX)):
        if cell.name in layouts:
            orders[owner] = layouts[cell.name].order
    known = " and ".join(owner for owner, order in orders.items() if order == real)
    also = f" ({known})" if known else ""
    return f"gate order {', '.join(real)}{also} where {cell.name} has {', '.join(packed)}"
