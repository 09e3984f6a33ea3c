"""Printed Triton kernels in Triton's interpreter compute what the float64 reference does, gradients by name.

Odd sizes, buffers full of NaN, every access to memory watched, and faults in the printed text, which must be
seen. A handful of cells here; `nox -s kernels` takes all of them.
"""

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.comparison import CELLS, fitting

from cellbench import cells
from cellbench.cells.checking.kernels.check import short_name
from cellbench.cells.checking.kernels.interpreted import FORM, Job, answers
from cellbench.cells.checking.kernels.memory import Fault, Memory
from cellbench.cells.checking.kernels.problem import Sizes
from cellbench.cells.kernels.triton.form import GRID, SCAN, STEPWISE, Form, scans
from cellbench.cells.kernels.triton.printer import without
from cellbench.cells.kernels.triton.resources import missing
from cellbench.cells.programs.tolerance import tolerance

interprets = pytest.mark.skipif(
    missing() is not None, reason="triton is not installed; it is in the extra test, on Linux"
)
OWN = Path(__file__).parents[1] / "support" / "kernel_cells.py"
ODD = OWN.with_name("odd_cells.py")
LONG, ONE_STEP, LONE = Sizes(17, 5, 7, 33), Sizes(1, 5, 7, 33), Sizes(2, 1, 3, 16)
TWO_STEPS = replace(LONG, steps=2)
EIGHT, LONE_FORM = replace(FORM, block_b=8), replace(FORM, block_b=1)
APART, EIGHT_APART = replace(FORM, packed=False), replace(EIGHT, packed=False)
# programs of 16 units, of which the second one has a single one
SPREAD, HALF_FULL = Form(False, 4, 4, STEPWISE, 16, 16), Sizes(2, 3, 2, 17)
GRID_FORM = replace(SPREAD, kind=GRID)
PARTED = replace(GRID_FORM, parted=True)
# four steps at once, so that seven are two tiles, of which the second is not full
SCAN_FORM, SEVEN = Form(False, 1, 4, SCAN, 16, 4), Sizes(7, 2, 2, 17)
HANDFUL = [
    Job("elman", "float64", LONG, EIGHT),
    Job("gru", "float64", TWO_STEPS),  # in two programs, where the others have one
    Job("lstm", "float32", LONE, LONE_FORM),
    Job("slstm:heads=3", "float64", ONE_STEP, EIGHT_APART),
    Job("cornn", "float32", TWO_STEPS, EIGHT),
    Job("fastgrnn", "float64", ONE_STEP, EIGHT),
    Job(f"{ODD}:Heads", "float32", Sizes(1, 5, 7, 34), EIGHT),
    Job(f"{ODD}:Apart", "float64", ONE_STEP, EIGHT),
    Job(f"{OWN}:Divides", "float64", TWO_STEPS, EIGHT),
    Job(f"{OWN}:Names", "float64", LONE, LONE_FORM),
    Job(f"{OWN}:Places", "float64", TWO_STEPS, EIGHT),
    Job("elman:layers=2", "float64", Sizes(2, 3, 4, 5)),
    Job("gru", "float64", Sizes(2, 3, 5, 7), lengths=(1, 2, 1)),
    Job("peephole_lstm", "float64", HALF_FULL, SPREAD),
    Job("gru", "float64", HALF_FULL, GRID_FORM),
    Job("cornn", "float64", HALF_FULL, PARTED),
    Job("indrnn", "float64", HALF_FULL, GRID_FORM),
    Job("mingru", "float64", SEVEN, SCAN_FORM),
    Job(f"{OWN}:Carries", "float64", replace(SEVEN, hidden_size=3), SCAN_FORM),
]
EVERY = [
    Job(spec, dtype, Sizes(steps, 5, *fitting(cells.get(spec), 7, 33)), form)
    for spec in [*CELLS, *(f"{OWN}:{name}" for name in ("Divides", "Names", "Places", "Carries"))]
    if not (cells.get(spec).written_out or without(cells.get(spec)))
    for dtype, steps, form in (
        ("float64", 17, FORM),
        ("float32", 17, FORM),
        ("float64", 1, APART),
        ("float64", 3, SPREAD),
        ("float32", 3, GRID_FORM),
        *(("float64", 3, PARTED) for _ in cells.get(spec).recurrent[:1]),
        *(("float64", 11, SCAN_FORM) for _ in scans(cells.get(spec))),
    )
]
JOBS = EVERY if os.environ.get("CELLBENCH_KERNELS") == "all" else HANDFUL
# what a printer might get wrong, by what must be told of it: an error of an array, or a fault of memory
FAULTS = {
    "a half of a product's parts that is left out": (
        Job("elman", "float64", HALF_FULL, PARTED),
        ("pulled = first_half + second_half", "pulled = first_half"),
        "d_x",
    ),
    "a scan that puts the later steps first": (
        Job("mingru", "float64", SEVEN, SCAN_FORM),
        (
            "return j0_0 * j0_0_before, j0_0 * c0_before + c0",
            "return j0_0 * j0_0_before, j0_0_before * c0 + c0_before",
        ),
        "output",
    ),
    "a scan that forgets what the tile before left": (
        Job("mingru", "float64", SEVEN, SCAN_FORM),
        ("first + row == last", "first + row == last - 1"),
        "output",
    ),
    "a scan that reads the step itself": (
        Job("mingru", "float64", SEVEN, SCAN_FORM),
        ("(t - 1) * 2 * one", "t * 2 * one"),
        "output",
    ),
    "a scan that stores beyond the last step": (
        Job("mingru", "float64", SEVEN, SCAN_FORM),
        ("here = ok & (first + row < steps)", "here = ok & (first + row < steps + 1)"),
        "loads",
    ),
    "an unmasked state that is fed back": (
        Job(f"{OWN}:Divides", "float64", TWO_STEPS, EIGHT),
        ("prev_h = tl.where(ok, h, 0.0)", "prev_h = h"),
        "output",
    ),
    "an unmasked cotangent": (
        Job(f"{OWN}:Divides", "float64", TWO_STEPS, EIGHT),
        ("tl.where(ok, v", "tl.where(ok | True, v"),
        "d_weight_hh",
    ),
    "a sign": (
        Job("elman", "float64", TWO_STEPS, EIGHT),
        ("d_prev_h += pulled", "d_prev_h -= pulled"),
        "d_x",
    ),
    "a row that is stored again": (
        Job("elman", "float64", TWO_STEPS, EIGHT),
        ("all_h += one", "all_h += 0"),
        "which it, without a barrier between, stored",
    ),
    "a state that is read back": (
        Job("elman", "float64", TWO_STEPS, EIGHT),
        ("prev_h = tl.where(ok, h, 0.0)", "prev_h = tl.load(all_h + at, mask=ok, other=0.0)"),
        "of all_h, which it, without a barrier between, stored",
    ),
    "a mask that is one too wide": (
        Job("elman", "float64", TWO_STEPS, EIGHT),
        ("(u < WIDTH)\n    at", "(u < WIDTH + 1)\n    at"),
        "loads element 165 of first_h, which has 165",
    ),
    "a batch that is not masked": (
        Job("elman", "float64", TWO_STEPS, EIGHT),
        ("ok = (b < batch) &", "ok = (b < batch + 8) &"),
        "loads element 263 of first_h, which has 165",
    ),
    "two programs of the same sequences": (
        Job("elman", "float64", TWO_STEPS),
        ("b = tl.program_id(0) * BLOCK_B", "b = tl.program_id(0) * (BLOCK_B // 2)"),
        "which another program stored",
    ),
    "a launch that reads what it carried on": (
        Job("elman", "float64", HALF_FULL, SPREAD),
        ("carried_h + (1 - begin % 2)", "carried_h + begin % 2"),
        "of carried_h, which it, without a barrier between, loaded",
    ),
    "a tile that is left out": (
        Job("elman", "float64", HALF_FULL, SPREAD),
        ("range(0, WIDTH, BLOCK_K)", "range(0, WIDTH - 1, BLOCK_K)"),
        "output",
    ),
    "products of no step": (
        Job("elman", "float64", HALF_FULL, SPREAD),
        ("tl.where(begin + i > 0, batch, 0)", "batch"),
        "loads what is before or beyond every array",
    ),
    **{
        name: (Job("elman", "float64", HALF_FULL, GRID_FORM), text, told)
        for name, (text, told) in {
            "an arrival before what it tells is stored": (
                ("tl.debug_barrier()\n        tl.atomic_add", "tl.atomic_add"),
                "no barrier orders the two",
            ),
            "a wait without a barrier after it": (
                ("                pass\n            tl.debug_barrier()", "                pass"),
                "no barrier orders the two",
            ),
            "an arrival that releases nothing": (
                ('1, sem="release"', '1, sem="relaxed"'),
                "no barrier orders the two",
            ),
            "a wait that acquires nothing": (
                ('0, sem="acquire"', '0, sem="relaxed"'),
                "no barrier orders the two",
            ),
            "a wait for one program too few": (("< programs", "< programs - 1"), "no barrier orders the two"),
            "a wait for one program too many": (("< programs", "< programs + 1"), "deadlock"),
            "a state of the step before": (
                ("tl.load(all_h + b", "tl.load(all_h + one + b"),
                "and no barrier orders the two",
            ),
        }.items()
    },
}


