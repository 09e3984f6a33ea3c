"""Gradients against closed forms, with the digits that these give, numbered A1 to A24."""

from math import log, pi, sqrt

import numpy as np
import pytest
from scipy.special import digamma, ndtr

from cellbench import cells
from cellbench.cells import GatedCell, State
from cellbench.harness import task
from cellbench.harness.gradients import (
    clip_by_norm,
    clip_by_value,
    gates,
    jacobian_product,
    lag_profile,
    lag_share,
    lyapunov_spectrum,
    precision,
)
from cellbench.harness.gradients.cell.linearise import linearise
from cellbench.harness.gradients.cell.profile import forward_path

JORDAN = np.array([[0.9, 1.0], [0.0, 0.9]])
CANDIDATE = {"elman": 0, "gru": 2, "lstm": 2}  # the place of the gate whose product is squashed by tanh
WIDE = np.array([[2.0, -2.0], [2.0, -2.0]])  # spectral radius 0
SHRUNK = np.diag([1, 0.3]) @ WIDE  # its second unit at phi' = 0.3


def linear(matrix, steps=100, batch=1):
    """A linear cell h' = W h, its parameters, and an input of zeros."""
    cell, matrix = cells.get("elman", activation="identity", biases=0), np.asarray(matrix, float)
    return cell, {"weight_ih": np.zeros((len(matrix), 1)), "weight_hh": matrix}, np.zeros((steps, batch, 1))


def pinned(name, hidden=3, **biases):
    """A gated cell whose weights are 0 and whose biases are 0 but for those of the gates given."""
    cell = cells.get(name)
    params = {k: np.zeros(s) for k, s in cell.parameter_shapes(1, hidden).items()}
    for gate, value in biases.items():
        params["bias_ih"].reshape(-1, hidden)[cell.gates.index(gate)] = value
    return cell, params


def orthogonal(size, seed=0):
    return cells.get("elman").init(size, size, seed, "orthogonal(1)")["weight_hh"]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


# A1 to A4, A14: given matrices


@pytest.mark.parametrize(("rho", "expected"), [(0.9, 2.656140e-05), (1.1, 1.378061e4)])
def test_a_scaled_orthogonal_matrix_carries_its_scale_to_the_power_of_the_lag(rho, expected):
    """A1. All singular values of the product are rho^k, so its Frobenius norm is sqrt(H) times that."""
    given = linear(rho * orthogonal(7))
    profile, norms = lag_profile(*given), jacobian_product(*given, [0, 1, 10, 100])
    assert np.isclose(profile.transport[100, 0], rho**100, rtol=2e-13, atol=0) and np.isclose(
        rho**100, expected, rtol=5e-7, atol=0
    )
    assert np.allclose(norms.log_spectral[:, 0], norms.lag * log(rho), rtol=0, atol=1e-12)
    assert np.allclose(norms.log_frobenius[:, 0], norms.lag * log(rho) + log(7) / 2, rtol=0, atol=1e-12)
    assert np.allclose(norms.stable_rank, 7) and norms.method == "exact"
    assert profile.rate.model == "exponential" and np.isclose(profile.rate.value, log(rho), rtol=1e-10)
    assert profile.half_life is None if rho > 1 else np.isclose(profile.half_life, log(2) / -log(rho))


def test_a_diagonal_matrix_carries_each_unit_by_its_own_entry():
    """A2."""
    entries = np.array([0.95, -0.7, 0.3, 1.05])
    cell, params, x = linear(np.diag(entries), steps=300, batch=4)
    logs = lag_profile(cell, params, x, d_output=np.eye(4)).log_norm
    assert np.allclose(logs, np.arange(301)[:, None] * np.log(np.abs(entries)), rtol=1e-12, atol=1e-12)
    found = lyapunov_spectrum(cell, params, x[:, :1], transient=200)
    assert np.allclose(found.exponents, np.sort(np.log(np.abs(entries)))[::-1], atol=1e-6)
    assert np.isclose(found.entropy_rate, log(1.05), atol=1e-6) and abs(found.sum_residual) < 1e-10


