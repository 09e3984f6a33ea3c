"""Verdicts on sets of processes that never shared one, each process against a partner inside it."""

from math import exp, lgamma, log, pi

import numpy as np
import pytest
from scipy.integrate import quad

from cellbench.harness.measure import unpaired
from cellbench.harness.measure.verdict import Verdict

pytestmark = pytest.mark.quick


def tail(t, freedom):
    """Two-sided tail of Student's t, by integrating its density."""
    scale = lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - log(freedom * pi) / 2
    return 2 * quad(lambda x: exp(scale - (freedom + 1) / 2 * np.log1p(x * x / freedom)), t, np.inf)[0]


@pytest.mark.parametrize(("a", "b"), [(3, 3), (3, 7), (12, 2)])
def test_welchs_p_is_the_integral_of_students_density(a, b):
    rng = np.random.default_rng(a)
    one, other = rng.standard_normal(a), 1 + 3 * rng.standard_normal(b)
    shares = [np.var(one, ddof=1) / a, np.var(other, ddof=1) / b]
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / (a - 1) + shares[1] ** 2 / (b - 1))
    t = abs(other.mean() - one.mean()) / np.sqrt(sum(shares))
    assert unpaired.welch(one, other) == pytest.approx(tail(t, freedom), rel=1e-7)


def test_welchs_p_where_a_side_has_one_value_or_none_spreads():
    assert unpaired.welch([1], [2, 3]) == 1
    assert unpaired.welch([1, 1], [1, 1]) == 1 and unpaired.welch([1, 1], [2, 2]) == 0
    assert unpaired.welch([0, 1e-170], [0, 1e-170]) == 1  # whose squares are below the least number


def test_nan_or_nothing_is_invalid():
    rng = np.random.default_rng(0)
    assert unpaired.decide([0.0, float("nan"), 0.0], [0.0] * 3, rng)[0] is Verdict.INVALID
    assert unpaired.decide([], [0.0] * 3, rng)[0] is Verdict.INVALID


def test_unchanged_runs_are_called_changed_in_less_than_two_of_a_hundred():
    rng = np.random.default_rng(3)
    found = [unpaired.decide(*rng.normal(0, 0.0074, (2, 3)), rng)[0] for _ in range(400)]
    assert sum(v in (Verdict.SLOWER, Verdict.FASTER) for v in found) < 8 and found.count(Verdict.SAME) > 320
    slower = [
        unpaired.decide(rng.normal(0, 0.0074, 3), rng.normal(0.05, 0.0074, 3), rng)[0] for _ in range(100)
    ]
    assert slower.count(Verdict.SLOWER) > 95


def test_one_process_among_those_of_the_other_side_is_enough_to_be_unsure():
    a, b = [0, 0.001, -0.001, 0.002, 0.03], [0.05, 0.051, 0.049, 0.052, 0.029]
    verdict, reason, _, p = unpaired.decide(a, b, np.random.default_rng(0))
    assert verdict is Verdict.UNSURE and "overlap" in reason and p < 0.01
    assert unpaired.decide(a, [*b[:4], 0.031], np.random.default_rng(0))[0] is Verdict.SLOWER
