"""Runs of `cellbench import`: report, compare and history take them, groups and machines apart."""

import json
import math
import re

import pytest

from cellbench.harness import load, store
from cellbench.harness.cli import main
from cellbench.harness.commands.import_ import import_benchmarks
from cellbench.harness.regress.history.points import points_of

pytestmark = pytest.mark.quick
NAMES = (("test_a", "small"), ("test_b", "large"), ("test_c", None))


def brought_in(folder, scale=1.0, node="n1", names=NAMES, rounds=True, more=None):
    """An imported run whose rounds take scale, 1.1 scale and 1.2 scale milliseconds."""
    data = [scale * ms for ms in (1e-3, 1.2e-3, 1.1e-3)]
    stats = {"min": data[0], "median": data[2], "max": data[1]} | ({"data": data} if rounds else {})
    content = {
        "benchmarks": [
            {"fullname": f"tests/t.py::{name}", "group": group, "extra_info": {}, "stats": stats}
            for name, group in names
        ],
        "machine_info": {"node": node, "python_version": "3.11.7", "cpu": {"brand_raw": "EPYC", "count": 2}},
        "commit_info": {"id": "ab" * 20, "dirty": False},
        "datetime": f"2026-01-0{1 + int(scale)}T00:00:00",
        "version": "5.3.1",
    } | (more or {})
    folder.mkdir(exist_ok=True)
    file = folder / "benchmarks.json"
    file.write_text(json.dumps(content))
    return import_benchmarks(file, folder / "runs")


def test_compare_shows_both_times_of_each_group_and_gives_no_verdict(tmp_path, capsys):
    a, b = brought_in(tmp_path), brought_in(tmp_path, 2.0, names=(*NAMES[:2], ("test_d", "small")))
    assert main(["compare", str(a), str(b)]) == 1  # one is missing
    said = capsys.readouterr().out
    rows = dict(re.findall(r"benchmark (.*?) {2,}(.*)", said))
    assert rows["small tests/t.py::test_a"].split() == ["1.10", "ms", "2.20", "ms", "2"]
    assert rows["large tests/t.py::test_b"].split() == ["1.10", "ms", "2.20", "ms", "2"]
    assert rows["small tests/t.py::test_d"].split() == ["-", "2.20", "ms", "-"]
    assert "A is " in said and "No difference is judged" in said and "2 UNSURE" in said
    assert "test_c: in A, not in B" in said and "test_d: new in B" in said


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 1e308])
def test_times_that_no_clock_can_say_are_left_out_of_compare_and_history_and_said(tmp_path, capsys, odd):
    whole = brought_in(tmp_path)
    manifest = store.read_manifest(whole)
    del manifest["run"]  # the new one has a name of its own
    with store.whole(tmp_path / "odd", manifest) as writer:
        for number, block in enumerate(store.read_blocks(whole)):
            (one,) = block["series"]
            series = [one | {"values": [*one["values"], *([odd, odd] if number == 0 else [])]}]
            writer.append(block["case"], block["definition"], "ok", series=series, done=True)
    which = "2 values are NaN, infinite, 0, negative or beyond 1e+100, and left out"
    line = f"{which}: seconds of run {writer.folder.name}."
    main(["compare", str(whole), str(writer.folder)])
    said = capsys.readouterr().out
    assert line in " ".join(said.split()) and said.count(" ms  1.10 ms") == 3
    main(["history", str(writer.folder), "--file", str(tmp_path / "h"), "--output", str(tmp_path / "page")])
    said = capsys.readouterr().out
    assert line in said and "3 new points" in said


def test_a_benchmark_that_changed_its_group_is_not_taken_for_the_same(tmp_path, capsys):
    a, b = brought_in(tmp_path), brought_in(tmp_path, names=(("test_a", "large"),))
    main(["compare", str(a), str(b)])
    said = capsys.readouterr().out
    assert "small tests/t.py::test_a: in A, not in B" in said and "not judged" in said


def test_runs_of_two_machines_are_not_compared_and_it_says_in_what_they_differ(tmp_path, capsys):
    a, b = brought_in(tmp_path), brought_in(tmp_path, node="n2")
    assert main(["compare", str(a), str(b)]) == 3
    said = capsys.readouterr().out
    assert "another machine" in said and "node: n1 and n2" in said and "+" not in said.split("no baseline")[1]


