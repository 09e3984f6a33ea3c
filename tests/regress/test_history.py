"""History: the detector's laws and calibration, points and their file, trends, the command."""

import dataclasses
import json
import warnings

import numpy as np
import pytest

from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.regress.history import change, file, page, points, trend
from cellbench.harness.regress.history.change import BEFORE, RATE, change_points, changes
from cellbench.harness.studies import history as study


def found(values):
    return change_points(np.asarray(values, float), np.random.default_rng(0))


def noise(n, seed=0, spread=0.004):
    return spread * np.random.default_rng(seed).standard_normal(n)


def stepped(before=30, after=3, size=0.05):
    values = noise(before + after)
    values[before:] += size
    return values


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1 + 0.2, -3.0])
@pytest.mark.parametrize("n", [0, 1, 2, 9, 10, 100])
def test_a_constant_series_has_no_change(value, n):
    assert found(np.full(n, value)) == []


@pytest.mark.parametrize("size", [0.05, 0.5, -50.0, 1e6])
@pytest.mark.parametrize("at", [0, 1, 20, 37, 38, 39])
@pytest.mark.parametrize("spread", [0.0, 0.004])
def test_a_single_outlier_of_any_size_anywhere_is_no_change(size, at, spread):
    values = noise(40, spread=spread)
    values[at] += size
    assert found(values) == []


@pytest.mark.parametrize("size", [0.05, -0.05, 0.5])
@pytest.mark.parametrize("before", [20, 40])
def test_a_step_is_no_change_at_its_first_point_and_one_within_three(before, size):
    values = stepped(before, 3, size)
    assert found(values[: before + 1]) == []
    assert found(values) == [before]


def test_two_points_in_a_row_are_enough_after_a_long_level():
    assert found(stepped(60, 2)) == [60]


def test_a_step_without_any_noise_is_found():
    assert found([1.0] * 30 + [1.05] * 3) == [30]


def test_scale_and_shift_change_nothing():
    values = stepped(25, 10)
    assert found(values) == found(1e3 * values) == found(values + 7.0) == found(-values) == [25]


def test_a_series_shorter_than_a_level_and_two_points_has_no_change():
    values = np.r_[np.zeros(BEFORE - 1), np.ones(2)] + noise(BEFORE + 1, spread=1e-6)
    assert found(values) == []


def test_several_changes_are_found_each_with_its_effect():
    ratios = np.exp(noise(90)) * np.repeat([1.0, 1.05, 0.9], 30)
    seen = changes(ratios, np.random.default_rng(0))
    assert [c.index for c in seen] == [30, 60]
    assert [c.effect for c in seen] == pytest.approx([0.05, 0.9 / 1.05 - 1], abs=5e-3)


def test_a_change_that_was_undone_stays_found():
    values = noise(60)
    values[30:38] += 0.05
    assert found(values) == [30, 38]


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_ratios_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="above 0"):
        changes(np.r_[np.ones(20), bad], np.random.default_rng(0))


def flagged(detect, kind, count):
    """How many unchanged series of 100 points."""
    rng = np.random.default_rng(5)
    return sum(bool(detect(one, rng)) for one in study.series(kind, count, 100, 0.007, rng))


@pytest.mark.parametrize("kind", study.NOISES)
def test_unchanged_series_are_flagged_at_the_stated_rate_or_less(kind):
    assert (
        flagged(change_points, kind, 200) <= 6
    )  # 2 expected at RATE = 1 %: more than 6 once in 200 such tests


def test_permuted_values_alone_would_flag_autocorrelated_series():
    assert (
        flagged(study.DETECTORS["its statistic, values permuted"], "AR(0.5)", 25) >= 3
    )  # so the test above can fail


def test_a_rate_of_one_half_flags_about_that_many():
    rng = np.random.default_rng(3)
    count = sum(bool(change_points(one, rng, 0.5)) for one in study.series("iid", 40, 40, 0.007, rng))
    assert 6 <= count <= 28 and RATE == 0.01


