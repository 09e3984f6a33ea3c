"""Which share of what this machine allows does a run reach, and what does a step cost beyond a fixed cost?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellbench import cells

from ..case import Case
from ..measure import ceilings
from ..measure.caches import MEMORY
from ..measure.clocks import clock_of
from ..measure.roofline import Bound, bound, device_bound, fit
from ..measure.timing import Timed, interleave
from ..probe import Emit, NotOk, Plan, Probe, Series, cell_of, series
from ..programs import Inputs, checked, inputs, prepare
from . import _device

SIZES = {"float32": 4, "float64": 8}  # bytes of the numbers whose ceilings are measured
RECURRENT = "weight_hh"


@dataclass(frozen=True)
class Roofline(Probe):
    """The time of a run over the least time that its shape allows on a core, and the fit t = a + b T.

    The core's FLOP/s and the bandwidth of each cache and of memory are measured in the same process; on CUDA
    those of the device and of its memory. The model stands in docs/measuring.md. The fit is over T, T / 2 and
    T / 4, interleaved.

    samples     of each length
    sample_s    about how long a sample takes (several runs if one is shorter)
    """

    samples: int = 20
    sample_s: float = 0.005

    def cases(self, plan: Plan) -> list[Case]:
        return plan.runs(self.name)

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        """Checks the program, and times it at three lengths beside the machine's ceilings."""
        if reason := unsupported(case):
            raise NotOk("unsupported", reason)
        given = inputs(case)
        program = checked(case, given)
        on_device = case.device == "cuda"
        machine = _device.machine(case.dtype) if on_device else ceilings.machine()
        seconds = self.seconds(case, given, lambda: emit((case.id, [])))
        least, reason = least_time(case, machine)
        measured, line = fitted(seconds, case.steps)
        rows = [*of_machine(machine, case.dtype), *measured]
        rows.append(series("seconds", "s", seconds[case.steps]))
        if least is not None:
            rows.append(series("bound_s", "s", least.seconds))
            rows.append(series("share", "1", least.seconds / seconds[case.steps]))
        return program.implementation, rows, "; ".join(filter(None, (reason, line)))

    def seconds(self, case: Case, given: Inputs, alive: Callable[[], None]) -> dict[int, float]:
        """The median seconds of a run, by its length."""
        timed = {}
        for steps in dict.fromkeys(max(1, case.steps // k) for k in (1, 2, 4)):
            program = prepare(replace(case, steps=steps), given.params)
            program.load(given.x[:steps], None, given.d_output[:steps])
            timed[str(steps)] = Timed(program.run, program.sync)
        rng, clock = np.random.default_rng(0), clock_of(case.device)
        samples = interleave(timed, self.samples, rng, clock, self.sample_s, alive)
        return {int(steps): float(np.median(values)) for steps, values in samples.items()}

    def estimate_s(self, case: Case) -> float:
        return 5.0


def unsupported(case: Case) -> str | None:
    """Why there is no ceiling to hold this case against, or None."""
    if case.device == "cuda":
        return None
    if case.threads != 1:
        return f"the roofline is that of one core, and threads is {case.threads}; set threads=1"
    if case.dtype not in SIZES:
        return f"the roofline has the ceilings of {', '.join(SIZES)}, and none of {case.dtype}"
    return None


def least_time(case: Case, machine: dict[str, Any]) -> tuple[Bound | None, str]:
    """(the bound of the case, what it is bound by); (None, why) where the products are not known."""
    cell = cell_of(case)
    if case.device == "cuda":
        rates = machine["flop_per_s"][case.dtype], machine["bytes_per_s"][MEMORY][1]
        found = device_bound(_device.flop(cell, case), _device.least_bytes(cell, case), *rates)
        return found, f"bound by {found.by}"
    if cell.written_out:
        return None, f"no share: {cell.name} writes out its step, so that what a step reads is not known"
    weights = recurrent_bytes(cell, case)
    reads = 2 if case.direction == "backward" else 1
    levels = machine["bytes_per_s"]
    made = bound(
        _device.flop(cell, case), case.steps, weights, machine["flop_per_s"][case.dtype], levels, reads
    )
    unknown = "" if levels else "; this system does not tell its caches, so arithmetic alone counts"
    return made, f"bound by {made.by}{unknown}"


def recurrent_bytes(cell: cells.GatedCell, case: Case) -> int:
    """Of the weights that multiply a state, in all layers and directions."""
    shapes = cell.parameter_shapes(case.input_size, case.hidden_size)
    count = sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith(RECURRENT))
    return count * SIZES[case.dtype]


def fitted(seconds: dict[int, float], steps: int) -> tuple[list[Series], str]:
    """The fixed cost and the cost a step; none, and why, where there are too few lengths."""
    found = fit(list(seconds), list(seconds.values()))
    if found is None:
        return [], f"no fit: {steps} steps have fewer than three lengths; take 4 steps or more"
    return [series("fixed_s", "s", found[0]), series("step_s", "s", found[1])], ""


def of_machine(machine: dict[str, Any], dtype: str) -> list[Series]:
    """The ceilings that the case was held against."""
    rates = machine["bytes_per_s"].items()
    return [
        series("ceiling_flop_per_s", "FLOP/s", machine["flop_per_s"][dtype]),
        *(series(f"bytes_per_s.{name}", "B/s", rate) for name, (_, rate) in rates),
    ]