@cache
def results():
    """Answers by job, and by the name of a fault; from one process, which takes 3 s to start."""
    jobs, texts, _ = zip(*FAULTS.values(), strict=True)
    faults = json.dumps([None] * len(JOBS) + list(texts))
    with pytest.MonkeyPatch.context() as patch:  # where that process finds `support`
        patch.setenv("PYTHONPATH", str(OWN.parents[1]), prepend=os.pathsep)
        found = answers([*JOBS, *jobs], ("support.interpreted", faults))
    return dict(zip([*JOBS, *FAULTS], found, strict=True))


def label(job):
    form = f"{short_name(job.form).replace(' ', '-')}-{job.form.block_b}"
    form += "-ragged" if job.lengths else ""
    return f"{Path(job.spec).name}-{job.dtype}-{str(job.sizes).replace(' ', '-')}-{form}"


@interprets
@pytest.mark.parametrize("job", JOBS, ids=label)
def test_an_interpreted_kernel_is_the_float64_reference(job):
    answer, allowed = results()[job], tolerance(job.dtype, job.sizes.steps)
    assert "errors" in answer, answer["failed"] + answer.get("trace", "")
    wrong = {name: error for name, error in answer["errors"].items() if not error <= allowed}
    assert answer["errors"] and not wrong, f"allowed {allowed:.2g}"