def test_a_jordan_block_grows_before_it_decays_and_has_a_polynomial_times_an_exponential():
    """A3. A straight line through its log norms has slope -.0772 where the rate is ln .9 = -.1054."""
    given, lags = linear(JORDAN), np.arange(1, 101)
    norms = jacobian_product(*given, lags)
    frobenius, spectral = np.exp(norms.log_frobenius[:, 0]), np.exp(norms.log_spectral[:, 0])
    assert np.allclose(
        frobenius, np.sqrt(2 * 0.9 ** (2 * lags) + lags**2 * 0.9 ** (2 * lags - 2.0)), rtol=1e-12
    )
    assert lags[spectral.argmax()] == lags[frobenius.argmax()] == 9
    assert np.allclose([spectral.max(), frobenius.max()], [3.91257, 3.91276], rtol=0, atol=5e-6)
    assert lags[frobenius < 1][0] == lags[spectral < 1][0] == 35
    assert np.isclose(frobenius[-1], 2.9515e-3, rtol=2e-5) and np.isclose(
        frobenius[-1] / 0.9**100, 111, atol=0.5
    )
    assert np.isclose(np.polyfit(lags, norms.log_frobenius[:, 0], 1)[0], -0.0772, atol=5e-5)
    rate = lag_profile(*given).rate
    assert rate.model == "polynomial x exponential" and np.isclose(rate.value, log(0.9), rtol=1e-4)


def test_a_nilpotent_shift_has_norm_one_up_to_lag_19_and_is_exactly_zero_from_20_on():
    """A4. The zero is of the structure, not an underflow."""
    given = linear(np.eye(20, k=1))
    norms, profile = jacobian_product(*given, range(25)), lag_profile(*given)
    assert np.allclose(norms.log_spectral[:20], 0, atol=1e-14) and np.isneginf(norms.log_spectral[20:]).all()
    assert profile.first_zero == 20 and profile.rate.model == "finite" and profile.half_life is None
    assert np.isneginf(lyapunov_spectrum(*given, transient=40).exponents).all()


def test_a_non_normal_matrix_of_spectral_radius_zero_grows_by_1_4_a_step():
    """A14. Eigenvalues of W say nothing: unit 2 held at phi' = .3 makes diag(1, .3) W grow."""
    assert np.isclose(np.linalg.svd(WIDE)[1][0], 4)
    assert np.isneginf(lag_profile(*linear(WIDE)).log_norm[2:]).all()
    given = linear(SHRUNK)
    assert np.isclose(np.exp(jacobian_product(*given, [30]).log_spectral[0, 0]), 51047.1, rtol=1e-6)
    seeded = lag_profile(*given, d_output=np.array([[1.0, 0.3]]))
    assert seeded.rate.model == "exponential" and np.isclose(seeded.rate.value, log(1.4), rtol=1e-10)


# A5, A6: tanh


@pytest.mark.parametrize(
    ("w", "expected"), [(1.2, 0.6795432), (1.5, 0.3943130), (2, 0.1663721), (3, 0.0305128)]
)
def test_tanh_at_its_fixed_point_decays_by_the_slope_there(w, expected):
    """A5. w (1 - h*^2), h* = tanh(w h*)."""
    cell, params = (
        cells.get("elman", biases=0),
        {"weight_ih": np.zeros((1, 1)), "weight_hh": np.full((1, 1), float(w))},
    )
    fixed = 0.9
    for _ in range(500):
        fixed = np.tanh(w * fixed)
    assert w != 1.5 or np.isclose(fixed, 0.8585596, atol=5e-8)
    profile = lag_profile(cell, params, np.zeros((60, 1, 1)), state={"h": np.full((1, 1), fixed)})
    assert np.isclose(np.exp(profile.rate.value), w * (1 - fixed**2), rtol=1e-9)
    assert np.isclose(np.exp(profile.rate.value), expected, atol=5e-8)


