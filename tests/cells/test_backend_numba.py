"""Numba's own: segments of the steps, one compilation a cell and dtype, code shared between processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.comparison import (
    CELLS,
    PLAIN,
    compare,
    computed,
    label,
    prepare,
    problem,
    supports,
    tolerance,
)

from cellbench import cells
from cellbench.cells.kernels import segments

FUSED = [spec for spec in CELLS if supports("numba", spec)]
every_fused = pytest.mark.parametrize("spec", FUSED, ids=label)


def segmented(program):
    """The program that has segments: of a cell with projections, the widened cell's."""
    return getattr(program, "program", program)


@every_fused
@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("segment", [1, 4, 5, 16])
def test_several_segments_equal_one(spec, segment, trace):
    case = problem(cells.get(spec))
    program = prepare("numba", case)
    assert len(segmented(program).segments()) == 1
    want = computed(program, case, trace=trace)
    segmented(program).segment = segment
    program.assign(case.params)
    assert len(segmented(program).segments()) == -(-17 // segment)
    compare(computed(program, case, trace=trace), want, tolerance("float64", case.steps))


@pytest.mark.parametrize("width", [1, 16, 20, 32])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_a_projection_of_any_width_matches_the_float64_reference(width, dtype, tolerance):
    """Narrower than a panel, as wide, and wider; two batches in turn, for what is padded must stay zero."""
    cell = cells.get("lstm", proj_size=width)
    case = problem(cell, 6, 3, 5, 33)
    want = computed(prepare("numpy", case), case, trace=True)
    program = prepare("numba", case, dtype)
    for _ in range(2):
        compare(computed(program, case, trace=True), want, tolerance)


def test_a_projection_wider_than_the_sizes_at_which_steps_are_tried_is_a_cell_too():
    cell = cells.get("lstm:proj_size=100")
    assert cell.parameter_shapes(3, 128)["weight_hr"] == (100, 128)
    with pytest.raises(ValueError, match="proj_size 100, which must be less than hidden_size 100"):
        cell.init(3, 100)


@every_fused
def test_segments_follow_from_the_size_of_the_buffers(spec, monkeypatch):
    case = problem(cells.get(spec))
    program = prepare("numba", case)
    want = computed(program, case)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 3 * 8 * 3 * program.units * len(case.cell.gates))
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 1)
    program = prepare("numba", case)
    assert segmented(program).wx.shape[0] == segmented(program).segment == 3
    compare(computed(program, case), want, tolerance("float64", case.steps))
    forward = prepare("numba", case, direction="forward").forward(case.x, case.state)
    compare({"output": forward.output}, {"output": want["output"]}, tolerance("float64", case.steps))


def test_one_step_larger_than_a_segment_still_runs(monkeypatch):
    case = problem(cells.get(PLAIN))
    want = computed(prepare("numba", case), case)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 1)
    assert prepare("numba", case).segment == 1
    compare(computed(prepare("numba", case), case), want, tolerance("float64", case.steps))


def test_kernels_are_compiled_when_a_program_is_prepared_and_not_again(dtype):
    """Whatever the sizes, and for read-only arrays in the program's own dtype too."""
    case = problem(cells.get(PLAIN))
    computed(prepare("numba", case, dtype), case)
    program = prepare("numba", problem(case.cell, 1, 1, 1, 1), dtype)
    before = [list(k.signatures) for k in (program.kernel, program.backward_kernel)]
    case.x, case.d_output = case.x.astype(dtype), case.d_output.astype(dtype)
    case.params = {k: v.astype(dtype) for k, v in case.params.items()}
    for array in (case.x, case.d_output, *case.params.values(), *case.state.values(), *case.d_state.values()):
        array.flags.writeable = False
    computed(prepare("numba", case, dtype), case, trace=True)
    assert [list(k.signatures) for k in (program.kernel, program.backward_kernel)] == before


