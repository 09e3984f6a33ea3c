"""Files that pyperf, hyperfine and asv wrote come in as runs; what is no result is one line.

tests/data/imports has the files as these tools wrote them: pyperf 2.11, hyperfine 1.15, asv 0.6.
"""

import gzip
import json
import pickle
import shutil

import pytest
from support.pages import ROOT

from cellbench.harness import formats, load
from cellbench.harness.cli import main
from cellbench.harness.commands.import_ import import_benchmarks
from cellbench.harness.regress.history.points import points_of

pytestmark = pytest.mark.quick
DATA = ROOT / "tests" / "data" / "imports"
ASV = next((DATA / "asv" / "host").glob("707b*.json"))


def raw(name):
    return json.loads((DATA / name).read_text())


def of(frame, name):
    rows = frame[frame["variant"] == name]
    return [list(one["value"]) for _, one in rows.groupby("process")]


def test_pyperfs_runs_are_processes_and_its_warm_ups_are_left_out(tmp_path):
    frame = load(import_benchmarks(DATA / "pyperf.json", tmp_path))
    assert set(frame["metric"]) == {"seconds"} and set(frame["unit"]) == {"s"}
    for one in raw("pyperf.json")["benchmarks"]:
        assert of(frame, one["metadata"]["name"]) == [run["values"] for run in one["runs"]]


def test_one_benchmark_of_pyperf_has_its_name_beside_it_and_may_be_packed(tmp_path):
    packed = tmp_path / "one.json.gz"
    packed.write_bytes(gzip.compress((DATA / "pyperf_one.json").read_bytes()))
    frame = load(import_benchmarks(packed, tmp_path / "runs"))
    assert set(frame["variant"]) == {"solo"} and len(frame) == 4


def test_hyperfines_commands_have_their_parameters_in_their_names(tmp_path):
    frame = load(import_benchmarks(DATA / "hyperfine.json", tmp_path))
    for one in raw("hyperfine.json")["results"]:
        name = f"{one['command']} (n={one['parameters']['n']})"
        assert of(frame, name) == [[value] for value in one["times"]]


