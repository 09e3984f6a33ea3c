"""The zoo's cells that join units inside their step, against papers, ONNX Runtime, and a parallel form."""

import math

import numpy as np
import pytest
import torch
from support.comparison import compare, computed, on_backends, prepare, problem, tolerance
from support.oracle import float64_autograd
from torch import sigmoid, tanh

from cellbench import cells

pytestmark = pytest.mark.quick

COUNTS = {
    "gru_reset_before": lambda i, h: 3 * h * (i + h + 1),
    "lem": lambda i, h: 4 * h * (i + h + 1),
    "layernorm_lstm": lambda i, h: 4 * h * (i + h + 1) + 2 * (4 * h + 4 * h + h),
    "mlstm": lambda i, h: i * 4 * h + 2 * (i + 1),
    "mlstm:heads=4": lambda i, h: i * 4 * h + 8 * (i + 1),
    "mlstm:heads=2:d_qk=3:d_v=5": lambda i, h: i * 2 * (2 * 3 + 2 * 5) + 4 * (i + 1),
}
PUBLISHED = {"gru_reset_before": 295680, "lem": 394240}
MEMORIES = ["mlstm", "mlstm:heads=4", "mlstm:heads=2:d_qk=3:d_v=5"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("inputs", "hidden"), [(128, 256), (1, 4), (5, 8), (40, 36)])
def test_parameters_are_as_many_as_the_formula_says(name, inputs, hidden):
    assert cells.get(name).parameter_count(inputs, hidden) == COUNTS[name](inputs, hidden)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    assert cells.get(name).parameter_count(128, 256) == PUBLISHED[name]


@pytest.mark.parametrize("name", COUNTS)
def test_only_matrix_memories_have_no_kernel_and_none_is_an_affine_recurrence(name):
    cell = cells.get(name)
    assert not cell.affine()
    reason = cells.backend("numba").unsupported(cell)
    assert "writes out its step" in reason if name in MEMORIES else reason is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("lem:dt=0", "dt is 0"),
        ("lem:dt=1.5", "at most 1"),
        ("layernorm_lstm:eps=0", "eps is 0"),
        ("mlstm:heads=0", "heads is 0"),
        ("mlstm:d_qk=-1", "d_qk is -1"),
    ],
)
def test_an_option_out_of_its_bounds_is_refused(asked, words):
    with pytest.raises(ValueError, match=words):
        cells.get(asked)


def test_sizes_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(ValueError, match="4 heads, which do not divide hidden_size 7"):
        cells.get("mlstm:heads=4").init(5, 7)
    with pytest.raises(ValueError, match="hidden_size 1 its output would not depend on c"):
        cells.get("layernorm_lstm").init(5, 1)
    assert cells.get("mlstm:heads=4:d_qk=3:d_v=2").init(5, 7)["weight_ih"].shape == (40, 5)


def gru_reset_before(p, xs, h):
    (wr, wz, wh), (ur, uz, u), (br, bz, b) = (p[k].chunk(3) for k in ("weight_ih", "weight_hh", "bias_ih"))
    for x in xs:
        r, z = sigmoid(x @ wr.T + h @ ur.T + br), sigmoid(x @ wz.T + h @ uz.T + bz)
        h = z * h + (1 - z) * tanh(x @ wh.T + (r * h) @ u.T + b)
        yield h, {"h": h}


