"""What is saturated beyond float64, and what grows beyond it, keeps its logarithm."""

from math import log

import numpy as np
import pytest

from cellbench import cells
from cellbench.cells import GatedCell, State, sigmoid, tanh
from cellbench.harness.gradients import (
    gates,
    input_reach,
    jacobian_product,
    lag_profile,
    lag_share,
    lyapunov_spectrum,
    precision,
    saturation,
)

pytestmark = pytest.mark.quick

wide = pytest.mark.skipif(
    np.finfo(np.longdouble).maxexp < 16384, reason="this machine's long double is no wider than float64"
)


class Written(GatedCell):
    """The simple recurrent network with its step written out."""

    gates = ("h",)
    states = ("h",)
    biases: int = 0

    def step(self, params, x, state):
        h = tanh(x @ params["weight_ih"].swapaxes(0, 1) + state.h @ params["weight_hh"].swapaxes(0, 1))
        return h, State(h=h)


def saturated(a, cell=None, steps=40, units=1):
    """Units whose pre-activation is a from the second step on: h = 1, and each sees itself alone."""
    params = {"weight_ih": np.full((units, 1), a - 1.0), "weight_hh": np.eye(units)}
    return cell or cells.get("elman", biases=0), params, np.ones((steps, 1, 1))


@wide
@pytest.mark.parametrize("cell", [None, Written()], ids=["equations", "written out"])
@pytest.mark.parametrize("a", [41, 360, 800, 3000])
def test_a_saturated_unit_decays_by_its_own_slope_however_far_out_it_is(cell, a):
    """ln sech^2(a) = ln 4 - 2a; in float64 sech^2 underflows at 372 and is subnormal from 354 on."""
    given, rate = saturated(a, cell), log(4) - 2 * a
    profile = lag_profile(*given)
    assert profile.rate.model == "exponential" and np.isclose(profile.rate.value, rate, rtol=1e-12)
    assert (
        np.allclose(profile.log_norm[:40, 0], np.arange(40) * rate, rtol=1e-12) and profile.first_zero is None
    )
    product = jacobian_product(*given, [1, 10])
    assert np.allclose(product.log_spectral[:, 0], [rate, 10 * rate], rtol=1e-12)
    spectrum = lyapunov_spectrum(*given, transient=5)
    assert np.isclose(spectrum.exponents[0], rate, rtol=1e-12) and abs(spectrum.sum_residual) < 1e-9
    reach = input_reach(*given).log_norm[:, 0]
    assert np.allclose(reach[:39], np.log(a - 1) + np.arange(1, 40) * rate, rtol=1e-12)
    assert np.isclose(lag_share(*given).signed[0], 1) and np.isclose(
        lag_share(*given).log_norm, rate, rtol=1e-10
    )


@wide
def test_a_gate_that_is_shut_beyond_float64_keeps_its_logarithm_by_state():
    """f = sigma(-800) = e^-800 is 0 in float64."""
    cell = cells.get("lstm")
    params = {k: np.zeros(s) for k, s in cell.parameter_shapes(1, 2).items()}
    params["bias_ih"][2:4] = -800
    x = np.zeros((40, 1, 1))
    profile = lag_profile(cell, params, x)
    assert np.allclose(np.diff(profile.log_norm_by_state["c"][1:, 0]), -800, rtol=1e-12)
    spectrum = lyapunov_spectrum(cell, params, x, transient=5)
    assert np.allclose(spectrum.exponents[:2], -800, rtol=1e-12) and np.isneginf(spectrum.exponents[2:]).all()
    assert np.allclose(gates(cell, params, x).log_keep, -800, rtol=1e-12)


@wide
def test_one_unit_beyond_float64_among_living_ones_does_not_hide_them():
    cell, params = (
        cells.get("elman", biases=0),
        {"weight_ih": np.array([[799.0], [0.0]]), "weight_hh": np.diag([1, 0.5])},
    )
    x = np.ones((60, 1, 1))
    profile = lag_profile(cell, params, x)
    assert np.isclose(profile.rate.value, log(0.5), rtol=1e-9)
    assert np.allclose(
        lyapunov_spectrum(cell, params, x, transient=5).exponents, [log(0.5), log(4) - 1600], rtol=1e-12
    )


