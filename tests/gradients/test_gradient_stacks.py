"""Gradient measures of stacks, whose joint state is all layers'; autograd through torch.nn is the oracle."""

from functools import cache

import numpy as np
import pytest
import torch
from support.comparison import CELLS, ODD, fitting, label, problem

from cellbench import cells
from cellbench.cells import State
from cellbench.cells.derived import layers
from cellbench.cells.programs.joint import joint
from cellbench.harness.gradients import (
    gates,
    input_reach,
    jacobian_product,
    lag_profile,
    lag_share,
    lyapunov_spectrum,
    precision,
    saturation,
    sensitivity,
)
from cellbench.harness.gradients.cell.by_layer import backwards
from cellbench.harness.gradients.cell.linearise import linearise
from cellbench.harness.gradients.cell.path import forward_path
from cellbench.harness.gradients.cell.share import _share

STEPS, BATCH, INPUTS, HIDDEN = 12, 2, 3, 4
DEEP = ["lstm:layers=2", "gru:layers=3", "elman:layers=2", "lstm:layers=2:proj_size=3"]
BOTH = ["lstm:bidirectional=true", "gru:bidirectional=true"]
deep = pytest.mark.parametrize("spec", DEEP)
both = pytest.mark.parametrize("spec", BOTH)
either = pytest.mark.parametrize("spec", DEEP + BOTH)


@cache
def of(spec, steps=STEPS):
    """The problem, and for its torch.nn module: the joint state (T + 1 arrays), and all leaves by name."""
    case = problem(cells.get(spec), steps=steps, batch=BATCH, inputs=INPUTS, hidden=HIDDEN)
    kind, options = case.cell.torch_module()
    sizes = {"num_layers": case.cell.layers, "bidirectional": case.cell.bidirectional}
    module = getattr(torch.nn, kind)(INPUTS, HIDDEN, dtype=torch.float64, **sizes, **options)
    params = {k: torch.tensor(v, requires_grad=True) for k, v in case.params.items()}
    return case, module, params


def stepped(spec, steps=STEPS):
    """The states (tuples of leaves' views) after each step, x by step, and the last output, by torch.nn."""
    case, module, params = of(spec, steps)
    state = tuple(torch.tensor(v, requires_grad=True) for v in case.state.values())
    xs = [torch.tensor(x, requires_grad=True) for x in case.x]
    path = [state]
    for x in xs:
        given = state if len(state) > 1 else state[0]
        output, last = torch.func.functional_call(module, params, (x[None], given))
        last = last if isinstance(last, tuple) else (last,)
        # each state a tensor of its own, which the next step alone reads
        state = tuple(s.clone() for s in last)
        path.append(state)
    return path, xs, output[0], params


def ended(spec):
    """The loss of a bidirectional layer: each direction's output at its own end, which is h_n."""
    case, module, params = of(spec)
    x = torch.tensor(case.x, requires_grad=True)
    state = tuple(torch.tensor(v) for v in case.state.values())
    _, last = torch.func.functional_call(module, params, (x, state if len(state) > 1 else state[0]))
    h = last[0] if isinstance(last, tuple) else last
    loss = (torch.cat(list(h), -1) * torch.tensor(case.d_output[-1])).sum()
    return loss, x, params


def given(case):
    return {"state": case.state, "d_output": case.d_output[-1]}


def logs_of(arrays):
    """(T, B): logs of norms over all but the batch's axis, which is the second of each state (L, B, n)."""
    with np.errstate(divide="ignore"):
        return np.log([np.sqrt(sum((a.numpy() ** 2).sum((0, 2)) for a in states)) for states in arrays])


