"""One benchmark has one name, whether it is measured now, read from a run, or a point of history."""

from dataclasses import replace

import pytest
from support.stored_runs import NAME, a_run, program

from cellbench.harness import store
from cellbench.harness.case import Case
from cellbench.harness.regress.benchmarks import columns_of, name_of
from cellbench.harness.regress.history.points import points_of
from cellbench.harness.regress.stored_run import read

pytestmark = pytest.mark.quick

CASE = Case("throughput", "gru", "numba", "cpu", "float32", 1, 64, 16, 32, 64, "forward")


def test_a_case_and_its_run_have_one_name_and_history_adds_dtype_and_device(tmp_path):
    folder = a_run(tmp_path, program())
    assert name_of(columns_of(CASE)) == name_of(CASE.definition) == NAME
    assert list(read(folder).cases) == [NAME]
    assert [point.benchmark for point in points_of(folder).points] == [f"{NAME} float32 cpu"]
    assert store.load(folder).case.nunique() == 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"dtype": "float64"}, f"{NAME} float64"),
        ({"device": "cuda"}, f"{NAME} cuda"),
        ({"spec": "elman:activation=relu"}, NAME.replace("gru", "elman:activation=relu")),
        ({"spec": "a/b.py:Mine"}, NAME.replace("gru", "a/b.py:Mine")),
        ({"backend": None}, NAME.replace(" numba", "")),
        ({"probe": "training"}, f"training {NAME}"),
        ({"task": "adding", "seed": 3}, f"{NAME.replace('numba', 'numba adding')} seed 3"),
    ],
)
def test_what_is_unusual_stands_in_the_name(change, name):
    assert name_of(columns_of(replace(CASE, **change))) == name