@pytest.mark.parametrize("option", ["biases=1", "readout=3"])
def test_options_that_leave_the_step_as_it_is_share_its_kernels(option):
    from cellbench.cells.kernels import fused

    assert fused.text(cells.get(f"{PLAIN}:{option}"), "float64") == fused.text(cells.get(PLAIN), "float64")


def test_kernels_of_several_cells_share_the_compiled_vocabulary():
    from cellbench.cells.kernels import printed

    names = ("gru", "lstm", "layernorm_lstm")  # of one phase, and of several
    modules = [printed.module(cells.get(name), "float64") for name in names]
    assert len({id(module.sigmoid) for module in modules}) == 1


SECOND = """
import json, sys, numpy as np
from cellbench import cells
case = cells.get(sys.argv[1])
program = cells.backend("numba").prepare(case, case.init(5, 7), steps=17, batch=3, dtype="float64")
out = program.forward(np.ones((17, 3, 5)))
program.backward(np.ones((17, 3, 7)))
kernels = (program.kernel, program.backward_kernel)
print(json.dumps([[sum(k.stats.cache_hits.values()), sum(k.stats.cache_misses.values())] for k in kernels]))
"""


def written():
    """The files of PLAIN's kernels, with when each was written; other tests may be compiling other cells."""
    files = [p for p in Path(os.environ["CELLBENCH_CACHE"]).rglob(f"numba_{PLAIN}_float64*") if p.is_file()]
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in files if p.suffix != ".pyc"}


def test_a_second_process_finds_the_compiled_kernels():
    case = problem(cells.get(PLAIN))
    computed(prepare("numba", case), case)
    before = written()
    assert any(p.suffix == ".nbc" for p in before)
    second = subprocess.run([sys.executable, "-c", SECOND, PLAIN], capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == "[[1, 0], [1, 0]]"
    assert written() == before


def test_compiled_kernels_of_another_processor_are_not_run(tmp_path):
    """A cache folder that several machines share."""
    case = problem(cells.get(PLAIN))
    computed(prepare("numba", case), case)
    shared = tmp_path / "cache"  # a copy, so that what the other processor compiles is not found next time
    shutil.copytree(os.environ["CELLBENCH_CACHE"], shared, ignore=other_than(f"numba_{PLAIN}_float64"))
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    found = {"": "[[1, 0], [1, 0]]", "generic": "[[0, 1], [0, 1]]"}
    for variables in ({}, other):
        env = {**os.environ, "CELLBENCH_CACHE": str(shared), **variables}
        second = subprocess.run(
            [sys.executable, "-c", SECOND, PLAIN], capture_output=True, text=True, env=env
        )
        assert second.returncode == 0, second.stderr
        assert second.stdout.strip() == found[variables.get("NUMBA_CPU_NAME", "")]


def other_than(start):
    """For copytree: files of the cache that are of other kernels."""
    return lambda _, names: [name for name in names if "." in name and not name.startswith(start)]


def test_a_kernel_s_module_is_readable_and_named_by_its_content():
    case = problem(cells.get(PLAIN))
    program = prepare("numba", case)
    file = Path(sys.modules[program.kernel.py_func.__module__].__file__)
    assert file.parent == Path(os.environ["CELLBENCH_CACHE"]) / "kernels"
    assert file.name.startswith(f"numba_{PLAIN}_float64_")
    assert "def backward(" in file.read_text()


def test_a_module_that_cannot_be_imported_says_so_every_time():
    from cellbench.cells.kernels.modules import load

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load("broken", "1 / 0\n")


def test_many_steps_in_float32_stay_within_the_stated_tolerance():
    case = problem(cells.get(PLAIN), steps=1000, batch=1)
    want = computed(prepare("numpy", case), case)
    compare(computed(prepare("numba", case, "float32"), case), want, tolerance("float32", case.steps))
    assert np.isfinite(want["output"]).all()
