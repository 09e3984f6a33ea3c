"""Results on disk: written at once, read as one tidy frame, damage named."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.commands.import_ import import_benchmarks
from cellbench.harness.store.reader import MACHINE

pytestmark = pytest.mark.quick

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
    writer.release()
    return writer.folder


def test_every_value_is_a_row_with_all_columns(tmp_path):
    writer = a_run(tmp_path, 1)
    writer.append(
        "bad", DEFINITION | {"backend": "native"}, "unsupported", reason="no such module", done=True
    )
    writer.append(
        "curve", DEFINITION, "ok", series=[series([5.0, np.inf, np.nan], "loss", lag=[0, 4, 9])], done=True
    )
    writer.close()
    frame = harness.load(tmp_path)
    assert list(frame.columns) == [*store.COLUMNS, MACHINE] and len(frame) == 2 + 1 + 3
    assert frame[frame.case == "case0"]["sample"].tolist() == [0, 1]
    assert frame[frame.case == "curve"].lag.tolist() == [0, 4, 9]
    assert np.isposinf(frame[frame.case == "curve"].value.iloc[1])
    bad = frame[frame.case == "bad"].iloc[0]
    assert (bad.status, bad.reason, bad.backend) == ("unsupported", "no such module", "native") and np.isnan(
        bad.value
    )


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
    older = json.loads((writer.folder / store.MANIFEST).read_text())
    del older["table"]  # an older version wrote no hash of its table
    (writer.folder / store.MANIFEST).write_text(json.dumps(older))
    assert (
        harness.load(writer.folder)
        .astype(str)
        .drop(columns="match")
        .equals(whole.astype(str).drop(columns="match"))
    )
    assert (
        list(harness.load(writer.folder).columns) == [*store.COLUMNS, MACHINE]
        and harness.load(writer.folder).match.isna().all()
    )


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
    assert done == {"case0": "ok", "case1": "ok"}
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


def test_a_page_among_runs_is_passed_over_and_what_else_is_there_is_refused(tmp_path):
    a_run(tmp_path / "runs").close()
    store.pages.replace(tmp_path / "runs", "report", {"index.html": "<p>"})
    assert len(harness.load(tmp_path / "runs")) == 6
    a_run(tmp_path / "above" / "inside").close()
    with pytest.raises(store.ResultsError, match="its folders are runs: give"):
        harness.load(tmp_path / "above")
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    with pytest.raises(store.ResultsError, match=r"notes\.txt lies among runs"):
        harness.load(tmp_path / "runs")


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
        "datetime": "2026-01-01",
        "version": "5",
        "machine_info": {},
        "commit_info": {},
        "benchmarks": [
            {"fullname": "t.py::test_a", "extra_info": extra, "stats": stats | {"data": [1.0, 2.0, 3.0]}},
            {"fullname": "t.py::test_b", "extra_info": {}, "stats": stats},
        ],
    }
    file = tmp_path / "b.json"
    file.write_text(json.dumps(content))
    frame = harness.load(import_benchmarks(file, tmp_path / "runs"))
    own = frame[frame.cell == "gru"]
    assert own.value.tolist() == [1.0, 2.0, 3.0] and set(own.implementation) == {"numba 1"}
    assert set(frame[frame.variant == "t.py::test_b"].metric) == {
        "seconds_min",
        "seconds_median",
        "seconds_max",
    }


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
    assert (
        set(frame[frame.case == "late"].status) == {"crashed"}
        and (frame[frame.case == "late"].metric == "seconds").sum() == 1
    )
    unfinished = frame[frame.case == "open"]
    assert (
        set(unfinished.status) == {"skipped"}
        and "resume" in unfinished.reason.iloc[0]
        and unfinished.value.tolist() == [1.0]
    )


def test_a_run_has_one_writer(tmp_path):
    folder = a_run(tmp_path).folder
    with pytest.raises(store.ResultsError, match="another process"):
        store.reopen(folder)


def test_a_second_writer_is_refused_while_the_first_one_writes_and_taken_once_it_has_ended(tmp_path):
    writer = a_run(tmp_path)
    with pytest.raises(store.ResultsError, match=str(writer.folder)):
        store.reopen(writer.folder)
    writer.release()
    again, ended = store.reopen(writer.folder)
    again.release()
    assert again.attempt == 1 and len(ended) == 3


def test_two_runs_that_draw_one_name_get_two_folders(tmp_path, monkeypatch):
    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(store.writer, "secrets", SimpleNamespace(token_hex=lambda size: next(drawn)))
    monkeypatch.setattr(store.writer, "datetime", Noon)
    first, second = a_run(tmp_path), a_run(tmp_path)
    assert [w.folder.name for w in (first, second)] == ["20260101-120000-aaaa", "20260101-120000-bbbb"]
    assert [p.name for p in sorted(tmp_path.iterdir())] == [w.folder.name for w in (first, second)]


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, 12, tzinfo=tz)


def test_where_no_name_is_free_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(store.writer, "secrets", SimpleNamespace(token_hex=lambda size: "aaaa"))
    monkeypatch.setattr(store.writer, "datetime", Noon)
    a_run(tmp_path).release()
    with pytest.raises(store.ResultsError, match="results=DIR"):
        store.create(tmp_path, {})


WRITER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from cellbench.harness import store
for run in range(3):
    writer = store.create(Path(sys.argv[1]), {"who": sys.argv[2]})
    for case in range(20):
        series = [{"metric": "seconds", "unit": "s", "values": [1.0, 2.0]}]
        writer.append(f"case{case}", {"probe": sys.argv[2]}, "ok", series=series, done=True)
    writer.release()
"""


