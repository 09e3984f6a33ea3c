"""Products and sums of arrays with a short last axis, against NumPy's own operators."""

import numpy as np
import pytest

from cellbench.cells.vocabulary import short_axes

RANDOM = np.random.default_rng(0)
SHAPES = [(7, 40, 16), (7, 40, 1), (7, 1, 16), (1, 40, 16), (40, 16), (40, 1), (1, 16), (16,), (1,), ()]


@pytest.mark.parametrize("b", SHAPES)
@pytest.mark.parametrize("a", SHAPES)
def test_a_product_with_short_axes_is_numpys_own_to_the_bit(a, b):
    x, y = RANDOM.standard_normal(a), RANDOM.standard_normal(b)
    np.testing.assert_array_equal(short_axes.times(x, y), x * y)


@pytest.mark.parametrize("b", [(7, 40, 16), (7, 1, 16), (40, 16), (16,), (7, 40, 1)])
def test_a_product_is_summed_over_a_short_axis_as_numpy_sums_it(b):
    x, y = RANDOM.standard_normal((7, 40, 16)), RANDOM.standard_normal(b)
    summed = short_axes.times_summed(x, y, (7, 40, 1))
    np.testing.assert_allclose(summed, (x * y).sum(-1, keepdims=True), rtol=1e-13, atol=1e-13)


def test_a_product_that_is_summed_over_other_axes_too_is_left_whole():
    x, y = RANDOM.standard_normal((7, 40, 16)), RANDOM.standard_normal((7, 40, 16))
    np.testing.assert_array_equal(short_axes.times_summed(x, y, (40, 16)), x * y)
    np.testing.assert_array_equal(short_axes.times_summed(x, y, (7, 1, 1)), x * y)
    np.testing.assert_array_equal(short_axes.times_summed(x[0, 0], y[0, 0], ()), x[0, 0] * y[0, 0])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 1), (0, 2), (1, -1), (0, 1, 2, 3), (-3, -1)])
@pytest.mark.parametrize("shape", [(3, 5, 7, 16), (3, 5, 200, 1), (2, 3, 5, 300), (2, 0, 3, 4)])
def test_a_sum_over_any_axes_is_as_numpys(shape, axis, keepdims):
    x = RANDOM.standard_normal(shape)
    summed = short_axes.summed(x, axis, keepdims)
    assert summed.shape == x.sum(axis, keepdims=keepdims).shape
    np.testing.assert_allclose(summed, x.sum(axis, keepdims=keepdims), rtol=1e-12, atol=1e-12)