def test_critical_tanh_decays_as_a_power_of_time_whose_two_ends_differ():
    """A6. dh_k/dh_0 ~ k^-1.5; backward, dh_T/dh_{T-k} = ((T-k)/T)^1.5 for large T: flat where it starts."""
    steps = 100_000
    cell, params = cells.get("elman", biases=0), {"weight_ih": np.zeros((1, 1)), "weight_hh": np.ones((1, 1))}
    logs = lag_profile(cell, params, np.zeros((steps, 1, 1)), state={"h": np.full((1, 1), 0.5)}).log_norm[
        :, 0
    ]
    forward = logs[-1] - logs[::-1]  # of dh_t/dh_0, by t
    decades = np.array([100, 1000, 10_000, 100_000])
    assert np.allclose(np.diff(forward[decades]) / log(10), [-1.464, -1.496, -1.4996], rtol=0, atol=6e-4)
    lags = np.array([10_000, 50_000, 90_000])
    assert np.allclose(logs[lags], 1.5 * np.log(1 - lags / steps), rtol=2e-3)


# A7 to A11: gates


@pytest.mark.parametrize(
    ("bias", "e_fold", "at_50"),
    [(0, 1.443, 8.88e-16), (1, 3.192, 1.576e-7), (2, 7.878, 1.753e-3), (5, 148.91, 0.7148)],
)
def test_an_lstm_with_a_pinned_forget_gate_keeps_c_alive_while_h_is_dead(bias, e_fold, at_50):
    """A7. dc_T/dc_{T-k} = sigma(b)^k, from lag 1 on; dL/dh is exactly 0 from there on."""
    cell, params = pinned("lstm", f=bias)
    profile = lag_profile(cell, params, np.zeros((120, 1, 1)))
    c, h = profile.log_norm_by_state["c"][:, 0], profile.log_norm_by_state["h"][:, 0]
    assert np.isneginf(h[1:]).all() and h[0] == profile.log_norm[0, 0]
    assert np.allclose(c[1:] - c[1], np.arange(120) * np.log(sigmoid(bias)), rtol=1e-12, atol=1e-12)
    assert np.isclose(np.exp(c[51] - c[1]), at_50, rtol=5e-4) and np.isclose(
        -1 / profile.rate.value, e_fold, rtol=4e-4
    )
    spectrum = lyapunov_spectrum(cell, params, np.zeros((60, 1, 1)), transient=5)
    assert (
        np.allclose(spectrum.exponents[:3], np.log(sigmoid(bias)))
        and np.isneginf(spectrum.exponents[3:]).all()
    )


def test_both_biases_of_an_lstm_add_up():
    """A7. bias_ih = bias_hh = 1 keeps by sigma(2)."""
    cell, params = pinned("lstm", f=1)
    cell, params = cells.get("lstm", biases=2), params | {"bias_hh": params["bias_ih"]}
    assert np.isclose(
        lag_profile(cell, params, np.zeros((60, 1, 1))).rate.value, np.log(sigmoid(2)), rtol=1e-10
    )


@pytest.mark.parametrize(("bias", "at_50"), [(2, 1.753e-3), (-2, 6.52e-47)])
def test_a_gru_with_a_pinned_update_gate_keeps_with_z(bias, at_50):
    """A8. As in torch and Keras; Chung et al. 2014 keep with 1 - z, which swaps the two figures."""
    cell, params = pinned("gru", z=bias)
    profile = lag_profile(cell, params, np.zeros((60, 1, 1)))
    assert np.isclose(profile.transport[50, 0], at_50, rtol=5e-4, atol=0)
    found = gates(cell, params, np.zeros((60, 1, 1)))
    assert found.convention.startswith("z keeps") and np.allclose(found.timescale, -1 / np.log(sigmoid(bias)))
    assert np.isclose(found.geometric[50], sigmoid(bias) ** 50) and np.isclose(
        found.arithmetic[50], sigmoid(bias) ** 50
    )


