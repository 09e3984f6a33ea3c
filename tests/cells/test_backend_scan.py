"""The mode scan: all that holds of programs holds of it, for every cell whose recurrence is affine."""

import os
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.comparison import (
    DTYPES,
    ODD,
    WHOLE,
    bitwise,
    compare,
    computed,
    named,
    prepare,
    problem,
    slack,
    tolerance,
)
from support.oracle import float64_autograd

from cellbench import cells
from cellbench.cells import GatedCell, State, exp, sigmoid, tanh
from cellbench.cells.derived import affine as scan
from cellbench.cells.kernels import segments
from cellbench.cells.kernels.chunks import chunks


class Rotation(GatedCell):
    """Two coupled states, per-unit vectors, outputs of old and new states, an `emit` with x."""

    gates = ("a", "b", "o")
    states = ("re", "im")
    vectors = ("r", "phase")
    recurrent_gates = ()

    def equations(self, wx, wh, prev, unit):
        keep = sigmoid(unit.r)
        re = keep * (prev.re - unit.phase * prev.im) + wx.a
        im = keep * (unit.phase * prev.re + prev.im) - wx.b / 2
        return (sigmoid(wx.o) * re, tanh(im) * prev.re), State(re=re, im=im)

    def emit(self, params, x, output):
        first, second = output
        return first - second + x.sum(-1, keepdims=True) * params["r"]


class Chain(GatedCell):
    """A constant entry, a delay of the input, states that feed each other one way, one without feedback."""

    gates = ("x", "f")
    states = ("h", "delay", "twice", "mean")
    recurrent_gates = ()

    def equations(self, wx, wh, prev):
        f = exp(-wx.f * wx.f)
        mean = 0.75 * prev.mean + 0.25 * prev.twice
        return State(
            h=(f * prev.h + (1 - f) * wx.x + prev.delay) / 2 - prev.mean,
            delay=wx.x,
            twice=prev.delay,
            mean=mean,
        )


OWN = [f"{__file__}:Rotation", f"{__file__}:Chain"]
AFFINE = [s for s in cells.names() if not scan.unsupported(cells.get(s))] + OWN
REFUSED = [s for s in cells.names() if s not in AFFINE] + [f"{ODD}:Written", "elman:activation=identity"]
MODES = ["torch:mode=scan", "numba:mode=scan"]


def short(value):
    return str(value).rpartition("/")[2]


every_cell = pytest.mark.parametrize("affine", AFFINE, ids=short)
every_mode = pytest.mark.parametrize("mode", MODES)
# kernels compile for seconds: in float32 those of every third cell
ALL = [
    each
    for each in product(AFFINE, MODES, DTYPES)
    if WHOLE or each[1:] != (MODES[1], "float32") or each[0] in AFFINE[::3]
]
every_format = pytest.mark.parametrize(
    ("affine", "mode", "dtype"), ALL, ids=["-".join(map(short, each)) for each in ALL]
)


@every_format
def test_every_gradient_matches_float64_autograd(affine, mode, dtype, sizes):
    case = problem(cells.get(affine), *sizes)
    allowed = slack(case.cell) * tolerance(dtype, case.steps)
    if sizes[2:] == (1, 1):
        # one input and one unit: d_weight_ih is a single sum over steps, whose terms may cancel. Of 30 seeds
        # Chain's was off by 1.7 tolerances in one (by 1.4 in torch's own loop), and by 0.2 at most elsewhere
        allowed *= 2
    compare(
        computed(prepare(mode, case, dtype), case, trace=True), float64_autograd(case, trace=True), allowed
    )


@every_cell
@every_mode
@pytest.mark.parametrize("steps", [2, 3, 4, 16, 401])
def test_a_scan_equals_the_sequential_run_from_any_state(affine, mode, steps):
    case = problem(cells.get(affine), steps, 2)
    want = computed(prepare(mode.partition(":")[0] if steps < 100 else "numba", case), case, trace=True)
    compare(computed(prepare(mode, case), case, trace=True), want, tolerance("float64", steps))


@every_cell
@every_mode
def test_a_read_out_and_other_biases_match_float64_autograd(affine, mode):
    for options in ("biases=0", "biases=1:readout=2", "biases=2"):
        case = problem(cells.get(f"{affine}:{options}"))
        compare(
            computed(prepare(mode, case), case, given=False),
            float64_autograd(case, given=False),
            tolerance("float64", 17),
        )


@every_format
def test_forward_only_gives_the_outputs_of_backward(affine, mode, dtype):
    case = problem(cells.get(affine))
    both = prepare(mode, case, dtype).forward(case.x, case.state)
    alone = prepare(mode, case, dtype, direction="forward").forward(case.x, case.state)
    compare(named(alone), named(both), tolerance(dtype, case.steps))


