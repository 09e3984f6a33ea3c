"""Laws of the gradients of every cell: they are those of the plain programs, and their sums come out."""

from functools import cache

import numpy as np
import pytest
from support.comparison import CELLS, problem

from cellbench import cells
from cellbench.harness.gradients import (
    input_reach,
    jacobian_product,
    lag_profile,
    lag_share,
    lyapunov_spectrum,
    precision,
    sensitivity,
)
from cellbench.harness.gradients.cell import adjoint, lyapunov, profile
from cellbench.harness.gradients.cell.linearise import linearise
from cellbench.harness.gradients.cell.path import forward_path, states_of
from cellbench.harness.gradients.cell.share import one_sample

SPECS = [spec for spec in CELLS if not cells.get(spec).stacked]
every_cell = pytest.mark.parametrize("spec", SPECS, ids=[s.rpartition("/")[2] for s in SPECS])


@cache
def of(spec, steps=24):
    """A problem of the cell, T = 24 and B = 2, and the plain program's gradients for a loss at its end."""
    case = problem(cells.get(spec), steps=steps, batch=2, inputs=3, hidden=4)
    program = cells.backend("numpy").prepare(case.cell, case.params, steps=steps, batch=2, dtype="float64")
    program.forward(case.x, case.state)
    d_output = np.zeros_like(case.d_output)
    d_output[-1] = case.d_output[-1]
    # gradients of the arrays as the step uses them, not of those that are stored
    program.products.finish = lambda: dict(program.products.grads)
    return case, program.backward(d_output, trace=True)


def given(case):
    return {"state": case.state, "d_output": case.d_output[-1]}


def log_norm(d):
    """(T, B) of (T, B, ...)."""
    with np.errstate(divide="ignore"):
        return np.log(np.sqrt((d.reshape(*d.shape[:2], -1) ** 2).sum(-1)))


def emits_a_state(cell):
    return cell.written_out or None not in cell.derivation().output_states


@every_cell
def test_the_profile_is_the_plain_trajectory(spec):
    case, grads = of(spec)
    found = lag_profile(case.cell, case.params, case.x, **given(case))
    path = {name: d[::-1] for name, d in grads.trajectory.items()}
    start = 0 if emits_a_state(case.cell) else 1
    joint = np.concatenate([d.reshape(*d.shape[:2], -1) for d in path.values()], axis=-1)
    assert np.allclose(found.log_norm[start:], log_norm(joint)[start:], rtol=1e-10, atol=1e-10)
    for name, d in path.items():
        assert np.allclose(found.log_norm_by_state[name], log_norm(d), rtol=1e-10, atol=1e-10), name
    assert np.array_equal(found.lag, np.arange(25)) and found.transport.shape == found.log_norm.shape


def traced_by(*names):
    """Backend and cell, of those that the backend computes.

    A compiled trajectory is held against the reference for every cell in the tests of that backend; here a
    cell of each shape is enough: one state and two, an output that is no state, blocks, recurrence by unit.
    """
    few = {"elman", "lstm", "indrnn", "unicornn", *(s for s in SPECS if s.endswith((":Apart", ":Heads")))}
    for name in names:
        kind = cells.backend(name)
        for spec in SPECS if name == "torch" else sorted(few):
            if not kind.unsupported(cells.get(spec), "float64"):
                yield pytest.param(spec, name, id=f"{spec.rpartition('/')[2]}-{name}")


@pytest.mark.parametrize(("spec", "backend"), traced_by("numba", "torch"))
def test_other_backends_give_the_same_profile_in_float64(spec, backend):
    case, _ = of(spec)
    if reason := cells.backend(backend).unavailable():
        pytest.skip(reason)
    have = lag_profile(case.cell, case.params, case.x, backend=backend, **given(case))
    want = lag_profile(case.cell, case.params, case.x, **given(case))
    assert np.allclose(have.log_norm, want.log_norm, rtol=1e-9, atol=1e-9)
    for name, logs in want.log_norm_by_state.items():
        assert np.allclose(have.log_norm_by_state[name], logs, rtol=1e-9, atol=1e-9), name


