"""Ragged batches in the probe throughput: useful and padded tokens apart, and nothing else when all lengths
are equal.
"""

import numpy as np
import pytest

from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk, cell_of
from cellbench.harness.probes.throughput import Throughput, lengths
from cellbench.harness.programs import check, inputs, prepare

pytestmark = pytest.mark.quick

CASE = Case(
    "throughput",
    "gru",
    "numpy",
    "cpu",
    "float64",
    steps=8,
    batch=3,
    input_size=2,
    hidden_size=4,
    direction="backward",
)


def metrics(shortest, seconds=0.5):
    """Series of one process by metric, had every run taken `seconds`."""
    probe = Throughput(shortest=shortest)
    given = probe.inputs(CASE)
    return {s["metric"]: s for s in probe.rates(CASE, [seconds], {"numpy": seconds}, 0, given.lengths)}


def test_lengths_are_spread_evenly_and_never_empty():
    assert lengths(8, 3, 0.25).tolist() == [8, 5, 2]
    assert lengths(8, 1, 0.25).tolist() == [8]
    assert lengths(3, 4, 0.01).min() == 1


def test_tokens_are_counted_apart_and_flop_are_the_useful_ones():
    found = {name: s["values"] for name, s in metrics(0.25).items()}
    assert (found["useful_tokens"], found["padded_tokens"], found["useful_tokens_per_s"]) == ([15], [9], [30])
    assert found["flop_per_s"] == [15 * cell_of(CASE).operations(2, 4).of("backward") / 0.5]


def test_equal_lengths_change_nothing():
    found = metrics(1.0)
    assert not [name for name in found if "tokens" in name]
    assert found["flop_per_s"]["values"] == [24 * cell_of(CASE).operations(2, 4).of("backward") / 0.5]
    assert Throughput().inputs(CASE).lengths is None


@pytest.mark.parametrize("backend", ["numpy", "torch", "native"])
def test_the_check_holds_the_same_lengths_against_the_reference(backend):
    case = Case(**{**vars(CASE), "backend": backend})
    given = Throughput(shortest=0.25).inputs(case)
    program = Throughput(shortest=0.25).loaded(case, given)
    program.run()
    error, allowed = check(program.read(), given, case)
    assert error <= allowed
    other = prepare(case, given.params, np.array([8, 5, 3]))
    other.load(given.x, None, given.d_output)
    other.run()
    with pytest.raises(NotOk, match="off the float64 reference"):
        check(other.read(), given, case)
    assert inputs(case).lengths is None


@pytest.mark.parametrize("shortest", [0, -1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused_in_one_line(shortest):
    with pytest.raises(ValueError, match="it must be above 0 and at most 1, a share of steps"):
        Throughput(shortest=shortest)
