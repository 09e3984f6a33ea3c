"""The zoo's elementwise and affine cells against their papers: counts by formula, loops in their letters.

A witness is a plain float64 torch loop over single steps, complex where the paper is; of cells/ it uses
nothing.
"""

import math

import numpy as np
import pytest
import torch
from support.comparison import (
    compare,
    computed,
    fitting,
    on_backends,
    prepare,
    problem,
    supports,
    tolerance,
)
from support.oracle import float64_autograd
from torch import sigmoid, tanh
from torch.nn.functional import conv1d, pad, softplus

from cellbench import cells
from cellbench.cells.zoo.s5 import legs

pytestmark = pytest.mark.quick

COUNTS = {
    "mingru": lambda i, h: 2 * h * (i + 1),
    "mingru:biases=0": lambda i, h: 2 * h * i,
    "minlstm": lambda i, h: 3 * h * (i + 1),
    "minlstm:biases=0": lambda i, h: 3 * h * i,
    "lru": lambda i, h: 3 * h + 2 * h * i + 2 * i * h + i,
    "lru:N=64": lambda i, h: 3 * 64 + 4 * 64 * i + i,
    "s5": lambda i, h: 3 * h + 2 * h * i + 2 * h * h + h,
    "s5:P=6": lambda i, h: 3 * 6 + 2 * 6 * i + 2 * h * 6 + h,
    "rglru": lambda i, h: 2 * (h * h + h) + h,
    "rglru:k=4": lambda i, h: 2 * (h * h // 4 + h) + h,
    "sru": lambda i, h: (3 if i == h else 4) * h * i + 4 * h,
    "qrnn": lambda i, h: 6 * h * i + 3 * h,
    "qrnn:k=3": lambda i, h: 9 * h * i + 3 * h,
    "mamba": lambda i, d: d * 16 + d + d * (math.ceil(d / 16) + 32) + math.ceil(d / 16) * d + d,
    "mamba:N=4:R=3": lambda i, d: d * 4 + d + d * (3 + 8) + 3 * d + d,
}
PUBLISHED = {
    "mingru": 66048,
    "mingru:biases=0": 65536,
    "minlstm": 99072,
    "minlstm:biases=0": 98304,
    "lru:N=64": 33088,
    "rglru": 131840,
    "rglru:k=4": 33536,
    "sru": 132096,
    "qrnn": 197376,
}
EQUAL_SIZES = ("s5", "rglru", "mamba")


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("inputs", "hidden"), [(128, 256), (1, 4), (5, 8), (40, 36), (36, 36)])
def test_parameters_are_as_many_as_the_formula_says(name, inputs, hidden):
    inputs = hidden if name.startswith("mamba") else inputs  # its formula has one width
    assert cells.get(name).parameter_count(inputs, hidden) == COUNTS[name](inputs, hidden)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    assert cells.get(name).parameter_count(128, 256) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["mingru", "minlstm", "lru", "s5", "rglru", "mamba", "qrnn:k=1"])
def test_the_state_is_found_to_be_affine(name):
    assert cells.get(name).affine()


@pytest.mark.parametrize("name", ["sru", "qrnn", "qrnn:k=3", "gru", "lstm", "gru_reset_before", "mlstm"])
def test_the_state_is_found_not_to_be_affine(name):
    assert not cells.get(name).affine()


@pytest.mark.parametrize("name", EQUAL_SIZES)
def test_input_and_state_of_other_widths_are_refused_in_one_line(name):
    with pytest.raises(ValueError, match="input_size 5 must equal hidden_size 7") as caught:
        cells.get(name).init(5, 7)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("lru:N=-1", "N is -1"),
        ("s5:P=-2", "P is -2"),
        ("rglru:k=0", "k is 0"),
        ("qrnn:k=0", "k is 0"),
        ("mamba:N=0", "N is 0"),
        ("mamba:R=-1", "R is -1"),
    ],
)
def test_an_option_that_is_no_size_is_refused(asked, words):
    with pytest.raises(ValueError, match=words):
        cells.get(asked)


def test_blocks_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="3 blocks, which do not divide 7"):
        cells.get("rglru:k=3").init(7, 7)


def mingru(p, xs, h, _):
    wz, wh = p["weight_ih"].chunk(2)
    bz, bh = p["bias_ih"].chunk(2)
    for x in xs:
        z = sigmoid(x @ wz.T + bz)
        h = (1 - z) * h + z * (x @ wh.T + bh)
        yield h, {"h": h}