def test_autocorrelation_is_seen_whether_there_is_a_step_or_not():
    rng = np.random.default_rng(0)
    for kind, low, high in (("AR(0.5)", 0.45, 0.7), ("iid", 0.0, 0.2)):
        rows = study.series(kind, 60, 200, 1.0, rng)
        for step in (0.0, 20.0):
            rows[:, 150:] += step
            rho = np.mean([change.autocorrelation(row - np.median(row), change._spread(row)) for row in rows])
            assert low <= rho <= high


def a_point(k=0, **changed):
    plain = points.Point(
        f"run{k:03}",
        f"2026-01-01T00:00:{k:02}",
        f"{k:040x}",
        False,
        "key",
        "gru numba",
        1.0,
        0.9,
        1.1,
        (1.0,),
    )
    return dataclasses.replace(plain, **changed)


def a_run(folder, *, native=True, dirty=False, ratios=(4.0, 5.0, 4.5), key=None):
    manifest = {
        "created": "2026-01-01",
        "git": {"commit": "c" * 40, "dirty": dirty},
        "machine": {"cpu": "x"},
        "versions": {},
    }
    writer = store.create(folder, manifest | ({"machine_key": key} if key else {}))
    sizes = {"steps": 64, "batch": 16, "input_size": 32, "hidden_size": 64, "threads": 1}
    for backend in ("numba", *(["native"] if native else [])):
        about = {
            "probe": "throughput",
            "cell": "gru",
            "backend": backend,
            "direction": "forward",
            "dtype": "float32",
            **sizes,
        }
        for process, ratio in enumerate(ratios):
            one = {"metric": "seconds", "unit": "s", "values": [1.0, 2.0], "process": process}
            other = {"metric": "ratio_to_native", "unit": "1", "values": [ratio], "process": process}
            writer.append(
                backend,
                about,
                "ok",
                series=[one, *([other] if native else [])],
                done=process == len(ratios) - 1,
            )
    writer.close()
    return writer.folder


def test_a_point_is_the_median_over_processes_of_own_time_over_natives(tmp_path):
    taken = points.points_of(a_run(tmp_path))
    (point,) = taken.points
    assert point.ratios == pytest.approx((1 / 4, 1 / 5, 1 / 4.5)) and point.ratio == pytest.approx(1 / 4.5)
    assert point.low == pytest.approx(1 / 5) and point.high == pytest.approx(1 / 4) and taken.alone == []
    assert point.benchmark == "gru numba T=64 B=16 I=32 H=64 forward float32" and point.commit == "c" * 40


def test_a_benchmark_without_a_partner_is_named_and_no_point(tmp_path):
    taken = points.points_of(a_run(tmp_path, native=False))
    assert taken.points == [] and taken.alone == ["gru numba T=64 B=16 I=32 H=64 forward float32"]


def test_the_machine_key_is_the_runs_own_or_made_and_marked(tmp_path):
    (own,) = points.points_of(a_run(tmp_path, key={"cpu": "x", "threads": 1})).points
    (made,) = points.points_of(a_run(tmp_path)).points
    assert (
        made.machine.startswith("~")
        and not own.machine.startswith("~")
        and len(own.machine) == len(made.machine) == 12
    )
    assert points.machine_key({"machine": {"cpu": "y"}}) != points.machine_key({"machine": {"cpu": "x"}})


def test_what_is_appended_is_read_and_a_run_appended_twice_is_there_once(tmp_path):
    path = tmp_path / "new" / "h.jsonl"
    some = [a_point(0), a_point(1), a_point(1, benchmark="other")]
    assert file.append(path, [*some, a_point(0)]) == 3
    assert file.append(path, [a_point(1), a_point(2)]) == 1
    assert file.read(path) == [*some, a_point(2)]


