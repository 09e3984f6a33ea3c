"""Jacobians of steps that multiply or average their own values, against torch's autograd of one step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.comparison import CELLS, compare, label, problem, tolerance
from support.oracle import leaf, one_step

from cellbench import cells
from cellbench.harness.gradients import lyapunov_spectrum
from cellbench.harness.gradients.cell.linearise import linearise
from cellbench.harness.gradients.cell.path import states_of

JOINED = [spec for spec in CELLS if not (cells.get(spec).written_out or cells.get(spec).pointwise)]
every_joined = pytest.mark.parametrize("spec", JOINED, ids=label)


def by_autograd(case, t, path):
    """(B, n, n): the Jacobian of step t, sample by sample."""
    cell, used = case.cell, case.cell.effective({k: leaf(v) for k, v in case.params.items()})

    def step(joint):
        states = SimpleNamespace(**dict(zip(cell.states, joint[None].chunk(len(path), 1), strict=True)))
        _, new = one_step(cell, used, x[None], states)
        return torch.cat([getattr(new, s)[0] for s in cell.states])

    matrices = []
    for b in range(case.batch):
        x = torch.tensor(case.x[t, b])
        joint = torch.tensor(np.concatenate([s[t, b] for s in path]))
        matrices.append(torch.autograd.functional.jacobian(step, joint).numpy())
    return np.stack(matrices)


@every_joined
def test_a_jacobian_and_its_products_with_vectors_are_autograd_s(spec):
    case = problem(cells.get(spec), steps=3, hidden=6)
    path = states_of(case.cell, case.params, case.x, case.state)
    jacobians = linearise(case.cell, case.params, case.x, path)
    want = by_autograd(case, 1, path)
    vectors = np.random.default_rng(1).standard_normal((case.batch, 2, jacobians.size))
    have = {
        "J": jacobians.matrices_of(slice(1, 2))[0],
        "J v": jacobians.push(1, vectors),
        "J' v": jacobians.pull(1, vectors),
    }
    products = {
        "J v": np.einsum("bij,bkj->bki", want, vectors),
        "J' v": np.einsum("bij,bki->bkj", want, vectors),
    }
    compare(have, {"J": want} | products, 4 * tolerance("float64", 3))


def test_the_exponents_of_a_reset_before_the_product_sum_to_the_growth_of_volume():
    case = problem(cells.get("gru_reset_before"), steps=120, batch=1)
    assert abs(lyapunov_spectrum(case.cell, case.params, case.x, transient=20).sum_residual) < 1e-9


def test_a_saturated_candidate_of_a_reset_before_the_product_still_has_a_derivative():
    """tanh' at 40 is 4 e^-80, where 1 - tanh^2 is 0."""
    case = problem(cells.get("mgu"), steps=2, batch=1)
    case.params["bias_ih"][:] = [0.0] * 7 + [40.0] * 7
    case.params["weight_ih"][:], case.params["weight_hh"][:7] = 0, 0  # f is 1/2
    path = states_of(case.cell, case.params, case.x)
    matrix = linearise(case.cell, case.params, case.x, path).matrices_of(slice(0, 1))[0, 0]
    candidate = matrix - np.eye(7) / 2  # (1 - f) h has 1/2 on the diagonal
    off = ~np.eye(7, dtype=bool)
    want = 0.25 * 4 * np.exp(-80) * case.params["weight_hh"][7:]
    np.testing.assert_allclose(candidate[off], want[off], rtol=1e-9)