def test_a_failed_command_of_hyperfine_is_told_wherever_its_times_are(tmp_path, capsys):
    content = raw("hyperfine.json")
    content["results"][0]["exit_codes"] = [0, 2, None, 2]
    (tmp_path / "h.json").write_text(json.dumps(content))
    assert main(["import", str(tmp_path / "h.json"), "--results", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    frame = load(run)
    assert set(frame["status"]) == {"ok"}
    main(["compare", str(run), str(import_benchmarks(DATA / "hyperfine.json", tmp_path / "other"))])
    main(["report", str(run), "--output", str(tmp_path / "page")])
    told = "3 of 4 runs failed, with exit code 2 or by a signal"
    of_import, _, rest = capsys.readouterr().out.partition("run: ")
    page = (tmp_path / "page" / "index.html").read_text()
    assert f"sleep 0.01 (n=1): {told}" in of_import and told in rest and page.count(told) == 1
    assert set(frame.loc[frame["variant"] == "sleep 0.02 (n=2)", "reason"]) == {None}


def test_asv_has_a_benchmark_for_each_combination_and_a_reason_for_what_failed(tmp_path, capsys):
    assert main(["import", str(DATA / "asv"), "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "left out: bench.track_size: no times" in said and "runs: 1, of 1 machine" in said
    frame = load(tmp_path)
    ok = frame[frame["status"] == "ok"]
    samples = json.loads(ASV.read_text())["results"]["bench.TimeSum.time_sum"][11]
    for name, values in zip(
        ("10, 'list'", "10, 'range'", "1000, 'list'", "1000, 'range'"), samples, strict=True
    ):
        assert of(ok, f"bench.TimeSum.time_sum({name})") == [values]
    failed = frame[frame["status"] == "failed"]
    assert list(failed["variant"]) == ["bench.time_broken"] and "it failed" in failed["reason"].iloc[0]
    assert points_of(next(tmp_path.iterdir())).points[0].commit.startswith("707b2536")


def test_asv_without_samples_has_its_medians(tmp_path):
    content = json.loads(ASV.read_text())
    for row in content["results"].values():
        del row[11:]
    (tmp_path / "a.json").write_text(json.dumps(content))
    frame = load(import_benchmarks(tmp_path / "a.json", tmp_path / "runs"))
    medians = content["results"]["bench.TimeSum.time_sum"][0]
    rows = frame[frame["metric"] == "seconds_median"]
    assert list(rows["value"])[:4] == medians and "bench.time_plain" in set(rows["variant"])


def test_every_format_is_shown_by_report_compare_and_history(tmp_path, capsys):
    runs = [str(import_benchmarks(DATA / "hyperfine.json", tmp_path / "runs")) for _ in range(3)]
    assert main(["report", *runs, "--output", str(tmp_path / "page")]) == 0
    assert "sleep 0.02 (n=2)" in (tmp_path / "page" / "report.md").read_text()
    assert main(["history", *runs, "--file", str(tmp_path / "h"), "--output", str(tmp_path / "p")]) == 0
    capsys.readouterr()
    assert main(["compare", *runs[:2]]) == 3
    said = capsys.readouterr().out
    assert "No difference is judged" in said and "do not name their machine" in said
    assert main(["compare", *runs]) == 0
    table, _, notes = capsys.readouterr().out.partition("\n\n")
    assert [line.split()[-1] for line in table.splitlines()] == ["ratio", "1", "1"]
    assert "No difference is judged" in notes and "do not name their machine" in notes


def test_ratios_of_many_runs_are_to_the_first(tmp_path, capsys):
    for number in (1, 2, 4):
        times = {"command": "a", "times": [0.001 * number] * 3}
        only = [{"command": "b", "times": [1]}] if number == 2 else []
        (tmp_path / f"{number}.json").write_text(json.dumps({"results": [times, *only]}))
    runs = [str(import_benchmarks(tmp_path / f"{n}.json", tmp_path / "runs")) for n in (1, 2, 4)]
    assert main(["compare", *runs]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][1:] == ["a", "1.00", "ms", "2.00", "ms", "2", "4.00", "ms", "4"]
    assert lines[2][1:] == ["b", "-", "1.00", "s", "-", "-", "-"]


def test_a_folder_brings_many_machines_in_and_a_damaged_file_stops_it_whole(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / "in" / name).mkdir(parents=True)
        content = json.loads(ASV.read_text())
        content["params"]["machine"] = name
        (tmp_path / "in" / name / "result.json").write_text(json.dumps(content))
    shutil.copy(DATA / "asv" / "benchmarks.json", tmp_path / "in")
    (tmp_path / "in" / "none.json").write_text('{"results": []}')
    assert main(["import", str(tmp_path / "in"), "--results", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert "runs: 2, of 2 machines" in said and "none.json is of hyperfine, and holds no benchmark" in said
    runs = sorted(map(str, (tmp_path / "runs").iterdir()))
    assert main(["compare", *runs]) == 3 and "machine: " in capsys.readouterr().out
    for path in (tmp_path / "in").glob("*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"date": 1}))  # timed again
    assert main(["import", str(tmp_path / "in"), "--results", str(tmp_path / "runs")]) == 0
    capsys.readouterr()
    assert main(["compare", *sorted(map(str, (tmp_path / "runs").iterdir()))]) == 3
    said = capsys.readouterr().out
    assert said.count("no ratio of") == said.count("machine: ") == 2
    assert said.splitlines()[0].count("ratio") == 1
    (tmp_path / "in" / "bad.json").write_text('{"results": [{"command": 3}]}')
    assert main(["import", str(tmp_path / "in"), "--results", str(tmp_path / "more")]) == 2
    assert "bad.json is damaged" in capsys.readouterr().err and not (tmp_path / "more").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_was_imported_before_is_left_out(tmp_path, capsys, packed):
    """A folder of results grows, and is imported again: each file is a run once."""
    folder, runs = tmp_path / "in", tmp_path / "runs"
    folder.mkdir()
    shutil.copy(DATA / "hyperfine.json", folder / "one.json")
    assert main(["import", str(folder), "--results", str(runs)]) == 0
    (first,) = runs.iterdir()
    if packed:
        assert main(["pack", str(runs)]) == 0
    (folder / "two.json").write_text(json.dumps({"results": [{"command": "a", "times": [0.001]}]}))
    capsys.readouterr()
    assert main(["import", str(folder), "--results", str(runs)]) == 0
    said = capsys.readouterr().out
    assert f"one.json: left out: imported already, as {first}\n" in said and "runs: 1, of 1 machine" in said
    assert main(["import", str(folder / "two.json"), "--results", str(runs)]) == 0
    assert "the same file was imported already" in capsys.readouterr().out
    assert len(load(runs)["run"].unique()) == 2


class Runs:
    """What a pickle may hold: a call."""

    def __reduce__(self):
        return print, ("it ran",)


WRONG = {
    "a pickle": (pickle.dumps(Runs()), "is a pickle, as torch.utils.benchmark's are"),
    "nothing": (b"", "is empty; import takes results of asv"),
    "blanks": (b" \n", "is empty; import takes results of asv"),
    "nothing packed": (gzip.compress(b""), "is empty; import takes results of asv"),
    "no JSON": (
        b"{",
        "is not JSON, as results of asv, hyperfine, pyperf, pytest-benchmark are: line 1, column 2 cannot be"
        " read; `cellbench import --help` names",
    ),
    "no text": (b"\xff\xfe\xff", "it is no text; `cellbench import --help` names"),
    "other JSON": (
        b'{"a": 1}',
        "is JSON, but none of results of asv, hyperfine, pyperf, pytest-benchmark; `",
    ),
    "a list": (b"[1]", "is JSON, but none of"),
    "Google Benchmark's": (
        b'{"context": {}, "benchmarks": [{"name": "f", "real_time": 2.5}]}',
        "is JSON, but none",
    ),
    "a time below 0": (b'{"results": [{"command": "a", "times": [-1]}]}', "is damaged"),
    "a time of text": (b'{"results": [{"command": "a", "times": ["1"]}]}', "is damaged"),
    "NaN": (b'{"results": [{"command": "a", "times": [NaN]}]}', "wrong.json is"),
    "twice": (
        b'{"results": [{"command": "a", "times": [1]}, {"command": "a", "times": [1]}]}',
        "more than once",
    ),
    "nothing timed": (
        b'{"benchmarks": [{"runs": [], "metadata": {"name": "a"}}], "version": "1.0"}',
        "is of pyperf, and holds no benchmark that was timed; nothing was imported: let pyperf time one",
    ),
    "nothing of hyperfine": (b'{"results": []}', "is of hyperfine, and holds no benchmark"),
    "nothing of pytest": (b'{"benchmarks": [], "machine_info": {}}', "is of pytest-benchmark, and holds no"),
    "nothing of asv": (
        b'{"version": 2, "result_columns": [], "results": {}, "commit_hash": "a"}',
        "is of asv, and holds no benchmark",
    ),
    "an older version": (
        b'{"version": 1, "results": {"time_a": 1.0}, "commit_hash": "a", "requirements": {}}',
        "wrong.json is a result of asv of version 1, and version 2 is read; `asv update` writes it anew",
    ),
    "a newer version": (
        b'{"version": 3, "result_columns": [], "results": {}, "commit_hash": "a"}',
        "wrong.json is a result of asv of version 3, and version 2 is read; a newer cellbench may",
    ),
    "no version": (b'{"result_columns": [], "results": {}, "commit_hash": "a"}', "is damaged"),
    "many combinations": (
        json.dumps(
            {
                "version": 2,
                "commit_hash": "a",
                "result_columns": ["result", "params"],
                "results": {"time_a": [[1.0], [["1"] * 1000] * 5]},
            }
        ).encode(),
        "is damaged",
    ),
    "a bomb": (gzip.compress(b"0" * 1000)[:-9], "wrong.json is"),
    "half of a gzip file": (gzip.compress(b"0")[:10] + b"1" * 9, "its compression is damaged"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_result_is_one_line_and_is_never_run(tmp_path, capsys, kind):
    text, says = WRONG[kind]
    (tmp_path / "wrong.json").write_bytes(text)
    assert main(["import", str(tmp_path / "wrong.json"), "--results", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr()
    assert says in said.err and len(said.err.strip().splitlines()) == 1 and "it ran" not in said.out
    assert not (tmp_path / "runs").exists()


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MOST", 1000)
    (tmp_path / "a.json").write_bytes(gzip.compress(b" " * 5000 + b"{}"))
    with pytest.raises(ValueError, match="unpacks to more than"):
        formats.read(tmp_path / "a.json")