@interprets
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_printed_text_is_told_by_name(fault):
    answer, told = results()[fault], FAULTS[fault][2]
    if "errors" in answer:
        assert not answer["errors"][told] <= 1e-3
    else:
        assert answer["failed"].startswith("Fault: ") and told in answer["failed"]


def a_memory(*names):
    import torch

    tensors = {name: torch.zeros(8, dtype=torch.float32) for name in names}
    return Memory(tensors), {name: t.data_ptr() + 4 * np.arange(8) for name, t in tensors.items()}


EVERYWHERE = np.ones(8, bool)


@pytest.mark.quick
def test_what_a_barrier_orders_is_no_race_within_a_program_and_one_between_programs():
    memory, at = a_memory("h")
    memory.store(0, at["h"], EVERYWHERE)
    memory.barrier(0)
    memory.load(0, at["h"], EVERYWHERE)
    memory.load(0, at["h"], EVERYWHERE)
    with pytest.raises(Fault, match="program 1 loads element 0 of h, which another program stored"):
        memory.load(1, at["h"], EVERYWHERE)
    with pytest.raises(Fault, match="program 0 stores element 0 of h, which it, without a barrier between"):
        memory.store(0, at["h"], EVERYWHERE)


@pytest.mark.quick
def test_what_all_programs_load_may_none_of_them_store():
    memory, at = a_memory("weight", "h")
    for program in range(3):
        memory.load(program, at["weight"], EVERYWHERE)
        memory.store(program, at["h"], np.arange(8) == program)
    with pytest.raises(Fault, match="program 2 stores element 0 of weight, which another program loaded"):
        memory.store(2, at["weight"], EVERYWHERE)


@pytest.mark.quick
def test_what_is_masked_is_not_touched_and_what_is_beyond_is_named():
    memory, at = a_memory("h")
    memory.load(0, at["h"] + 40, EVERYWHERE & False)
    with pytest.raises(Fault, match="loads element 8 of h, which has 8"):
        memory.load(0, at["h"] + 4, EVERYWHERE)
    with pytest.raises(Fault, match="before or beyond"):
        memory.store(0, at["h"] - 4, EVERYWHERE)
    with pytest.raises(Fault, match="twice"):
        memory.store(0, at["h"] // 8 * 8, EVERYWHERE)