@deep
def test_the_profile_of_a_stack_is_autograd_s_through_torch_nn(spec):
    case, *_ = of(spec)
    path, _, output, _ = stepped(spec)
    loss = (output * torch.tensor(case.d_output[-1])).sum()
    flat = [s for state in path[:-1] for s in state]
    pulled = torch.autograd.grad(loss, flat, retain_graph=True, materialize_grads=True)
    count = len(path[0])
    expected = [pulled[k : k + count] for k in range(0, len(pulled), count)][::-1]
    found = lag_profile(case.cell, case.params, case.x, **given(case))
    assert np.allclose(found.log_norm[1:], logs_of(expected), rtol=1e-12, atol=1e-12)
    for k, name in enumerate(case.cell.states):
        for layer in range(case.cell.layers):
            own = logs_of([[state[k][layer : layer + 1]] for state in expected])
            by_layer = found.log_norm_by_state[f"{name}_l{layer}"][1:]
            # at lag 1 nothing reaches the lower layers' states but through the layers above
            assert np.allclose(by_layer, own, rtol=1e-11, atol=1e-11), (name, layer)
    last = np.log(np.linalg.norm(case.d_output[-1], axis=1))
    assert np.allclose(found.log_norm[0], last, rtol=1e-12)


@deep
@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_backends_that_step_a_stack_give_the_same_profile(spec, backend):
    case, *_ = of(spec)
    exact = lag_profile(case.cell, case.params, case.x, **given(case))
    found = lag_profile(case.cell, case.params, case.x, **given(case), backend=backend, dtype="float32")
    assert np.allclose(found.log_norm, exact.log_norm, atol=1e-4)
    with pytest.raises(ValueError, match=r"^backend numba computes cell .* layer by layer, so it has no"):
        lag_profile(case.cell, case.params, case.x, backend="numba", dtype="float64")


def jacobian(spec, lag):
    """ds_T/ds_{T-lag} of sample 0 through torch.nn, (n, n), layer after layer, in a layer state by state."""
    path, *_ = stepped(spec)

    def joined(state):
        return torch.cat([s[k, 0] for k in range(len(state[0])) for s in state])

    rows = []
    for value in joined(path[-1]):
        pulled = torch.autograd.grad(value, path[-1 - lag], retain_graph=True, materialize_grads=True)
        rows.append(joined(pulled))
    return torch.stack(rows).numpy()


@deep
@pytest.mark.parametrize("lag", [1, 5, STEPS])
def test_the_jacobian_product_of_a_stack_is_autograd_s(spec, lag):
    case, *_ = of(spec)
    expected = jacobian(spec, lag)
    found = jacobian_product(case.cell, case.params, case.x, [lag], state=case.state)
    assert found.method == "exact"
    assert np.allclose(np.exp(found.log_spectral[0, 0]), np.linalg.norm(expected, 2), rtol=1e-12)
    assert np.allclose(np.exp(found.log_frobenius[0, 0]), np.linalg.norm(expected), rtol=1e-12)


@deep
def test_the_spectrum_of_a_stack_is_that_of_its_jacobians(spec):
    case = problem(cells.get(spec), steps=60, batch=1, inputs=INPUTS, hidden=HIDDEN)
    found = lyapunov_spectrum(case.cell, case.params, case.x, transient=0)
    whole = joint(case.cell)
    path = forward_path(whole, case.params, case.x)[1]
    matrices = linearise(whole, case.params, case.x, path).matrices_of(slice(None))[:, 0]
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal(matrices.shape[1:]))[0]
    total = np.zeros(len(directions))
    for matrix in matrices:
        directions, r = np.linalg.qr(matrix @ directions)
        total += np.log(np.abs(np.diag(r)))
    alive = np.isfinite(found.exponents)
    assert alive.sum() >= HIDDEN and np.isclose(found.exponents[0], max(total) / 60, atol=1e-3)
    if alive.all():
        assert np.isclose(found.exponents.sum(), np.linalg.slogdet(matrices)[1].mean(), rtol=1e-9)


