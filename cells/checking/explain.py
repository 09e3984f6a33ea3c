"""Explains a comparison in a sentence: what agrees, or what differs and what makes it right."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import layerwise
from .aside import used_aside
from .biases import beyond, lacking
from .compare import Candidate, Comparison, compared
from .contexts import contexts
from .digits import in_float64
from .fitting import Seen, fitted, seen
from .kept import kept
from .large import SCALE, at_large
from .length import longer
from .mapping import stack_hint
from .port import Port
from .starts import ZEROS, first_state, unsteady, without_state
from .variants import Variant, orders

LARGE = "look for a clamp, or for an exp that overflows"
TRIED = 4  # combinations of a context that agree with the first steps, and are compared with everything


@dataclass(frozen=True)
class Asked:
    """What a port (its name) is held against: the cell, as it was given.

    said: whether that says how many biases.
    """

    port: str
    cell: str
    biases: int
    said: bool


@dataclass(frozen=True)
class Verdict:
    """A comparison with the sentence that says what it means."""

    comparison: Comparison
    sentence: str
    right: bool = False


def judged(comparison: Comparison, asked: Asked, long: bool) -> Verdict:
    """What a comparison with the reference means. long: a right port is run over more steps."""
    if comparison.first is not None:
        return Verdict(comparison, _wrong(comparison, asked, long))
    for stage in (_biased, _aside, _left_out, _aside_left_out):
        if (verdict := stage(comparison, asked)) is not None:
            return verdict
    longest = longer(comparison) if long else comparison
    start = f"{asked.port} deviates from {asked.cell}"
    if longest.first is not None:
        return Verdict(longest, f"{start} in long sequences: {_later(longest)}.")
    if words := at_large(comparison):
        return Verdict(comparison, f"{start} at inputs and states around {SCALE:g}: it {words}; {LARGE}.")
    if exact := in_float64(comparison):
        return Verdict(exact, f"{start} in float64: {_digits(exact)}.")
    return Verdict(longest, _right(comparison, longest, asked), True)


def notes(comparison: Comparison, asked: Asked) -> tuple[str, ...]:
    """What was understood, and what was not compared."""
    port, layout, computed = comparison.port, comparison.candidate.layout, comparison.port.computed
    biases = {0: "no bias", 1: "one bias", 2: "two biases"}[layout.cell.biases]
    lines = [f"called as {port.way.call}; {biases}; {port.dtype}"]
    lines += [f"read as {words}" for words in layout.words]
    fewer = [] if asked.said else lacking(layout, replace(layout.cell, biases=asked.biases))
    if fewer:
        lines.append(f"it has no {', '.join(fewer)}, which {asked.cell} has: equal only while that is 0")
    if missing := [name for name in layout.cell.states if name not in computed.state]:
        lines.append(f"not returned, so not compared: state {', '.join(missing)}")
    if not port.way.takes_state:
        lines.append("no initial state is taken: it starts from zero, and d_state is not compared")
    elif inside := [name for name in layout.cell.states if name not in port.way.taken]:
        lines.append(
            f"no initial {', '.join(inside)} is taken: it starts from zero, and its gradient is not compared"
        )
    if port.way.call.state.startswith("twice"):
        lines.append(f"its two states are given as one, {layout.cell.states[0]}")
    if layout.ignored:
        lines.append(f"arrays left aside: {', '.join(layout.ignored)}")
    if layout.readout:
        lines.append(f"a read-out was given that hands the state on: {', '.join(layout.readout)}")
    if port.implementation.no_gradients:
        lines.append(f"gradients: {port.implementation.no_gradients}")
    elif port.implementation.library == "numpy":
        lines.append(f"gradients by central differences in {port.exact}")
    return tuple(lines)


# right


def _right(comparison: Comparison, longest: Comparison, asked: Asked) -> str:
    port, steps = comparison.port, longest.port.trial.steps
    what = ["outputs"]
    what += ["states"] if port.computed.state else []
    gradients = not port.no_gradients
    apart = gradients and bool(longest.port.no_gradients)  # they were compared over fewer steps
    what += ["gradients"] if gradients and not apart else []
    joined = f"{', '.join(what[:-1])}{' and ' if what[1:] else ''}{what[-1]}"
    over = _steps(steps) + (f", gradients over {_steps(port.trial.steps)}" if apart else "")
    largest = max(row.error for row in longest.rows)
    return (
        f"right: {joined} of {asked.port} equal the float64 reference {asked.cell} over {over}"
        f" (largest difference {largest:.1e} of the largest entry)."
    )


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"


# wrong although what was compared first agrees


def _biased(comparison: Comparison, asked: Asked) -> Verdict | None:
    """The verdict on a port with other biases than were asked for; None where they say the same."""
    layout = comparison.candidate.layout
    counts = [asked.biases] if asked.said else [layout.cell.biases, 1]
    wanted = [replace(layout.cell, biases=count) for count in counts]
    lost = min((lacking(layout, cell) for cell in wanted), key=len)
    more = beyond(layout, wanted[0]) if asked.said else []
    if not layout.pieces or not (lost or more):
        return None
    if not lost:
        names = ", ".join(more)
        words = f"has {names}, which that has not: equal only while it is 0; leave {names} out"
        return Verdict(comparison, f"{asked.port} deviates from {asked.cell}: it {words}.")
    names = ", ".join(lost)
    words = f"has no {names}: equal only while that is 0; add {names}"
    variant, drawn = Variant(wanted[0]), comparison.port.trial.seed + 1
    whole = compared(replace(comparison.candidate, variant=variant, drawn=drawn))
    return Verdict(whole, f"{asked.port} deviates from {asked.cell}: it {words}.")


def _left_out(comparison: Comparison, asked: Asked) -> Verdict | None:
    """The verdict on a port that is right with a state given, and not without one; None where it is both."""
    given, layout = comparison.port, comparison.candidate.layout
    if words := unsteady(given, layout):
        return Verdict(comparison, f"{asked.port} deviates from {asked.cell}: it {words}.")
    port = without_state(given)
    if port is None:
        return None
    where = f"{asked.port} deviates from {asked.cell} where no state is given"
    returned = port.tried()
    if isinstance(returned, str):
        zeros = ", ".join(f"{name} {shape.shape}" for name, shape in given.problem.state.items())
        return Verdict(comparison, f"{where}: it fails ({returned}); start from zeros, {zeros}.")
    without = compared(Candidate(port, layout, Variant(layout.cell)))
    words = unsteady(port, layout)
    if without.first is None and words is None:
        return None
    words = words or first_state(port, layout)
    if words is None and without.outputs_agree:
        words = f"its outputs agree, its gradients do not ({', '.join(without.wrong)})"
        return Verdict(without, f"{where}: {words}; look for detach or no_grad on that way.")
    return Verdict(without, f"{where}: it {words or f'does not start from zeros; {ZEROS}'}.")


def _aside(comparison: Comparison, asked: Asked) -> Verdict | None:
    """The verdict on a port that computes with an array which is none of the cell's."""
    port, layout = comparison.port, comparison.candidate.layout
    words = used_aside(port, layout)
    return Verdict(comparison, f"{asked.port} deviates from {asked.cell}: it {words}.") if words else None