def layernorm_lstm(p, xs, h, c):
    def ln(a, what):
        gain, shift = p[f"gain_{what}"], p[f"shift_{what}"]
        return torch.nn.functional.layer_norm(a, gain.shape, gain, shift, eps=1e-5)

    for x in xs:
        rows = ln(h @ p["weight_hh"].T, "hh") + ln(x @ p["weight_ih"].T, "ih") + p["bias_ih"]
        i, f, g, o = rows.chunk(4, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(ln(c, "c"))
        yield h, {"h": h, "c": c}


def lem(p, us, y, z, dt=1.0):
    (v1, v2, vz, vy), (w1, w2, wz, wy), (b1, b2, bz, by) = (
        p[k].chunk(4) for k in ("weight_ih", "weight_hh", "bias_ih")
    )
    for u in us:
        step, bar = dt * sigmoid(y @ w1.T + u @ v1.T + b1), dt * sigmoid(y @ w2.T + u @ v2.T + b2)
        z = (1 - step) * z + step * tanh(y @ wz.T + u @ vz.T + bz)
        y = (1 - bar) * y + bar * tanh(z @ wy.T + u @ vy.T + by)
        yield y, {"y": y, "z": z}


def mgu(p, xs, h):
    (wf, wh), (uf, uh), (bf, bh) = (p[k].chunk(2) for k in ("weight_ih", "weight_hh", "bias_ih"))
    for x in xs:
        f = sigmoid(x @ wf.T + h @ uf.T + bf)
        h = (1 - f) * h + f * tanh(x @ wh.T + (f * h) @ uh.T + bh)
        yield h, {"h": h}


def rows_of(p, heads, d_qk, d_v):
    """(W_q, W_k, W_v, W_o) by head, and (w, b) of the gates i and f by head."""
    q, k, v, o = p["weight_ih"].split([heads * d_qk, heads * d_qk, heads * d_v, heads * d_v])
    gates = zip(p["weight_if"].chunk(2), p["bias_if"].chunk(2), strict=True)
    return [w.reshape(heads, -1, w.shape[1]) for w in (q, k, v, o)], gates


def mlstm(p, xs, memory, n, m):
    """Without a stabiliser, as the paper's equations 19 to 27: C, n and exp are what they are."""
    heads, d_v, d_qk = memory.shape[1:]
    values, ((wi, bi), (wf, bf)) = rows_of(p, heads, d_qk, d_v)
    true = torch.exp(m)
    memory, n = memory * true[..., None, None], n * true[..., None]
    for x in xs:
        q, k, v, o = (torch.einsum("hdi,bi->bhd", w, x) for w in values)
        i, f = torch.exp(x @ wi.T + bi), sigmoid(x @ wf.T + bf)
        k = k / math.sqrt(d_qk)
        memory = f[..., None, None] * memory + i[..., None, None] * torch.einsum("bhv,bhk->bhvk", v, k)
        n = f[..., None] * n + i[..., None] * k
        below = torch.einsum("bhk,bhk->bh", n, q).abs().clamp(min=1)
        yield (
            (sigmoid(o) * torch.einsum("bhvk,bhk->bhv", memory, q) / below[..., None]).flatten(1),
            {"C": memory, "n": n},
        )


WITNESSES = {
    "gru_reset_before": gru_reset_before,
    "layernorm_lstm": layernorm_lstm,
    "lem": lem,
    "lem:dt=0.25": lem,
    "mgu": mgu,
    **dict.fromkeys(MEMORIES, mlstm),
}


def tensors(arrays):
    return {k: torch.tensor(v) for k, v in arrays.items()}


@on_backends("name", WITNESSES)
def test_outputs_and_states_are_those_of_the_paper_s_equations(name, backend):
    case = problem(cells.get(name))
    out = prepare(backend, case).forward(case.x, case.state)
    options = {"dt": case.cell.dt} if name.startswith("lem") else {}
    made = list(
        WITNESSES[name](tensors(case.params), torch.tensor(case.x), *tensors(case.state).values(), **options)
    )
    have, want = (
        {"output": out.output} | out.state,
        {"output": torch.stack([y for y, _ in made])} | made[-1][1],
    )
    if name in MEMORIES:
        true = np.exp(have.pop("m"))
        have |= {"C": have["C"] * true[..., None, None], "n": have["n"] * true[..., None]}
    compare(have, {k: v.numpy() for k, v in want.items()}, 4 * tolerance("float64", case.steps))


@on_backends("name", [name for name in WITNESSES if name not in MEMORIES], backends=["numpy", "numba"])
@pytest.mark.parametrize("steps", [1, 17])
def test_gradients_are_autograd_s_through_the_paper_s_equations(name, backend, steps):
    case = problem(cells.get(name), steps=steps, batch=5, inputs=4, hidden=33)
    options = {"dt": case.cell.dt} if name.startswith("lem") else {}
    p, state, x = tensors(case.params), tensors(case.state), torch.tensor(case.x)
    leaves = {f"d_{k}": v for k, v in p.items()} | {"d_x": x} | {f"d_state.{k}": v for k, v in state.items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    made = list(WITNESSES[name](p, x, *state.values(), **options))
    seeds = [torch.tensor(case.d_output), *tensors(case.d_state).values()]
    found = torch.autograd.grad(
        [torch.stack([y for y, _ in made]), *made[-1][1].values()], list(leaves.values()), seeds
    )
    have = computed(prepare(backend, case), case)
    want = dict(zip(leaves, (d.numpy() for d in found), strict=True))
    compare({k: have[k] for k in want}, want, 1e-10)


@pytest.mark.parametrize("name", MEMORIES)
def test_mlstm_equals_its_parallel_form(name):
    """The paper's quadratic form: (Q K' * D) V over its normaliser.

    D = exp(cumulated log f + i, less its row's largest).
    """
    case = problem(cells.get(name))
    p, x = tensors(case.params), torch.tensor(case.x)
    heads, d_v, d_qk = case.state["C"].shape[1:]
    values, ((wi, bi), (wf, bf)) = rows_of(p, heads, d_qk, d_v)
    q, k, v, o = (torch.einsum("hdi,tbi->bhtd", w, x) for w in values)
    i, f = (torch.einsum("hi,tbi->bht", w, x) + b[:, None] for w, b in ((wi, bi), (wf, bf)))
    total = torch.nn.functional.logsigmoid(f).cumsum(-1)
    logs = total[..., :, None] - total[..., None, :] + i[..., None, :]
    logs = logs.masked_fill(~torch.ones(case.steps, case.steps, dtype=torch.bool).tril(), -math.inf)
    m = logs.amax(-1, keepdim=True)
    c = (q @ k.mT / math.sqrt(d_qk)) * torch.exp(logs - m)
    below = torch.maximum(c.sum(-1, keepdim=True).abs(), torch.exp(-m))
    want = (sigmoid(o) * (c @ v) / below).permute(2, 0, 1, 3).flatten(2)
    for backend in ("numpy", "torch"):
        have = prepare(backend, case).forward(case.x).output
        compare({"output": have}, {"output": want.numpy()}, 4 * tolerance("float64", case.steps))


@pytest.mark.parametrize("name", MEMORIES)
def test_the_stabiliser_of_mlstm_is_free_to_choose(name):
    case = problem(cells.get(name))
    program = prepare("numpy", case)
    want = program.forward(case.x, case.state).output
    scale = np.exp(-3.5)
    state = {"C": case.state["C"] * scale, "n": case.state["n"] * scale, "m": case.state["m"] + 3.5}
    compare(
        {"output": program.forward(case.x, state).output}, {"output": want}, tolerance("float64", case.steps)
    )


@on_backends("name", ["mlstm"])
@pytest.mark.parametrize("bias", [-800.0, 800.0])
@pytest.mark.parametrize("gate", [0, 1])
def test_saturated_exponential_gates_of_mlstm_stay_finite(name, backend, gate, bias, dtype):
    """A shut input gate writes nothing, an open one far beyond float32's exp writes all."""
    case = problem(cells.get(name))
    case.params["bias_if"][gate] = bias
    have = computed(prepare(backend, case, dtype), case)
    assert all(np.isfinite(v).all() for v in have.values())
    if (gate, bias) == (0, -800.0):
        zero = prepare(backend, case, dtype).forward(case.x).output
        assert np.abs(zero).max() < 1e-30


@on_backends("name", [*MEMORIES, "lem:dt=0.25", "layernorm_lstm:eps=0.01"], backends=["numpy", "torch"])
def test_gradients_with_options_match_float64_autograd(name, backend):
    case = problem(cells.get(name), hidden=8)
    compare(
        computed(prepare(backend, case), case), float64_autograd(case), 4 * tolerance("float64", case.steps)
    )


@pytest.mark.parametrize("biases", [0, 1, 2])
def test_gru_reset_before_equals_onnx_runtime(biases):
    """ONNX's GRU with linear_before_reset 0, its default: gates z, r, h, input biases first."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    case = problem(cells.get("gru_reset_before", biases=biases))

    def in_onnx_order(array):
        r, z, n = np.split(array, 3)
        return np.concatenate([z, r, n])

    p = {k: in_onnx_order(v).astype(np.float32) for k, v in case.params.items()}
    zero = np.zeros(21, np.float32)
    both = np.concatenate([p.get("bias_ih", zero), p.get("bias_hh", zero)])
    inputs = {
        "X": case.x.astype(np.float32),
        "W": p["weight_ih"][None],
        "R": p["weight_hh"][None],
        "B": both[None],
        "h": case.state["h"].astype(np.float32)[None],
    }
    node = onnx.helper.make_node(
        "GRU", ["X", "W", "R", "B", "", "h"], ["Y", "Y_h"], hidden_size=7, linear_before_reset=0
    )
    values = [
        onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in inputs.items()
    ]
    made = [onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, None) for k in ("Y", "Y_h")]
    graph = onnx.helper.make_graph([node], "gru", values, made)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, last = session.run(None, inputs)
    out = prepare("numpy", case).forward(case.x, case.state)
    compare({"output": out.output, "h": out.state["h"]}, {"output": y[:, 0], "h": last[0]}, 1e-5)


def test_the_paper_s_layernorm_lstm_starts_with_gains_of_one():
    params = cells.get("layernorm_lstm").init(5, 7, scheme="paper")
    assert all((params[f"gain_{k}"] == 1).all() and not params[f"shift_{k}"].any() for k in ("ih", "hh", "c"))