def at_rest(cell, params, hidden):
    """The Jacobian of the joint state at 0 with zero input."""
    x = np.zeros((1, 1, 1))
    return linearise(cell, params, x, forward_path(cell, params, x)[1]).matrices_of(slice(None))[0, 0]


@pytest.mark.parametrize(("w", "expected"), [(1, 0.75), (2, 1.0), (3, 1.25)])
def test_gru_and_lstm_at_rest_have_the_jacobians_of_their_equations(w, expected):
    """A9. GRU: I/2 + W/4. LSTM: [[W/4, I/4], [W/2, I/2]], whose top eigenvalue is the same.

    Its h block alone has w/4.
    """
    matrix, unit = w * np.eye(3), np.eye(3)
    cell, params = pinned("gru")
    params["weight_hh"][6:] = matrix
    gru = at_rest(cell, params, 3)
    assert np.allclose(gru, unit / 2 + matrix / 4, rtol=1e-14)
    cell, params = pinned("lstm")
    params["weight_hh"][6:9] = matrix
    lstm = at_rest(cell, params, 3)
    assert np.allclose(lstm, np.block([[matrix / 4, unit / 4], [matrix / 2, unit / 2]]), rtol=1e-14)
    for whole in (gru, lstm):
        assert np.isclose(np.abs(np.linalg.eigvals(whole)).max(), expected)
    assert np.isclose(lag_profile(cell, params, np.zeros((200, 1, 1))).rate.value, log(expected), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "limit", "at_800"), [("elman", 0.5774, 0.592), ("gru", 0.6443, 0.645), ("lstm", 0.6443, 0.645)]
)
def test_torchs_initialisation_vanishes_by_construction(name, limit, at_800):
    """A10. 1/sqrt(3), and 1/2 + 1/(4 sqrt 3), for H to infinity.

    At H = 800 the largest eigenvalue is up to 3 % beyond.
    """
    assert np.isclose(limit, 1 / sqrt(3) if name == "elman" else 1 / 2 + 1 / (4 * sqrt(3)), atol=5e-5)
    cell = cells.get(name, biases=0)
    params = cell.init(1, 800)
    eigenvalues = np.linalg.eigvals(params["weight_hh"].reshape(-1, 800, 800)[CANDIDATE[name]])
    top = np.abs(eigenvalues if name == "elman" else 1 / 2 + eigenvalues / 4).max()
    assert 0.995 * limit < top < 1.03 * limit and np.isclose(top, at_800, rtol=0.02)
    rate = lag_profile(cell, params, np.zeros((200, 1, 1))).rate
    assert np.isclose(np.exp(rate.value), top, rtol=8e-3)  # a pair of complex ones turns


def test_chrono_units_differ_so_that_their_mean_and_their_geometric_mean_part():
    """A11. b = ln u, u uniform in (1, 783): at lag 784 the mean of f^k is 80-fold the geometric one."""
    u = 1 + 782 * (np.arange(2000) + 0.5) / 2000
    # a cell without recurrent weights, so that many units are cheap
    cell, params = pinned("sru", hidden=2000, f=np.log(u))
    found, lags = gates(cell, params, np.zeros((784, 1, 1))), [1, 10, 100, 784]
    assert np.allclose(found.arithmetic[lags], [0.99236, 0.94065, 0.67661, 0.14864], rtol=0, atol=2e-5)
    assert np.allclose(found.geometric[lags], [0.99200, 0.92286, 0.44810, 0.00185], rtol=3e-3, atol=0)
    assert np.allclose(found.timescale, -1 / np.log(sigmoid(np.log(u)))) and found.beyond == 0
    assert np.isclose(gates(cell, params, np.zeros((392, 1, 1))).beyond, 0.5, atol=2e-3)