def test_a_file_without_its_machine_is_no_baseline(tmp_path, capsys):
    a, b = brought_in(tmp_path), brought_in(tmp_path, more={"machine_info": {}})
    assert main(["compare", str(a), str(b)]) == 3
    assert "does not say its machine" in capsys.readouterr().out


def test_of_many_runs_those_of_another_machine_have_times_and_no_ratio(tmp_path, capsys):
    runs = [brought_in(tmp_path, scale, node) for scale, node in ((1.0, "n1"), (2.0, "n2"), (4.0, "n1"))]
    assert main(["compare", *map(str, runs)]) == 3
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["benchmark", *(run.name for run in runs), "ratio"]
    rows = dict(re.findall(r"benchmark (.*?) {2,}(.*)", said))
    assert rows["small tests/t.py::test_a"].split() == ["1.10", "ms", "2.20", "ms", "4.40", "ms", "4"]
    assert f"no ratio of {runs[1].name}: another machine, node: n1 and n2" in said


def test_many_runs_side_by_side_are_written_as_json(tmp_path, capsys):
    first, second = brought_in(tmp_path), brought_in(tmp_path, 2.0, names=NAMES[:1])
    other, file = brought_in(tmp_path, 4.0, "n2"), tmp_path / "times.json"
    assert main(["compare", *map(str, (first, second, other)), "--json", str(file)]) == 3
    said, written = capsys.readouterr().out, json.loads(file.read_text())
    assert written["schema"] == 1 and written["exit_code"] == 3
    reasons = [(run["name"], run["no_ratio"]) for run in written["runs"]]
    assert reasons[:2] == [(first.name, None), (second.name, None)]
    assert reasons[2] == (other.name, "another machine, node: n1 and n2")
    one, two, _ = written["benchmarks"]
    assert one["name"] == "benchmark small tests/t.py::test_a"
    assert one["median_s"] == pytest.approx([1.1e-3, 2.2e-3, 4.4e-3])
    assert one["ratio"][:2] == pytest.approx([1, 2]) and one["ratio"][2] is None
    assert two["median_s"] == pytest.approx([1.1e-3, None, 4.4e-3]) and two["ratio"] == [1, None, None]
    assert said.splitlines()[-len(written["notes"]) :] == written["notes"]
    assert main(["compare", *map(str, (first, second, other)), "--json", str(tmp_path)]) == 2
    assert "--json" in capsys.readouterr().err


def test_of_many_runs_one_without_a_machine_has_no_ratio(tmp_path, capsys):
    runs = [brought_in(tmp_path), brought_in(tmp_path, more={"machine_info": {}}), brought_in(tmp_path, 2.0)]
    file = tmp_path / "hyperfine.json"
    file.write_text('{"results": [{"command": "sleep 1", "times": [1.0, 1.1]}]}')
    runs.append(import_benchmarks(file, tmp_path / "runs"))
    assert main(["compare", *map(str, runs)]) == 3
    said = capsys.readouterr().out
    assert said.splitlines()[0].count("ratio") == 1
    assert f"no ratio of {runs[1].name}: run {runs[1].name} does not say its machine; import" in said
    assert f"run {runs[3].name} does not say its machine; files of hyperfine never do" in said
    assert "Files of hyperfine do not name their machine" in said


@pytest.mark.parametrize("twice", [(0, 0), (0, 1, 0), (0, 1, 2, 1)])
def test_a_run_that_is_given_twice_is_refused(tmp_path, capsys, monkeypatch, twice):
    monkeypatch.chdir(tmp_path)
    names = [f"runs/{brought_in(tmp_path).name}" for _ in range(max(twice) + 1)]
    assert main(["compare", *(names[k] for k in twice[:-1]), str(tmp_path / names[twice[-1]])]) == 2
    said = capsys.readouterr()
    assert "are the same run" in said.err and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize("rounds", [True, False])
