"""Packed runs: read as the runs were, byte for byte the same when it is undone, whole after a kill."""

import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.regress.stored import compare
from cellbench.harness.store import packed
from cellbench.harness.store.pack import pack, undo

DEFINITION = {"probe": "throughput", "cell": "gru", "threads": 1, "batch": 2, "direction": "forward"}
WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


def a_run(folder, seed=0):
    rng = np.random.default_rng(seed)
    writer = store.create(folder, {"command": "cellbench run", "config": {"seeds": 1}})
    for backend in ("native", "numba"):
        series = [
            {"metric": metric, "unit": "s", "values": [*rng.random(4), np.nan], "process": process}
            for process in range(3)
            for metric in ("seconds", "ratio_to_native")
        ]
        definition = DEFINITION | {"backend": backend}
        writer.append(backend, definition, "ok", series=series, implementation="it", done=True)
    writer.append("lost", DEFINITION | {"cell": "gr\udcff"}, "crashed", reason="it died", done=True)
    return writer


@pytest.fixture
def folder(tmp_path):
    """Three runs that ended, one of them without its blocks, another with a page inside of it."""
    for seed in range(3):
        a_run(tmp_path / "runs", seed).close()
    runs = store.runs(tmp_path / "runs")
    (runs[1] / store.BLOCKS).unlink()
    (runs[2] / "page").mkdir()
    (runs[2] / "page" / "index.html").write_text("<p>")
    return tmp_path / "runs"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packed_runs_are_read_as_the_runs_were_and_come_back_byte_for_byte(folder):
    before, frame = content(folder), harness.load(folder)
    each = {run: (harness.load(run), store.read_manifest(run)) for run in store.runs(folder)}
    blocks = {run: list(store.read_blocks(run)) for run in each}
    made = pack([folder])
    assert [one.name for one in folder.iterdir()] == [made.folder.name] and len(made.names) == 3
    assert store.runs(folder) == sorted(each) and sorted(store.runs(made.folder)) == sorted(each)
    pd.testing.assert_frame_equal(
        *(one.sort_values(["run"], kind="stable", ignore_index=True) for one in (harness.load(folder), frame))
    )
    for run, (rows, manifest) in each.items():
        pd.testing.assert_frame_equal(harness.load(run), rows)
        assert store.read_manifest(run) == manifest and repr(list(store.read_blocks(run))) == repr(
            blocks[run]
        )
    assert sorted(undo(made.folder)) == sorted(made.names) and content(folder) == before


def test_packed_runs_are_scanned_and_summarised_as_the_runs_were(folder, capsys):
    polars = pytest.importorskip("polars", reason="cellbench[scale] is not installed")
    before, run = harness.scan(folder).collect(), store.runs(folder)[1]
    assert main(["report", str(folder), "--summary"]) == 0
    printed = capsys.readouterr().out
    pack([folder])
    assert harness.scan(folder).collect().equals(before)
    assert harness.scan(run).collect().equals(before.filter(polars.col("run") == run.name))
    assert main(["report", str(folder), "--summary"]) == 0
    assert capsys.readouterr().out == printed


def test_packed_runs_are_compared_by_their_names_and_paths(folder, capsys):
    (first, _, last) = store.runs(folder)
    before = compare(str(first), last.name, folder, None), capsys.readouterr().out
    pack([folder])
    assert (compare(str(first), last.name, folder, None), capsys.readouterr().out) == before


def test_what_has_not_ended_stays_and_a_packed_run_is_not_gone_on_with(folder, capsys):
    living, killed = a_run(folder, 7), a_run(folder, 8)
    killed.release()
    linked = a_run(folder, 9)
    linked.close()
    (linked.folder / "link").symlink_to("/")
    assert main(["pack", str(folder)]) == 0
    run = next(one for one in store.runs(folder) if not one.exists())  # it is in the pack
    out = capsys.readouterr().out
    assert f"{living.folder.name} stays: it is under way" in out and "of 3 runs" in out
    assert f"{killed.folder.name} stays: it has not ended; cellbench run resume=" in out
    assert f"{linked.folder.name} stays: {linked.folder / 'link'} is a link" in out
    assert {one.name for one in folder.iterdir() if not one.name.startswith("packed-")} == {
        one.folder.name for one in (living, killed, linked)
    }
    assert main(["run", f"resume={run}"]) == 2
    assert "cellbench pack --undo" in capsys.readouterr().err
    living.close()
    assert len(store.runs(folder)) == 6 and len(harness.load(folder)["run"].unique()) == 6
    assert main(["pack", "--undo", str(run)]) == 2 and "is no pack" in capsys.readouterr().err


def killed_at(number, function, *arguments):
    """Whether the function's process came to its number-th change of the disk, where it is ended."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event, given):
            nonlocal count
            if event in WRITES or (event == "open" and given[2] & os.O_CREAT):
                count += 1
                if count == number:
                    os._exit(9)

        sys.addaudithook(hook)
        function(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("function", [pack, undo])
def test_a_kill_at_any_change_of_the_disk_loses_nothing_and_doubles_nothing(folder, tmp_path, function):
    shutil.rmtree(store.runs(folder)[0])
    whole, undone = harness.load(folder), content(folder)
    argument = [folder] if function is pack else pack([folder]).folder
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    number = 1
    while killed_at(number, function, argument):
        there = harness.load(folder)
        assert len(there) == len(whole) and set(there["run"]) == set(whole["run"])
        if function is pack:
            pack([folder])
            assert [one.name[:7] for one in folder.iterdir()] == ["packed-"]
        elif argument.exists():
            undo(argument)
            assert content(folder) == undone
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        packed.forget()
        number += 1
    assert number > 10


@pytest.mark.parametrize("name", [packed.INDEX, packed.ARCHIVE, packed.TABLE])
def test_a_damaged_pack_is_named(folder, name):
    made = pack([folder]).folder
    path = made / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"damage" + data[len(data) // 2 + 6 :])
    packed.forget()
    with pytest.raises(store.ResultsError, match=rf"{name} is damaged"):
        harness.load(folder)
        for run in store.runs(folder):
            list(store.read_blocks(run))
        undo(made)


@pytest.mark.parametrize("inside", ["../other", "/etc/other", "a//b", "."])
def test_a_pack_writes_nothing_outside_of_its_runs(folder, inside):
    made = pack([folder]).folder
    index = json.loads((made / packed.INDEX).read_text())
    next(iter(index["runs"].values()))["files"][inside] = "0" * 64
    (made / packed.INDEX).write_text(json.dumps(index))
    packed.forget()
    with pytest.raises(store.ResultsError, match="is damaged"):
        undo(made)