@every_format
def test_two_runs_give_the_same_bits(affine, mode, dtype):
    case = problem(cells.get(affine))
    program = prepare(mode, case, dtype)
    first = computed(program, case)
    program.forward(case.x[::-1], None)
    bitwise(computed(program, case), first)
    bitwise(computed(prepare(mode, case, dtype), case), first)


@every_format
def test_results_are_copies_and_inputs_are_left_untouched(affine, mode, dtype):
    case, same = problem(cells.get(affine)), problem(cells.get(affine))
    case.x, case.d_output = case.x.astype(dtype), case.d_output.astype(dtype)
    program = prepare(mode, case, dtype)
    first = computed(program, case, trace=True)
    kept = {k: v.copy() for k, v in first.items()}
    assert {k: str(v.dtype) for k, v in first.items()} == dict.fromkeys(first, dtype)
    computed(program, problem(case.cell, seed=1))
    bitwise(first, kept)
    bitwise(case.params | case.state, same.params | same.state)
    bitwise(
        {"x": case.x, "d_output": case.d_output},
        {"x": same.x.astype(dtype), "d_output": same.d_output.astype(dtype)},
    )


@every_cell
@every_mode
def test_backward_twice_after_a_run_gives_the_same(affine, mode):
    case = problem(cells.get(affine))
    program = prepare(mode, case)
    program.load(case.x, case.state, case.d_output)
    program.run()
    ran = named(*program.read())
    program.backward(2 * case.d_output, None, trace=True)
    compare(named(program.read()[0], program.backward(case.d_output)), ran, tolerance("float64", case.steps))
    first = program.backward(case.d_output, case.d_state)
    bitwise(
        named(program.read()[0], program.backward(case.d_output, case.d_state)),
        named(program.read()[0], first),
    )


@every_cell
@every_mode
def test_a_nan_in_comes_out_from_its_step_on(affine, mode):
    case = problem(cells.get(affine))
    case.x[9, 1] = np.nan
    program = prepare(mode, case)
    output = program.forward(case.x, case.state).output
    want = prepare("numpy", case).forward(case.x, case.state).output
    np.testing.assert_array_equal(np.isnan(output), np.isnan(want))
    assert (
        np.isnan(output[9, 1]).any() and not np.isnan(output[:9]).any() and not np.isnan(output[:, 0]).any()
    )


@every_mode
def test_pre_activations_at_800_saturate_as_they_do_in_sequence(mode, dtype):
    case = problem(cells.get(f"{__file__}:Chain"))
    case.params["bias_ih"] = np.where(np.arange(len(case.params["bias_ih"])) % 2, 800.0, -800.0)
    name = mode.partition(":")[0]
    compare(
        computed(prepare(mode, case, dtype), case),
        computed(prepare(name, case, dtype), case),
        tolerance(dtype, 17),
    )


@pytest.mark.parametrize("affine", OWN, ids=short)
@every_mode
def test_many_steps_equal_the_sequential_run(affine, mode):
    case = problem(cells.get(affine), 65536, 1, 2, 2)
    compare(
        computed(prepare(mode, case), case),
        computed(prepare("numba", case), case),
        tolerance("float64", 1000),
    )


@pytest.mark.parametrize("affine", OWN, ids=short)
@pytest.mark.parametrize("trace", [False, True])
def test_several_segments_equal_one(affine, trace, monkeypatch):
    case = problem(cells.get(affine))
    program = prepare("numba:mode=scan", case)
    assert len(program.segments()) == 1
    want = computed(program, case, trace=trace)
    row = 8 * case.batch * len(case.cell.gates) * program.units
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 5 * row // program.workers + 1)
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 1)
    program = prepare("numba:mode=scan", case)
    assert len(program.segments()) > 3
    compare(computed(program, case, trace=trace), want, tolerance("float64", case.steps))


@pytest.mark.parametrize("affine", OWN, ids=short)
def test_one_thread_scans_too_and_computes_the_same_as_two(affine):
    import numba

    case, before = problem(cells.get(affine)), numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        program = prepare("numba:mode=scan", case)
        assert program.implementation.endswith("scan, 3 chunks on 1 threads")
        alone = computed(program, case)
        program.threads = 2  # of the same chunks
        bitwise(computed(program, case), alone)
        program.workers, program.jacobians = 5, np.empty((6, *program.jacobians.shape[1:]))
        compare(computed(program, case), alone, tolerance("float64", case.steps))
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 17, 65536])
@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("share", [0.3, 0.75, 1])
def test_chunks_cover_all_steps_and_none_is_empty(steps, workers, share):
    parts = chunks(steps, workers, share)
    assert [t for part in parts for t in range(part.start, part.stop)] == list(range(steps))
    assert len(parts) == min(steps, workers + 1) and all(part.start < part.stop for part in parts)


