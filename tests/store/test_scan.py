"""Runs as a lazy frame, and the summary of more rows than fit the memory: the same as of the whole frame."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from cellbench import harness
from cellbench.harness import extras, report, store
from cellbench.harness.cli import main
from cellbench.harness.report import summary
from cellbench.harness.store import brief
from cellbench.harness.store.reader import MACHINE

polars = pytest.importorskip("polars", reason="cellbench[scale] is not installed")
DEFINITION = {"probe": "throughput", "cell": "gru", "threads": 1, "batch": 2, "direction": "forward"}


@pytest.fixture
def folder(tmp_path):
    """Three runs: one that ended, one that ended and was gone on with, and one that was killed."""
    rng = np.random.default_rng(0)
    for number in range(3):
        writer = store.create(tmp_path, {"command": "cellbench run", "config": {}})
        for backend, steps in (("numba", 8), ("native", 8), ("numba", 64)):
            definition = DEFINITION | {"backend": backend, "steps": steps}
            series = [
                {"metric": name, "unit": "s", "values": rng.random(5).tolist(), "process": process}
                for process in range(3)
                for name in ("seconds", "ratio_to_native", "clock_hz")
            ]
            writer.append(f"{backend}{steps}", definition, "ok", series=series, done=True)
        profile = {"metric": "profile", "unit": "1", "values": [1.0, np.nan], "lag": [0, 7]}
        decay = DEFINITION | {"probe": "gradient_decay", "steps": 9, "backend": "numpy"}
        writer.append("decay", decay, "ok", series=[profile], done=True)
        lost = DEFINITION | {"backend": "torch", "steps": 64}
        writer.append("lost", lost, "crashed", reason="it died", done=True)
        writer.close() if number < 2 else writer.release()
        if number == 1:
            again, _ = store.reopen(writer.folder)
            count = {"metric": "parameters", "unit": "1", "values": [7.0]}
            again.append("count", DEFINITION | {"probe": "parameters"}, "ok", series=[count], done=True)
            again.release()
    return tmp_path


def rows(frame):
    """The rows of load's frame in a fixed order, with one null for all kinds."""
    plain = frame.astype(object).where(frame.notna(), None)
    return sorted(map(repr, plain.itertuples(index=False, name=None)))


def test_the_lazy_frame_has_the_rows_and_columns_that_load_returns(folder):
    lazy = harness.scan(folder)
    assert isinstance(lazy, polars.LazyFrame) and lazy.collect_schema().names() == [*store.COLUMNS, MACHINE]
    whole = harness.load(folder)
    assert len(whole) == 3 * (3 * 3 * 3 * 5 + 2 + 1) + 1
    assert sorted(map(repr, lazy.collect().rows())) == rows(whole)
    assert "count" in set(lazy.collect()["case"])  # written after the table, which is older than the blocks


def test_rows_of_two_machines_are_told_apart_though_their_processors_have_one_name(tmp_path):
    keys = [
        {"cpu": "X", "cores": 2, "threads": 1},
        {"cpu": "X", "cores": 2, "threads": 2},
        {"cpu": "X", "cores": 4},
    ]
    for key in keys:
        writer = store.create(tmp_path, {"command": "run", "machine": {"cpu": "X"}, "machine_key": key})
        writer.append(
            "a", DEFINITION, "ok", series=[{"metric": "seconds", "unit": "s", "values": [1.0]}], done=True
        )
        writer.close()
    names = harness.load(tmp_path).set_index("run")[MACHINE].tolist()
    assert sorted(map(names.count, names)) == [1, 2, 2] and all(name.startswith("X ") for name in names)
    assert harness.scan(tmp_path).collect()[MACHINE].to_list() == names


def test_a_table_of_an_older_version_has_null_in_the_columns_that_came_later(folder):
    run = next(one for one in store.runs(folder) if (one / store.TABLE).exists())
    (run / store.BLOCKS).unlink()
    table = run / store.TABLE
    pd.read_parquet(table).drop(columns=["match", "reason"]).assign(more=1).to_parquet(table, index=False)
    frame = harness.scan(folder).filter(polars.col("run") == run.name).collect()
    assert frame.columns == [*store.COLUMNS, MACHINE] and frame["match"].null_count() == len(frame) > 0


def test_the_summary_of_medians_is_that_of_all_rows(folder, capsys):
    whole = harness.load(folder)
    few = brief.brief(folder, summary.METRICS)
    assert len(few) < len(whole) / 4 and list(few.columns) == list(store.COLUMNS)
    assert report.terminal.summary_text(few) == report.terminal.summary_text(whole)
    assert summary.summary(few).equals(summary.summary(whole))
    assert "3 rows more" in report.terminal.summary_text(few, most=len(summary.summary(few)) - 3)
    assert main(["report", str(folder), "--summary"]) == 0
    assert capsys.readouterr().out.strip() == report.terminal.summary_text(whole).strip()


def test_what_cannot_be_scanned_is_one_line(folder, tmp_path, monkeypatch, capsys):
    with pytest.raises(store.ResultsError, match="no run in"):
        harness.scan(tmp_path / "nowhere")
    run = store.runs(folder)[0]
    with pytest.raises(store.ResultsError, match="there is no run to scan"):
        harness.scan([])
    (run / store.TABLE).write_bytes(b"PAR1 nonsense")
    os.utime(run / store.TABLE)
    with pytest.raises(store.ResultsError, match="is damaged"):
        harness.scan(folder)
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(extras.PackageMissing, match=r"pip install 'cellbench\[scale\]'"):
        harness.scan(folder)
    assert main(["report", str(folder), "--summary"]) == 2
    assert "cellbench[scale]" in capsys.readouterr().err
    assert main(["report", str(folder), "--summary", "--output", "x"]) == 2
    assert "writes no page" in capsys.readouterr().err


def test_a_run_that_is_there_twice_is_told_however_far_apart(folder, monkeypatch):
    run = store.runs(folder)[0]
    other = folder.parent / "elsewhere" / run.name
    shutil.copytree(run, other)
    monkeypatch.setattr(brief, "MOST", 1)  # so that each run is read alone
    for read in (harness.load, harness.scan, lambda runs: brief.brief(runs, summary.METRICS)):
        with pytest.raises(store.ResultsError, match="are the same run"):
            read([folder, other])
