"""Holds a cell's kernels against its own equations: `cellbench check FILE:NAME --kernel KIND`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...catalogue import backend, get
from ...cell import GatedCell
from ...contract import Arrays
from ...kernels.triton.form import GRID, RESIDENT, STEPWISE, Form, candidates, scans, spread_forms
from ...kernels.triton.products import can_pack
from ...kernels.triton.resources import missing
from ...kernels.unprintable import unprintable
from ...programs.tolerance import TIMES, relative_errors, tolerance, unfit, when_moved
from ...vocabulary.primitives import changed
from . import compiled
from .interpreted import Job, answers
from .problem import Problem, Sizes, computed, drawn

DTYPES = ("float64", "float32")
STEPS, INPUTS, UNITS = 17, 7, 33  # odd, so that what a kernel pads shows
COMPILED_STEPS, TARGETS = 3, (80, 90)


@dataclass(frozen=True)
class Way:
    """One way in which the kernels were run: the errors of all arrays by name, or why there are none.

    `plain` are errors that are allowed where plain arithmetic of the format gets no better than `allowed`.
    """

    name: str
    allowed: float
    errors: dict[str, float]
    failed: str | None = None
    plain: dict[str, float] = field(default_factory=dict)

    def limit(self, name: str) -> float:
        """The error that is allowed of an array."""
        return max(self.allowed, self.plain.get(name, 0.0))

    @property
    def worst(self) -> str:
        """The array that comes nearest to its limit, or is farthest beyond; one that is NaN before all."""
        excess = {name: error / self.limit(name) for name, error in self.errors.items()}
        return max(excess, key=lambda name: (np.isnan(excess[name]), excess[name]))

    @property
    def right(self) -> bool:
        return not self.failed and self.errors[self.worst] <= self.limit(self.worst)

    def __str__(self) -> str:
        if self.failed:
            return f"{self.name}: {self.failed}"
        word = "right" if self.right else "wrong"
        error = f"{self.errors[self.worst]:.2g} of {self.worst}, {self.limit(self.worst):.2g} allowed"
        return f"{self.name}: {word}, largest error {error}"


@dataclass(frozen=True)
class KernelResult:
    """All ways of a check."""

    label: str
    ways: tuple[Way, ...]

    @property
    def ok(self) -> bool:
        return all(way.right for way in self.ways)

    def __str__(self) -> str:
        verdict = "right" if self.ok else "wrong"
        return "\n".join([f"{self.label} against its equations: {verdict}", *(f"  {w}" for w in self.ways)])


def check_kernel(
    spec: str,
    kind: str,
    input_size: int | None = None,
    hidden_size: int | None = None,
    steps: int | None = None,
    batch: int = 3,
    seed: int = 0,
) -> KernelResult:
    """Runs the kernels in both formats over all steps and over one, and compares every array by name.

    Triton's run in its interpreter, packed and plain, with every access to memory watched. What its compiler
    makes of them in float32 runs too, over a few steps. Raises ValueError for a cell without kernels, sizes
    that it cannot have, and where Triton is not installed.
    """
    cell = get(spec)
    if cell.stacked:
        raise ValueError(f"cell {cell.name!r} is a stack, whose layers have kernels; check a single layer")
    if reason := unprintable(cell, kind):
        instead = "; hold the module against a cell with --against CELL" if cell.library else ""
        raise ValueError(f"{reason}{instead}")
    sizes = Sizes(steps or STEPS, batch, *fitting(cell, input_size, hidden_size))
    if kind == "triton" and (reason := missing()):
        raise ValueError(reason)
    ways = triton_ways if kind == "triton" else numba_ways
    with np.errstate(all="ignore"):  # what is not finite is said in words
        _check_reference(spec, drawn(cell, sizes, seed))
        each = tuple(ways(spec, cell, (sizes, replace(sizes, steps=1)), seed))
    return KernelResult(f"{kind} kernels of {spec}", each)


def _check_reference(spec: str, problem: Problem) -> None:
    """Raises ValueError for equations that nothing can be held against."""

    def compute() -> Arrays:
        return computed(problem, backend("numpy"), "float64")

    if reason := unfit(compute(), compute):
        raise ValueError(f"{spec}: {reason}")


def fitting(cell: GatedCell, input_size: int | None, hidden_size: int | None) -> tuple[int, int]:
    """(I, H): those given, else the smallest odd ones that the cell can have. Raises ValueError for none."""
    units = [hidden_size] if hidden_size else range(UNITS, UNITS + cell.heads + 1)
    near = [(i, h) for h in units for i in ([input_size] if input_size else [INPUTS, h])]
    fit = next((sizes for sizes in near if cell.unfit(*sizes) is None), None)
    if fit is None:
        raise ValueError(cell.unfit(*near[0]))
    return fit


def numba_ways(spec: str, cell: GatedCell, sizes: tuple[Sizes, ...], seed: int) -> list[Way]:
    """Numba's kernels, compiled for this machine."""
    ways = []
    for each in sizes:
        problem = drawn(cell, each, seed)
        expected = computed(problem, backend("numpy"), "float64")
        for dtype in DTYPES:
            errors = relative_errors(computed(problem, backend("numba"), dtype), expected, each.steps)
            ways.append(_way(f"{dtype}, {each}", Job(spec, dtype, each, seed=seed), {"errors": errors}))
    return ways