@every_cell
def test_norms_of_products_are_those_of_the_dense_product(spec):
    case, _ = of(spec)
    found = jacobian_product(case.cell, case.params, case.x, [0, 1, 5, 24], state=case.state)
    path = forward_path(case.cell, case.params, case.x, case.state)[1]
    matrices = linearise(case.cell, case.params, case.x, path).matrices_of(slice(None))
    for row, lag in enumerate(found.lag):
        product = np.broadcast_to(np.eye(matrices.shape[-1]), matrices.shape[1:])
        for t in range(24 - lag, 24):
            product = matrices[t] @ product
        norms = np.stack([np.linalg.norm(product, 2, (1, 2)), np.linalg.norm(product, "fro", (1, 2))])
        assert np.allclose(
            np.exp([found.log_spectral[row], found.log_frobenius[row]]), norms, rtol=1e-9, atol=1e-14
        )


@every_cell
def test_the_dense_jacobian_is_the_central_difference_of_a_step(spec):
    case, _ = of(spec)
    x, small = case.x[:1], 1e-6
    path = forward_path(case.cell, case.params, x, case.state)[1]
    found = linearise(case.cell, case.params, x, path).matrices_of(slice(None))[0]
    shapes = {k: v.shape[1:] for k, v in case.state.items()}
    rng = np.random.default_rng(0)
    along = {k: rng.standard_normal(v.shape) for k, v in case.state.items()}
    ends = []
    for sign in (1, -1):
        moved = {k: v + sign * small * along[k] for k, v in case.state.items()}
        ends.append([s[-1].reshape(2, -1) for s in forward_path(case.cell, case.params, x, moved)[1]])
    difference = (np.concatenate(ends[0], 1) - np.concatenate(ends[1], 1)) / (2 * small)
    flat = np.concatenate([along[k].reshape(2, -1) for k in shapes], 1)
    assert np.allclose(np.einsum("bij,bj->bi", found, flat), difference, rtol=1e-6, atol=1e-7)


@every_cell
def test_exponents_add_up_to_the_mean_log_determinant(spec):
    case, _ = of(spec, 60)
    found = lyapunov_spectrum(case.cell, case.params, case.x[:, :1], transient=13)
    path = forward_path(case.cell, case.params, case.x[:, :1])[1]
    matrices = linearise(case.cell, case.params, case.x[:, :1], path).matrices_of(slice(None))[:, 0]
    alive = np.linalg.matrix_rank(matrices).min() == len(found.exponents)
    assert found.steps == 47 and (found.exponents[1:] <= found.exponents[:-1]).all()
    if alive:
        assert abs(found.sum_residual) < 1e-10
        assert np.isclose(
            found.exponents.sum(), np.linalg.slogdet(matrices)[1][13:].mean(), rtol=1e-9, atol=1e-9
        )
    else:
        assert np.isneginf(found.exponents[-1]) and found.sum_residual is None


@every_cell
def test_shares_add_up_to_one_and_their_gradient_is_the_programs(spec):
    case, grads = of(spec)
    found = lag_share(case.cell, case.params, case.x, **given(case))
    assert np.isclose(found.signed.sum(), 1, rtol=1e-10) and np.isclose(found.unsigned.sum(), 1, rtol=1e-12)
    assert np.isclose(found.log_norm, np.log(np.linalg.norm(found.gradient)), rtol=1e-10)
    known = found.parameter
    assert np.allclose(found.gradient, grads.params[known], rtol=1e-9, atol=1e-12)
    assert (found.cancellation[~np.isnan(found.cancellation)] <= 1 + 1e-12).all()
    for name in (
        set(grads.params) - {known} - {n for n in grads.params if n.endswith(("_out", "_re", "_im", "skip"))}
    ):
        other = lag_share(case.cell, case.params, case.x, parameter=name, **given(case))
        assert np.allclose(other.gradient, grads.params[name], rtol=1e-9, atol=1e-12), name


