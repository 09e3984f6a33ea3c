"""Holds a port against the float64 reference, and says what it is where it is not what it should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..cell import GatedCell
from ..programs.tolerance import relative_error, tolerance
from .layouts import Layout
from .ports import Port
from .ports import Result as Computed
from .result import First, Result, Row
from .variants import Variant, interleaved, order_words, variants

Arrays = dict[str, np.ndarray]
GLANCE = 3  # steps on which variants are tried


def diagnosed(port: Port, reference: GatedCell, weights: Arrays | None, against: str) -> Result:
    """The check of a port, with the variant that would make it right if it deviates."""
    layouts = port.layouts or [_given(reference, weights or {})]
    port, found, layout, rows, first = _compared(port, layouts, weights)
    if (
        first is not None and not port.takes_state
    ):  # where no state goes in, only the numbers say how x is read
        others = (_compared(other, layouts, weights) for _, other in port.others())
        port, found, layout, rows, first = next(
            (o for o in others if o[-1] is None), (port, found, layout, rows, first)
        )
    right = first is None
    notes = _notes(port, layout, found)
    if right:
        words = f" ({'; '.join(layout.words)})" if layout.words else ""
        parts = [
            "outputs",
            *(["states"] if found.state else []),
            *([] if port.no_gradients else ["gradients"]),
        ]
        text = (
            f"right: {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]} agree with"
            f" {against}{words}"
        )
    elif all(row.ok for row in rows if not row.name.startswith("d_")):
        text = _gradients_only(rows, found)
    else:
        text = _explained(port, found, layouts, weights)
    return Result(port.label, against, right, text, tuple(rows), first, tuple(notes))


def _compared(
    port: Port, layouts: list[Layout], weights: Arrays | None
) -> tuple[Port, Computed, Layout, list[Row], First | None]:
    """The port with all that it computes, and the rows of the first layout that makes all of them right, or
    of the first.
    """
    found = port.outputs if port.no_gradients else port.backward(port.outputs.state)
    tries = [
        (port, found, layout, *_held(port, found, Variant(layout.cell), layout, weights))
        for layout in layouts
    ]
    return next((t for t in tries if t[-1] is None), tries[0])


def _given(cell: GatedCell, weights: Arrays) -> Layout:
    """No layout: the cell's arrays were given, so that those of the thing need not be read."""
    return Layout(cell, (), cell.sizes(weights))


def _notes(port: Port, layout: Layout, found: Computed) -> list[str]:
    """What was understood, and what was not compared."""
    biases = {0: "no bias", 1: "one bias", 2: "two biases"}[layout.cell.biases]
    notes = [f"called as {port.call}; {biases}; {port.dtype}"]
    missing = [name for name in port.cell.states if name not in found.state]
    notes += [f"not returned, so not compared: state {', '.join(missing)}"] if missing else []
    notes += (
        ["no initial state is taken: it starts from zero, and d_state is not compared"]
        if not port.takes_state
        else []
    )
    notes += [f"arrays left aside: {', '.join(layout.ignored)}"] if layout.ignored else []
    notes += [f"gradients: {port.no_gradients}"] if port.no_gradients else []
    if port.thing.library == "numpy" and not port.no_gradients:
        notes.append(f"gradients by central differences in {port.exact}")
    return notes


def _expected(
    port: Port, found: Computed, variant: Variant, layout: Layout, weights: Arrays | None
) -> tuple[Arrays, Arrays, Arrays]:
    """Output and states, gradients of the arrays, and those of x and the states, of the reference or a
    variant of it.
    """
    params, given = _params(port, layout, variant, weights), port.problem
    seeds = {k: v if k in found.state else np.zeros_like(v) for k, v in given.d_state.items()}
    steps, batch = given.x.shape[:2]
    if not (variant.sites or variant.arrays or variant.zero):
        from ..catalogue import backend

        program = backend("numpy").prepare(
            variant.cell, params, steps=steps, batch=batch, dtype="float64", direction="backward"
        )
        out = program.forward(given.x, given.state)
        grads = program.backward(given.d_output, seeds)
        rest = {"x": grads.x} | {f"state {k}": v for k, v in grads.state.items()}
        return {"output": out.output} | {f"state {k}": v for k, v in out.state.items()}, grads.params, rest
    import torch

    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    x = torch.tensor(given.x, requires_grad=True)
    state = {k: torch.tensor(v, requires_grad=True) for k, v in given.state.items()}
    output, last = variant.unroll(leaves, x, state)
    total = (output * torch.tensor(given.d_output)).sum() + sum(
        (last[k] * torch.tensor(v)).sum() for k, v in seeds.items()
    )
    wanted = {**leaves, "x": x, **{f"state {k}": v for k, v in state.items()}}
    made = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    arrays = {
        k: np.zeros(v.shape) if g is None else g.numpy()
        for (k, v), g in zip(wanted.items(), made, strict=True)
    }
    values = {"output": output.detach().numpy()} | {f"state {k}": v.detach().numpy() for k, v in last.items()}
    return values, {k: arrays.pop(k) for k in leaves}, arrays