def test_the_exponents_of_two_directions_are_those_of_each():
    cell = cells.get("gru:bidirectional=true")
    params, x = cell.init(INPUTS, HIDDEN), np.random.default_rng(3).standard_normal((400, 1, INPUTS))
    found = lyapunov_spectrum(cell, params, x, transient=20).exponents
    single, each = cells.get("gru"), []
    for suffix, order in (("_l0", 1), ("_l0_reverse", -1)):
        own = {name: params[name + suffix] for name in single.parameter_shapes(INPUTS, HIDDEN)}
        each.append(lyapunov_spectrum(single, own, x[::order], transient=20).exponents)
    assert np.allclose(found, np.sort(np.concatenate(each))[::-1], atol=2e-2)
    assert np.isclose(found.sum(), np.sum(each), rtol=1e-9)  # the mean log determinant
    in_blocks = lyapunov_spectrum(cell, params, iter(np.split(x, 4)), transient=20).exponents
    assert np.allclose(in_blocks, found, rtol=1e-12)


@either
def test_the_lags_add_up_to_the_array_s_gradient(spec):
    case, *_ = of(spec)
    if case.cell.bidirectional:
        loss, _, params = ended(spec)
    else:
        *_, output, params = stepped(spec)
        loss = (output * torch.tensor(case.d_output[-1])).sum()
    names = [n for n in params if n.startswith("weight")]
    expected = torch.autograd.grad(loss, [params[n] for n in names], retain_graph=True)
    for name, d in zip(names, expected, strict=True):
        share = lag_share(case.cell, case.params, case.x, parameter=name, **given(case))
        assert np.allclose(share.gradient, d.numpy(), rtol=1e-10, atol=1e-13), name
        assert np.isclose(share.signed.sum(), 1)
    assert lag_share(case.cell, case.params, case.x, **given(case)).parameter == "weight_hh_l0"
    with pytest.raises(ValueError, match=r"parameter is 'weight_hh'; the steps of cell .* use weight_hh_l0"):
        lag_share(case.cell, case.params, case.x, parameter="weight_hh")


@deep
def test_the_input_reach_of_a_stack_is_autograd_s(spec):
    case, *_ = of(spec)
    _, xs, output, _ = stepped(spec)
    pulled = torch.autograd.grad((output * torch.tensor(case.d_output[-1])).sum(), xs)
    expected = np.log([np.linalg.norm(d.numpy(), axis=1) for d in pulled])[::-1]
    assert np.allclose(
        input_reach(case.cell, case.params, case.x, **given(case)).log_norm, expected, rtol=1e-12, atol=1e-12
    )