def test_a_torn_last_line_is_dropped_with_a_warning_and_cut_off_by_the_next_append(tmp_path):
    path = tmp_path / "h.jsonl"
    file.append(path, [a_point(0), a_point(1)])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="cut off"):
        assert file.read(path) == [a_point(0)]
    with pytest.warns(UserWarning, match="cut off"):
        assert file.append(path, [a_point(1)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert file.read(path) == [a_point(0), a_point(1)]


GOOD = {"schema": 1, **dataclasses.asdict(a_point(9))}
DAMAGED = {
    "nonsense": "nonsense",
    "a list": "[1]",
    "an empty line": "",
    "another schema": json.dumps(GOOD | {"schema": 2}),
    "a key too many": json.dumps(GOOD | {"more": 1}),
    "a key missing": json.dumps({k: v for k, v in GOOD.items() if k != "ratio"}),
    "NaN": json.dumps(GOOD | {"ratio": float("nan")}),
    "a negative ratio": json.dumps(GOOD | {"ratio": -1.0}),
    "a ratio that is text": json.dumps(GOOD | {"ratio": "1.0"}),
    "no processes": json.dumps(GOOD | {"ratios": []}),
    "ratios that are none": json.dumps(GOOD | {"ratios": 3}),
    "dirty that is no truth value": json.dumps(GOOD | {"dirty": "no"}),
    "a run that is a number": json.dumps(GOOD | {"run": 7}),
    "bytes that are no text": b"\xff\xfe",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_refused_by_file_and_number_and_nothing_is_written(tmp_path, line):
    path = tmp_path / "h.jsonl"
    file.append(path, [a_point(0)])
    path.write_bytes(path.read_bytes() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    before = path.read_bytes()
    for use in (file.read, lambda p: file.append(p, [a_point(1)])):
        with pytest.raises(store.ResultsError, match=r"h\.jsonl line 2"):
            use(path)
    assert path.read_bytes() == before


def test_another_file_is_never_taken_for_a_torn_history_and_cut(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("one line without an end")
    with pytest.raises(store.ResultsError, match=r"notes\.txt is no history"):
        file.append(path, [a_point(0)])
    assert path.read_text() == "one line without an end"


def a_trend(**changed):
    ratios = np.exp(stepped(30, 6))
    series = [
        a_point(k, ratio=float(r), low=0.99 * float(r), high=1.01 * float(r)) for k, r in enumerate(ratios)
    ]
    return [dataclasses.replace(p, **changed) for p in series]


def test_a_trend_names_the_commit_and_the_effect_whatever_order_the_runs_came_in():
    (one,) = trend.trends(a_trend()[::-1])
    assert [c.index for c in one.changes] == [30]
    assert trend.phrase(one.changes[0], one).endswith("% at 0000000000 (slower)")
    assert one.changes[0].effect == pytest.approx(0.051, abs=4e-3)
    assert one.used[30].run == "run030"


@pytest.mark.parametrize("changed", [{"dirty": True}, {"commit": ""}])
def test_points_of_no_commit_are_shown_and_not_used(changed):
    (one,) = trend.trends(a_trend(**changed))
    assert one.changes == () and len(one.points) == 36 and one.used == ()
    assert "36 not used" in trend.table([one]).rows[0][2].detail
    mixed = sorted(
        [*a_trend(), a_point(15, run="mine", ratio=9.0, low=8.0, high=10.0, **changed)],
        key=lambda p: p.created,
    )
    (one,) = trend.trends(mixed)
    assert [one.used[c.index].run for c in one.changes] == ["run030"]


def test_machines_and_benchmarks_are_trends_of_their_own():
    found = trend.trends([a_point(0), a_point(1, machine="b"), a_point(2, benchmark="a")])
    assert [(t.benchmark, t.machine) for t in found] == [
        ("a", "key"),
        ("gru numba", "b"),
        ("gru numba", "key"),
    ]


def test_the_page_has_a_figure_for_each_benchmark_and_none_of_an_earlier_page(tmp_path):
    page.write(trend.trends(a_trend(benchmark="old")), tmp_path)
    found = trend.trends([*a_trend(), a_point(1, machine="b"), a_point(2, benchmark="<b>|x")])
    html = page.write(found, tmp_path).read_text()
    assert sorted(p.stem for p in tmp_path.glob("*.svg")) == sorted(
        {trend.file_name(t.benchmark) for t in found}
    )
    assert html.count("<svg") == 2 and "&lt;b&gt;|x" in html and "<b>" not in html and "slower" in html
    assert "% at 0000000000 (slower)" in (tmp_path / "report.md").read_text()


def test_the_command_appends_once_prints_and_writes_the_page(tmp_path, capsys):
    run = a_run(tmp_path / "runs")
    command = ["history", "--file", str(tmp_path / "h.jsonl"), "--output", str(tmp_path / "page")]
    assert main([*command[:1], str(tmp_path / "runs"), *command[1:]]) == 0
    assert "1 new points, 0 were there" in capsys.readouterr().out
    assert main([*command[:1], str(run), *command[1:]]) == 0
    assert "0 new points, 1 were there" in capsys.readouterr().out
    assert main(command) == 0
    text = capsys.readouterr().out
    assert (
        "too few points (1 of 10)" in text and "0.222" in text and (tmp_path / "page" / "index.html").exists()
    )


def test_the_command_names_benchmarks_without_an_anchor_and_refuses_an_empty_history(tmp_path, capsys):
    run = a_run(tmp_path / "runs", native=False)
    assert (
        main(["history", str(run), "--file", str(tmp_path / "h.jsonl"), "--output", str(tmp_path / "page")])
        == 2
    )
    said = capsys.readouterr()
    assert (
        "no anchor: gru numba T=64" in said.out
        and "has no point" in said.err
        and not (tmp_path / "page/index.html").exists()
    )


@pytest.mark.parametrize("arguments", [[], ["nowhere"]])
def test_a_missing_history_or_run_is_one_line_and_exit_code_2(tmp_path, capsys, arguments):
    assert (
        main(
            [
                "history",
                *arguments,
                "--file",
                str(tmp_path / "none.jsonl"),
                "--output",
                str(tmp_path / "page"),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err.strip()
    assert error.startswith("cellbench: ") and "\n" not in error and not (tmp_path / "none.jsonl").exists()


def test_the_studys_series_have_the_spread_and_autocorrelation_that_it_states():
    rng = np.random.default_rng(0)
    for kind, rho in (("iid", 0.0), ("AR(0.5)", 0.5), ("skewed", 0.0)):
        values = study.series(kind, 2000, 50, 0.01, rng)
        assert values.std() == pytest.approx(0.0067, rel=0.02)
        assert np.corrcoef(values[:, 30], values[:, 31])[0, 1] == pytest.approx(rho, abs=0.08)
    medians = np.median(rng.standard_normal((200_000, 3)), axis=1)
    assert medians.std() == pytest.approx(study.MEDIAN_OF_3, abs=5e-3)


def test_the_study_says_what_is_not_kept():
    alarms = study.measure(study.Setting(study.OURS, "iid", 4), 0)
    bad = dataclasses.replace(alarms, hits=4, low=0.51, high=1.0)
    assert study.misses([alarms]) == [] and study.misses([bad]) == ["iid: 100.0 (51.0 … 100.0) % flagged"]
    blunt = dataclasses.replace(
        alarms, setting=study.Setting(study.OURS, "iid", 4, 0.05, before=40, after=3), hits=3
    )
    assert study.misses([blunt])[0].startswith("iid after 40")


def test_a_history_of_many_benchmarks_is_drawn_within_bounds_those_that_changed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_FIGURES", 2)

    def made(name, ratio):
        runs = range(40)
        of = {"commit": "a" * 40, "dirty": False, "machine": "m", "benchmark": name}
        ratios = [ratio if k > 30 else 1.0 for k in runs]
        return [
            points.Point(run=f"{k:02}", created=f"{k:02}", ratio=r, low=r, high=r, ratios=(r,), **of)
            for k, r in zip(runs, ratios, strict=True)
        ]

    all_trends = trend.trends([*made("a", 1.0), *made("b", 1.0), *made("c", 1.0), *made("z", 2.0)])
    page.write(all_trends, tmp_path)
    text = (tmp_path / page.MARKDOWN).read_text()
    assert "2 of 4 benchmarks have a figure" in text
    assert [f"trend-{name}" in text for name in "abcz"] == [True, False, False, True]