def _params(port: Port, layout: Layout, variant: Variant, weights: Arrays | None) -> Arrays:
    if not layout.pieces:
        return {k: np.array(v, np.float64) for k, v in (weights or {}).items()}
    if (
        weights is not None
        and not port.thing.made
        and variant.order is None
        and layout.cell.biases == variant.cell.biases
    ):
        same = layout.cell.parameter_shapes(*layout.sizes)
        if set(same) == set(weights):
            return {k: np.array(v, np.float64) for k, v in weights.items()}
    arrays = {k: np.array(v, port.dtype).astype(np.float64) for k, v in port.arrays.items()}
    return (layout if variant.order is None else layout.permuted(variant.order)).read(arrays)


def _held(
    port: Port, found: Computed, variant: Variant, layout: Layout, weights: Arrays | None
) -> tuple[list[Row], First | None]:
    """Every array against the variant's, by name, and the first that deviates."""
    values, grads, rest = _expected(port, found, variant, layout, weights)
    steps = len(port.problem.x)
    allowed = tolerance(port.dtype, steps)
    rows = [_row("output", found.output, values["output"], allowed)]
    rows += [_row(f"state {k}", v, values[f"state {k}"], allowed) for k, v in found.state.items()]
    blocks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if found.grads is not None and found.d_x is not None:
        loose = allowed
        if found.drawn is not None:
            eps = float(np.finfo(port.exact).eps)
            loose = max(tolerance(port.exact, steps), 256 * eps ** (2 / 3))
        used = layout if variant.order is None else layout.permuted(variant.order)
        mask = found.drawn or {k: np.ones(v.shape) for k, v in found.grads.items()}
        own, drawn = used.read(found.grads), used.read({k: mask[k] for k in found.grads})
        for name, want in grads.items():
            if name in used.covered():
                blocks[name] = np.where(drawn[name] > 0, own[name], want), want
                rows.append(_row(f"d_{name}", *blocks[name], loose))
        ends = {"x": found.d_x} | {f"state {k}": v for k, v in (found.d_state or {}).items()}
        for name, have in ends.items():
            kept = np.ones(have.shape) if found.drawn is None else found.drawn[name]
            rows.append(_row(f"d_{name}", np.where(kept > 0, have, rest[name]), rest[name], loose))
    return rows, _first(rows, found.output, values["output"], blocks, layout)


def _row(name: str, value: np.ndarray, expected: np.ndarray, allowed: float) -> Row:
    error = relative_error(value, expected)
    return Row(name, error, allowed, bool(error <= allowed))  # NaN is no agreement


def _first(
    rows: list[Row], output: np.ndarray, expected: np.ndarray, blocks: dict, layout: Layout
) -> First | None:
    bad = next((row for row in rows if not row.ok), None)
    if bad is None:
        return None
    step, error = None, bad.error
    if bad.name == "output":
        scale = max(float(np.max(np.abs(expected))), 1e-30)
        errors = np.max(np.abs(output - expected), axis=(1, 2)) / scale
        step = int(np.argmax(~(errors <= bad.tolerance)))
        error = float(errors[step])
    wrong = [
        row
        for row in rows
        if not row.ok and row.name.removeprefix("d_") in blocks and row.name.startswith("d_")
    ]
    gate, block = None, None
    if wrong and layout.pieces:
        target = wrong[0].name.removeprefix("d_")
        if target in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") and all(
            p.gates for p in layout.pieces if p.target == target
        ):
            have, want = blocks[target]
            by_gate = [np.abs(a).reshape(len(layout.names(target)), -1).max(1) for a in (have - want, want)]
            off = by_gate[0] / np.maximum(by_gate[1], 1e-30)
            gate, block = layout.names(target)[int(np.argmax(np.nan_to_num(off, nan=np.inf)))], wrong[0].name
    return First(step, bad.name, gate, error, bad.tolerance, block)