def test_exponents_that_lie_far_apart_are_all_found():
    """A unit at a = 41 shrinks by e^-80 a step beside one that halves, whose rounding is far larger."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    cell, params = (
        cells.get("elman", biases=0),
        {"weight_ih": np.array([[41.0], [0.0]]), "weight_hh": 0.5 * turn},
    )
    found = lyapunov_spectrum(cell, params, np.ones((200, 1, 1)), transient=20)
    assert found.exponents[1] < -75 and abs(found.sum_residual) < 1e-12


def test_a_direction_that_dies_stays_dead():
    """Of three units one reads another and that the third: after three steps only rounding is left."""
    cell, params = cells.get("elman", activation="identity", biases=0), {"weight_ih": np.zeros((3, 1))}
    for matrix in (np.eye(3, k=1), np.array([[2.0, -2, 0], [2, -2, 0], [0, 0, 0.5]])):
        found = lyapunov_spectrum(cell, params | {"weight_hh": matrix}, np.zeros((60, 1, 1)), transient=0)
        assert np.isneginf(found.exponents[-2:]).all() and found.sum_residual is None
        assert np.isneginf(found.exponents[0]) or np.isclose(found.exponents[0], log(0.5), atol=0.1)


def test_ten_thousand_nats_of_decay_and_of_growth_are_exact():
    for rho in (0.1, 10.0):
        cell = cells.get("elman", activation="identity", biases=0)
        given = (
            cell,
            {"weight_ih": np.zeros((1, 1)), "weight_hh": np.full((1, 1), rho)},
            np.zeros((5000, 1, 1)),
        )
        profile = lag_profile(*given)
        assert np.allclose(profile.log_norm[:, 0], np.arange(5001) * log(rho), rtol=1e-13)
        assert np.isclose(jacobian_product(*given, [5000]).log_spectral[0, 0], 5000 * log(rho), rtol=1e-13)
        assert profile.transport[-1, 0] == (np.inf if rho > 1 else 0) and profile.first_zero is None


def test_an_explosion_is_an_answer():
    """Gradients beyond 1e308 are inf, their logarithms are not; a forward beyond it gives NaN."""
    cell = cells.get("elman", activation="identity", biases=0)
    params, ones = {"weight_ih": np.ones((1, 1)), "weight_hh": np.full((1, 1), 1e30)}, np.ones((40, 1, 1))
    share = lag_share(cell, params, ones[:8])
    assert (
        np.isfinite(share.signed).all()
        and np.isclose(share.signed.sum(), 1)
        and np.isfinite(share.gradient).all()
    )
    ten = params | {"weight_hh": np.full((1, 1), 10.0)}
    far = lag_share(
        cell, ten, 0 * ones[:1].repeat(300, 0), state={"h": ones[0]}, d_output=np.full((1, 1), 1e300)
    )
    assert (
        np.isclose(far.log_norm, 599 * log(10) + log(300))
        and np.isinf(far.gradient)
        and np.allclose(far.signed, 1 / 300)
    )
    assert precision(cell, params, np.zeros((20, 1, 1)), dtypes=["float32"])["float32"].overflow == 2


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_a_forward_that_overflows_has_no_gradient_in_that_sample_alone(activation):
    cell = cells.get("elman", activation=activation, biases=0)
    params = {"weight_ih": np.full((2, 1), 1e308), "weight_hh": np.array([[1e200, -1e200], [1e200, 1e200]])}
    x = np.concatenate([np.zeros((30, 1, 1)), np.full((30, 1, 1), 1e10)], axis=1)
    with np.errstate(all="ignore"):
        profile = lag_profile(cell, params, x)
        lost = activation != "tanh"  # squashes inf to 1
        assert (np.isnan(profile.log_norm[:, 1]).all() and profile.rate.model == "no single rate") == lost
        assert not np.isnan(profile.log_norm[:, 0]).any() and (profile.half_life is None or not lost)
        if lost:
            spectrum = lyapunov_spectrum(cell, params, x[:, 1:], transient=5)
            assert (
                np.isnan(spectrum.exponents).all()
                and np.isnan(spectrum.entropy_rate)
                and spectrum.kaplan_yorke is None
            )
            assert np.isnan(jacobian_product(cell, params, x, [10]).log_spectral[0, 1])
            assert np.isnan(input_reach(cell, params, x).log_norm[:, 1]).all()


def test_gates_and_squashing_functions_say_where_value_forms_give_exactly_zero():
    """y (1 - y) is 0 above 16.64 in float32, where y rounds to 1; far below, y is small and not 0."""

    class Two(GatedCell):
        gates = ("f",)
        states = ("h",)
        keep_gate = "f"
        biases: int = 0

        def equations(self, wx, wh, prev):
            f = sigmoid(wx.f)
            return State(h=f * prev.h + (1 - f) * tanh(wx.f))

    cell = Two()
    for a, zero, low, high in (
        (17.0, 1.0, 0.0, 1.0),
        (-17.0, 0.0, 1.0, 0.0),
        (-104.0, 1.0, 1.0, 0.0),
        (2.0, 0.0, 0.0, 0.0),
    ):
        params = {"weight_ih": np.full((1, 1), a), "weight_hh": np.zeros((1, 1))}
        assert gates(cell, params, np.ones((3, 1, 1))).no_gradient["float32"] == zero
        found = saturation(cell, params, np.ones((3, 1, 1)))["f"]
        assert (found.exact_zero["float32"], found.low, found.high) == (
            zero,
            low,
            high,
        ) and found.dead == bool(low or high)
