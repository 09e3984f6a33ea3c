"""Decay of the gradient and clipping against closed forms."""

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness.gradients import clip_by_norm, fit, lag_profile, total_norm, word

pytestmark = pytest.mark.quick


def linear(matrix, **options):
    """A linear cell h' = W h, its parameters, and an input of zeros (T = 100)."""
    cell = cells.get("elman", activation="identity", biases=0, **options)
    hidden = len(matrix)
    return (
        cell,
        {"weight_ih": np.zeros((hidden, 1)), "weight_hh": np.asarray(matrix, float)},
        np.zeros((100, 2, 1)),
    )


def orthogonal(size, seed=0):
    return cells.get("elman").init(size, size, seed, "orthogonal(1)")["weight_hh"]


@pytest.mark.parametrize("rho", [0.9, 1.1, 1e-30, 1e30])
def test_a_scaled_orthogonal_matrix_gives_its_scale_to_the_power_of_the_lag(rho):
    logs = lag_profile(*linear(rho * orthogonal(7))).log_norm
    transport = logs - logs[0]
    assert np.allclose(transport, np.arange(101)[:, None] * np.log(rho), rtol=1e-10, atol=1e-10)
    found = fit(logs)
    assert np.isclose(found.value, np.log(rho)) and np.isclose(found.low, found.high)


def test_a_nilpotent_shift_is_one_until_it_is_exactly_zero():
    logs = lag_profile(
        *linear(np.eye(20, k=1))
    ).log_norm  # of the 20 ones of the last step's gradient one is lost a step
    expected = 0.5 * np.log(np.maximum(20 - np.arange(21), 1))
    assert np.allclose(logs[:20], expected[:20, None]) and np.isneginf(logs[20:]).all()
    assert fit(logs).value == -np.inf and word(-np.inf, -np.inf) == "vanishes"


def test_pinned_gates_carry_the_lstms_cell_state_alone():
    cell = cells.get("lstm")
    params = {k: np.zeros(s) for k, s in cell.parameter_shapes(1, 5).items()}
    params["bias_ih"][5:10] = 2.0
    logs = lag_profile(cell, params, np.zeros((60, 1, 1))).log_norm
    f = 1 / (1 + np.exp(-2.0))
    steps = np.diff(logs[1:, 0])
    assert np.allclose(steps, np.log(f), rtol=1e-12)


def test_saturated_units_do_not_become_exact_zeros():
    cell = cells.get("elman", biases=0)
    params = {"weight_ih": np.full((1, 1), 40.0), "weight_hh": np.ones((1, 1))}
    logs = lag_profile(cell, params, np.ones((50, 1, 1))).log_norm
    a = 41.0
    assert np.isfinite(logs).all()
    assert np.isclose(np.diff(logs[5:20, 0]).mean(), np.log(4) - 2 * a, rtol=1e-6)


def test_log_norms_equal_the_plain_trajectory_where_that_is_finite():
    rng = np.random.default_rng(0)
    for name in cells.names():
        cell = cells.get(name)
        if cell.unfit(6, 6):
            continue
        params, x = cell.init(6, 6), rng.standard_normal((20, 2, 6))
        program = cells.backend("numpy").prepare(cell, params, steps=20, batch=2, dtype="float64")
        program.forward(x)
        d_output = np.zeros((20, 2, cell.output_size(6, 6)))
        d_output[-1] = 1
        path = program.backward(d_output, trace=True).trajectory
        with np.errstate(divide="ignore"):
            plain = np.log(np.sqrt(sum((d.reshape(21, 2, -1) ** 2).sum(-1) for d in path.values())))[::-1]
        start = 0 if cell.written_out or None not in cell.derivation().output_states else 1
        assert np.allclose(
            lag_profile(cell, params, x).log_norm[start:], plain[start:], rtol=1e-9, atol=1e-9
        ), name


def test_the_rates_interval_covers_the_true_rate_of_correlated_increments():
    rng, hits, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        noise = rng.standard_normal(402)
        steps = -0.1 + 0.2 * (noise[1:] + 0.5 * noise[:-1])
        found = fit(np.concatenate([[0.0], np.cumsum(steps)])[:, None])
        hits += found.low <= -0.1 <= found.high
    assert 0.90 <= hits / trials <= 0.98


def test_words_change_at_one_hundredth_of_a_nat():
    assert word(-0.5, -0.011) == "vanishes" and word(-0.5, -0.009) == "stable"
    assert word(0.011, 0.5) == "explodes" and word(0.009, 0.5) == "stable" and word(-1, 1) == "stable"