def minlstm(p, xs, h, _):
    (wf, wi, wh), (bf, bi, bh) = (p[k].chunk(3) for k in ("weight_ih", "bias_ih"))
    for x in xs:
        f, i = sigmoid(x @ wf.T + bf), sigmoid(x @ wi.T + bi)
        h = f / (f + i) * h + i / (f + i) * (x @ wh.T + bh)
        yield h, {"h": h}


def lru(p, xs, re, im):
    lam = torch.exp(torch.complex(-torch.exp(p["nu_log"]), torch.exp(p["theta_log"])))
    b, c = torch.complex(*p["weight_ih"].chunk(2)), torch.complex(p["output_re"], p["output_im"])
    s = torch.complex(re, im)
    for x in xs:
        s = lam * s + torch.exp(p["gamma_log"]) * (x.to(b.dtype) @ b.T)
        yield (s @ c.T).real + p["skip"] * x, {"re": s.real, "im": s.imag}


def s5(p, xs, re, im):
    """Both members of every conjugate pair are run, so that the output is real without taking a part."""
    big = torch.complex(p["lambda_re"], p["lambda_im"])
    b, c = torch.complex(*p["weight_ih"].chunk(2)), torch.complex(p["output_re"], p["output_im"])
    big, b, c = torch.cat([big, big.conj()]), torch.cat([b, b.conj()]), torch.cat([c, c.conj()], 1)
    delta, s = torch.exp(p["delta_log"]).repeat(2), torch.complex(re, im)
    s = torch.cat([s, s.conj()], 1)
    bar = torch.exp(big * delta)
    b_bar = ((bar - 1) / big)[:, None] * b
    for x in xs:
        s = bar * s + x.to(b.dtype) @ b_bar.T
        y = s @ c.T
        assert y.imag.abs().max() < 1e-12
        half = s[:, : re.shape[1]]
        yield y.real + p["skip"] * x, {"re": half.real, "im": half.imag}


def rglru(p, xs, h, _):
    """The appendix's log form; the gates' matrices are put together from their diagonal blocks."""
    k = p["decay"].numel() // p["weight_ih"].shape[1]
    wa, wx = (torch.block_diag(*w.chunk(k)) for w in p["weight_ih"].chunk(2))
    ba, bx = p["bias_ih"].chunk(2)
    for x in xs:
        r, i = sigmoid(x @ wa.T + ba), sigmoid(x @ wx.T + bx)
        a = torch.exp(-8 * softplus(p["decay"]) * r)
        h = a * h + torch.sqrt(1 - a**2) * (i * x)
        yield h, {"h": h}


def sru(p, xs, c, _):
    wf, wr, w, *highway = p["weight_ih"].split(p["v_f"].numel())
    bf, br = p["bias_ih"].chunk(2)
    for x in xs:
        f, r = sigmoid(x @ wf.T + p["v_f"] * c + bf), sigmoid(x @ wr.T + p["v_r"] * c + br)
        c = f * c + (1 - f) * (x @ w.T)
        yield r * c + (1 - r) * (x @ highway[0].T if highway else x), {"c": c}


def mamba(p, xs, h, _):
    d, n = p["a_log"].shape
    rank = p["weight_dt"].shape[1]
    a = -torch.exp(p["a_log"])
    h = h.reshape(-1, d, n)
    for x in xs:
        low, b, c = torch.split(x @ p["weight_ih"].T, [rank, n, n], -1)
        delta = softplus(low @ p["weight_dt"].T + p["bias_dt"])
        h = torch.exp(torch.einsum("bd,dn->bdn", delta, a)) * h + torch.einsum("bd,bn,bd->bdn", delta, b, x)
        yield torch.einsum("bdn,bn->bd", h, c) + p["skip"] * x, {"h": h.reshape(len(x), -1)}


WITNESSES = {
    "mingru": mingru,
    "minlstm": minlstm,
    "lru": lru,
    "lru:N=4": lru,
    "s5": s5,
    "s5:P=4": s5,
    "rglru": rglru,
    "rglru:k=2": rglru,
    "sru": sru,
    "mamba": mamba,
    "mamba:N=3:R=2": mamba,
}


def tensors(arrays):
    return {k: torch.tensor(v) for k, v in arrays.items()}


@on_backends("name", WITNESSES)
def test_outputs_and_states_are_those_of_the_paper_s_equations(name, backend):
    case = problem(cells.get(name))
    out = prepare(backend, case).forward(case.x, case.state)
    given = [*tensors(case.state).values(), None][:2]
    made = list(WITNESSES[name](tensors(case.params), torch.tensor(case.x), *given))
    want = {"output": torch.stack([y for y, _ in made])} | made[-1][1]
    compare(
        {"output": out.output} | out.state,
        {k: v.numpy() for k, v in want.items()},
        16 * tolerance("float64", case.steps),
    )


