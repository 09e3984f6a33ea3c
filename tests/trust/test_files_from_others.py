"""Files that others made are read within bounds: numbers, depth, size, kind, and control characters."""

import copy
import fcntl
import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pyarrow
import pytest
from support.comparison import WHOLE

from cellbench import harness
from cellbench.cells import find
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.commands import import_
from cellbench.harness.regress.history import file as history_file
from cellbench.harness.store import atomic, files, table

BENCHMARK = {
    "fullname": "test_a.py::test_a",
    "group": None,
    "extra_info": {"steps": 64},
    "stats": {"data": [1e-3, 1.1e-3, 0.9e-3]},
}
CONTENT = {
    "datetime": "2026-01-01T00:00:00",
    "version": "5.0.0",
    "machine_info": {"node": "a", "cpu": {"brand_raw": "a chip", "count": 2}},
    "commit_info": {"id": "a" * 40, "dirty": False, "branch": "main"},
    "benchmarks": [BENCHMARK],
}


@pytest.fixture
def imported(tmp_path, capsys):
    """Imports a content, given as text or as what JSON holds; returns the exit code and the line."""

    def run(content):
        path = tmp_path / "benchmarks.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        capsys.readouterr()
        code = main(["import", str(path), f"--results={tmp_path / 'runs'}"])
        return code, capsys.readouterr().err

    return run


def changed(**entries):
    return copy.deepcopy(CONTENT) | entries


def benchmark(**entries):
    return changed(benchmarks=[copy.deepcopy(BENCHMARK) | entries])


def left(tmp_path):
    return list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []


@pytest.mark.parametrize("steps", [2**64, 18446744073709551616, 10**400, -(2**70), "9" * 30, "²"])
def test_a_step_count_that_no_column_holds_leaves_no_half_run(imported, tmp_path, steps):
    code, line = imported(benchmark(extra_info={"steps": steps}))
    assert code in (0, 2) and line.count("\n") == (code == 2)
    assert len(left(tmp_path)) == (code == 0)
    if code == 0:
        assert harness.load(tmp_path / "runs").steps.isna().all()


ODD = [None, True, -1, 10**30, 1e308, [], {}, "", "\x1b[2J", "\ud800", [[1]], {"a": {"b": []}}, "x" * 20_000]
PLACES = [("datetime",), ("version",), ("machine_info",), ("machine_info", "cpu"), ("commit_info",)]
PLACES += [("machine_info", "cpu", "brand_raw"), ("commit_info", "id"), ("benchmarks",), ("benchmarks", 0)]
PLACES += [("benchmarks", 0, name) for name in BENCHMARK] + [("benchmarks", 0, "stats", "data")]


@pytest.mark.parametrize("place", PLACES if WHOLE else PLACES[::3], ids=str)
def test_a_mutated_import_is_a_line_or_a_run_that_every_command_reads(
    imported, tmp_path, place, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for value in ODD:
        content = copy.deepcopy(CONTENT)
        at = content
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = value
        code, line = imported(content)
        assert code in (0, 2) and line.count("\n") == (code == 2), (value, line)
        assert "\x1b" not in line
        for run in left(tmp_path):
            assert main(["history", str(run), "--file", "h.jsonl", "--output", "history"]) in (0, 2)
            said = capsys.readouterr()
            assert "\x1b" not in said.out + said.err and "Traceback" not in said.err
            harness.load(run)
            for path in [*run.iterdir()]:
                path.unlink()
            run.rmdir()


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, "1" * 5000, "", "null", '"' + "a" * 100])
def test_deep_and_damaged_json_is_one_line(imported, tmp_path, text):
    code, line = imported(text)
    assert code == 2 and line.count("\n") == 1 and "benchmarks.json" in line and not left(tmp_path)


@pytest.fixture
def odd_file(tmp_path):
    """Makes a thing that is no file at a path."""

    def make(kind, path):
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path)
        else:
            path.symlink_to(kind)

    return make


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "/dev/full", "/dev/zero"])
def test_what_is_no_file_is_refused_with_one_line(tmp_path, odd_file, kind, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd_file(kind, Path("odd"))
    run = tmp_path / "run"
    run.mkdir()
    odd_file(kind, run / store.MANIFEST)
    claims = tmp_path / "claims"
    claims.mkdir()
    odd_file(kind, claims / "claims.json")
    commands = [["import", "odd"], ["history", "--file", "odd"], ["compare", str(run), str(run)]]
    commands += [["run", f"resume={run}"]]
    for command in commands:
        watchdog = threading.Timer(60, os.kill, (os.getpid(), signal.SIGINT))
        watchdog.start()
        code = main(command)
        watchdog.cancel()
        error = capsys.readouterr().err
        assert code == 2 and error.count("\n") == 1, (command, error)


@pytest.mark.parametrize("name", [store.BLOCKS, store.TABLE])
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_results_that_are_no_files_are_refused(tmp_path, odd_file, name, kind):
    assert main(["import", str(written(tmp_path)), f"--results={tmp_path / 'runs'}"]) == 0
    (run,) = left(tmp_path)
    (run / store.BLOCKS).unlink()
    (run / name).unlink(missing_ok=True)
    odd_file(kind, run / name)
    with pytest.raises(store.ResultsError, match=name.replace(".", r"\.")):
        harness.load(run)


def written(tmp_path):
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps(CONTENT))
    return path