# A12, A13: rings, and formats


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (0.9, 0.999)])
def test_a_ring_of_modes_decays_as_a_power_of_the_lag(a, b):
    """A12. mean |lambda|^2k = (b^(2k+2) - a^(2k+2)) / ((k+1)(b^2 - a^2)).

    It is the squared Frobenius norm over the units.
    """
    units, cell = 2000, cells.get("lru")
    squares = a**2 + (b**2 - a**2) * (np.arange(units) + 0.5) / units
    params = cell.init(1, units) | cell.modes(np.sqrt(squares), np.full(units, pi / 7))
    d_output = np.ones((1, 1))
    x = np.zeros((101, 1, 1))
    jacobians = linearise(cell, params, x, forward_path(cell, params, x)[1])
    rows = np.eye(2, 2 * units)[None] * 0
    # one cotangent of every re, one of every im: the modes do not mix
    rows[0, 0, :units] = rows[0, 1, units:] = 1
    for _ in range(100):
        rows = jacobians.pull(0, rows)
    expected = (b**202 - a**202) / (101 * (b**2 - a**2))
    assert np.isclose((rows**2).sum() / (2 * units), expected, rtol=1e-3)
    assert np.isclose(expected, 1 / 101 if not a else 0.0430276, rtol=2e-6)
    assert lag_profile(cell, params, x, d_output=d_output).rate.model != "exponential"


def scalar(rho, steps, **options):
    return precision(*linear([[rho]], steps=steps), **options)


@pytest.mark.parametrize(("dtype", "lag"), [("float16", 25), ("bfloat16", 134), ("float32", 150)])
def test_one_half_underflows_to_exactly_zero_and_what_is_larger_sticks(dtype, lag):
    """A13. Above rho = .5 a subnormal times rho rounds to itself."""
    assert scalar(0.5, 200, dtypes=[dtype])[dtype].first_zero == lag
    found = scalar(0.9, 1400, dtypes=[dtype])[dtype]
    assert found.first_zero is None and found.stuck is not None


@pytest.mark.parametrize(
    ("dtype", "rho", "off"),
    [
        ("float16", 0.9, 141),
        ("float16", 0.99, 395),
        ("bfloat16", 0.9, 59),
        ("bfloat16", 0.99, 53),
        ("bfloat16", 0.999, 96),
        ("float32", 0.9, 962),
    ],
)
def test_a_decay_is_ten_percent_off_from_the_lag_at_which_the_format_fails_it(dtype, rho, off):
    """A13."""
    assert scalar(rho, 1400, dtypes=[dtype])[dtype].off == off


def test_formats_change_the_rate_before_anything_underflows():
    """A13. bfloat16 holds .99 as .98828 and .999 as 1."""
    for rho, stored in ((0.99, 0.98828), (0.999, 1.0)):
        assert np.isclose(
            np.exp(scalar(rho, 100, dtypes=["bfloat16"])["bfloat16"].stored_rate), stored, atol=2e-6
        )


def test_flushing_subnormals_makes_float32_reach_zero():
    """A13. At .9, with torch.set_flush_denormal(True)."""
    assert scalar(0.9, 1000, dtypes=["float32"], flush_subnormals=True)["float32"].first_zero == 829
    found = scalar(0.9, 1000, dtypes=["float32"])["float32"]
    assert found.first_subnormal == 829 and found.first_zero is None


# A15, A16: shares of the lags


@pytest.mark.parametrize(
    ("w", "kept", "expected"), [(0.9, 10, 0.651322), (0.9, 44, 0.990302), (0.99, 100, 0.633968)]
)
def test_truncation_keeps_one_minus_w_to_the_number_of_terms(w, kept, expected):
    """A15. Of a scalar in its steady state, h' = w h + 1, the last K terms of the gradient."""
    cell, params, x = linear([[w]], steps=2500)
    steady = {"h": np.full((1, 1), 1 / (1 - w))}
    found = lag_share(cell, params | {"weight_ih": np.ones((1, 1))}, x + 1, state=steady)
    assert np.isclose(found.signed[:kept].sum(), 1 - w**kept, rtol=1e-9) and np.isclose(
        1 - w**kept, expected, atol=5e-7
    )