@pytest.mark.parametrize("value", [1e-300, 1e-25, 1e-3, 1.0, 1e20, 1e300])
def test_the_total_norm_is_exact_from_1e_minus_300_to_1e300(value):
    assert np.isclose(total_norm([np.full(3, value), np.full((1, 1), value)]), 2 * value, rtol=1e-14)


@pytest.mark.parametrize("value", [1e20, 1e-25])
def test_float32_norms_neither_overflow_nor_vanish(value):
    import torch

    expected = 2 * float(np.float32(value))
    assert np.isclose(total_norm([np.full(4, value, np.float32)]), expected)
    assert np.isclose(total_norm([torch.full((4,), value)]), expected)


def test_what_is_not_finite_stays_visible():
    assert np.isnan(total_norm([np.array([1.0, np.nan])])) and np.isinf(
        total_norm([np.array([1.0, -np.inf])])
    )
    assert total_norm([]) == 0 and total_norm([np.zeros(3)]) == 0


@pytest.mark.parametrize(
    "values", [[1e20, 1e20], [1e-25, 1e-25], [3.0, 4.0], [0.1, 0.1], [np.nan, 1.0], [np.inf, 1.0], [0.0] * 2]
)
def test_the_note_on_torch_is_what_torch_does(values):
    """Only where its norm is off, or an entry is not finite, is there a note."""
    import torch

    given = np.array(values, np.float32)
    leaf = torch.zeros(2, requires_grad=True)
    leaf.grad = torch.tensor(given)
    theirs, made = float(torch.nn.utils.clip_grad_norm_([leaf], 1.0)), leaf.grad.numpy()
    found = clip_by_norm({"w": given}, 1.0)
    if values in ([3.0, 4.0], [0.1, 0.1], [0.0, 0.0]):
        assert (
            found.torch is None
            and np.isclose(theirs, found.norm)
            and np.allclose(made, found.arrays["w"], rtol=1e-5)
        )
    else:
        assert f"returned {theirs:.4g}" in found.torch
        assert found.torch.endswith("every gradient nan") == bool(np.isnan(made).all())
        assert found.torch.endswith("every gradient 0") == bool((made == 0).all())
        assert ("not clipped" in found.torch) == bool((made == given).all())


@pytest.mark.parametrize("value", [1e30, 1e-40, 1.0])
def test_clipping_by_norm_holds_its_limit_and_names_what_is_not_finite(value):
    grads = {"a": np.full(3, value, np.float32), "b": np.full((1, 1), value, np.float32)}
    found = clip_by_norm(grads, 1e-3)
    assert np.isclose(found.norm, 2 * float(np.float32(value))) and found.fraction == float(found.norm > 1e-3)
    assert (
        np.isclose(total_norm(found.arrays), min(found.norm, 1e-3), rtol=1e-6)
        and found.arrays["a"].dtype == np.float32
    )
    bad = clip_by_norm(grads | {"c": np.array([np.nan, 1.0, np.inf])}, 1.0)
    assert (
        bad.nonfinite == {"c": 2}
        and bad.fraction == 0
        and bad.arrays["a"] is grads["a"]
        and np.isnan(bad.norm)
    )


def test_norms_of_large_products_are_estimated_within_their_stated_errors(monkeypatch):
    """Block Lanczos approaches from below; Hutchinson's standard error is relative, of 64 probes."""
    from cellbench.harness.gradients import jacobian_product
    from cellbench.harness.gradients.cell import product

    cell, rng = cells.get("gru"), np.random.default_rng(0)
    params, x, lags = cell.init(3, 24, 0, "orthogonal(1.5)"), rng.standard_normal((30, 3, 3)), [0, 1, 5, 30]
    exact = jacobian_product(cell, params, x, lags)
    monkeypatch.setattr(product, "EXACT", 0)
    found = jacobian_product(cell, params, x, lags)
    assert found.method == "Lanczos and Hutchinson" and exact.method == "exact"
    assert (
        np.allclose(found.log_spectral, exact.log_spectral, rtol=0, atol=1e-6)
        and (found.spectral_error < 1e-3).all()
    )
    z = (found.log_frobenius - exact.log_frobenius)[1:] / found.frobenius_error[1:]
    assert np.abs(z).max() < 3.5 and found.frobenius_error.max() < 0.15
    assert np.allclose(exact.stable_rank, np.exp(2 * (exact.log_frobenius - exact.log_spectral)))
