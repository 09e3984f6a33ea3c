"""The packed product of a step is the product of NumPy, whatever the sizes leave over."""

import numpy as np
import pytest

from cellbench import cells
from cellbench.cells.kernels import fused
from cellbench.cells.kernels.panels import packed
from cellbench.cells.kernels.product import LANES, PANEL, product


def multiplied(a, weight):
    (panels,) = packed(weight[None], PANEL)
    out = np.full((len(a), len(panels) * PANEL), np.nan, a.dtype)
    product(a, panels, out)
    return out


def drawn(batch, inner, outputs):
    rng = np.random.default_rng(batch * 100 + inner * 10 + outputs)
    return (rng.standard_normal(shape).astype(np.float32) for shape in ((batch, inner), (outputs, inner)))


@pytest.mark.parametrize("batch", [*range(1, 15), 64])
@pytest.mark.parametrize("inner", [1, 2, 3, 7, 33, 64])
def test_every_number_of_rows_and_every_rest_is_numpy_s_product(batch, inner):
    for outputs in (1, PANEL - 1, PANEL, 3 * PANEL + 1):
        a, weight = drawn(batch, inner, outputs)
        out, exact = multiplied(a, weight), a.astype(float) @ weight.T.astype(float)
        assert abs(out[:, :outputs] - exact).max() < 1e-6 * max(1, inner)
        assert not out[:, outputs:].any()


def test_nothing_summed_is_zero():
    assert not multiplied(np.empty((3, 0), np.float32), np.empty((5, 0), np.float32)).any()


def test_a_nan_stays_in_its_row():
    a, weight = drawn(7, 9, 5)
    a[4, 3] = np.nan
    bad = np.isnan(multiplied(a, weight)[:, :5]).all(1)
    assert bad.tolist() == [row == 4 for row in range(7)]


def test_a_panel_is_whole_vectors_that_registers_hold():
    assert PANEL % LANES == 0 and LANES in (4, 8, 16)
    assert 6 * PANEL // LANES in (12, 24)  # sums, of 16 or 32 registers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_printed_kernel_has_the_product_and_no_library_s(dtype):
    text = fused.text(cells.get("lstm"), dtype)
    assert "product(h_at[now_h], weight[0], step_wh)" in text and "np.dot" not in text