def test_shares_of_a_leaky_sum_have_their_closed_form():
    """A16. h' = .9 h + 1 from 0, T = 60, L = h_T: lag k uses h_{T-k-1}."""
    cell, params, x = linear([[0.9]], steps=60)
    found = lag_share(cell, params | {"weight_ih": np.ones((1, 1))}, x + 1)
    assert np.isclose(found.gradient[0, 0], 98.622292, atol=5e-7)
    assert np.allclose(
        found.signed[[0, 1, 5, 10, 20]], [0.101194, 0.091055, 0.059671, 0.035152, 0.012125], atol=5e-7
    )
    assert found.k95 == 27 and np.isclose(found.signed.sum(), 1) and np.allclose(found.signed, found.unsigned)
    assert found.parameter == "weight_hh" and np.allclose(found.cancellation[:-1], 1)


# A17, A18: clipping


def test_clipping_by_value_turns_the_gradient():
    """A17. (3, .1) at 1 by 3.80 degrees, (100, 1) by 44.43; of Gaussian entries in closed form."""
    for vector, cosine in (([3, 0.1], 0.997800), ([100, 1], 0.714142)):
        assert np.isclose(clip_by_value([np.array(vector, float)], 1.0).cosine, cosine, atol=5e-7)
    assert np.allclose(np.degrees(np.arccos([0.997800, 0.714142])), [3.80, 44.43], atol=6e-3)
    drawn = np.random.default_rng(0).standard_normal(400_000)
    for limit, expected in ((0.1, 0.8186), (0.5, 0.8900), (1, 0.9503), (2, 0.9948)):
        density, inside = np.exp(-(limit**2) / 2) / sqrt(2 * pi), 2 * ndtr(limit) - 1
        square = inside - 2 * limit * density + limit**2 * (1 - inside)
        assert np.isclose(inside / sqrt(square), expected, atol=5e-5)
        assert np.isclose(clip_by_value([drawn], limit).cosine, expected, atol=1e-3)
    assert np.isclose(clip_by_value([drawn], 1e-3).cosine, sqrt(2 / pi), atol=1e-3)


def test_clipped_descent_settles_where_the_clipped_gradients_cancel():
    """A18. Gradient x + noise, noise +4 (.2) or -1 (.8), clipped at 1: at x = .75, not at 0."""

    def clipped(gradient):
        return clip_by_norm([np.array([gradient])], 1.0).arrays[0][0]

    assert np.isclose(0.2 * clipped(0.75 + 4) + 0.8 * clipped(0.75 - 1), 0, atol=1e-12)
    rng, x, seen = np.random.default_rng(0), 0.0, []
    for noise in np.where(rng.random(20_000) < 0.2, 4.0, -1.0):
        x -= 0.05 * clipped(x + noise)
        seen.append(x)
    assert np.isclose(np.mean(seen[1000:]), 0.75, atol=0.02)  # its standard error is .0045


# A19 to A21: Lyapunov exponents


class Given(GatedCell):
    """h' = M_t h, the matrix M_t written into the input."""

    gates = ("h",)
    states = ("h",)
    biases: int = 0

    def step(self, params, x, state):
        size = state.h.shape[1]
        h = (x.reshape(-1, size, size) @ state.h.reshape(-1, size, 1)).reshape(-1, size)
        return h, State(h=h)

    def shapes(self, input_size, hidden_size):
        return {"weight_ih": (hidden_size, input_size)}


class Henon(GatedCell):
    """x' = 1 - a x^2 + y, y' = b x."""

    gates = ("g",)
    states = ("x", "y")
    recurrent_gates = ()
    biases: int = 0
    a: float = 1.4
    b: float = 0.3

    def equations(self, wx, wh, prev):
        return State(x=1 - self.a * prev.x * prev.x + prev.y + wx.g, y=self.b * prev.x)


class Logistic(GatedCell):
    """x' = r x (1 - x)."""

    gates = ("g",)
    states = ("x",)
    recurrent_gates = ()
    biases: int = 0
    r: float = 4.0

    def equations(self, wx, wh, prev):
        return State(x=self.r * prev.x * (1 - prev.x) + wx.g)


