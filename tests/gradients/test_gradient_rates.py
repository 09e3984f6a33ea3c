"""The form of a decay: each that has a closed form is told, and what has no single rate is refused."""

import numpy as np
import pytest

from cellbench.harness.gradients import fit

pytestmark = pytest.mark.quick

LAGS = np.arange(401.0)
rng = np.random.default_rng(0)


def rate(logs):
    return fit(np.asarray(logs, float).reshape(len(logs), -1))


@pytest.mark.parametrize("value", [-2.0, -0.1, 0.0, 0.1])
def test_an_exponential_is_told_with_its_rate(value):
    found = rate(value * LAGS)
    assert (
        found.model == "exponential" and np.isclose(found.value, value) and np.isclose(found.low, found.high)
    )


def test_a_noisy_exponential_is_told_with_an_interval_that_covers_its_rate():
    found = rate(np.cumsum(-0.1 + 0.2 * rng.standard_normal((401, 3)), axis=0))
    assert found.model == "exponential" and found.low < -0.1 < found.high and found.high - found.low < 0.06


@pytest.mark.parametrize("turn", [0.3, 0.7, 2.5])
def test_a_rotation_does_not_hide_the_rate_around_which_it_swings(turn):
    """Of a complex pair of eigenvalues; its increments swing by half a nat, though they are no noise."""
    found = rate(-0.01 * LAGS + 0.5 * np.log(1 + 0.5 * np.cos(turn * LAGS)))
    assert (
        found.model == "exponential"
        and np.isclose(found.value, -0.01, atol=1e-3)
        and found.low < -0.01 < found.high
    )


@pytest.mark.parametrize("steps", [30, 400])
@pytest.mark.parametrize("exponent", [-0.5, -1.5])
@pytest.mark.parametrize("shift", [1.0, 2.3])
def test_a_power_law_is_told_with_its_exponent(steps, exponent, shift):
    found = rate(exponent * np.log(LAGS[: steps + 1] + shift))
    assert found.model == "power law" and np.isclose(found.value, exponent, rtol=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("steps", [30, 400])
def test_a_polynomial_times_an_exponential_is_told_with_the_exponentials_rate(steps, degree):
    """Of a Jordan block of one size more."""
    lags = LAGS[: steps + 1]
    found = rate(degree * np.log(lags + 1) + lags * np.log(0.9))
    assert found.model == "polynomial x exponential" and np.isclose(found.value, np.log(0.9), rtol=1e-4)


def test_an_exact_zero_at_the_end_is_a_finite_memory():
    found = rate(np.where(LAGS < 100, 0.0, -np.inf))
    assert found.model == "finite" and found.value == found.high == -np.inf


@pytest.mark.parametrize(
    "logs",
    [
        1.5 * np.log(np.maximum(1 - LAGS / 401, 1e-9)),  # critical tanh, seen backwards
        np.logaddexp(-0.05 * LAGS, -10.0),  # a decay to a floor in the middle of the window
        -0.001 * LAGS**2,
        np.where(LAGS < 200, -0.1 * LAGS, -20 + 0.1 * (LAGS - 200)),
    ],
    ids=["the other end of a power law", "a floor", "ever faster", "down and up"],
)
def test_what_has_no_single_rate_is_refused(logs):
    assert rate(logs).model == "no single rate"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_has_no_single_rate(value):
    logs = -0.1 * LAGS
    logs[200] = value
    assert rate(logs).model == "no single rate" and np.isnan(rate(logs).value)


def test_a_sample_that_is_cut_off_among_others_leaves_no_single_rate():
    logs = np.stack([-0.1 * LAGS, np.where(LAGS < 50, -0.1 * LAGS, -np.inf)], axis=1)
    assert fit(logs).model == "no single rate"


@pytest.mark.parametrize("steps", [2, 5, 12])
def test_few_lags_tell_an_exponential_only_where_it_is_exact(steps):
    lags = LAGS[: steps + 1]
    assert rate(-0.3 * lags).model == "exponential" and rate(-0.3 * lags).value == pytest.approx(-0.3)
    assert rate(3 * np.log(lags + 1) - 0.1 * lags).model == "no single rate"