@both
def test_each_direction_counts_its_lags_from_its_own_end(spec):
    """x_{T-1-k} reaches the forward output, x_k the reverse one, and their squares add up."""
    case, *_ = of(spec)
    single, squares = cells.get(spec.partition(":")[0]), 0.0
    profiles = []
    for k, (suffix, order) in enumerate((("_l0", 1), ("_l0_reverse", -1))):
        own = {name: case.params[name + suffix] for name in single.parameter_shapes(INPUTS, HIDDEN)}
        one = {
            "state": {name: v[k] for name, v in case.state.items()},
            "d_output": case.d_output[-1][:, k * HIDDEN : (k + 1) * HIDDEN],
        }
        squares = squares + np.exp(2 * input_reach(single, own, case.x[::order], **one).log_norm)
        profiles.append(lag_profile(single, own, case.x[::order], **one).log_norm)
    found = input_reach(case.cell, case.params, case.x, **given(case)).log_norm
    assert np.allclose(found, 0.5 * np.log(squares), rtol=1e-12, atol=1e-12)
    whole = lag_profile(case.cell, case.params, case.x, **given(case))
    joined = 0.5 * np.logaddexp(2 * profiles[0], 2 * profiles[1])
    assert np.allclose(whole.log_norm, joined, rtol=1e-12, atol=1e-12)
    in_torch = lag_profile(case.cell, case.params, case.x, **given(case), backend="torch", dtype="float64")
    assert np.allclose(in_torch.log_norm[1:], joined[1:], rtol=1e-10, atol=1e-10)
    for k, suffix in enumerate(("_l0", "_l0_reverse")):
        own = [logs for name, logs in whole.log_norm_by_state.items() if name.endswith(suffix)]
        joint_norm = 0.5 * np.logaddexp.reduce([2 * logs for logs in own])
        assert np.allclose(joint_norm, profiles[k], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", ["gru:bidirectional=true", "gru:layers=2:bidirectional=true"])
def test_sensitivity_at_a_horizon_is_of_that_many_first_steps(spec):
    case, *_ = of(spec)
    found = sensitivity(case.cell, case.params, case.x, **given(case))
    squares = []
    for b in range(BATCH):
        one = {"state": {k: v[:, b : b + 1] for k, v in case.state.items()}}
        one["d_output"] = case.d_output[-1][b : b + 1]
        squares.append(2 * lag_share(case.cell, case.params, case.x[:4, b : b + 1], **one).log_norm)
    expected = 0.5 * np.log(np.exp(squares).mean())
    assert np.isclose(found.log_parameter[list(found.horizon).index(4)], expected, rtol=1e-12)


@either
def test_formats_and_sensitivity_take_stacks(spec):
    case, *_ = of(spec)
    x, state = case.x[:, :1], {k: v[:, :1] for k, v in case.state.items()}
    found = precision(case.cell, case.params, x, state=state, d_output=case.d_output[-1][:1])["float64"]
    exact = lag_profile(case.cell, case.params, x, state=state, d_output=case.d_output[-1][:1])
    assert np.allclose(found.log_norm, exact.log_norm[1:, 0], rtol=1e-9, atol=1e-9)
    assert np.isfinite(sensitivity(case.cell, case.params, case.x, **given(case)).log_parameter).all()


@pytest.mark.parametrize("spec", ["lstm:layers=2", "lstm:layers=2:bidirectional=true"])
def test_gates_of_a_stack_are_those_of_each_layer_on_what_it_reads(spec):
    case, *_ = of(spec)
    hidden = torch.tensor(case.x)
    zeros = np.zeros_like(next(iter(case.state.values())))
    single, logs = cells.get("lstm"), []
    for layer in range(2):
        outputs = []
        for suffix in [f"_l{layer}", f"_l{layer}_reverse"][: case.cell.directions]:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            own = {n: case.params[n + suffix] for n in names}
            turned = hidden.flip(0) if suffix.endswith("reverse") else hidden
            logs.append(gates(single, own, turned.numpy()).log_keep)
            program = cells.backend("torch").prepare(single, own, steps=STEPS, batch=BATCH, dtype="float64")
            made = torch.tensor(program.forward(turned.numpy()).output)
            outputs.append(made.flip(0) if suffix.endswith("reverse") else made)
        hidden = torch.cat(outputs, -1)
    found = gates(case.cell, case.params, case.x)
    assert np.allclose(found.log_keep, np.concatenate(logs), rtol=1e-12)
    zero = {"h": zeros, "c": zeros}
    assert np.allclose(gates(case.cell, case.params, case.x, state=zero).log_keep, found.log_keep)
    assert set(saturation(case.cell, case.params, case.x)) >= {"f_l0", "i_l1"}


@pytest.mark.parametrize("function", [precision, lyapunov_spectrum])
def test_deep_stacks_of_both_directions_are_refused_in_one_line(function):
    cell = cells.get("gru:layers=2:bidirectional=true")
    with pytest.raises(
        ValueError, match=r"above the first read both directions.*layers=1, or bidir"
    ) as caught:
        function(cell, cell.init(3, 4), np.zeros((30, 1, 3)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"h": np.zeros((3, 2, 4)), "c": np.zeros((2, 2, 4))}, r"state h is \(3, 2, 4\).* which is 2$"),
        ({"h": np.zeros((2, 2, 4))}, r"state has h; cell 'lstm' has the states h, c$"),
        ({"h": np.zeros((2, 5, 4)), "c": np.zeros((2, 2, 4))}, r"state h_l0 is \(5, 4\)"),
    ],
)
def test_states_of_another_shape_are_one_line(state, said):
    cell = cells.get("lstm:layers=2")
    with pytest.raises(ValueError, match=said):
        lag_profile(cell, cell.init(3, 4), np.zeros((9, 2, 3)), state=state)