def test_the_report_has_a_table_and_a_figure_by_group(tmp_path, capsys, rounds):
    run = brought_in(tmp_path, rounds=rounds)
    assert main(["report", str(run), "--output", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "report.md").read_text()
    assert "## Imported benchmarks" in page and "| large | tests/t.py::test_b | 1.10 ms (1.00 … 1.20)" in page
    figure = (tmp_path / "page" / "benchmark.svg").read_text()
    assert figure.count("<svg") == 1 and "test_a" in figure
    said = capsys.readouterr().out
    assert "test_b" in said and "no results" not in said


def test_a_page_of_imported_runs_alone_says_what_they_are_of(tmp_path):
    def title(*runs):
        assert main(["report", *map(str, runs), "--output", str(tmp_path / "page")]) == 0
        head = (tmp_path / "page" / "report.md").read_text().splitlines()[0].removeprefix("# ")
        assert f"<title>{head}</title>" in (tmp_path / "page" / "index.html").read_text()
        return head

    named = {"commit_info": {"id": "ab" * 20, "project": "mine"}}
    one, two = brought_in(tmp_path, more=named), brought_in(tmp_path, node="n2", more=named)
    assert title(one) == "Benchmarks of mine by pytest-benchmark on n1"
    file = tmp_path / "hyperfine.json"
    file.write_text('{"results": [{"command": "sleep 1", "times": [1.0, 1.1]}]}')
    other = import_benchmarks(file, tmp_path / "runs")
    assert title(other) == "Benchmarks by hyperfine"
    assert title(one, two, other) == "Benchmarks of mine by pytest-benchmark and hyperfine on n1 and n2"


def test_runs_of_different_files_lack_nothing_of_each_other(tmp_path, capsys):
    a, b = brought_in(tmp_path, node="n1"), brought_in(tmp_path, node="n2", names=NAMES[:1])
    assert main(["export", str(a), str(b), "--as", "csv", "--output", str(tmp_path / "out")]) == 0
    names = sorted(file.name for file in (tmp_path / "out").iterdir() if file.suffix == ".csv")
    assert names == ["environment.csv", "imported-benchmarks.csv"]  # no configuration was asked of them


@pytest.mark.parametrize("word", ["unversioned", "unknown"])
def test_a_folder_without_a_revision_is_a_point_without_a_commit(tmp_path, word):
    run = brought_in(tmp_path, more={"commit_info": {"id": word, "dirty": False, "project": "p"}})
    manifest = store.read_manifest(run)
    assert "id" not in manifest["git"] and manifest["git"]["project"] == "p"


def test_history_has_a_point_in_seconds_for_each_and_looks_for_no_change(tmp_path, capsys):
    runs = [brought_in(tmp_path, scale) for scale in (1.0, 2.0)]
    points = points_of(runs[0]).points
    assert [p.ratio for p in points] == pytest.approx([1.1e-3] * 3) and not points_of(runs[0]).alone
    assert all(p.is_time and not p.of_a_commit and p.commit == "ab" * 20 for p in points)
    assert (points[0].low, points[0].high) == pytest.approx((1e-3, 1.2e-3))
    file = ["--file", str(tmp_path / "history.jsonl"), "--output", str(tmp_path / "page")]
    assert main(["history", *map(str, runs), *file]) == 0
    said = capsys.readouterr().out
    assert "6 new points" in said and "2.20 ms" in said and "nothing was timed" in said


def test_a_run_measured_here_beside_an_imported_one_is_one_clear_line(tmp_path, capsys):
    imported = brought_in(tmp_path)
    writer = store.create(tmp_path / "own", {"config": {"cells": ["gru"]}, "versions": {"torch": "2"}})
    series = [{"metric": "seconds", "unit": "s", "values": [1.0], "process": 0}]
    definition = {"probe": "throughput", "cell": "gru", "backend": "numba"}
    writer.append("c" * 12, definition, "ok", series=series, implementation="numba", done=True)
    writer.close()
    assert main(["compare", str(writer.folder), str(imported)]) == 2
    said = capsys.readouterr().err
    assert "no benchmark in common" in said and f"{imported.name} was imported" in said
    assert said.count("\n") == 1


def test_the_group_is_the_task_of_the_tidy_table(tmp_path):
    frame = load(brought_in(tmp_path))
    assert set(frame["task"].dropna()) - {""} == {"small", "large"}
