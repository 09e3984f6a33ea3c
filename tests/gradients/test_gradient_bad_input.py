"""Bad input of the gradient functions is refused in one line: the thing, the value and what is allowed."""

import subprocess
import sys

import numpy as np
import pytest
from support.comparison import ODD

from cellbench import cells
from cellbench.harness.gradients import (
    clip_by_norm,
    clip_by_value,
    gates,
    input_reach,
    jacobian_product,
    lag_profile,
    lag_share,
    lyapunov_spectrum,
    precision,
    saturation,
    sensitivity,
    total_norm,
)

pytestmark = pytest.mark.quick

CELL = cells.get("lstm")
PARAMS = CELL.init(3, 4)
X = np.random.default_rng(0).standard_normal((40, 2, 3))


def product(cell, params, x, **options):
    return jacobian_product(cell, params, x, [1], **options)


def spectrum(cell, params, x, **options):
    return lyapunov_spectrum(cell, params, x[:, :1] if np.ndim(x) == 3 else x, transient=2, **options)


def formats(cell, params, x, **options):
    return precision(cell, params, x[:, :1] if np.ndim(x) == 3 else x, **options)


LAGGED = [lag_profile, product, lag_share, input_reach, formats, sensitivity]
ALL = [*LAGGED, spectrum, gates, saturation]
OF_OUTPUT = [lag_profile, lag_share, input_reach, formats, sensitivity]
every = pytest.mark.parametrize("function", ALL, ids=lambda f: f.__name__)
of_output = pytest.mark.parametrize("function", OF_OUTPUT, ids=lambda f: f.__name__)