def _aside_left_out(comparison: Comparison, asked: Asked) -> Verdict | None:
    """The same where no state is given: a first state that is learned, and zero by now."""
    port = without_state(comparison.port)
    words = None if port is None else used_aside(port, comparison.candidate.layout)
    if words is None:
        return None
    where = f"{asked.port} deviates from {asked.cell} where no state is given"
    return Verdict(comparison, f"{where}: it {words}: {ZEROS}.")


def _later(comparison: Comparison) -> str:
    """What a port does that agrees over a few steps and not over many."""
    first, total = comparison.first, comparison.port.trial.steps
    assert first is not None
    if first.step is None:
        where = f"the first {total} outputs agree, and not {', '.join(comparison.wrong)}"
        return f"{where}; look for detach or no_grad that only acts after some steps"
    value = comparison.port.outputs.output[first.step]
    how, look = "is off", "for what counts the steps, or adds up over them"
    if not np.isfinite(value).all():
        how = "is no longer a finite number"
        look = "for sums or products over all steps, which overflow: take them over shorter pieces, or their"
        look += " logarithms"
    return (
        f"the output agrees over the first {_steps(first.step)}, and {how} at step {first.step} (of {total},"
        f" counted from 0); look {look}"
    )


def _digits(exact: Comparison) -> str:
    """What is off in float64, of what agrees in float32."""
    row = max((row for row in exact.rows if not row.ok), key=lambda row: row.error)
    return (
        f"{row.name} is off by {row.error:.2g} of the largest entry, which float32 hides; look for a constant"
        " that is a little off (an eps, a rounded number)"
    )


