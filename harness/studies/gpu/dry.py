"""Every case walked through on the CPU, so that on the day of a device nothing breaks on a typo.

Programs of torch and native run on the pretended device, kernels of Triton in Triton's interpreter. Each is
checked against the float64 reference, and nothing is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cellbench import cells
from cellbench.cells.backends import _cudnn, flashrnn
from cellbench.cells.programs.program import Program

from ...case import Case
from ...probe import CaseResult, Emit, NotOk, Series, cell_of, series
from ...probes import _device
from ...probes.error_growth import growth
from ...programs import Inputs, check, inputs, prepare
from . import without_product
from .grid import growing

LINE = "dry: on a pretended device, not timed"
INTERPRETED = "dry: float32 in Triton's interpreter, not timed"
KEPT = 2  # sequences that the interpreter computes
SCANNED = 4  # steps that it takes at once
Walked = tuple[str, str, float, float, list[Series]]  # what ran, its line, error, tolerance, and more


def walk(emit: Emit, cases: list[Case]) -> None:
    """Runs in a worker, over cases of torch and native. Emits (case id, CaseResult) of each."""
    from .pretend import pretend_cuda

    patches = [
        (_cudnn, "operations", lambda run: {"aten._cudnn_rnn.default"}),
        (_cudnn, "launches", launches),
        (flashrnn, "uncompiled", lambda: None),
        (flashrnn, "KERNELS", dict.fromkeys(flashrnn.KERNELS, "vanilla")),
        *compiling(),
    ]
    cells.backend("flashrnn").unavailable()  # imports it, while there is no device yet that it could find
    with pretend_cuda(patches) as device:
        for case in cases:
            emit((case.id, result(case, lambda case: on_device(case, device))))


def interpret(emit: Emit, cases: list[Case]) -> None:
    """The same of cases of triton, in the interpreter, which must be chosen before Triton is imported."""
    os.environ["TRITON_INTERPRET"] = "1"
    for case in cases:
        emit((case.id, result(case, interpreted)))


def result(case: Case, walked: Callable[[Case], Walked]) -> CaseResult:
    """How a case ended."""
    try:
        implementation, line, error, allowed, more = walked(case)
    except NotOk as stop:
        return CaseResult(stop.status, stop.reason)
    except Exception as raised:  # what the walk is there to find
        return CaseResult("failed", " ".join(f"{type(raised).__name__}: {raised}".split())[:400])
    measured = [series("check_error", "1", error), series("check_tolerance", "1", allowed), *more]
    return CaseResult("ok", line, f"dry {implementation}", measured)


def on_device(case: Case, device: Any) -> Walked:
    """The program runs twice, as in a measurement; a transfer in a run is an error."""
    given = inputs(case)
    program = loaded(case, given)
    program.run()
    before = device.transfers
    program.run()
    program.sync()
    if device.transfers != before:
        raise NotOk("failed", f"{device.transfers - before} transfers between host and device in a run")
    error, allowed = check(program.read(), given, case)
    without_product.hold(program)
    # walked through and left out: what libraries of the CPU save says nothing of a device
    _device.a_step(program, partial(loaded, case, given))
    over = growing(case)
    return program.implementation, LINE, error, allowed, growth(over)[1] if over else []


def loaded(case: Case, given: Inputs) -> Program:
    program = prepare(case, given.params)
    program.load(given.x, None, given.d_output)
    return program


def interpreted(case: Case) -> Walked:
    """The kernels in the first form that an H100 allows; the rest, the compiler alone can tell."""
    from cellbench.cells.checking.kernels.interpreted import Interpreted
    from cellbench.cells.kernels.triton.form import SCAN, candidates
    from cellbench.cells.kernels.triton.resources import TARGETS, missing, ruled_out

    cell = cell_of(case)
    if reason := missing():
        raise NotOk("unavailable", reason)
    if reason := cells.backend(case.backend).unsupported(cell, case.dtype, "cuda", case.direction):
        raise NotOk("unsupported", reason)
    units = cell.units(case.hidden_size)
    target, processors = "sm_90", TARGETS["sm_90"][0]
    forms = candidates(cell, units, case.batch, processors, case.dtype)
    sizes = (units, case.batch, case.dtype, target, processors)
    form = next(form for form in forms if ruled_out(form, cell, *sizes) is None)
    if form.kind == SCAN:  # which the interpreter does element by element
        form = replace(form, block_k=SCANNED)
    # what other sequences do is the same again, and the interpreter takes its time for each
    here = replace(case, dtype="float32", device="cpu", batch=min(case.batch, KEPT))
    given = inputs(here)
    program = Interpreted(form).prepare(
        cell,
        given.params,
        steps=here.steps,
        batch=here.batch,
        dtype=here.dtype,
        direction=here.direction,
    )
    program.load(given.x, None, given.d_output)
    program.run()
    error, allowed = check(program.read(), given, here)
    without_product.hold(program)
    return program.implementation, INTERPRETED, error, allowed, []


def launches(run: Callable[[], Any], trace: Path | None = None) -> dict[str, int]:
    """No kernels: there are none."""
    run()
    return {}


def compiling() -> list[tuple[Any, str, Any]]:
    """Patches that leave a step as it is and count it as the one graph that it must be."""
    import torch
    from torch._dynamo import utils

    def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        counted: list[bool] = []

        def call(*args: Any) -> Any:
            if not counted:
                counted.append(True)
                utils.counters["stats"]["unique_graphs"] += 1
            return function(*args)

        return call

    return [(torch, "compile", compiled)]