def triton_ways(spec: str, cell: GatedCell, sizes: tuple[Sizes, ...], seed: int) -> list[Way]:
    """Triton's kernels in its interpreter, and as its compiler makes them for two targets."""
    units = cell.units(sizes[0].hidden_size)
    jobs = [
        Job(spec, dtype, each, form, seed=seed)
        for each in sizes
        for form in interpreted_forms(cell, units)
        for dtype in (DTYPES[:1] if form.spread else DTYPES)  # of other lines, not of other arithmetic
    ]
    interpreted = [
        _way(f"{job.dtype}, {job.sizes}, {short_name(job.form)}", job, answer)
        for job, answer in zip(jobs, answers(jobs), strict=True)
    ]
    return interpreted + compiled_ways(spec, cell, sizes[0], seed)


def compiled_ways(spec: str, cell: GatedCell, sizes: Sizes, seed: int) -> list[Way]:
    """The compiler's PTX, executed on the CPU; each step takes a while."""
    short = replace(sizes, steps=min(sizes.steps, COMPILED_STEPS))
    units = cell.units(short.hidden_size)
    every = candidates(cell, units, short.batch, short.batch * cell.heads, "float32")
    resident, *spread = (next(f for f in every if f.kind == kind) for kind in (RESIDENT, GRID, STEPWISE))
    spread += scans(cell)
    jobs = [
        compiled.CompiledJob(spec, "float32", short, target, form, seed)
        for form, targets in ((resident, TARGETS), *((form, TARGETS[-1:]) for form in spread))
        for target in targets
    ]
    return [
        _way(f"float32, {short}, {short_name(job.form)}, compiled for sm_{job.target}", job, answer)
        for job, answer in zip(jobs, compiled.answers(jobs), strict=True)
    ]


def interpreted_forms(cell: GatedCell, units: int) -> list[Form]:
    """One of each text: products together and apart, a grid of programs, a launch a step, a scan."""
    resident = [Job.form] if can_pack(cell) else []
    resident.append(replace(Job.form, packed=False))
    spread = spread_forms(cell, units, "float64")
    resident += [
        replace(next(f for f in spread if f.kind == kind), block_b=Job.form.block_b)
        for kind in (GRID, STEPWISE)
    ]
    # tiles that are small, so that a few steps are several of them
    return resident + [replace(form, block_h=16, block_k=4) for form in scans(cell)]


def _way(name: str, job: Job | compiled.CompiledJob, answer: dict[str, Any]) -> Way:
    allowed = tolerance(job.dtype, job.sizes.steps)
    way = Way(name, allowed, answer.get("errors", {}), answer.get("failed"))
    if way.failed or way.right:
        return way
    return replace(way, plain=plain_errors(job.spec, job.dtype, job.sizes, job.seed))


@lru_cache(maxsize=16)
def plain_errors(spec: str, dtype: str, sizes: Sizes, seed: int) -> dict[str, float]:
    """By name, the error that is allowed by `programs.tolerance.plain`: a division may be ill-conditioned.

    In a narrow format it is that of `moved`: a value may lie near a kink, such as where two values tie.
    """
    problem = drawn(get(spec), sizes, seed)
    expected = computed(problem, backend("numpy"), "float64")

    def compute(params: Arrays, x: np.ndarray, dtype: str) -> Arrays:
        return computed(replace(problem, params=params, x=x), backend("numpy"), dtype)

    given = compute, problem.params, problem.x, expected
    return when_moved(*given, steps=sizes.steps, dtype=dtype, times=TIMES[-1], changed=changed)


def short_name(form: Form) -> str:
    """What the kernels of a form differ in."""
    return form.kind if form.spread else "one product" if form.packed else "a product a gate"
