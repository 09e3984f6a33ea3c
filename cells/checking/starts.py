"""The first state: what a port starts from when no state is given, and what it keeps from call to call."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from ..programs.tolerance import relative_error
from .compare import Candidate
from .layout import Arrays, Layout
from .port import Port
from .variants import Variant, changed_arrays

ZEROS = "start from zeros when none is given"


def without_state(port: Port) -> Port | None:
    """The port called without a state, where its arguments let that be; None where they do not."""
    way, parameters = port.way, port.implementation.parameters
    states = [name for name, role in way.roles.items() if role == "state" or role in way.cell.states]
    if not states or any(parameters[name].default is inspect.Parameter.empty for name in states):
        return None
    roles = {name: role for name, role in way.roles.items() if name not in states}
    # steps after the first would need the state that was left out
    trial = port.trial if way.call.sequence else replace(port.trial, steps=1)
    numpy = port.implementation.library == "numpy"  # its gradients were held already, at some cost
    return replace(port, way=replace(way, roles=roles), trial=trial, forward_only=numpy)


def unsteady(port: Port, layout: Layout) -> str | None:
    """What a port does that makes two equal calls differ; None where they give the same."""
    if not (port.way.call.sequence or port.way.takes_state):
        return None  # what is stepped without a state keeps its own, as it must
    first, second = port.twice()
    if _error(first.output, second.output) <= port.tolerance or not np.isfinite(first.output).all():
        return None
    if _drawn(port):
        return f"draws random numbers, so that two equal calls differ; {ZEROS}, and draw nothing"
    names = layout.cell.states
    last = first.state or {names[0]: first.output[-1]}
    if set(last) == set(names) and _agrees(port, layout, second.output, last):
        return f"starts from the state that the call before left; {ZEROS}"
    return f"keeps something between two equal calls, which then differ; {ZEROS}, and keep nothing"


def first_state(port: Port, layout: Layout) -> str | None:
    """What a port that is given no state starts from, in words; None where nothing known explains it."""
    output = port.outputs.output
    for words, state in _states(port, layout):
        if _agrees(port, layout, output, state):
            return f"{words}; {ZEROS}"
    for variant in changed_arrays(layout.cell):
        bias = not variant.zero and "bias" in variant.words[0]
        if bias and _error(output, _unrolled(port, layout, port.problem.state, variant)) <= port.tolerance:
            return f"has {variant.words[0]} at the first step; {variant.mends[0]} there too"
    return None


def _states(port: Port, layout: Layout) -> Iterator[tuple[str, Arrays]]:
    """First states that people choose: (words, states)."""
    zero = port.problem.state
    last = port.outputs.state
    if set(last) == set(zero):  # equal calls end in equal states, which a kept state then starts from
        yield "starts from the state that the call before left", last
    for value in (1.0, -1.0, 0.5):
        yield f"starts from a state of {value:g}", {k: np.full(v.shape, value) for k, v in zero.items()}
        for name in zero if len(zero) > 1 else ():
            yield f"starts from {name} of {value:g}", zero | {name: np.full(zero[name].shape, value)}
    units = next(iter(zero.values())).shape[-1]
    own = {
        n: v.reshape(-1, units)[-1] for n, v in port.held.items() if n in layout.ignored and v.size == units
    }
    for name, value in own.items():
        every = {k: np.broadcast_to(value, v.shape) for k, v in zero.items()}
        yield f"starts from its own first state ({name})", every
        for k, v in zero.items() if len(zero) > 1 else ():
            yield f"starts from its own first state ({name})", zero | {k: np.broadcast_to(value, v.shape)}
    if len(own) >= len(zero) > 1:
        pairs = zip(zero.items(), own.values(), strict=False)
        each = {k: np.broadcast_to(value, v.shape) for (k, v), value in pairs}
        yield f"starts from its own first state ({', '.join(own)})", each


def _agrees(port: Port, layout: Layout, output: np.ndarray, state: Arrays) -> bool:
    """Whether the reference gives these outputs from that state."""
    return _error(output, _unrolled(port, layout, state, Variant(layout.cell))) <= port.tolerance


def _unrolled(port: Port, layout: Layout, state: Arrays, first: Variant) -> np.ndarray:
    """The outputs of the reference from a state, with another variant for the first step."""
    params = {k: torch.as_tensor(v) for k, v in Candidate(port, layout, first).params.items()}
    given = {k: torch.as_tensor(np.array(v)) for k, v in state.items()}
    x = torch.as_tensor(port.problem.x)
    with torch.no_grad():
        start, after = first.unroll(params, x[:1], given)
        if len(x) == 1:
            return start.numpy()
        rest, _ = Variant(layout.cell).unroll(params, x[1:], after)
    return torch.cat([start, rest]).numpy()


def _error(value: np.ndarray, expected: np.ndarray) -> float:
    error = relative_error(value, expected)
    return error if error == error else np.inf  # NaN is no agreement


def _drawn(port: Port) -> bool:
    """Whether equal seeds make two calls equal, one after the other."""
    first, second = port.twice(_seeded)
    return _error(first.output, second.output) == 0


@contextmanager
def _seeded() -> Iterator[None]:
    """Random numbers as at the start of a run; those of the program go on afterwards as they would have."""
    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            np.random.seed(0)
            yield
    finally:
        np.random.set_state(state)
