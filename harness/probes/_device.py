"""What a run does on a CUDA device: its launches, what it saves, and its share of what the device allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.backends import _cudnn
from cellbench.cells.backends._torch_graph import GraphProgram
from cellbench.cells.backends._torch_products import products
from cellbench.cells.programs.formats import FORMATS, stored
from cellbench.cells.programs.program import Program

from ..case import Case
from ..measure import device_ceilings
from ..measure.caches import MEMORY
from ..probe import Series, cell_of, series


def a_step(
    program: Program, fresh: Callable[[], Program], trace: Path | None = None
) -> tuple[list[Series], dict[str, int]]:
    """Launches and saved bytes a step of a program that has run, and its launches by kernel.

    A launch is a kernel, a copy or a fill that the device does. There is no series of them where the
    profiler sees none, and none of bytes without a backward. A captured graph took its memory before.
    `fresh` makes and loads the same program anew.
    """
    found = _cudnn.launches(program.run, trace)
    made = [series("launches_per_step", "1", sum(found.values()) / program.steps)] if found else []
    if program.direction == "backward" and not isinstance(program, GraphProgram):
        made.append(series("saved_bytes_per_step", "B", saved_bytes(fresh()) / program.steps))
    return made, found


def saved_bytes(program: Program) -> int:
    """Bytes that a forward leaves on the device for its backward, its output and last states among them."""
    import torch

    forget(program)
    program.sync()
    before = torch.cuda.memory_allocated()
    program.advance()
    program.sync()
    return torch.cuda.memory_allocated() - before


def forget(program: Program) -> None:
    """Lets go of what the run has left by which a step was compiled, as it may hold all that was saved."""
    program.output, program.last = None, {}
    vars(program).pop("gradients", None)
    for layer in getattr(program, "programs", ()):
        forget(layer)


@lru_cache
def machine(dtype: str) -> dict[str, Any]:
    """The ceilings of this device, once a process: FLOP/s by format, and bytes/s of its memory."""
    with products(dtype, "cuda"):
        flop = device_ceilings.flop_per_s(stored(dtype))
    return {
        "flop_per_s": {dtype: flop},
        "bytes_per_s": {MEMORY: (float("inf"), device_ceilings.bytes_per_s())},
    }


def rates(case: Case, seconds: float) -> list[Series]:
    """Bytes a second of a run of these seconds, and its shares of the device's ceilings."""
    on = machine(case.dtype)
    flop_ceiling, bytes_ceiling = on["flop_per_s"][case.dtype], on["bytes_per_s"][MEMORY][1]
    cell = cell_of(case)
    bytes_, done = least_bytes(cell, case) / seconds, flop(cell, case) / seconds
    return [
        series("bytes_per_s", "B/s", bytes_),
        series("ceiling_flop_per_s", "FLOP/s", flop_ceiling),
        series("ceiling_bytes_per_s", "B/s", bytes_ceiling),
        series("flop_share", "1", done / flop_ceiling),
        series("bytes_share", "1", bytes_ / bytes_ceiling),
    ]


def flop(cell: cells.GatedCell, case: Case) -> float:
    """Of a run."""
    a_token = cell.operations(case.input_size, case.hidden_size).of(case.direction)
    return float(case.steps * case.batch * a_token)


def least_bytes(cell: cells.GatedCell, case: Case) -> int:
    """Bytes that a run reads and writes at least: x, weights and the output, each once.

    A backward does so with their cotangents too.
    """
    shapes = cell.parameter_shapes(case.input_size, case.hidden_size)
    weights = sum(int(np.prod(shape)) for shape in shapes.values())
    width = case.input_size + cell.output_size(case.input_size, case.hidden_size)
    once = weights + case.steps * case.batch * width
    return once * FORMATS[case.dtype].size * (2 if case.direction == "backward" else 1)