@every_cell
def test_the_input_reach_is_the_norm_of_d_x(spec):
    case, grads = of(spec)
    found = input_reach(case.cell, case.params, case.x, **given(case))
    assert np.allclose(np.exp(found.log_norm), np.exp(log_norm(grads.x))[::-1], rtol=1e-9, atol=1e-13)


@every_cell
def test_float64_is_never_off_and_sensitivity_is_that_of_the_whole_gradient(spec):
    case, _ = of(spec)
    found = precision(case.cell, case.params, case.x[:, :1], dtypes=["float64"])["float64"]
    assert found.off is None and found.overflow is None and found.first_zero is None
    seen = sensitivity(case.cell, case.params, case.x, **given(case))
    each = [
        lag_share(case.cell, case.params, **one_sample(case.x, case.state, case.d_output[-1], b)).log_norm
        for b in range(2)
    ]
    assert list(seen.horizon) == [2, 4, 8, 16, 24]
    assert np.isclose(seen.log_parameter[-1], 0.5 * np.log(np.mean(np.exp(2 * np.array(each)))), rtol=1e-10)


@every_cell
def test_states_alone_are_those_of_the_program(spec):
    case, _ = of(spec)
    for have, want in zip(
        states_of(case.cell, case.params, case.x, case.state),
        forward_path(case.cell, case.params, case.x, case.state)[1],
        strict=True,
    ):
        assert np.allclose(have, want, rtol=1e-12, atol=1e-14)


@every_cell
def test_short_stretches_and_long_ones_give_the_same_profile(spec, monkeypatch):
    case, _ = of(spec)
    whole = lag_profile(case.cell, case.params, case.x, **given(case))
    for module, name in ((profile, "STATES"), (profile, "TAPED"), (adjoint, "COEFFICIENTS")):
        monkeypatch.setattr(module, name, 1)
    parts = lag_profile(case.cell, case.params, iter([case.x[:7], case.x[7:]]), **given(case))
    assert np.allclose(parts.log_norm, whole.log_norm, rtol=1e-11, atol=1e-11)


def test_a_spectrum_of_blocks_is_that_of_the_whole_whose_growth_is_kept_as_means(monkeypatch):
    """Exponents are those of all steps; their standard errors those of the means that are kept."""
    case = problem(cells.get("gru"), steps=900, batch=1, inputs=3, hidden=4)
    whole = lyapunov_spectrum(case.cell, case.params, case.x, state=case.state, transient=100)
    monkeypatch.setattr(lyapunov, "ROWS", 150)
    blocks = iter([case.x[:1], case.x[1:333], case.x[333:]])
    parts = lyapunov_spectrum(case.cell, case.params, blocks, state=case.state, transient=100)
    assert (
        np.allclose(parts.exponents, whole.exponents, rtol=1e-9, atol=1e-9)
        and parts.steps == whole.steps == 800
    )
    assert np.allclose(parts.standard_error, whole.standard_error, rtol=0.25)
    few = lyapunov_spectrum(case.cell, case.params, case.x, state=case.state, k=2, transient=100)
    assert np.allclose(few.exponents, whole.exponents[:2], rtol=1e-6) and few.sum_residual is None


def test_a_memory_map_is_read_and_float32_is_taken_as_it_is(tmp_path):
    case = problem(cells.get("lstm"), steps=50, batch=2, inputs=3, hidden=4)
    case.x.astype(np.float32).tofile(tmp_path / "x")
    x = np.memmap(tmp_path / "x", np.float32, "r", shape=case.x.shape)
    assert np.allclose(
        lag_profile(case.cell, case.params, x).log_norm, lag_profile(case.cell, case.params, case.x).log_norm
    )
