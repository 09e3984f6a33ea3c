"""The probe cliffs: jumps by a stated rule in closed form, and a real sweep with a cliff planted in it."""

from dataclasses import replace

import numpy as np
import pytest

from cellbench import harness
from cellbench.harness import probe as probes
from cellbench.harness import report, store
from cellbench.harness.case import Case
from cellbench.harness.measure.cliffs import Jump, jumps
from cellbench.harness.probe import NotOk, Plan
from cellbench.harness.probes import cliffs

CASE = Case("cliffs", "gru", "numpy", "cpu", "float32", 1, 2, 2, 3, 4, "forward", variant="hidden_size")
PLAN = {"direction": ("forward",), "dtype": "float32", "device": "cpu", "threads": 1, "seeds": (0,)}
SMALL = {"hidden_sizes": (4, 5, 6), "samples": 3, "sample_s": 1e-4}


def samples(seconds, spread=0.01):
    return [seconds * (1 + spread * k) for k in (-2, -1, 0, 1, 2)]


@pytest.mark.quick
@pytest.mark.parametrize(("fixed", "each"), [(0.0, 1.0), (5.0, 1.0), (50.0, 0.0)])
def test_a_fixed_cost_and_a_cost_a_unit_of_work_have_no_jump(fixed, each):
    work = [1.0, 2.0, 7.0, 8.0, 9.0, 300.0]
    assert jumps(work, [samples(fixed + each * w) for w in work], 1.25) == []


@pytest.mark.quick
def test_time_that_grows_more_than_the_work_and_time_that_falls_are_jumps():
    work = [100.0, 101.0, 102.0, 103.0]
    up, down = jumps(work, [samples(s) for s in (1.0, 1.0, 2.0, 1.0)], 1.25)
    assert up.at == 2 and up.ratio == pytest.approx(2 * 101 / 102)
    assert down == Jump(3, pytest.approx(0.5))
    assert jumps(work, [samples(s) for s in (1.0, 1.0, 2.0, 1.0)], 2.5) == []


@pytest.mark.quick
def test_noise_is_no_jump_and_a_point_that_was_not_timed_ends_no_comparison():
    assert jumps([1.0, 1.0], [samples(1.0, 0.5), samples(1.4, 0.5)], 1.25) == []
    assert jumps([1.0, 1.0, 1.0], [samples(1.0), [], samples(9.0)], 1.25) == []


def slow_at(points):
    """Seconds of runs of these hidden sizes, three times as long from a point on."""

    def seconds(self, case, ready, alive):
        return {k: samples(1.0 if here.hidden_size not in points else 3.0) for k, (here, _) in ready.items()}

    return seconds


@pytest.mark.quick
def test_a_planted_cliff_is_marked_at_its_point(monkeypatch):
    monkeypatch.setattr(cliffs.Cliffs, "seconds", slow_at({6}))
    _, rows, line = cliffs.Cliffs(**SMALL).measure(CASE, lambda message: None)
    by_metric = {row["metric"]: row for row in rows}
    assert by_metric["seconds"]["lag"] == [4, 5, 6] and line is None
    assert by_metric["jump"]["lag"] == [6] and 1 < by_metric["jump"]["values"][0] < 3
    per_flop = np.divide(by_metric["seconds"]["values"], by_metric["seconds_per_flop"]["values"])
    assert (np.diff(per_flop) > 0).all()  # FLOP rise


@pytest.mark.quick
def test_points_that_cannot_run_are_named_and_a_wrong_one_ends_the_case(monkeypatch):
    heads = replace(CASE, spec="slstm:heads=2")
    _, rows, line = cliffs.Cliffs(**SMALL).measure(heads, lambda message: None)
    assert rows[0]["lag"] == [4, 6] and line.startswith("not at hidden_size=5: ")
    with pytest.raises(NotOk) as refused:
        cliffs.Cliffs(**SMALL | {"hidden_sizes": (5, 7)}).measure(heads, lambda message: None)
    assert refused.value.status == "unsupported"

    def wrong(case):
        raise NotOk("wrong", "output is off")

    monkeypatch.setattr(cliffs, "program_of", wrong)
    with pytest.raises(NotOk, match="at hidden_size=4: output is off") as wrong_point:
        cliffs.Cliffs(**SMALL).measure(CASE, lambda message: None)
    assert wrong_point.value.status == "wrong"


@pytest.mark.quick
def test_layers_and_formats_are_axes_too():
    probe = cliffs.Cliffs(layers=(1, 3), dtypes=("float32", "float64"), samples=2, sample_s=1e-4)
    for axis, lag in (("layers", [1, 3]), ("dtype", [2, 3])):
        _, rows, _ = probe.measure(replace(CASE, variant=axis), lambda message: None)
        assert rows[0]["lag"] == lag
    stack = replace(CASE, spec="gru:layers=2:biases=0", variant="layers")
    assert cliffs.moved(stack, 1).spec == "gru:biases=0"
    narrow = cliffs.moved(replace(CASE, variant="dtype"), "float16")
    assert cliffs.size(replace(CASE, variant="dtype"), narrow) == 2 and cliffs.size(CASE, narrow) == 1


def test_every_axis_of_a_plan_is_a_case_at_the_shortest_length():
    sizes = {"steps": (3, 2), "batch": (2,), "input_size": (3,), "hidden_size": (4,)}
    plan = Plan(("gru",), ("numpy", "torch"), (), **sizes, **PLAN)
    cases = cliffs.Cliffs(layers=()).cases(plan)
    assert [(case.backend, case.variant) for case in cases] == [
        (backend, axis) for backend in ("numpy", "torch") for axis in ("hidden_size", "batch", "dtype")
    ]
    assert {case.steps for case in cases} == {2}


def test_the_section_has_the_curves_and_the_jumps(monkeypatch, tmp_path):
    monkeypatch.setattr(cliffs.Cliffs, "seconds", slow_at({6}))
    probe = cliffs.Cliffs(**SMALL, dtypes=("float32", "float64"))
    writer = store.create(tmp_path / "runs", {})
    for axis in ("hidden_size", "dtype"):
        case = replace(CASE, variant=axis)
        ran, rows, reason = probe.measure(case, lambda message: None)
        about = {"reason": reason, "implementation": ran, "done": True}
        writer.append(case.id, case.definition, "ok", series=rows, **about)
    writer.close()
    folder = report.write(harness.load(tmp_path / "runs"), [], tmp_path / "page").parent
    text = (folder / "report.md").read_text()
    (jump,) = (line for line in text.splitlines() if "| 5 | 6 |" in line)
    assert "| 1.00 s | 3.00 s |" in jump
    assert "| float32 | float64 |" in text and (folder / "cliffs.svg").exists()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threshold": 1.0}, "threshold=1.0; it must be above 1"),
        ({"hidden_sizes": (3, 2)}, r"hidden_sizes=\[3, 2\]; they must be whole numbers that rise"),
        ({"batches": (0, 2)}, "from 1 on"),
        ({"dtypes": ("float64", "float32")}, "in this order"),
        ({"dtypes": ("float8",)}, "it may have float16, bfloat16"),
        ({"samples": 0}, "samples=0"),
        (dict.fromkeys(("hidden_sizes", "batches", "layers", "dtypes"), ()), "no points"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        probes.get("cliffs", options)
