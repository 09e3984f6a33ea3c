"""The zoo's gated cells against their papers: counts by formula, and loops in the papers' letters.

A witness takes per-gate matrices and loops over single vectors' batches in float64 torch; of cells/ it uses
nothing. ONNX Runtime and torch.nn stand in where they have the cell.
"""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support.comparison import compare, prepare, problem, tolerance
from torch import sigmoid, tanh

from cellbench import cells
from cellbench.cells.vocabulary.matrices import skew

pytestmark = pytest.mark.quick

COUNTS = {
    "peephole_lstm": lambda i, h: 4 * h * (i + h + 1) + 3 * h,
    "cifg": lambda i, h: 3 * h * (i + h + 1),
    "indrnn": lambda i, h: h * i + 2 * h,
    "mgu": lambda i, h: 2 * h * (i + h + 1),
    "janet": lambda i, h: 2 * h * (i + h + 1),
    "ugrnn": lambda i, h: 2 * h * (i + h + 1),
    "slstm": lambda i, h: 4 * h * (i + h + 1),
    "slstm:heads=4": lambda i, h: 4 * h * (i + h // 4 + 1),
    "cornn": lambda i, h: h * (i + 2 * h + 1),
    "unicornn": lambda i, h: h * i + 3 * h,
    "ligru": lambda i, h: 2 * h * (i + h + 1),
    "fastgrnn": lambda i, h: h * (i + h) + 2 * h + 2,
    "minimalrnn": lambda i, h: h * (i + 2 * h + 2),
    "antisymmetric": lambda i, h: h * i + h * (h - 1) // 2 + h,
    "exprnn": lambda i, h: h * i + h * (h - 1) // 2 + h,
}
PUBLISHED = {
    "peephole_lstm": 395008,
    "cifg": 295680,
    "indrnn": 33280,
    "mgu": 197120,
    "janet": 197120,
    "ugrnn": 197120,
    "slstm:heads=4": 197632,
    "antisymmetric": 65664,
    "cornn": 164096,
    "unicornn": 33536,
}
PAPERS = ["indrnn", "cornn", "unicornn", "ligru", "fastgrnn", "antisymmetric", "exprnn"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("inputs", "hidden"), [(128, 256), (1, 4), (5, 8), (40, 36)])
def test_parameters_are_as_many_as_the_formula_says(name, inputs, hidden):
    assert cells.get(name).parameter_count(inputs, hidden) == COUNTS[name](inputs, hidden)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    assert cells.get(name).parameter_count(128, 256) == PUBLISHED[name]


def gates(params, *names):
    """(W, U, b) of each gate: input matrix, recurrent matrix, bias.

    names are for the reader, in the order of the rows.
    """
    parts = (params[k].chunk(len(names)) for k in ("weight_ih", "weight_hh", "bias_ih"))
    return zip(*parts, strict=True)


def peephole_lstm(p, x, s):
    (wi, ui, bi), (wf, uf, bf), (wg, ug, bg), (wo, uo, bo) = gates(p, "i", "f", "g", "o")
    i = sigmoid(x @ wi.T + s.h @ ui.T + p["peephole_i"] * s.c + bi)
    f = sigmoid(x @ wf.T + s.h @ uf.T + p["peephole_f"] * s.c + bf)
    c = i * tanh(x @ wg.T + s.h @ ug.T + bg) + f * s.c
    o = sigmoid(x @ wo.T + s.h @ uo.T + p["peephole_o"] * c + bo)
    return {"h": o * tanh(c), "c": c}


def cifg(p, x, s):
    (wf, uf, bf), (wg, ug, bg), (wo, uo, bo) = gates(p, "f", "g", "o")
    f = sigmoid(x @ wf.T + s.h @ uf.T + bf)
    c = s.c * f + (1 - f) * tanh(x @ wg.T + s.h @ ug.T + bg)
    return {"h": tanh(c) * sigmoid(x @ wo.T + s.h @ uo.T + bo), "c": c}


def indrnn(p, x, s):
    return {"h": torch.clamp(x @ p["weight_ih"].T + s.h @ torch.diag(p["u"]) + p["bias_ih"], min=0)}


def mgu(p, x, s):
    (wf, uf, bf), (wh, uh, bh) = gates(p, "f", "h")
    f = sigmoid(torch.cat([s.h, x], 1) @ torch.cat([uf, wf], 1).T + bf)
    candidate = tanh(torch.cat([f * s.h, x], 1) @ torch.cat([uh, wh], 1).T + bh)
    return {"h": (1 - f) * s.h + f * candidate}


def janet(p, x, s):
    (wf, uf, bf), (wc, uc, bc) = gates(p, "f", "c")
    f = s.h @ uf.T + x @ wf.T + bf
    return {"h": sigmoid(f) * s.h + (1 - sigmoid(f - 1)) * tanh(s.h @ uc.T + x @ wc.T + bc)}


def ugrnn(p, x, s):
    (wc, uc, bc), (wg, ug, bg) = gates(p, "c", "g")
    g = sigmoid(s.h @ ug.T + x @ wg.T + bg)
    return {"h": g * s.h + (1 - g) * tanh(s.h @ uc.T + x @ wc.T + bc)}


def cornn(p, x, s):
    w, w_z = p["weight_hh"].chunk(2, 1)
    force = tanh(s.h @ w.T + s.z @ w_z.T + x @ p["weight_ih"].T + p["bias_ih"])
    z = s.z + 0.042 * force - 0.042 * 2.7 * s.h - 0.042 * 4.7 * s.z
    return {"h": s.h + 0.042 * z, "z": z}


def unicornn(p, x, s):
    step = 0.19 * (0.5 + 0.5 * tanh(p["c"] / 2))
    z = s.z - step * (tanh(p["w"] * s.h + x @ p["weight_ih"].T + p["bias_ih"]) + 30.65 * s.h)
    return {"h": s.h + step * z, "z": z}


def ligru(p, x, s):
    (wz, uz, bz), (wh, uh, bh) = gates(p, "z", "h")
    z = sigmoid(x @ wz.T + s.h @ uz.T + bz)
    return {"h": z * s.h + (1 - z) * torch.clamp(x @ wh.T + s.h @ uh.T + bh, min=0)}


def fastgrnn(p, x, s):
    b_z, b_h = p["bias_ih"].chunk(2)
    shared = x @ p["weight_ih"].T + s.h @ p["weight_hh"].T
    zeta, nu = sigmoid(p["zeta"]).item(), sigmoid(p["nu"]).item()
    z = sigmoid(shared + b_z)
    return {"h": (zeta * (1 - z) + nu) * tanh(shared + b_h) + z * s.h}


def minimalrnn(p, x, s):
    b_z, b_u = p["bias_ih"].chunk(2)
    z = tanh(x @ p["weight_ih"].T + b_z)
    u = sigmoid(s.h @ p["weight_hh"].T + z @ p["weight_zh"].T + b_u)
    return {"h": u * s.h + (1 - u) * z}


def antisymmetric(p, x, s):
    w = lower(p["skew"], x)
    system = w - w.T - 0.01 * torch.eye(len(w), dtype=w.dtype)
    return {"h": s.h + 0.1 * tanh(s.h @ system.T + x @ p["weight_ih"].T + p["bias_ih"])}


def exprnn(p, x, s):
    w = lower(p["skew"], x)
    a = s.h @ torch.linalg.matrix_exp(w - w.T).T + x @ p["weight_ih"].T
    return {"h": torch.sign(a) * torch.clamp(a.abs() + p["bias_modrelu"], min=0)}


def lower(entries, like):
    """The strictly lower triangular matrix of these entries, row by row."""
    size = next(n for n in range(1, 99) if n * (n - 1) // 2 == len(entries))
    matrix = like.new_zeros(size, size)
    matrix[tuple(torch.tril_indices(size, size, -1))] = entries
    return matrix


WITNESSES = [
    peephole_lstm,
    cifg,
    indrnn,
    mgu,
    janet,
    ugrnn,
    cornn,
    unicornn,
    ligru,
    fastgrnn,
    minimalrnn,
    antisymmetric,
    exprnn,
]


def stepped(witness, case):
    """Output and last states of a loop over the witness.

    It gives the new states of one step; the first is the output.
    """
    params = {k: torch.tensor(v) for k, v in case.params.items()}
    state, outputs = {k: torch.tensor(v) for k, v in case.state.items()}, []
    for x in torch.tensor(case.x):
        state = witness(params, x, cells.State(**state))
        outputs.append(state[case.cell.states[0]])
    return {"output": torch.stack(outputs).numpy()} | {f"state.{k}": v.numpy() for k, v in state.items()}


def computed(case):
    out = prepare("numpy", case, direction="forward").forward(case.x, case.state)
    return {"output": out.output} | {f"state.{k}": v for k, v in out.state.items()}


@pytest.mark.parametrize("witness", WITNESSES, ids=lambda w: w.__name__)
def test_the_cell_equals_a_loop_over_its_paper_s_equations(witness):
    case = problem(cells.get(witness.__name__))
    compare(computed(case), stepped(witness, case), 4 * tolerance("float64", case.steps))


def slstm_without_stabiliser(case, heads):
    """Output and c / n by the paper's first form: exponentials as they are, states zero."""
    p = {k: torch.tensor(v) for k, v in case.params.items()}
    x, c, n = torch.tensor(case.x), 0.0, 0.0
    h, outputs = x.new_zeros(case.batch, p["weight_ih"].shape[0] // 4), []
    for now in x:
        raw = {}
        for name, (w, u, b) in zip("ifzo", gates(p, *"ifzo"), strict=True):
            recurrent = torch.block_diag(*u.chunk(heads))
            raw[name] = now @ w.T + h @ recurrent.T + b
        i, f = torch.exp(raw["i"]), sigmoid(raw["f"])
        c, n = f * c + i * tanh(raw["z"]), f * n + i
        h = sigmoid(raw["o"]) * c / n
        outputs.append(h)
    return {"output": torch.stack(outputs).numpy(), "ratio": (c / n).numpy()}


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_slstm_equals_the_form_without_stabiliser_where_that_does_not_overflow(heads):
    case = problem(cells.get("slstm", heads=heads), hidden=8)
    out = prepare("numpy", case, direction="forward").forward(case.x)
    have = {"output": out.output, "ratio": out.state["c"] / out.state["n"]}
    compare(have, slstm_without_stabiliser(case, heads), tolerance("float64", case.steps))
    assert out.state["n"].min() >= 1


def test_slstm_s_first_output_is_o_times_z_even_where_the_input_gate_is_shut(dtype):
    """exp(-800) is 0 in float32 and float64, but h_1 = o * z whatever the input gate is."""
    case = problem(cells.get("slstm"), steps=3)
    case.params["bias_ih"][:7] = -800
    out = prepare("numpy", case, dtype, "forward").forward(case.x)
    raw = case.x[0] @ case.params["weight_ih"].T + case.params["bias_ih"]
    _, _, z, o = np.split(raw, 4, axis=1)
    compare({"h": out.output[0]}, {"h": np.tanh(z) / (1 + np.exp(-o))}, tolerance(dtype, 1))


def test_slstm_s_stabiliser_is_free_to_choose():
    """A number added to m, with c and n divided by its exponential, changes no output and no gradient."""
    case = problem(cells.get("slstm"))
    state = case.state | {"n": 2 + np.abs(case.state["n"])}
    moved = state | {
        "m": state["m"] - 0.25,
        "c": state["c"] * math.exp(0.25),
        "n": state["n"] * math.exp(0.25),
    }
    found = []
    for start in (state, moved):
        program = prepare("numpy", case)
        out = program.forward(case.x, start)
        found.append({"output": out.output} | program.backward(case.d_output).params)
    compare(found[0], found[1], tolerance("float64", case.steps))


def onnx_lstm(case, **attributes):
    """Output of ONNX Runtime's LSTM operator, float32: gates i, o, f, c, peepholes i, o, f."""
    p, hidden = case.params, len(case.params["peephole_i"])

    def ordered(name):
        i, f, g, o = np.split(p[name], 4)
        return np.concatenate([i, o, f, g])

    values = {
        "X": case.x,
        "W": ordered("weight_ih")[None],
        "R": ordered("weight_hh")[None],
        "B": np.concatenate([ordered("bias_ih"), np.zeros(4 * hidden)])[None],
        "H": case.state["h"][None],
        "C": case.state["c"][None],
        "P": np.concatenate([p["peephole_i"], p["peephole_o"], p["peephole_f"]])[None],
    }
    node = onnx.helper.make_node(
        "LSTM", ["X", "W", "R", "B", "", "H", "C", "P"], ["Y"], hidden_size=hidden, **attributes
    )
    real = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info(k, real, v.shape) for k, v in values.items()]
    graph = onnx.helper.make_graph(
        [node], "one", inputs, [onnx.helper.make_tensor_value_info("Y", real, None)]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {k: v.astype(np.float32) for k, v in values.items()})[0][:, 0]


def test_peephole_lstm_equals_onnx_runtime():
    case = problem(cells.get("peephole_lstm"))
    compare({"output": computed(case)["output"]}, {"output": onnx_lstm(case)}, 1e-5)


def test_cifg_is_an_lstm_whose_input_gate_has_the_forget_gate_s_weights_negated():
    case = problem(cells.get("cifg"))
    whole = problem(cells.get("lstm:biases=1"))
    for name, value in case.params.items():
        f, g, o = np.split(value, 3)
        whole.params[name] = np.concatenate([-f, f, g, o])
    whole.x, whole.state = case.x, case.state
    compare(computed(case), computed(whole), tolerance("float64", case.steps))


def test_indrnn_is_an_elman_network_with_a_diagonal_matrix():
    case, whole = problem(cells.get("indrnn")), problem(cells.get("elman:activation=relu:biases=1"))
    whole.params = {k: case.params[k] for k in ("weight_ih", "bias_ih")} | {
        "weight_hh": np.diag(case.params["u"])
    }
    whole.x, whole.state = case.x, case.state
    compare(computed(case), computed(whole), tolerance("float64", case.steps))


def test_janet_with_beta_0_is_a_ugrnn():
    case, whole = problem(cells.get("janet:beta=0")), problem(cells.get("ugrnn"))
    for name, value in case.params.items():
        whole.params[name] = np.concatenate(np.split(value, 2)[::-1])
    whole.x, whole.state = case.x, case.state
    compare(computed(case), computed(whole), tolerance("float64", case.steps))


def test_exprnn_s_matrix_is_orthogonal_and_a_rotation():
    cell = cells.get("exprnn")
    for hidden in (1, 2, 7, 33):
        w = cell.effective(cell.init(5, hidden, scheme="paper"))["weight_hh"]
        np.testing.assert_allclose(w @ w.T, np.eye(hidden), atol=1e-13)
        np.testing.assert_allclose(np.linalg.det(w), 1, rtol=1e-12)


def test_exprnn_keeps_the_norm_where_nothing_comes_in_and_modrelu_is_the_identity():
    case = problem(cells.get("exprnn"), steps=50)
    case.params["bias_modrelu"][:] = 0
    out = prepare("numpy", case, direction="forward").forward(0 * case.x, case.state)
    want = np.linalg.norm(case.state["h"], axis=1)
    np.testing.assert_allclose(np.linalg.norm(out.output, axis=2), np.tile(want, (50, 1)), rtol=1e-12)


def test_exprnn_s_paper_draws_rotations_by_any_angle():
    cell = cells.get("exprnn")
    a = skew(cell.init(5, 8, scheme="paper")["skew"])
    angles = np.array([a[k + 1, k] for k in range(0, 8, 2)])
    assert np.count_nonzero(a) == 8
    np.testing.assert_allclose(
        np.sort(np.abs(np.linalg.eigvals(a).imag))[::2], np.sort(np.abs(angles)), rtol=1e-12
    )
    assert np.abs(angles).max() <= math.pi


def test_antisymmetric_s_matrix_plus_its_transpose_is_the_diffusion():
    cell = cells.get("antisymmetric:gamma=0.25")
    w = cell.effective(cell.init(5, 7))["weight_hh"]
    np.testing.assert_allclose(w + w.T, -2 * 0.25 * np.eye(7), atol=1e-15)


def test_a_skew_matrix_holds_its_entries_row_by_row():
    assert skew(np.array([1.0, 2.0, 3.0])).tolist() == [[0, -1, -2], [1, 0, -3], [2, 3, 0]]
    assert skew(np.zeros(0)).tolist() == [[0]]


def test_cornn_and_unicornn_without_a_drive_follow_the_oscillators_they_discretise():
    """With no weights the units are y'' = -omega^2 y - epsilon y', of which dt -> 0 gives the closed form."""
    dt, steps = 1e-4, 5000
    for spec, omega2, damping in [
        (f"cornn:dt={dt}", 2.7, 4.7),
        (f"unicornn:dt={2 * dt}:alpha=2.7", 2.7, 0.0),
    ]:
        case = problem(cells.get(spec), steps=1, batch=1)
        case.params = {
            k: np.zeros_like(v) for k, v in case.params.items()
        }  # sigmoid(0) halves unicornn's step
        out = prepare("numpy", case, direction="forward", steps=steps).forward(
            np.zeros((steps, 1, 5)), case.state
        )
        # unicornn's y' is z and z' is -alpha y, both per dt * sigmoid(c)
        system = np.array([[0, 1], [-omega2, -damping]])
        values, vectors = np.linalg.eig(system)
        flow = (vectors @ np.diag(np.exp(values * dt * steps)) @ np.linalg.inv(vectors)).real
        want = flow @ np.stack([case.state["h"][0], case.state["z"][0]])
        compare({"h": out.state["h"][0], "z": out.state["z"][0]}, {"h": want[0], "z": want[1]}, 1e-3)


def test_fastgrnn_s_gate_and_candidate_share_their_product():
    """Its products are those of one gate: of W, U and nothing else."""
    assert cells.get("fastgrnn").operations(16, 32).forward_products == 2 * 32 * (16 + 32)


@pytest.mark.parametrize("name", PAPERS)
def test_the_paper_s_scheme_gives_every_array_its_shape_and_depends_on_the_seed(name):
    cell = cells.get(name)
    first, same, other = (cell.init(40, 33, seed=s, scheme="paper") for s in (3, 3, 4))
    assert {k: v.shape for k, v in first.items()} == cell.parameter_shapes(40, 33)
    assert all(np.array_equal(first[k], same[k]) for k in first)
    assert not np.array_equal(first["weight_ih"], other["weight_ih"])
    assert not np.array_equal(first["weight_ih"], cell.init(40, 33, seed=3)["weight_ih"]) or name == "indrnn"


def test_ranges_of_the_papers_schemes():
    u = cells.get("indrnn").init(40, 3300, scheme="paper")["u"]
    assert 0 <= u.min() < 0.01 and 0.99 < u.max() <= 1
    cornn = cells.get("cornn").init(40, 33, scheme="paper")
    assert all(np.abs(v).max() <= 1 / math.sqrt(40 + 66) for v in cornn.values())
    unicornn = cells.get("unicornn").init(40, 3300, scheme="paper")
    assert 0.09 < np.abs(unicornn["c"]).max() <= 0.1 and not unicornn["bias_ih"].any()
    np.testing.assert_allclose(unicornn["weight_ih"].std(), math.sqrt(2 / 65 / 40), rtol=0.02)
    blocks = np.split(cells.get("ligru").init(40, 33, scheme="paper")["weight_hh"], 2)
    assert all(np.allclose(u @ u.T, np.eye(33), atol=1e-13) for u in blocks)
    fast = cells.get("fastgrnn").init(40, 33, scheme="paper")
    assert fast["zeta"] == 1 and fast["nu"] == -4 and (fast["bias_ih"] == 1).all()
    skew_entries = cells.get("antisymmetric").init(40, 133, scheme="paper")["skew"]
    np.testing.assert_allclose(skew_entries.std(), math.sqrt(2 / 133), rtol=0.05)