def test_sru_of_equal_widths_adds_the_input_itself():
    case = problem(cells.get("sru"), inputs=7)
    made = list(sru(tensors(case.params), torch.tensor(case.x), torch.tensor(case.state["c"]), None))
    out = prepare("numpy", case).forward(case.x, case.state)
    compare(
        {"output": out.output},
        {"output": torch.stack([y for y, _ in made]).numpy()},
        tolerance("float64", case.steps),
    )


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_qrnn_is_a_masked_convolution_and_a_pooling(k):
    case = problem(cells.get("qrnn", k=k))
    p = tensors(case.params)
    blocks = p["weight_ih"].reshape(k, 3, 7, 5)  # by lag
    taps = blocks.flip(0).permute(1, 2, 3, 0).reshape(21, 5, k)  # the convolution's last tap is of x_t
    x = torch.tensor(case.x).permute(1, 2, 0)
    z, f, o = conv1d(pad(x, (k - 1, 0)), taps, p["bias_ih"]).permute(2, 0, 1).chunk(3, -1)
    c, outputs = torch.zeros(case.batch, 7), []
    for t in range(case.steps):
        c = sigmoid(f[t]) * c + (1 - sigmoid(f[t])) * tanh(z[t])
        outputs.append(sigmoid(o[t]) * c)
    for backend in cells.backend_names():
        if supports(backend, f"qrnn:k={k}"):
            out = prepare(backend, case, direction="forward").forward(case.x)
            want = {"output": torch.stack(outputs).numpy(), "c": c.numpy()}
            compare({"output": out.output, "c": out.state["c"]}, want, tolerance("float64", case.steps))


@on_backends("name", ["lru:N=4", "s5:P=4", "rglru:k=2", "qrnn:k=3", "mamba:N=3:R=2", "sru"])
def test_gradients_with_options_match_float64_autograd(name, backend):
    case = problem(cells.get(name), inputs=8 if name == "sru" else 5, hidden=8)
    compare(
        computed(prepare(backend, case), case), float64_autograd(case), 16 * tolerance("float64", case.steps)
    )


@on_backends("name", ["rglru"])
@pytest.mark.parametrize("shut", [-800.0, 800.0, -60.0])
def test_a_saturated_gate_of_rglru_keeps_its_state_and_finite_gradients(name, backend, shut, dtype):
    case = problem(cells.get(name))
    case.params["bias_ih"][:7] = shut
    program = prepare(backend, case, dtype)
    have = computed(program, case)
    compare(have, float64_autograd(case), 16 * tolerance(dtype, case.steps))
    if shut == -800:
        kept = np.broadcast_to(case.state["h"], case.x.shape)
        np.testing.assert_allclose(have["output"], kept, atol=1e-6)


def test_two_shut_gates_of_minlstm_share_by_their_ratio():
    case = problem(cells.get("minlstm"))
    case.params["weight_ih"][:14] = 0
    case.params["bias_ih"][:14] = -800
    out = prepare("numpy", case).forward(case.x, case.state)
    h, candidate = case.state["h"], case.x @ case.params["weight_ih"][14:].T + case.params["bias_ih"][14:]
    for y, g in zip(out.output, candidate, strict=True):
        h = (h + g) / 2
        np.testing.assert_allclose(y, h, rtol=1e-12)


def test_s5_holds_its_input_exactly_over_a_small_step_in_float32():
    case = problem(cells.get("s5"))
    case.params["delta_log"][:] = np.log(1e-5)
    want = float64_autograd(case, given=False)
    have = computed(prepare("numpy", case, "float32"), case, given=False)
    np.testing.assert_allclose(have["state.re"], want["state.re"], rtol=1e-4)
    np.testing.assert_allclose(have["state.im"], want["state.im"], rtol=1e-4)


def eigenvalues(name, **options):
    """Of the recurrence, read off the effective arrays."""
    cell = cells.get(name)
    used = cell.effective(cell.init(*fitting(cell, 400, 400), **options))
    re, im = (used[v] for v in cell.vectors)
    return re + 1j * im


