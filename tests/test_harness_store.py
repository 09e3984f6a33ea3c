"""Results on disk: written at once, read as one tidy frame, damage named."""

import json
import os
import warnings

import numpy as np
import pytest

import harness
from harness import store
from harness.imported import import_benchmarks

DEFINITION = {"probe": "throughput", "cell": "gru", "backend": "numba", "steps": 8, "threads": 1}


def series(values, metric="seconds", **more):
    return {"metric": metric, "unit": "s", "values": values, **more}


def a_run(folder, cases=3):
    writer = store.create(folder, {"command": "cellbench run"})
    for k in range(cases):
        writer.append(f"case{k}", DEFINITION, "ok", series=[series([1.0 + k, 2.0], process=0)], done=True)
    return writer


def killed(writer):
    """The folder of a run whose process ended without a word."""
    os.close(writer._file)
    return writer.folder


def test_every_value_is_a_row_with_all_columns(tmp_path):
    writer = a_run(tmp_path, 1)
    writer.append("bad", DEFINITION | {"backend": "native"}, "unsupported", reason="no such module", done=True)
    writer.append("curve", DEFINITION, "ok", series=[series([5.0, np.inf, np.nan], "loss", lag=[0, 4, 9])], done=True)
    writer.close()
    frame = harness.load(tmp_path)
    assert list(frame.columns) == list(store.COLUMNS) and len(frame) == 2 + 1 + 3
    assert frame[frame.case == "case0"]["sample"].tolist() == [0, 1]
    assert frame[frame.case == "curve"].lag.tolist() == [0, 4, 9]
    assert np.isposinf(frame[frame.case == "curve"].value.iloc[1])
    bad = frame[frame.case == "bad"].iloc[0]
    assert (bad.status, bad.reason, bad.backend) == ("unsupported", "no such module", "native") and np.isnan(bad.value)


def test_packed_and_unpacked_runs_read_the_same(tmp_path):
    writer = a_run(tmp_path)
    unpacked = harness.load(writer.folder)
    writer.close()
    assert (writer.folder / store.TABLE).exists()
    packed = harness.load(writer.folder)
    assert unpacked.astype(str).equals(packed.astype(str))


def test_a_run_that_holds_its_table_alone_is_read_whatever_columns_came_later(tmp_path):
    writer = a_run(tmp_path)
    writer.close()
    whole = harness.load(writer.folder)
    (writer.folder / store.BLOCKS).unlink()
    whole.drop(columns="match").to_parquet(writer.folder / store.TABLE, index=False)
    assert harness.load(writer.folder).astype(str).drop(columns="match").equals(whole.astype(str).drop(columns="match"))
    assert list(harness.load(writer.folder).columns) == list(store.COLUMNS) and harness.load(writer.folder).match.isna().all()


def test_any_number_of_runs_is_one_frame(tmp_path):
    for _ in range(3):
        a_run(tmp_path, 2).close()
    assert harness.load(tmp_path).run.nunique() == 3
    assert harness.load(store.runs(tmp_path)[:2]).run.nunique() == 2


def test_a_torn_last_line_is_dropped_with_a_warning(tmp_path):
    folder = killed(a_run(tmp_path))
    path = folder / store.BLOCKS
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="cut off"):
        assert harness.load(folder).case.nunique() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer, done = store.reopen(folder)
    assert done == {"case0", "case1"}
    writer.append("case2", DEFINITION, "ok", series=[series([9.0])], done=True)
    writer.close()
    assert harness.load(folder).case.nunique() == 3


def test_a_case_measured_again_counts_once(tmp_path):
    folder = killed(a_run(tmp_path, 1))
    writer, _ = store.reopen(folder)
    writer.append("case0", DEFINITION, "ok", series=[series([7.0])], done=True)
    writer.close()
    assert harness.load(folder).value.tolist() == [7.0]


@pytest.mark.parametrize("damage", [b"{}\n", b"nonsense\n", b"[1]\n", b"\xff\xfe\n"])
def test_a_damaged_line_is_refused_by_file_and_number(tmp_path, damage):
    folder = a_run(tmp_path, 2).folder
    path = folder / store.BLOCKS
    path.write_bytes(damage + path.read_bytes())
    with pytest.raises(store.ResultsError, match=r"cases\.jsonl line 1"):
        harness.load(folder)


def test_what_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(store.ResultsError, match="no run in"):
        harness.load(tmp_path)
    folder = a_run(tmp_path).folder
    (folder / store.MANIFEST).write_text(json.dumps({"schema": 99}))
    with pytest.raises(store.ResultsError, match="schema"):
        harness.load(folder)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(store.ResultsError, match="results="):
        store.create(tmp_path / "file", {})


def test_pytest_benchmarks_json_becomes_a_run(tmp_path):
    stats = {"min": 1.0, "median": 2.0, "max": 3.0}
    extra = {"cell": "gru", "backend": "numba", "steps": 64, "implementation": "numba 1"}
    content = {
        "datetime": "2026-01-01", "version": "5", "machine_info": {}, "commit_info": {},
        "benchmarks": [
            {"fullname": "t.py::test_a", "extra_info": extra, "stats": stats | {"data": [1.0, 2.0, 3.0]}},
            {"fullname": "t.py::test_b", "extra_info": {}, "stats": stats},
        ],
    }  # fmt: skip
    file = tmp_path / "b.json"
    file.write_text(json.dumps(content))
    frame = harness.load(import_benchmarks(file, tmp_path / "runs"))
    own = frame[frame.cell == "gru"]
    assert own.value.tolist() == [1.0, 2.0, 3.0] and set(own.implementation) == {"numba 1"}
    assert set(frame[frame.variant == "t.py::test_b"].metric) == {"seconds_min", "seconds_median", "seconds_max"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"benchmarks": 3}', '{"benchmarks": []}'])
def test_another_file_is_not_imported(tmp_path, text):
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises(store.ResultsError, match=r"b\.json"):
        import_benchmarks(file, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_every_row_of_a_case_has_the_status_that_it_ended_with(tmp_path):
    writer = a_run(tmp_path, 1)
    writer.append("late", DEFINITION, "ok", series=[series([1.0], process=0)])
    writer.append("late", DEFINITION, "crashed", reason="SIGSEGV", done=True)
    writer.append("open", DEFINITION, "ok", series=[series([1.0], process=0)])
    frame = harness.load(killed(writer))
    assert set(frame[frame.case == "late"].status) == {"crashed"} and (frame[frame.case == "late"].metric == "seconds").sum() == 1
    unfinished = frame[frame.case == "open"]
    assert set(unfinished.status) == {"skipped"} and "resume" in unfinished.reason.iloc[0] and unfinished.value.tolist() == [1.0]


def test_a_run_has_one_writer(tmp_path):
    folder = a_run(tmp_path).folder
    with pytest.raises(store.ResultsError, match="another process"):
        store.reopen(folder)