def says(words, function, *arguments, **options):
    """It raises a ValueError of one line with all of these words."""
    with pytest.raises(ValueError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


@pytest.mark.parametrize("function", LAGGED, ids=lambda f: f.__name__)
def test_one_step_has_no_lag(function):
    says(["x is (1, ", ", 3)", "at least 2 steps"], function, CELL, PARAMS, X[:1])


@every
def test_parameters_that_are_not_finite_are_named_with_their_place(function):
    broken = {k: v.copy() for k, v in PARAMS.items()}
    broken["weight_hh"][2, 1] = np.nan
    says(["weight_hh", "1 entries", "not finite", "(2, 1)"], function, CELL, broken, X)


@every
def test_parameters_of_another_shape_or_name_are_named(function):
    says(["weight_hh", "(16, 3)", "(16, 4)"], function, CELL, PARAMS | {"weight_hh": np.zeros((16, 3))}, X)
    says(["bias_ih", "weight"], function, CELL, PARAMS | {"weight": np.zeros(3)}, X)


@every
@pytest.mark.parametrize(
    "x", [X[0], X[:, :, :2], X.astype(int), "x"], ids=["2 axes", "too narrow", "integers", "a word"]
)
def test_an_x_of_another_form_is_told(function, x):
    says(["x"], function, CELL, PARAMS, x)


@every
def test_a_state_of_another_name_or_shape_is_told(function):
    batch = 1 if function in (spectrum, formats) else 2
    right = {"h": np.zeros((batch, 4)), "c": np.zeros((batch, 4))}
    function(CELL, PARAMS, X, state=right)
    says(["state", "q", "h, c"], function, CELL, PARAMS, X, state={"h": right["h"], "q": right["c"]})
    says(["state", "h, c"], function, CELL, PARAMS, X, state={"h": right["h"]})
    says(
        ["state c", f"({batch}, 5)", f"({batch}, 4)"],
        function,
        CELL,
        PARAMS,
        X,
        state=right | {"c": np.zeros((batch, 5))},
    )


@of_output
def test_a_d_output_of_another_shape_or_kind_is_told(function):
    batch = 1 if function is formats else 2
    says(["d_output", "(7, 4)", f"({batch}, 4)"], function, CELL, PARAMS, X, d_output=np.zeros((7, 4)))
    says(["d_output", "not finite"], function, CELL, PARAMS, X, d_output=np.full((batch, 4), np.nan))
    says(["d_output", "int"], function, CELL, PARAMS, X, d_output=np.ones((batch, 4), int))


def test_native_hides_its_steps():
    says(["native"], lag_profile, CELL, PARAMS, X, backend="native")
    says(["unknown backend", "native"], lag_profile, CELL, PARAMS, X, backend="nativ")
    says(["dtype", "float16", "float64"], lag_profile, CELL, PARAMS, X, dtype="float16")


def test_a_cell_that_writes_out_its_step_has_all_but_its_gates():
    cell = cells.get(f"{ODD}:Written")
    params, x = cell.init(3, 4), X
    for function in set(ALL) - {gates, saturation}:
        function(cell, params, x)
    says(["writes out its step"], gates, cell, params, x)
    says(["writes out its step"], saturation, cell, params, x)
    says(["elman", "keep_gate"], gates, cells.get("elman"), cells.get("elman").init(3, 4), x)


@pytest.mark.parametrize("lags", [[-1], [41], [1.5], [True], []])
def test_lags_that_are_not_of_the_sequence_are_told(lags):
    says(["lags", "from 0 to the 40 steps"], jacobian_product, CELL, PARAMS, X, lags)


def test_what_a_spectrum_needs_is_told():
    one = X[:, :1]
    says(["x is (40, 2, 3)", "one sequence"], lyapunov_spectrum, CELL, PARAMS, X)
    says(
        ["x has 40 steps", "transient is 30", "at least 20"],
        lyapunov_spectrum,
        CELL,
        PARAMS,
        one,
        transient=30,
    )
    says(["x has 40 steps", "transient is 200"], lyapunov_spectrum, CELL, PARAMS, one)
    says(["x has no steps"], lyapunov_spectrum, CELL, PARAMS, iter([]))
    for k in (0, 9, 1.5):
        says(["k is", "from 1 to 8"], lyapunov_spectrum, CELL, PARAMS, one, k=k, transient=0)
    says(["transient is -1"], lyapunov_spectrum, CELL, PARAMS, one, transient=-1)


def test_what_a_share_and_a_format_need_is_told():
    says(["parameter is 'weigth_hh'", "weight_hh"], lag_share, CELL, PARAMS, X, parameter="weigth_hh")
    says(["x is (40, 2, 3)", "one sequence"], precision, CELL, PARAMS, X)
    says(["dtypes", "'float8'", "bfloat16"], precision, CELL, PARAMS, X[:, :1], dtypes=["float8"])


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, "1", None, True])
def test_a_limit_must_be_above_zero(limit):
    says(["max_norm is"], clip_by_norm, [np.ones(2)], limit)
    says(["limit is"], clip_by_value, [np.ones(2)], limit)


def test_norms_take_a_list_or_a_dict_of_arrays():
    says(["one array", "list"], total_norm, np.ones(3))


def test_importing_the_gradients_imports_neither_torch_nor_hydra():
    heavy = ("torch", "hydra", "numba", "pandas")
    text = f"import sys, cellbench.harness.gradients; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_arrays_are_left_as_they_were():
    params, x = {k: v.copy() for k, v in PARAMS.items()}, X.copy()
    state, d_output = {"h": np.ones((2, 4)), "c": np.ones((2, 4))}, np.ones((2, 4))
    for array in (*params.values(), x, *state.values(), d_output):
        array.flags.writeable = False
    for function in ALL:
        narrow = function in (spectrum, formats)
        first = {k: v[:1] for k, v in state.items()} if narrow else state
        more = {"d_output": d_output[:1] if narrow else d_output} if function in OF_OUTPUT else {}
        function(CELL, params, x, state=first, **more)
        function(CELL, params, np.asfortranarray(x).astype(np.float32), state=first, **more)
