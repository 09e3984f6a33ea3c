"""The grid of the fused kernels against their peers, with fake clocks, timings and processes."""

import csv
import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest

from cellbench.harness.measure.clocks import Fake, Wall
from cellbench.harness.measure.roofline import ARITHMETIC, Bound
from cellbench.harness.measure.timing import Timed
from cellbench.harness.measure.worker import Result
from cellbench.harness.studies.cpu_kernels import figure, page
from cellbench.harness.studies.cpu_kernels.__main__ import main
from cellbench.harness.studies.cpu_kernels.judged import better, judge
from cellbench.harness.studies.cpu_kernels.points import OWN, Grid, Point
from cellbench.harness.studies.cpu_kernels.records import FILE, Records
from cellbench.harness.studies.cpu_kernels.study import AGAIN, Study
from cellbench.harness.studies.cpu_kernels.timing import Timing, time_builds, time_point

pytestmark = pytest.mark.quick

POINT = Point("gru", "forward", 2, 32)
SMALL = Grid(cells=("gru",), batches=(1, 2), sizes=(32,), steps=4)


def timing(own=1.0, load=0.5, waited=0.0, others=0.0, **peers):
    """The timing of a process in which a run of the kernels takes `own` seconds, of the peers as given."""
    peers = peers or {"onnxruntime": 2.0, "native": 3.0}
    logs = {peer: [float(np.log(s / own))] * 3 for peer, s in peers.items()}
    noise = {"load": load, "cores": 2, "waited": waited, "others": others}
    return Timing({OWN: own, **peers}, logs, share=0.4 / own, bound_by="L2", **noise)


def judged(*timings, point=POINT):
    return judge(point, timings, np.random.default_rng(0))