@pytest.mark.parametrize("name", ["lru", "s5"])
def test_ring_spreads_the_eigenvalues_evenly_over_its_area(name):
    found = eigenvalues(name, scheme="ring(0.5, 0.9, 1.2)")
    modulus, phase = np.abs(found), np.angle(found)
    assert modulus.min() >= 0.5 and modulus.max() <= 0.9
    assert phase.min() >= 0 and phase.max() <= 1.2
    np.testing.assert_allclose(np.mean(modulus**2), (0.5**2 + 0.9**2) / 2, rtol=0.05)
    np.testing.assert_allclose(phase.mean(), 0.6, rtol=0.1)
    assert not np.array_equal(found, eigenvalues(name, scheme="ring(0.5, 0.9, 1.2)", seed=1))
    assert np.abs(eigenvalues(name, scheme="ring")).max() < 1


def test_ring_normalises_the_input_of_lru():
    cell = cells.get("lru")
    params = cell.init(5, 33, scheme="ring(0.5, 0.99)")
    modulus = np.exp(-np.exp(params["nu_log"]))
    np.testing.assert_allclose(np.exp(params["gamma_log"]), np.sqrt(1 - modulus**2), rtol=1e-10)


@pytest.mark.parametrize(
    "scheme", ["ring(0.9, 0.5)", "ring(-1)", "ring(0, 2)", "ring(0, 1, 0)", "ring(0, 1, 7)", "ring(1, 1)"]
)
def test_what_is_no_ring_is_refused(scheme):
    with pytest.raises(ValueError, match="must have 0 <= r_min < r_max <= 1"):
        cells.get("lru").init(5, 7, scheme=scheme)


@pytest.mark.parametrize("name", ["lstm", "mingru", "rglru"])
def test_ring_is_refused_by_a_cell_without_complex_eigenvalues(name):
    with pytest.raises(ValueError, match="stores no complex eigenvalues"):
        cells.get(name).init(7, 7, scheme="ring")


def test_the_paper_s_lru_is_the_whole_ring_with_glorot_matrices():
    params = cells.get("lru").init(300, 400, scheme="paper")
    modulus = np.exp(-np.exp(params["nu_log"]))
    np.testing.assert_allclose(np.mean(modulus**2), 0.5, rtol=0.1)
    np.testing.assert_allclose(params["weight_ih"].std(), 1 / math.sqrt(600), rtol=0.02)
    np.testing.assert_allclose(params["output_im"].std(), 1 / math.sqrt(400), rtol=0.02)


def test_the_paper_s_s5_has_the_eigenvalues_of_hippo_legs():
    """The normal part is HiPPO-LegS plus a rank one: A + P P' has real part -1/2."""
    cell, p, width = cells.get("s5", P=6), 6, 9
    params = cell.init(width, width, scheme="paper")
    n = np.arange(2 * p)
    a = -np.tril(np.outer(np.sqrt(2 * n + 1), np.sqrt(2 * n + 1)), -1) - np.diag(n + 1)
    normal = a + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5))
    have = params["lambda_re"] + 1j * params["lambda_im"]
    np.testing.assert_allclose(have.real, -0.5)
    turns = np.concatenate([have.imag, -have.imag])
    np.testing.assert_allclose(np.sort(turns), np.sort(np.linalg.eigvals(normal).imag), atol=1e-9)
    eigenvalues, basis = legs(2 * p)
    np.testing.assert_allclose(normal @ basis, basis * eigenvalues, atol=1e-9)
    step = np.exp(params["delta_log"])
    assert step.min() >= 0.001 and step.max() <= 0.1


def test_the_paper_s_mamba_counts_its_decays_and_draws_its_steps():
    params = cells.get("mamba").init(64, 64, scheme="paper")
    np.testing.assert_allclose(np.exp(params["a_log"]), np.tile(np.arange(1, 17), (64, 1)))
    step = np.logaddexp(params["bias_dt"], 0)
    assert step.min() >= 0.001 and step.max() <= 0.1 and step.max() / step.min() > 20
    assert (params["skip"] == 1).all()


def test_the_paper_s_rglru_decays_within_its_bounds():
    params = cells.get("rglru").init(256, 256, scheme="paper")
    fastest = np.exp(-8 * np.logaddexp(params["decay"], 0))
    assert 0.9 <= fastest.min() < 0.91 and 0.99 < fastest.max() <= 0.999
    assert not params["bias_ih"].any()


@pytest.mark.parametrize("name", ["sru", "qrnn", "minlstm"])
def test_the_forget_bias_is_set_where_biases_are_of_the_first_gates(name):
    cell = cells.get(name)
    params, plain = (cell.init(5, 7, scheme=scheme) for scheme in ("forget_bias(2.5)", "torch"))
    rows = np.arange(len(params["bias_ih"])) // 7 == cell.gates.index("f")
    assert (params["bias_ih"][rows] == 2.5).all()
    assert np.array_equal(params["bias_ih"][~rows], plain["bias_ih"][~rows])