def test_a_history_whose_commit_has_control_characters_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    point = {"schema": 1, "run": "a", "created": "2026", "commit": "\x1b[31mevil\x00", "dirty": False}
    point |= {
        "machine": "m\x07",
        "benchmark": "b\x1b]0;x\x07",
        "ratio": 1.0,
        "low": 0.9,
        "high": 1.1,
        "ratios": [1.0],
    }
    Path("h.jsonl").write_text(json.dumps(point) + "\n")
    assert main(["history", "--file", "h.jsonl", "--output", "page"]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err and "\x07" not in said.out
    for path in Path("page").glob("*.svg"):
        __import__("xml.etree.ElementTree").etree.ElementTree.parse(path)


def test_a_killed_import_leaves_no_run(tmp_path):
    content = changed(benchmarks=[copy.deepcopy(BENCHMARK) | {"fullname": f"test_{k}"} for k in range(3000)])
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps(content))
    process = multiprocessing.get_context("spawn").Process(
        target=import_.import_benchmarks, args=(path, tmp_path / "runs")
    )
    process.start()
    while not list((tmp_path / "runs").glob(f".*/{store.BLOCKS}")):
        assert process.is_alive()
        time.sleep(0.005)
    process.kill()
    process.join()
    assert all(p.name.startswith(".") for p in left(tmp_path))
    for hidden in left(tmp_path):
        os.utime(hidden, (1, 1))
    import_.import_benchmarks(written(tmp_path), tmp_path / "runs")
    (run,) = left(tmp_path)  # and what the kill left is gone
    assert len(harness.load(run)) == 3


def test_an_import_that_fails_in_its_middle_leaves_nothing(tmp_path, monkeypatch):
    real, calls = store.RunWriter.append, []

    def append(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise store.ResultsError("the disk is full")
        real(self, *args, **kwargs)

    monkeypatch.setattr(store.RunWriter, "append", append)
    path = written(tmp_path)
    path.write_text(json.dumps(changed(benchmarks=[BENCHMARK, BENCHMARK | {"fullname": "b"}])))
    with pytest.raises(store.ResultsError, match="full"):
        import_.import_benchmarks(path, tmp_path / "runs")
    assert not left(tmp_path)


def test_a_table_with_a_changed_byte_is_noticed_whatever_pyarrow_checks(tmp_path):
    run = import_.import_benchmarks(written(tmp_path), tmp_path / "runs")
    (run / store.BLOCKS).unlink()
    whole = harness.load(run)
    assert len(whole) == 3
    content = bytearray((run / store.TABLE).read_bytes())
    for place in range(4, len(content) - 8, 97):
        changed_table = content.copy()
        changed_table[place] ^= 1
        (run / store.TABLE).write_bytes(bytes(changed_table))
        with pytest.raises(store.ResultsError):
            harness.load(run)


def test_a_table_whose_text_points_past_its_dictionary_is_damaged(tmp_path, monkeypatch):
    run = import_.import_benchmarks(written(tmp_path), tmp_path / "runs")
    (run / store.BLOCKS).unlink()
    read = table._read

    def damaged(*arguments):
        whole = read(*arguments)
        number = whole.column_names.index("metric")
        index = pyarrow.array([7] * len(whole), pyarrow.int32())
        text = pyarrow.DictionaryArray.from_arrays(index, pyarrow.array(["seconds"]), safe=False)
        return whole.set_column(number, "metric", text)

    monkeypatch.setattr(table, "_read", damaged)
    with pytest.raises(store.ResultsError, match=r"cases.parquet is damaged: .*Dictionary indices"):
        harness.load(run)


def test_a_pipe_that_nobody_reads_is_no_place_to_write_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):
        atomic.write_bytes(tmp_path / "pipe", b"x")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    atomic.write_bytes(tmp_path / "pipe", b"x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)


def test_a_file_is_read_with_no_more_memory_than_it_has(tmp_path):
    """A read of the largest size that is allowed would take that much, which a machine may not have."""
    path = tmp_path / "small"
    path.write_bytes(b"x" * 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, limits[1]))
    try:
        assert files.read(path, files.LARGE) == b"x" * 100
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_file_that_does_not_fit_into_memory_is_refused_with_the_figures(tmp_path, monkeypatch):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(files.SMALL + 1)
    monkeypatch.setattr(files, "_available", lambda: 1000)
    with pytest.raises(OSError, match=f"{files.SMALL + 1} bytes, and 1000 bytes of memory are left"):
        files.read(path, files.LARGE)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(files.SMALL + 1)
    with pytest.raises(OSError, match="at most"):
        files.read(path)
    assert history_file.MOST > files.SMALL


def test_a_history_that_is_too_large_is_not_read_before_it_is_added_to(tmp_path):
    path = tmp_path / "history.jsonl"
    with path.open("wb") as file:
        file.truncate(history_file.MOST + 1)
    with pytest.raises(store.ResultsError, match="at most"):
        history_file.append(path, [])


def test_a_history_that_another_process_holds_is_no_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(history_file, "PATIENCE_S", 0.0)
    path = tmp_path / "history.jsonl"
    with path.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(store.ResultsError, match="is held by another process"):
            history_file.append(path, [])
    assert history_file.append(path, []) == 0  # it was let go


@pytest.mark.parametrize("command", [["show", "odd.py:A"], ["check", "odd.py:A", "--against", "gru"]])
def test_a_file_of_code_that_is_too_large_is_not_read(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    with Path("odd.py").open("wb") as file:
        file.truncate(find.MOST + 1)
    assert main(command) == 2
    assert "which no file of code has" in capsys.readouterr().err