# wrong


def _wrong(comparison: Comparison, asked: Asked, long: bool) -> str:
    start = f"{asked.port} deviates from {asked.cell}"
    if comparison.outputs_agree:
        return f"{start}: {_gradients_only(comparison)}."
    port, layout = comparison.port, comparison.candidate.layout
    if words := unsteady(port, layout):
        return f"{start}: it {words}."
    if not port.way.takes_state and (words := first_state(port, layout)):
        return f"{start}: it {words}."
    best = _explained(port)
    if best is None and (words := kept(port, layout)):
        return f"{start}: it {words}."
    if best is None:
        return f"{start}: {_unexplained(comparison)}."
    return f"{start}: {best.sentence}; to mend it, {_and(best.mends)}{_rest(compared(best), long)}."


def _rest(comparison: Comparison, long: bool) -> str:
    """What is still wrong of a port once its differences are mended, in brackets; "" where nothing is."""
    if wrong := comparison.wrong:
        return f" (gradients still deviate then: {', '.join(wrong)})"
    still = "that is not all: even then"
    if (port := without_state(comparison.port)) is not None:
        without = (
            None if isinstance(port.tried(), str) else compared(replace(comparison.candidate, port=port))
        )
        if without is None or without.first is not None:
            return f" ({still} it deviates where no state is given)"
    longest = longer(comparison) if long else comparison
    if longest.first is not None:
        return f" ({still} {_later(longest)})"
    words = at_large(comparison)
    return f" ({still} it {words} at inputs and states around {SCALE:g}; {LARGE})" if words else ""


def _and(words: tuple[str, ...]) -> str:
    words = tuple(dict.fromkeys(words))
    return f"{', '.join(words[:-1])}{' and ' if words[1:] else ''}{words[-1]}"


def _unexplained(comparison: Comparison) -> str:
    first = comparison.first
    assert first is not None
    at = f"{first.array} at step {first.step}" if first.step is not None else first.array
    layout, shapes = comparison.candidate.layout, comparison.port.implementation.shapes
    if layout.ignored and (hint := stack_hint(shapes, layout.cell)):
        return f"{at} is off by {first.error:.2g} of the largest entry; {hint}"
    return (
        f"{at} is off by {first.error:.2g} of the largest entry, and no variant makes it right:"
        " not one of the forms of each function, gate orders, biases, arrays transposed or interleaved,"
        " first states, other cells; hold that step against the cell's equations line by line"
    )


def _gradients_only(comparison: Comparison) -> str:
    agree = f"outputs and states agree, gradients do not ({', '.join(comparison.wrong)})"
    if unreached := comparison.port.computed.unreached:
        look = "look for detach, .data, no_grad or a copy on the way"
        return f"{agree}: none comes to {', '.join(unreached)}; {look}"
    return f"{agree}: a backward of its own is wrong, or something is detached"


def _explained(port: Port) -> Candidate | None:
    """The candidate with fewest differences that makes the outputs right, or None."""
    if port.layouts[0].cell.stacked:
        return layerwise.explained(port)
    given, best, tried = seen(port), None, set()
    for context in contexts(port):
        if best is not None and context.differences >= best.differences:
            break  # no later context has fewer differences
        if (mark := (id(context.port), context.mark)) in tried:
            continue  # it computes what another does, as where one of two biases is the other's sum
        tried.add(mark)
        for candidate in _fits(context, given if context.port is port else seen(context.port)):
            fewer = best is None or candidate.differences < best.differences
            if fewer and compared(candidate).outputs_agree:
                best = candidate
    return best


def _fits(context: Candidate, given: Seen) -> list[Candidate]:
    """What of a context agrees with the first steps, fewest differences first."""
    # arrays that were not read have no order
    other_orders = list(orders(context.variant.cell)) if context.layout.pieces else []
    fits = fitted(context, given, [None, *other_orders])
    return sorted(fits, key=lambda candidate: candidate.differences)[:TRIED]
