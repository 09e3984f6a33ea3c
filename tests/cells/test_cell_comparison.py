"""The tests' own comparison fails on errors, NaN, infinity, names and shapes; the tolerances are tight."""

import numpy as np
import pytest
from support.comparison import PLAIN, bitwise, compare, computed, having, label, prepare, problem, tolerance
from support.oracle import float64_autograd

from cellbench import cells

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def expected():
    return float64_autograd(problem(cells.get(PLAIN)))


def wrong_by(expected, name, error):
    changed = expected[name].copy()
    changed.flat[-1] += error * max(1 / 8, np.abs(changed).max())
    return expected | {name: changed}


def test_an_error_of_ten_tolerances_fails_in_every_array(expected, dtype):
    allowed = tolerance(dtype, 17)
    for name in expected:
        compare(wrong_by(expected, name, allowed / 10), expected, allowed)
        with pytest.raises(AssertionError, match=f"{name}: largest error"):
            compare(wrong_by(expected, name, 10 * allowed), expected, allowed)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails_on_either_side(expected, bad):
    for name in expected:
        with pytest.raises(AssertionError, match=name):
            compare(wrong_by(expected, name, bad), expected, 1.0)
        with pytest.raises(AssertionError, match=name):
            compare(expected, wrong_by(expected, name, bad), 1.0)
        with pytest.raises(AssertionError, match=name):
            compare(wrong_by(expected, name, bad), wrong_by(expected, name, bad), 1.0)


def test_a_missing_array_and_another_shape_fail(expected):
    with pytest.raises(AssertionError, match="arrays are"):
        compare({k: v for k, v in expected.items() if k != "d_x"}, expected, 1.0)
    with pytest.raises(AssertionError, match=r"d_x is"):
        compare(expected | {"d_x": expected["d_x"][:1]}, expected, 1.0)


def test_one_bit_fails_where_bits_count(expected):
    bitwise(expected, {k: v.copy() for k, v in expected.items()})
    with pytest.raises(AssertionError, match="d_x"):
        bitwise(expected | {"d_x": np.nextafter(expected["d_x"], 9)}, expected)


def test_tolerances_are_below_a_ten_thousandth_and_grow_with_steps(dtype):
    assert tolerance("float64", 1000) < 1e-12
    assert tolerance("float32", 17) < 2e-5
    assert tolerance(dtype, 100) > tolerance(dtype, 1)


@pytest.mark.parametrize(
    ("spec", "array"),
    [(spec, array) for array in ("weight_ih", "weight_hh") for spec in having(array)],
    ids=label,
)
def test_a_parameter_wrong_in_one_element_is_noticed(spec, array):
    case = problem(cells.get(spec))
    want = float64_autograd(case)
    case.params[array][0, -1] += 1e-3
    with pytest.raises(AssertionError, match="largest error"):
        compare(computed(prepare("numpy", case, "float32"), case), want, tolerance("float32", case.steps))