@every_cell
def test_the_found_jacobian_and_constant_are_those_of_the_equations(affine):
    """J prev + c is the new state at random values; neither sees the old states, no entry is always 0."""
    cell, rng = cells.get(affine), np.random.default_rng(0)
    derivation, found = cell.derivation(), scan.recurrence(cell)
    values = {node: rng.standard_normal(9) / 4 for node in derivation.inputs.values()}
    prev = {s: values.pop(derivation.inputs[f"prev_{s}"]) for s in cell.states}
    scan.evaluate(
        [*found.jacobian.values(), *found.constant.values()], values
    )  # a KeyError were an old state needed
    inputs = {n: values[node] for n, node in derivation.inputs.items() if node in values}
    groups = [
        SimpleNamespace(**{n.partition("_")[2]: v for n, v in inputs.items() if n.startswith(k)})
        for k in ("wx_", "unit_")
    ]
    unit = [groups[1]] if cell.vectors else []
    made = cell.equations(groups[0], SimpleNamespace(), SimpleNamespace(**prev), *unit)
    new = made[1] if isinstance(made, tuple) else made
    for s in cell.states:
        share = sum(values[node] * prev[old] for (row, old), node in found.jacobian.items() if row == s)
        constant = values[found.constant[s]] if s in found.constant else 0
        np.testing.assert_allclose(share + constant, getattr(new, s), rtol=1e-12, atol=1e-14)
    assert all(np.any(values[node]) for node in found.jacobian.values())


def test_entries_that_are_zero_whatever_the_values_are_left_out():
    found = scan.recurrence(cells.get(f"{__file__}:Chain"))
    assert set(found.jacobian) == {
        ("h", "h"),
        ("h", "delay"),
        ("h", "mean"),
        ("twice", "delay"),
        ("mean", "mean"),
        ("mean", "twice"),
    }
    assert set(found.constant) == {"h", "delay"}
    assert found.jacobian["twice", "delay"].value == 1 and found.jacobian["mean", "mean"].value == 0.75
    assert set(found.reach) - set(found.jacobian) == {
        ("delay", "delay"),
        ("twice", "twice"),
        ("h", "twice"),
        ("mean", "delay"),
    }


@every_mode
@pytest.mark.parametrize("refused", REFUSED, ids=short)
def test_a_cell_that_cannot_be_scanned_says_why(refused, mode):
    cell = cells.get(refused)
    reason = cells.backend(mode).unsupported(cell)
    if cell.written_out:
        assert "writes out its step" in reason
    elif cell.affine() and not cell.pointwise:
        assert "averages values of its step" in reason
    elif cell.affine():
        assert "recurrent product" in reason
    else:
        bent = reason.partition("old states: ")[2].partition(";")[0].split(", ")
        assert bent and set(bent) <= set(cell.states)
    with pytest.raises(ValueError, match=r"step|affine|recurrent product"):
        cells.backend(mode).prepare(cell, {}, steps=1, batch=1)


@every_mode
def test_a_program_and_its_backend_say_that_they_scan(mode):
    case = problem(cells.get(OWN[0]))
    assert "scan" in prepare(mode, case).implementation
    assert cells.backend(mode).name == mode
    name = mode.partition(":")[0]
    assert (
        cells.backend(f"{name}:mode=sequential").name == name
        and "scan" not in prepare(name, case).implementation
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("numba:mode=fast", "mode is 'fast'; it must be one of sequential, scan"),
        ("torch:mode=", "mode is ''; it must be one of sequential, scan"),
        ("native:mode=scan", "'native' has no option 'mode'"),
    ],
)
def test_another_mode_is_refused_in_one_line(given, says):
    with pytest.raises(ValueError, match=says) as error:
        cells.backend(given)
    assert "\n" not in str(error.value)


@every_mode
def test_stacked_directions_scan_each_layer(mode):
    case = problem(cells.get(f"{OWN[0]}:layers=2:bidirectional=true"))
    name = mode.partition(":")[0]
    compare(
        computed(prepare(mode, case), case),
        computed(prepare(name, case), case),
        tolerance("float64", 2 * case.steps),
    )


def test_a_scan_kernel_s_module_is_readable_and_in_the_folder_of_kernels():
    import sys

    program = prepare("numba:mode=scan", problem(cells.get(OWN[1])))
    file = Path(sys.modules[program.kernel.py_func.__module__].__file__)
    assert file.parent == Path(os.environ["CELLBENCH_CACHE"]) / "kernels"
    assert file.name.startswith("numba_scan_Chain_float64_") and "def d_ends(" in file.read_text()