def two_layers(spec):
    return cells.get(f"{spec}:layers=2")


STACKABLE = [s for s in CELLS if layers.unfit(two_layers(s), *fitting(two_layers(s), 4, 4)) is None]


@pytest.mark.parametrize("spec", STACKABLE, ids=label)
def test_a_stack_of_any_cell_steps_and_goes_back_as_its_layers_do(spec):
    """The tape of all layers together against the adjoint of each layer's own derivatives."""
    cell = two_layers(spec)
    sizes = fitting(cell, 4, 4)
    case = problem(cell, steps=6, batch=2, inputs=sizes[0], hidden=sizes[1])
    program = cells.backend("numpy").prepare(cell, case.params, steps=6, batch=2, dtype="float64")
    one = cells.backend("torch").prepare(joint(cell), case.params, steps=6, batch=2, dtype="float64")
    expected = program.forward(case.x).output
    assert np.allclose(one.forward(case.x).output, expected, rtol=1e-10, atol=1e-12)
    whole = lag_profile(cell, case.params, case.x, **given(case)).log_norm_by_state
    for back in backwards(cell, case.params, case.x, case.state, case.d_output[-1]):
        for name, logs in zip(cell.states, back.logs, strict=True):
            assert np.allclose(whole[name + back.reading.suffix][1:], logs[1:], rtol=1e-8, atol=1e-8), name


def test_a_read_out_of_a_stack_is_followed():
    cell = cells.get(f"{ODD}:Apart", layers=2, readout=2)
    case = problem(cell, steps=5, batch=2, inputs=4, hidden=4)
    whole = lag_profile(cell, case.params, case.x, **given(case)).log_norm_by_state
    for back in backwards(cell, case.params, case.x, case.state, case.d_output[-1]):
        for name, logs in zip(cell.states, back.logs, strict=True):
            assert np.allclose(whole[name + back.reading.suffix][1:], logs[1:], rtol=1e-10, atol=1e-10)


DEEP_BOTH = [
    "lstm:layers=2:bidirectional=true",
    "gru:layers=3:bidirectional=true",
    "elman:layers=2:bidirectional=true:readout=3",
    "lstm:layers=2:bidirectional=true:proj_size=3",
    "gru_reset_before:layers=2:bidirectional=true",
    "lru:layers=2:bidirectional=true",
]


def unrolled(case):
    """Layer by layer in torch: the outputs at the two ends, and {suffix: (states by own step, inputs)}.

    A state is a tensor of its own, which the next step alone reads; an input is a leaf's view likewise.
    """
    cell, single = case.cell, layers.single(case.cell)
    params = {k: torch.tensor(v, requires_grad=True) for k, v in case.params.items()}
    hidden, seen = list(torch.tensor(case.x)), {}
    names = list(single.parameter_shapes(INPUTS, HIDDEN))
    for k, part in enumerate(layers.of(cell, INPUTS, HIDDEN)):
        if not part.reverse:
            given, made = hidden, []
        own = single.effective({n: params[n + part.suffix] for n in names})
        state = State(**{s: torch.tensor(v[k], requires_grad=True) for s, v in case.state.items()})
        # every direction reads copies of its own
        turned = [x.clone().requires_grad_() for x in (given[::-1] if part.reverse else given)]
        path, outputs = [vars(state)], []
        for x in turned:
            output, new = single.step(own, x, state)
            state = State(**{s: v.clone() for s, v in vars(new).items()})
            path.append(vars(state))
            outputs.append(output)
        seen[part.suffix] = path, turned
        made.append(outputs[::-1] if part.reverse else outputs)
        if part.reverse:
            hidden = [torch.cat(pair, -1) for pair in zip(*made, strict=True)]
    last = torch.cat([made[0][-1], made[1][0]], -1)
    if cell.readout:
        last = last @ params["weight_out"].T + params["bias_out"]
    return (last * torch.tensor(case.d_output[-1])).sum(), seen, params


