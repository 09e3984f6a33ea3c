"""Small tables that are read at once: the same rows as one by one, and the same refusals."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.store import small, table
from cellbench.harness.store.manifest import BLOCKS, MANIFEST, TABLE

pytest.importorskip("polars", reason="cellbench[scale] is not installed")
pytestmark = pytest.mark.quick
DEFINITION = {"probe": "throughput", "cell": "gru", "threads": 1, "steps": 8, "direction": "forward"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five runs that hold their tables alone, with nulls, lags, and a case without a result."""
    monkeypatch.setattr(small, "FEWEST", 2)
    rng = np.random.default_rng(0)
    for number in range(5):
        writer = store.create(tmp_path, {"command": "cellbench run"})
        seconds = {"metric": "seconds", "unit": "s", "values": rng.random(4).tolist(), "process": number}
        profile = {"metric": "profile", "unit": "1", "values": [1.0, np.nan, -np.inf], "lag": [0, 3, 7]}
        writer.append("a", DEFINITION, "ok", series=[seconds, profile], implementation="né 1", done=True)
        writer.append("b", DEFINITION | {"seed": number}, "crashed", reason="it died", done=True)
        writer.close()
        (writer.folder / BLOCKS).unlink()
    return tmp_path


def alone(folder, monkeypatch):
    """What is loaded where each table is read by itself."""
    with monkeypatch.context() as patch:
        patch.setattr(small, "FEWEST", 10**9)
        return harness.load(folder)


def test_tables_read_at_once_have_the_rows_of_each_read_alone(folder, monkeypatch):
    one_by_one = alone(folder, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(table, "unpack", None)
        at_once = harness.load(folder)
    pd.testing.assert_frame_equal(at_once, one_by_one)
    assert at_once["run"].nunique() == 5 and at_once["reason"].isna().sum() == 5 * 7


def test_only_what_the_manifest_names_by_its_hash_is_read_at_once(folder, monkeypatch):
    first = store.runs(folder)[0]
    manifest = json.loads((first / MANIFEST).read_text())
    (first / MANIFEST).write_text(json.dumps({k: v for k, v in manifest.items() if k != "table"}))
    read = []
    unpack = table.unpack
    monkeypatch.setattr(table, "unpack", lambda source: read.append(source) or unpack(source))
    frame = harness.load(folder)
    assert len(read) == 1 and frame["run"].nunique() == 5


def test_a_run_without_rows_and_a_table_with_other_columns_are_read_one_by_one(folder, monkeypatch):
    import pyarrow.parquet

    first, second = (run / TABLE for run in store.runs(folder)[:2])
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(first).slice(0, 0), first)
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(second).drop_columns(["lag"]), second)
    for file in (first, second):
        signed(file)
    frame = harness.load(folder)
    assert frame["run"].nunique() == 4 and len(frame) == 4 * 8
    pd.testing.assert_frame_equal(frame, alone(folder, monkeypatch))


def test_what_is_wrong_with_one_of_many_tables_is_said_of_it(folder):
    one, other = store.runs(folder)[2:4]
    shutil.copy(other / TABLE, one / TABLE)
    with pytest.raises(store.ResultsError, match=f"{one.name}.* holds rows of run '{other.name}'"):
        harness.load(folder)
    signed(one / TABLE)
    with pytest.raises(store.ResultsError, match=f"{one.name}.* holds rows of run '{other.name}'"):
        harness.load(folder)
    (one / TABLE).write_bytes((one / TABLE).read_bytes()[:-20] + b"\0" * 20)
    with pytest.raises(store.ResultsError, match=f"{one.name}.* is damaged"):
        harness.load(folder)


def signed(file):
    """Has the manifest beside a table name the hash that the table has now."""
    from cellbench.harness.store.packed import hash_of

    manifest = json.loads((file.parent / MANIFEST).read_text())
    (file.parent / MANIFEST).write_text(json.dumps(manifest | {"table": hash_of(file)}))
