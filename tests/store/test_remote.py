"""Runs in an object store are read as those on the disk; fsspec's memory stands for a store."""

import shutil
import sys

import pandas as pd
import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.store.pack import pack

fsspec = pytest.importorskip("fsspec")
DEFINITION = {"probe": "parameters", "cell": "gru", "threads": 1}


@pytest.fixture
def folder(tmp_path):
    """Three runs: one that ended, one that was killed, one that has its table alone."""
    for number in range(3):
        writer = store.create(tmp_path / "runs", {"command": "cellbench run", "config": {}})
        series = [{"metric": "parameters", "unit": "1", "values": [float(number)]}]
        writer.append("case", DEFINITION, "ok", series=series, done=True)
        writer.close() if number != 1 else writer.release()
        if number == 2:
            (writer.folder / store.BLOCKS).unlink()
    return tmp_path / "runs"


def put(folder):
    """The address of the store that holds the files of a folder, and no others."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/bucket/runs/{path.relative_to(folder)}", path.read_bytes())
    return "memory://bucket/runs"


@pytest.fixture
def address(folder):
    yield put(folder)
    fsspec.filesystem("memory").store.clear()


def test_runs_in_a_store_are_read_as_those_on_the_disk(folder, address, tmp_path):
    here, run = harness.load(folder), store.runs(folder)[0].name
    pd.testing.assert_frame_equal(harness.load(address), here)
    pd.testing.assert_frame_equal(harness.load([f"{address}/{run}"]), harness.load(folder / run))
    assert main(["report", address, "--output", str(tmp_path / "page")]) == 0
    assert run in (tmp_path / "page" / "index.html").read_text()


def test_runs_in_a_store_are_scanned(folder, address):
    pytest.importorskip("polars", reason="cellbench[scale] is not installed")
    assert harness.scan(address).collect().equals(harness.scan(folder).collect())


def test_a_pack_in_a_store_is_read(folder, address):
    before = harness.load(folder)
    made = pack([folder])
    assert len(made.names) == 2 and len(made.stay) == 1
    put(folder)
    again = harness.load(address)
    assert sorted(again["value"]) == sorted(before["value"]) and set(again["run"]) == set(before["run"])
    shutil.rmtree(folder)
    assert len(harness.load(f"{address}/{made.folder.name}")) == 2


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("memory://nowhere", "no run in 'memory://nowhere'"),
        ("nonsense://bucket/runs", "nonsense://bucket/runs cannot be read"),
        ("s3fs+x://bucket", "cannot be read"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_line(given, line, capsys):
    assert main(["report", given]) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.splitlines()) == 1 and "Traceback" not in said


def test_without_fsspec_the_line_says_what_to_install(address, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ValueError, match="needs fsspec, which is not installed; pip install fsspec"):
        harness.load(address)
