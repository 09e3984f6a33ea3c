"""The gradient functions take what people have: tensors in any format, with or without a graph, and lists."""

import numpy as np
import pytest
import torch

from cellbench import cells
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

pytestmark = pytest.mark.quick

CELL = cells.get("lstm")
PARAMS = {k: v.astype(np.float32) for k, v in CELL.init(3, 4).items()}
X = np.random.default_rng(0).standard_normal((40, 1, 3)).astype(np.float32)
STATE = {"h": np.full((1, 4), 0.25, np.float32), "c": np.full((1, 4), -0.5, np.float32)}
FUNCTIONS = {
    "lag_profile": lambda p, x, s: lag_profile(CELL, p, x, state=s).log_norm,
    "lag_share": lambda p, x, s: lag_share(CELL, p, x, state=s).signed,
    "input_reach": lambda p, x, s: input_reach(CELL, p, x, state=s).log_norm,
    "precision": lambda p, x, s: precision(CELL, p, x, state=s)["float32"].log_norm,
    "jacobian_product": lambda p, x, s: jacobian_product(CELL, p, x, [1, 5], state=s).log_frobenius,
    "sensitivity": lambda p, x, s: sensitivity(CELL, p, x, state=s).log_parameter,
    "spectrum": lambda p, x, s: lyapunov_spectrum(CELL, p, x, state=s, transient=2).exponents,
    "gates": lambda p, x, s: gates(CELL, p, x, state=s).log_keep,
    "saturation": lambda p, x, s: next(iter(saturation(CELL, p, x, state=s).values())).low,
}
every = pytest.mark.parametrize("measure", FUNCTIONS.values(), ids=FUNCTIONS)


def as_tensors(arrays, **how):
    return {k: torch.tensor(v, **how) for k, v in arrays.items()}


@every
def test_tensors_that_require_grad_give_what_arrays_give(measure):
    given = as_tensors(PARAMS, requires_grad=True), torch.tensor(X, requires_grad=True), as_tensors(STATE)
    np.testing.assert_array_equal(measure(*given), measure(PARAMS, X, STATE))


@every
def test_bfloat16_tensors_are_their_numbers(measure):
    narrow = as_tensors(PARAMS, dtype=torch.bfloat16), torch.tensor(X).bfloat16(), as_tensors(STATE)
    wide = {k: v.float().numpy() for k, v in narrow[0].items()}, narrow[1].float().numpy(), STATE
    np.testing.assert_array_equal(measure(*narrow), measure(*wide))


@every
def test_lists_are_arrays(measure):
    given = {k: v.tolist() for k, v in PARAMS.items()}, X.tolist(), {k: v.tolist() for k, v in STATE.items()}
    np.testing.assert_allclose(measure(*given), measure(PARAMS, X, STATE), rtol=1e-12)


@every
def test_a_list_of_steps_and_a_list_of_blocks_are_one_sequence(measure):
    for parts in (list(torch.tensor(X)), [torch.tensor(X[:10]), torch.tensor(X[10:])]):
        np.testing.assert_array_equal(measure(PARAMS, parts, STATE), measure(PARAMS, X, STATE))


@every
def test_what_has_no_values_or_no_one_shape_is_told_in_a_line(measure):
    refused = {
        "meta": (PARAMS, torch.empty(40, 1, 3, device="meta")),
        "unequal": (PARAMS, [[[1.0, 2.0, 3.0]], [[1.0]]]),
        "bias_ih": (PARAMS | {"bias_ih": torch.empty(16, device="meta")}, X),
        "x": (PARAMS, torch.ones(40, 1, 3, dtype=torch.long)),
    }
    for word, (params, x) in refused.items():
        with pytest.raises(ValueError, match=word) as caught:
            measure(params, x, STATE)
        assert "\n" not in str(caught.value)


def test_a_sparse_tensor_is_the_matrix_that_it_stands_for():
    sparse = PARAMS | {"weight_hh": torch.tensor(PARAMS["weight_hh"]).to_sparse()}
    np.testing.assert_array_equal(
        lag_profile(CELL, sparse, X).log_norm, lag_profile(CELL, PARAMS, X).log_norm
    )
