"""Whether the intervals cover what they should, and whether a change is found as often as is computed; by
simulation.
"""

import numpy as np
import pytest
from scipy.signal import lfilter
from support.comparison import WHOLE

from cellbench.harness.measure import bootstrap
from cellbench.harness.measure.power import detectable, power, spread_of
from cellbench.harness.measure.verdict import FLOOR, Verdict, confirms, decide

TRIALS, RESAMPLES = 2000, 400  # fewer draws than in earnest, for time
BUILDS, ROUNDS = 5, 15


def iid(rng, shape):
    return rng.standard_normal(shape)


def autocorrelated(rng, shape):
    """AR(0.8) along the last axis."""
    return lfilter([0.6], [1, -0.8], rng.standard_normal((*shape[:-1], shape[-1] + 50)))[..., 50:]


def skewed(rng, shape):
    return rng.exponential(1.0, shape) - np.log(2)


def log_ratios(rng, noise, processes, between=iid):
    """(processes, BUILDS) medians over rounds, with effects of process (0.4 %) and build (0.8 %)."""
    shape = (processes, BUILDS, 1)
    level = 0.004 * between(rng, (processes, 1, 1)) + 0.008 * iid(rng, shape)
    return np.median(level + 0.01 * noise(rng, (processes, BUILDS, ROUNDS)), axis=-1)


def coverage(noise, processes, between, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", RESAMPLES)
    rng = np.random.default_rng(processes)
    truth = np.expm1(np.median(np.median(log_ratios(rng, noise, 40_000, between), axis=-1)))
    logs = log_ratios(rng, noise, TRIALS * processes, between).reshape(TRIALS, processes, BUILDS)
    found = [bootstrap.interval(one, rng) for one in logs]
    return np.mean([one.low <= truth <= one.high for one in found])


@pytest.mark.parametrize("processes", [5, 10] if WHOLE else [5])
@pytest.mark.parametrize("noise", [iid, autocorrelated, skewed])
def test_the_interval_covers_the_median_of_all_processes(noise, processes, monkeypatch):
    assert 0.93 <= coverage(noise, processes, iid, monkeypatch) <= 0.97


@pytest.mark.parametrize("processes", [5, 10])
def test_where_processes_are_skewed_the_interval_covers_little_less(processes, monkeypatch):
    assert 0.92 <= coverage(iid, processes, skewed, monkeypatch) <= 0.97


def test_an_interval_of_one_process_moves_with_its_builds_only():
    rng = np.random.default_rng(0)
    point = bootstrap.interval([[0.1]], rng)
    assert np.isclose(point.estimate, np.expm1(0.1)) and point.low == point.high == point.estimate
    moved = bootstrap.interval([[0.0, 0.1, 0.2]], rng)
    assert moved.low < moved.estimate < moved.high


@pytest.mark.parametrize("logs", [[], [[0.1], []]])
def test_an_interval_of_nothing_is_refused(logs):
    with pytest.raises(ValueError, match="at least one process"):
        bootstrap.interval(logs, np.random.default_rng(0))


# ---- power


def found_share(change, spread, trials, rng):
    """How often the verdict's own rule calls a change, and confirms it."""
    hits, control = 0, [[0.0]] * 5
    for _ in range(trials):
        first, again = ([[v] for v in np.log1p(change) + spread * rng.standard_normal(5)] for _ in range(2))
        verdict = decide(first, control, rng)[0]
        if verdict is Verdict.SLOWER and confirms(again, verdict, rng):
            hits += decide(first + again, control * 2, rng)[0] is verdict
    return hits / trials


@pytest.mark.parametrize(
    ("change", "spread"), [(None, 0.003), (None, 0.01), (None, 0.03), (0.02, 0.01), (0.05, 0.03)]
)
def test_the_power_is_what_the_verdict_s_rule_has(change, spread, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 100)
    change = detectable(spread) if change is None else change
    trials, expected = 300, power(change, spread)
    error = np.sqrt(expected * (1 - expected) / trials)
    assert abs(found_share(change, spread, trials, np.random.default_rng(0)) - expected) < 3 * error + 0.01


def test_what_is_detectable_has_the_power_asked_for_and_no_less_than_the_floor():
    for spread in (0.001, 0.01, 0.05):
        assert power(detectable(spread), spread) == pytest.approx(0.8, abs=1e-3)
    assert detectable(0.0) == pytest.approx(FLOOR, abs=1e-5)
    assert detectable(0.001) < detectable(0.01) < detectable(0.05) < detectable(0.05, wanted=0.95)
    assert detectable(100.0) == np.inf


def test_power_is_for_an_odd_number_of_processes():
    with pytest.raises(ValueError, match="odd number of processes, not for 4"):
        power(0.02, 0.01, 4)


def test_the_spread_is_between_processes_and_not_between_builds():
    assert spread_of([[0.0, 5.0, -5.0], [0.02, 0.02, 0.02]]) == pytest.approx(np.std([0, 0.02], ddof=1))
    assert spread_of([[0.1]]) == 0.0