def of_map(cell, start, steps):
    """The spectrum of a map of one unit without input."""
    state = {name: np.full((1, 1), value) for name, value in zip(cell.states, start, strict=True)}
    return lyapunov_spectrum(cell, {"weight_ih": np.zeros((1, 1))}, np.zeros((steps, 1, 1)), state=state)


def test_a_product_of_ginibre_matrices_has_newmans_exponents():
    """A19. lambda_i = ln g + (ln 2 + psi((N - i + 1) / 2) - ln N) / 2."""
    size, steps, gain = 10, 4000, 1.0
    exact = log(gain) + (log(2) + digamma((size - np.arange(size)) / 2) - log(size)) / 2
    assert np.allclose(exact[[0, -1]], [-0.0517, -1.7865], atol=5e-5)
    x = np.random.default_rng(0).standard_normal((steps, 1, size * size)) * gain / sqrt(size)
    found = lyapunov_spectrum(Given(), {"weight_ih": np.zeros((size, size * size))}, x)
    z = (found.exponents - exact) / found.standard_error
    assert np.abs(z).max() < 3.5 and z.std() > 0.3  # the intervals are neither too narrow nor empty
    assert abs(found.sum_residual) < 1e-10


def test_henons_map_has_its_published_exponents():
    """A20. .4192 and -1.6232, whose sum is ln .3 exactly; the standard deviation at 20 000 steps is .003."""
    found = of_map(Henon(), (0.1, 0.1), 20_000)
    assert np.allclose(found.exponents, [0.4192, -1.6232], rtol=0, atol=0.009)
    assert np.isclose(found.exponents.sum(), log(0.3), rtol=1e-12) and abs(found.sum_residual) < 1e-10
    assert np.isclose(found.kaplan_yorke, 1 + 0.4192 / 1.6232, atol=0.01)
    assert np.isclose(found.entropy_rate, found.exponents[0]) and 0.001 < found.standard_error[0] < 0.01


def test_the_logistic_map_has_exponent_ln_2():
    """A20."""
    found = of_map(Logistic(), (0.3,), 20_000)
    assert np.isclose(found.exponents[0], log(2), atol=2e-3) and found.kaplan_yorke is None


# A23, A24: losses


def data_of(spec):
    return task.get(spec).data(np.random.default_rng(0))


def test_trivial_losses_are_those_of_the_tasks():
    """A23. Adding 1/6, and 1/12 with one marked number known; temporal order ln 4.

    1000 test sequences leave an error of 5 %.
    """
    adding = data_of("adding:steps=50")
    assert np.isclose(adding.trivial_loss, 1 / 6, rtol=0.1)
    x, y = adding.train.x, adding.train.y[:, 0]
    first = (x[:, :25, 0] * x[:, :25, 1]).sum(1)
    assert np.isclose(np.var(y), 1 / 6, rtol=0.05) and np.isclose(np.var(y - first), 1 / 12, rtol=0.05)
    assert np.isclose(data_of("temporal_order").trivial_loss, log(4), atol=0.01)


@pytest.mark.parametrize(("window", "expected"), [(50, 0.125), (100, 1 / 12), (150, 0.0417)])
def test_an_adding_loss_tells_the_length_of_the_memory(window, expected):
    """A24. Who sees the last K of T steps has (2 - min(1, 2K/T) - max(0, 2K/T - 1)) / 12."""
    steps = 200
    assert np.isclose(
        (2 - min(1, 2 * window / steps) - max(0, 2 * window / steps - 1)) / 12, expected, atol=5e-5
    )
    train = data_of(f"adding:steps={steps}").train
    seen, marks = train.x[:, -window:, 0], train.x[:, -window:, 1]
    best = (seen * marks).sum(1) + 0.5 * (2 - marks.sum(1))
    assert np.isclose(np.mean((train.y[:, 0] - best) ** 2), expected, rtol=0.06)