def _gradients_only(rows: list[Row], found: Computed) -> str:
    names = ", ".join(row.name for row in rows if not row.ok)
    if found.unreached:
        return (
            f"outputs and states agree, gradients do not ({names}): none comes to"
            f" {', '.join(found.unreached)}; look for detach, .data, no_grad or a copy on the way"
        )
    return (
        f"outputs and states agree, gradients do not ({names}): a backward of its own is wrong, or something"
        " is detached"
    )


def _explained(port: Port, found: Computed, layouts: list[Layout], weights: Arrays | None) -> str:
    """What would make it right, in a line; the simplest that does."""
    tried = 0
    for one, layout, extra, variant in _candidates(port, layouts):
        tried += 1
        if not _glance(one, variant, layout, weights):
            continue
        full = found if one is port else one.outputs if one.no_gradients else one.backward(one.outputs.state)
        rows, _ = _held(one, full, variant, layout, weights)
        if all(row.ok for row in rows if not row.name.startswith("d_")):
            words = [*extra, *([order_words(layout, variant.order)] if variant.order else []), *variant.words]
            words.sort(key=lambda w: not w.startswith("this is"))
            wrong = [row.name for row in rows if not row.ok]
            rest = f", but gradients still deviate ({', '.join(wrong)})" if wrong else ""
            return _sentence(words, rest)
    return (
        f"no variant makes it right, of {tried} tried: gate orders, biases, arrays transposed or interleaved,"
        " functions exchanged or left out, other cells"
    )


def _sentence(words: list[str], rest: str) -> str:
    if words[0].startswith("this is") and len(words) > 1:
        name = words[0].split(":")[0].removeprefix("this is ")
        return f"this is {words[0].rpartition(' --against ')[2] or name} with {' and '.join(words[1:])}{rest}"
    return (
        f"{' and '.join(words)}{rest}"
        if words[0].startswith("this is")
        else f"right with {' and '.join(words)}{rest}"
    )


def _candidates(port: Port, layouts: list[Layout]) -> Iterator[tuple[Port, Layout, tuple[str, ...], Variant]]:
    """(port, layout, what differs so far, variant), fewest differences first."""
    others = port.others()
    mixed = [m for m in (interleaved(layout) for layout in layouts) if m is not None]
    tail: list[tuple[Port, Layout, tuple[str, ...], Variant]] = []
    for layout in layouts:
        extra = tuple(w for w in layout.words if w.startswith("matrices take"))
        for variant in variants(layout.cell):
            if variant.order is not None and not layout.pieces:
                continue
            if (variant.order is not None) + len(variant.words) + len(extra) > 1:
                tail.append((port, layout, extra, variant))
            else:
                yield port, layout, extra, variant
    words = ("the rows of packed arrays in the order of units, gates within each",)
    for layout in mixed:
        yield port, layout, words, Variant(layout.cell)
    for said, other in others:
        yield other, layouts[0], (said,), Variant(layouts[0].cell)
    yield from sorted(tail, key=lambda c: (c[3].order is not None) + len(c[3].words) + len(c[2]))
    simple = [v for v in variants(layouts[0].cell) if (v.order is not None) + len(v.words) == 1]
    for variant in simple:
        yield from ((port, layout, words, variant) for layout in mixed)
        yield from ((other, layouts[0], (said,), variant) for said, other in others)


def _glance(port: Port, variant: Variant, layout: Layout, weights: Arrays | None) -> bool:
    """Whether the variant gives the port's output over the first steps."""
    import torch

    output = port.outputs.output[:GLANCE]
    params = {k: torch.as_tensor(v) for k, v in _params(port, layout, variant, weights).items()}
    state = {k: torch.as_tensor(v) for k, v in port.problem.state.items()}
    with torch.no_grad():
        made, _ = variant.unroll(params, torch.as_tensor(port.problem.x[:GLANCE]), state)
    return relative_error(output, made.numpy()) <= tolerance(port.dtype, len(port.problem.x))