class Workers:
    """Instead of processes: each point is answered by answer(point, attempt of it); `calls` has what came."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def __call__(self, function, points, peers, seed, checked, on_message, **more):
        self.calls.append(list(points))
        for point in points:
            reply = self.answer(point)
            if reply is None:
                return Result("crashed", "the process ended without a result: SIGSEGV")
            on_message((point, reply))
        return Result("ok")


def study(folder, answer, grid=SMALL, processes=3, **more):
    workers = Workers(answer)
    made = Study(grid, Records(folder), np.random.default_rng(0), processes, call=workers, **more)
    return made, workers


def test_a_ratio_is_the_peers_time_over_that_of_the_kernels():
    clock, result = Fake(), Timing()
    builds = {
        name: lambda s=s: Timed(clock.run_of(s), lambda: None)
        for name, s in {OWN: 0.002, "native": 0.003}.items()
    }
    time_builds(builds, result, np.random.default_rng(0), clock)
    assert result.seconds == pytest.approx({OWN: 0.002, "native": 0.003})
    assert result.logs == {"native": pytest.approx([np.log(1.5)] * 3)}


def test_a_core_that_is_slower_for_all_leaves_the_share_as_it_is(monkeypatch):
    machine = {"flop_per_s": {"float32": 1e9}, "bytes_per_s": {}}
    monkeypatch.setattr("cellbench.harness.measure.ceilings.machine", lambda: machine)
    least = Bound(0.001, ARITHMETIC)  # on the core as it was alone
    for slower in (1.0, 3.0):
        clock, result = Fake(), Timing()
        work = (clock.run_of(0.002 * slower), 2e6)  # 2e6 FLOP at 1e9 a second
        monkeypatch.setattr("cellbench.harness.measure.ceilings.arithmetic", lambda dtype, work=work: work)
        builds = {OWN: lambda clock=clock, s=slower: Timed(clock.run_of(0.004 * s), lambda: None)}
        time_builds(builds, result, np.random.default_rng(0), clock, least)
        assert result.share == pytest.approx(0.25) and result.bound_by == "arithmetic"
        assert result.seconds.keys() == {OWN} and not result.logs
    time_builds(builds, result, np.random.default_rng(0), clock, Bound(0.001, "L2"))
    assert result.share == pytest.approx(0.001 / 0.012)  # reading is measured apart


def test_a_point_is_held_against_its_fastest_peer():
    seen = judged(timing(), timing(), timing())
    assert (seen.best, seen.ratio.value) == ("onnxruntime", pytest.approx(2.0))
    assert seen.ratios["native"].value == pytest.approx(3.0) and not seen.disturbed


def test_the_interval_is_that_of_the_processes():
    seen = judged(*(timing(native=value) for value in (1.2, 1.3, 1.4)))
    assert (seen.ratio.low, seen.ratio.value, seen.ratio.high) == pytest.approx((1.2, 1.3, 1.4), rel=0.01)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"load": 3.0}, "load 3.0 on 2 cores"),
        ({"waited": 0.2}, "other work had the core for 20% of the time"),
        ({"others": 0.5}, "other threads of the process took 50% of its processor time"),
        ({"native": 2.4}, "the interval against native is ±"),
    ],
)
def test_what_disturbs_one_process_disturbs_the_point(more, words):
    (reason,) = judged(timing(native=2.0), timing(native=2.0), timing(**{"native": 2.0} | more)).disturbed
    assert words in reason


def test_of_two_attempts_the_less_disturbed_one_counts():
    quiet, loaded = judged(timing(native=2.0)), judged(timing(native=9.0, load=8.0))
    assert better(loaded, quiet) is quiet and better(quiet, loaded) is quiet
    whole = judged(timing(native=9.0, load=8.0), timing(native=9.0, load=8.0))
    assert better(quiet, whole) is whole  # the other one was cut short


def test_disturbed_points_alone_are_measured_again_and_only_so_often(tmp_path):
    made, workers = study(tmp_path, lambda point: timing(load=9.0 if point.batch == 2 else 0.1))
    seen = made.run()
    assert {e.point.batch for e in seen if e.disturbed} == {2}
    again = workers.calls[3:]
    assert len(workers.calls) == 3 * (1 + AGAIN)
    assert all({point.batch for point in call} == {2} for call in again)


def test_nothing_is_measured_again_when_the_time_is_used_up(tmp_path):
    made, workers = study(tmp_path, lambda point: timing(load=9.0), budget_s=-1.0)
    made.run()
    assert len(workers.calls) == 3


def test_an_interrupted_study_goes_on_with_what_it_lacks(tmp_path):
    left = [None] * 3

    def answer(point):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return timing()

    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, answer)[0].run()
    with (tmp_path / FILE).open("a") as file:
        file.write('{"point": {"cell": "gr')  # what a kill leaves
    made, workers = study(tmp_path, lambda point: timing())
    made.run()
    points = len(SMALL.points())
    assert sum(map(len, workers.calls)) == 3 * points - 3
    assert len((tmp_path / FILE).read_text().splitlines()) == 1 + 3 * points
    assert study(tmp_path, None)[0].run() == made.run()  # nothing is left to measure


def test_timings_of_other_code_are_given_up_and_that_is_said(tmp_path):
    study(tmp_path, lambda point: timing())[0].run()
    first, *rest = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([json.dumps(json.loads(first) | {"cells": "0"}), *rest, ""]))
    records = Records(tmp_path)
    assert records.anew.endswith("was measured with other cells: all is measured anew")
    assert not records.timings


def test_a_point_that_ends_its_process_is_told_of_and_the_others_are_timed(tmp_path):
    made, _ = study(tmp_path, lambda point: None if point.batch == 2 else timing(), processes=1)
    of = {(e.point.direction, e.point.batch): e for e in made.run()}
    assert all("SIGSEGV" in of[way, 2].troubles[OWN] for way in ("forward", "backward"))
    assert all(of[way, 1].ratio for way in ("forward", "backward"))


def test_page_table_and_figure_have_every_point(tmp_path):
    made, _ = study(tmp_path, lambda point: timing(own=1.0 if point.batch == 1 else 4.0))
    seen = made.run()
    text = page.markdown(SMALL, seen)
    assert "| gru | forward | 1 of 2 | 0.50 | 1.00 | 1 and 1.3: missed | – | 40% |" in text
    assert "- gru forward B=2 H=32: 0.50, 4.00 s against 2.00 s of onnxruntime; 10% of what L2 allows" in text
    below = text.partition("## Below their share of the roofline")[2].split("\n\n")[1]
    assert "- gru forward B=1 H=32: 40% of what L2 allows" in below and "B=2" not in below
    rows = list(csv.DictReader(io.StringIO(page.table(seen))))
    assert len(rows) == 3 * len(seen)
    assert {row["ratio"] for row in rows if row["backend"] == OWN} == {""}
    drawn = "".join(ElementTree.fromstring(figure.draw(SMALL, seen)).itertext())
    assert "2.00" in drawn and "0.50" in drawn


def test_a_point_is_checked_and_timed_with_all_that_can_run(monkeypatch):
    # numpy has no kernels to compile
    monkeypatch.setattr("cellbench.harness.studies.cpu_kernels.timing.OWN", "numpy")
    machine = {"flop_per_s": {"float32": 1e12}, "bytes_per_s": {}}
    monkeypatch.setattr("cellbench.harness.measure.ceilings.machine", lambda: machine)
    peers = ("onnxruntime", "native", "torch:mode=scan")
    seen = time_point(Point("elman", "forward", 2, 4, 3), peers, np.random.default_rng(0), Wall())
    assert seen.seconds.keys() == seen.errors.keys() == seen.ran.keys() == {"numpy", "onnxruntime", "native"}
    assert all(0 < error < 1e-6 for error in seen.errors.values()) and len(seen.logs) == 2
    assert 0 < seen.share < 1 and seen.bound_by == "arithmetic"
    assert seen.troubles["torch:mode=scan"].startswith("unsupported: ")


def test_bad_sizes_and_names_are_one_line(capsys, tmp_path):
    for wrong, words in ((["--sizes", "0"], "0 is no size"), (["--cells", "grv"], "did you mean 'gru'")):
        with pytest.raises(SystemExit) as ended:
            main([*wrong, "--output", str(tmp_path)])
        assert ended.value.code == 2 and words in capsys.readouterr().err