@pytest.mark.parametrize("spec", DEEP_BOTH)
def test_every_layer_and_direction_of_a_bidirectional_stack_has_its_own_lags(spec):
    case = problem(cells.get(spec), steps=STEPS, batch=BATCH, inputs=INPUTS, hidden=HIDDEN)
    loss, seen, params = unrolled(case)
    found = lag_profile(case.cell, case.params, case.x, **given(case))
    squares = 0.0
    for suffix, (path, _) in seen.items():
        for name in case.cell.states:
            states = [now[name] for now in path[:-1]]
            pulled = torch.autograd.grad(loss, states, retain_graph=True, materialize_grads=True)
            squares = squares + np.array([(d.numpy() ** 2).sum(1) for d in pulled])[::-1]
            with np.errstate(divide="ignore"):
                logs = np.log([np.linalg.norm(d.numpy(), axis=1) for d in pulled])[::-1]
            own = found.log_norm_by_state[name + suffix]
            assert np.allclose(own[1:], logs, rtol=1e-11, atol=1e-11), (name, suffix)
    assert np.allclose(found.log_norm[1:], 0.5 * np.log(squares), rtol=1e-12, atol=1e-12)
    reach = 0.0
    for suffix in ("_l0", "_l0_reverse"):
        pulled = torch.autograd.grad(loss, seen[suffix][1], retain_graph=True)
        reach = reach + np.array([(d.numpy() ** 2).sum(1) for d in pulled])[::-1]
    found = input_reach(case.cell, case.params, case.x, **given(case)).log_norm
    assert np.allclose(found, 0.5 * np.log(reach), rtol=1e-11, atol=1e-11)
    if case.cell.writes("effective"):
        return  # shares are of the derived arrays
    for name in [n for n in params if n.endswith(("hh_l0", "ih_l1_reverse")) and n.startswith("weight")]:
        share = lag_share(case.cell, case.params, case.x, **given(case), parameter=name)
        (d,) = torch.autograd.grad(loss, params[name], retain_graph=True)
        assert np.allclose(share.gradient, d.numpy(), rtol=1e-10, atol=1e-13), name
        assert np.isclose(share.signed.sum(), 1) and share.parameter == name
    with pytest.raises(ValueError, match="parameter is 'nothing'; the steps of cell"):
        lag_share(case.cell, case.params, case.x, parameter="nothing")


