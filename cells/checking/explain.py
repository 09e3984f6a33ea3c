"""Explains a comparison in a line: what agrees, or what would make the port right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .compare import Candidate, Comparison, compared
from .port import Port
from .variants import Variant, variants


def diagnosis(comparison: Comparison, against: str) -> str:
    """What the comparison says of the port, in a line."""
    if comparison.first is None:
        return _right(comparison, against)
    if comparison.outputs_agree:
        return _gradients_only(comparison)
    return _explained(comparison.port)


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What was understood, and what was not compared."""
    port, layout, computed = comparison.port, comparison.candidate.layout, comparison.port.computed
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
    words = f" ({'; '.join(comparison.candidate.layout.words)})" if comparison.candidate.layout.words else ""
    joined = f"{', '.join(compared[:-1])}{' and ' if compared[1:] else ''}{compared[-1]}"
    return f"right: {joined} agree with {against}{words}"


def _gradients_only(comparison: Comparison) -> str:
    agree = f"outputs and states agree, gradients do not ({', '.join(comparison.wrong)})"
    if unreached := comparison.port.computed.unreached:
        look = "look for detach, .data, no_grad or a copy on the way"
        return f"{agree}: none comes to {', '.join(unreached)}; {look}"
    return f"{agree}: a backward of its own is wrong, or something is detached"


def _explained(port: Port) -> str:
    """The simplest candidate that makes the outputs right, in a line."""
    tried = 0
    for candidate in _candidates(port):
        tried += 1
        if candidate.plausible:
            comparison = compared(candidate)
            wrong = ", ".join(comparison.wrong)
            if comparison.outputs_agree:
                still = f", but gradients still deviate ({wrong})" if wrong else ""
                return f"{candidate.sentence}{still}"
    return (
        f"no variant makes it right, of {tried} tried: gate orders, biases, arrays transposed or interleaved,"
        " functions exchanged or left out, other cells"
    )


def _candidates(port: Port) -> Iterator[Candidate]:
    """All that is tried, fewest differences first."""
    first, single, later = port.layouts[0], [], []
    for layout in port.layouts:
        words = tuple(w for w in layout.words if w.startswith("matrices take"))
        for variant in variants(layout.cell):
            candidate = Candidate(port, layout, variant, words)
            if layout is first and candidate.differences - len(words) == 1:
                single.append(variant)
            if variant.order is not None and not layout.pieces:
                continue  # arrays that were not read have no order
            if candidate.differences > 1:
                later.append(candidate)
            else:
                yield candidate
    by_unit = ("the rows of packed arrays in the order of units, gates within each",)
    mixed = (layout.interleaved for layout in port.layouts)
    others = [Candidate(port, layout, Variant(layout.cell), by_unit) for layout in mixed if layout]
    others += [Candidate(other, first, Variant(first.cell), (words,)) for words, other in port.others]
    yield from others
    yield from sorted(later, key=lambda candidate: candidate.differences)
    yield from (replace(other, variant=variant) for variant in single for other in others)