def test_sixteen_writers_at_once_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, f"writer{k}"]) for k in range(16)]
    assert [writer.wait() for writer in writers] == [0] * 16
    frame = harness.load(tmp_path)
    assert frame.run.nunique() == 16 * 3 and len(frame) == 16 * 3 * 20 * 2
    assert set(frame.groupby("probe").run.nunique()) == {3}


def test_without_locks_a_run_can_be_gone_on_with_and_says_that_a_second_writer_goes_unseen(
    tmp_path, monkeypatch
):
    def none(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store.lock.fcntl, "flock", none)
    writer = a_run(tmp_path)
    assert not writer.locked
    writer.release()
    with pytest.warns(UserWarning, match="without locks"):
        writer, _ = store.reopen(writer.folder)
    writer.close()
    assert harness.load(tmp_path).case.nunique() == 3


def test_whoever_is_killed_before_a_run_has_its_manifest_leaves_no_run(tmp_path, monkeypatch):
    def stop(path, value):
        raise KeyboardInterrupt

    a_run(tmp_path).close()
    with monkeypatch.context() as patch:
        patch.setattr(store.writer, "_write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            store.create(tmp_path, {})
    hidden = tmp_path / ".20200101-000000-abcd"  # what a kill leaves
    hidden.mkdir()
    assert len(store.runs(tmp_path)) == 1 and harness.load(tmp_path).run.nunique() == 1
    os.utime(hidden, (1, 1))
    a_run(tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_loses_the_block_in_hand_alone(tmp_path):
    writer = a_run(tmp_path)
    size = (writer.folder / store.BLOCKS).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(store.ResultsError, match=r"cases\.jsonl cannot be written"):
            writer.append("more", DEFINITION, "ok", series=[series([1.0] * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (writer.folder / store.BLOCKS).stat().st_size == size
    writer.append("after", DEFINITION, "ok", series=[series([1.0])], done=True)
    writer.close()
    assert set(harness.load(tmp_path).case) == {"case0", "case1", "case2", "after"}


BAD_SERIES = {
    "no series": 3,
    "text": [series(["1.0"])],
    "null": [series([None])],
    "no unit": [{"metric": "seconds", "values": [1.0]}],
    "an object": [series([object()])],
    "lags of another length": [series([1.0, 2.0], lag=[1])],
    "a process that is no number": [series([1.0], process="first")],
}


@pytest.mark.parametrize("bad", BAD_SERIES.values(), ids=BAD_SERIES)
def test_what_could_not_be_read_again_is_not_written(tmp_path, bad):
    writer = a_run(tmp_path)
    before = (writer.folder / store.BLOCKS).read_bytes()
    with pytest.raises(store.BlockError):
        writer.append("bad", DEFINITION, "ok", series=bad)
    assert (writer.folder / store.BLOCKS).read_bytes() == before


def middle(path, new):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + new(lines[1]) + b"".join(lines[2:]))


def foreign(path):
    import pandas

    pandas.DataFrame({"a": [1, 2]}).to_parquet(path)


MANIFEST, BLOCKS, TABLE = store.MANIFEST, store.BLOCKS, store.TABLE
DAMAGE = {
    "an empty manifest": (MANIFEST, lambda p: p.write_bytes(b"")),
    "half a manifest": (MANIFEST, lambda p: p.write_bytes(p.read_bytes()[:20])),
    "a manifest that is no text": (MANIFEST, lambda p: p.write_bytes(b"\xff\xfe\x00")),
    "a manifest that is a list": (MANIFEST, lambda p: p.write_text("[]")),
    "a manifest that is a folder": (MANIFEST, lambda p: (p.unlink(), p.mkdir())),
    "a manifest without a name": (MANIFEST, lambda p: p.write_text('{"schema": 1}')),
    "a schema of the future": (MANIFEST, lambda p: p.write_text('{"schema": 2, "run": "x"}')),
    "no manifest": ("", lambda p: (p / MANIFEST).unlink()),
    "a line that is cut in the middle": (
        BLOCKS,
        lambda p: middle(p, lambda line: line[: len(line) // 2] + b"\n"),
    ),
    "two lines run together": (BLOCKS, lambda p: middle(p, lambda line: line[:-1])),
    "an empty line": (BLOCKS, lambda p: middle(p, lambda line: b"\n" + line)),
    "a line of zeros": (BLOCKS, lambda p: middle(p, lambda line: b"\0" * len(line) + b"\n")),
    "a foreign line": (BLOCKS, lambda p: middle(p, lambda line: b'{"case": "x"}\n')),
    "a number that is a word": (BLOCKS, lambda p: middle(p, lambda line: line.replace(b"[2.0", b'["2.0"'))),
    "steps that are a word": (
        BLOCKS,
        lambda p: middle(p, lambda line: line.replace(b'"steps": 8', b'"steps": "8"')),
    ),
    "half a table": (TABLE, lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2])),
    "an empty table": (TABLE, lambda p: p.write_bytes(b"")),
    "a foreign table": (TABLE, foreign),
    "a table that is no table": (TABLE, lambda p: p.write_text("hello, this is no table at all")),
    "neither blocks nor table": ("", lambda p: ((p / BLOCKS).unlink(), (p / TABLE).unlink())),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_by_name_and_never_skipped(tmp_path, name):
    for _ in range(2):
        a_run(tmp_path).close()
    assert harness.load(tmp_path).run.nunique() == 2
    folder = store.runs(tmp_path)[0]
    file, damage = DAMAGE[name]
    damage(folder / file)
    with pytest.raises(store.ResultsError, match=str(folder / file)) as error:
        harness.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name, (file, _) in DAMAGE.items() if file == TABLE])
def test_a_damaged_table_is_refused_where_it_stands_alone_too(tmp_path, name):
    a_run(tmp_path).close()
    packed = store.runs(tmp_path)[0]
    (packed / BLOCKS).unlink()
    DAMAGE[name][1](packed / TABLE)
    with pytest.raises(store.ResultsError, match=str(packed / TABLE)):
        harness.load(packed)


def test_a_flipped_byte_of_a_table_that_stands_alone_is_seen(tmp_path):
    a_run(tmp_path, 500).close()
    folder = store.runs(tmp_path)[0]
    (folder / BLOCKS).unlink()
    content = bytearray((folder / TABLE).read_bytes())
    group = pyarrow.parquet.read_metadata(folder / TABLE).row_group(0)
    values = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "value")
    content[values.data_page_offset + values.total_compressed_size // 2] ^= 1
    (folder / TABLE).write_bytes(bytes(content))
    with pytest.raises(store.ResultsError, match=TABLE):
        harness.load(folder)


def test_the_table_of_another_run_is_refused(tmp_path):
    for _ in range(2):
        a_run(tmp_path).close()
    one, other = store.runs(tmp_path)
    (one / BLOCKS).unlink()
    (one / TABLE).write_bytes((other / TABLE).read_bytes())
    with pytest.raises(store.ResultsError, match=f"holds rows of run '{other.name}'"):
        harness.load(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["a folder", "a file"])
def test_what_lies_among_runs_and_is_none_is_refused_by_name(tmp_path, make):
    a_run(tmp_path).close()
    make(tmp_path / "stray")
    with pytest.raises(store.ResultsError, match=str(tmp_path / "stray")):
        harness.load(tmp_path)


def test_a_copy_of_a_run_does_not_count_twice(tmp_path):
    folder = a_run(tmp_path).folder
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(store.ResultsError, match="the same run"):
        harness.load(tmp_path)
    with pytest.raises(store.ResultsError, match="the same run"):
        harness.load([folder, folder])


def test_a_run_of_a_table_alone_is_not_gone_on_with(tmp_path):
    a_run(tmp_path).close()
    folder = store.runs(tmp_path)[0]
    (folder / BLOCKS).unlink()
    with pytest.raises(store.ResultsError, match="start a new run"):
        store.reopen(folder)
    assert not (folder / BLOCKS).exists() and len(harness.load(folder)) == 6


def test_an_older_table_beside_newer_blocks_is_not_what_is_read(tmp_path):
    a_run(tmp_path, 1).close()
    folder = store.runs(tmp_path)[0]
    writer, _ = store.reopen(folder)
    writer.append("late", DEFINITION, "ok", series=[series([4.0])], done=True)
    writer.release()
    os.utime(folder / BLOCKS, (0, 0))  # what a copy may do to the times of files
    assert set(harness.load(folder).case) == {"case0", "late"}


@pytest.mark.quick
def test_every_status_has_its_line_and_exit_code_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| .* \| ([01]) \|$", text, re.MULTILINE))
    assert table == {status: str(int(status in store.ERRORS)) for status in store.STATUSES}