@pytest.mark.parametrize("spec", ["lstm:layers=2", "gru:layers=3"])
def test_layer_by_layer_is_the_joint_state_s_gradient_in_one_direction(spec):
    case, *_ = of(spec)
    whole = lag_profile(case.cell, case.params, case.x, **given(case))
    for back in backwards(case.cell, case.params, case.x, case.state, case.d_output[-1]):
        for name, logs in zip(case.cell.states, back.logs, strict=True):
            same = whole.log_norm_by_state[name + back.reading.suffix]
            assert np.allclose(same, logs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1", "bias_hh_l0"])
def test_shares_layer_by_layer_are_those_of_the_joint_state_in_one_direction(name):
    case, *_ = of("gru:layers=2")
    whole = _share(case.cell, case.params, case.x, **given(case), parameter=name)
    found = lag_share(case.cell, case.params, case.x, **given(case), parameter=name)
    for what in ("signed", "unsigned", "cancellation", "gradient", "log_norm"):
        assert np.allclose(getattr(found, what), getattr(whole, what), rtol=1e-9, atol=1e-12), what


def test_a_gradient_that_float64_cannot_hold_is_followed_through_bidirectional_stacks():
    """All weights of the recurrence are 0, so that c forgets by its gate alone, at e^-30 a step."""
    cell = cells.get("lstm:layers=2:bidirectional=true")
    params = {k: np.zeros_like(v) if "hh" in k else v for k, v in cell.init(2, 3).items()}
    for name in params:
        if name.startswith("bias_ih"):
            params[name][3:6] = -30.0
        if name.startswith("weight_ih_l1"):
            params[name][:] = 0.0  # nothing of the layer below
    x = np.random.default_rng(0).standard_normal((60, 1, 2))
    logs = lag_profile(cell, params, x).log_norm
    assert np.allclose(np.diff(logs[1:, 0]), -30, atol=0.01) and logs[-1, 0] < -1700


def test_what_has_no_meaning_for_bidirectional_stacks_is_one_line():
    cell = cells.get("gru:layers=2:bidirectional=true")
    with pytest.raises(ValueError, match=r"^cell 'gru' has layers=2.* read both directions"):
        lag_profile(cell, cell.init(3, 4), np.zeros((9, 1, 3)), backend="torch", dtype="float32")
    with pytest.raises(ValueError, match=r"^x is \(9, 3\)"):
        lag_profile(cell, cell.init(3, 4), np.zeros((9, 3)))


def test_products_that_would_not_fit_are_told_before_they_are_made():
    cell = cells.get("lstm:layers=2")
    params, x = cell.init(2, 128), np.zeros((300, 16, 2))
    with pytest.raises(
        ValueError, match=r"^the Jacobians of 300 steps of 16 sequences, 512 x 512 .* 10\.1 GB"
    ):
        jacobian_product(cell, params, x, [300])


@pytest.mark.parametrize("spec", ["lstm:proj_size=3", "lstm:layers=2:proj_size=3"])
def test_gates_of_a_projected_lstm_are_those_of_its_equations(spec):
    """Of the first layer: f is the sigmoid of its rows of both products, of x and of torch.nn's h."""
    case, _, params = of(spec)
    torch_params = params if case.cell.stacked else {f"{k}_l0": v for k, v in params.items()}
    first = torch.nn.LSTM(INPUTS, HIDDEN, proj_size=3, dtype=torch.float64)
    own = {k: v for k, v in torch_params.items() if k.endswith("_l0")}
    x = torch.tensor(case.x)
    h = torch.func.functional_call(first, own, (x,))[0]
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    rows = slice(HIDDEN, 2 * HIDDEN)
    a = x @ own["weight_ih_l0"][rows].T + before @ own["weight_hh_l0"][rows].T
    a = a + own["bias_ih_l0"][rows] + own["bias_hh_l0"][rows]
    expected = torch.nn.functional.logsigmoid(a).mean((0, 1)).detach().numpy()
    found = gates(case.cell, case.params, case.x)
    assert np.allclose(found.log_keep[:HIDDEN], expected, rtol=1e-12)
    assert len(found.log_keep) == HIDDEN * case.cell.layers
    flat = saturation(case.cell, case.params, case.x)
    assert {name.removesuffix("_l0").removesuffix("_l1") for name in flat} >= {"i", "f", "g", "o"}


def test_a_step_of_its_own_is_not_taken_for_the_equations_of_the_lstm():
    class Other(type(cells.get("lstm"))):
        def step(self, params, x, state):
            output, new = super().step(params, x, state)
            return output, State(h=new.h, c=0.5 * new.c)

    assert Other().written_out and cells.backend("numba").unsupported(Other())
    with pytest.raises(ValueError, match="writes out its step, so its gates are not recorded"):
        gates(Other(), Other().init(3, 4), np.zeros((5, 1, 3)))
