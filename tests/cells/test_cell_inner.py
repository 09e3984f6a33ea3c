"""Products and means inside a step: what cannot be recorded, counts by hand, and kernels cut into phases."""

import numpy as np
import pytest
from support.comparison import ODD, compare, computed, prepare, problem, slack, tolerance
from support.oracle import float64_autograd

from cellbench import cells
from cellbench.cells import GatedCell, State, linear, mean, sigmoid, tanh
from cellbench.cells.derived.derive import EquationError
from cellbench.cells.kernels import printed

pytestmark = pytest.mark.quick


def own(equations, **stated):
    """A cell of two gates and one state with these equations."""
    names = {"gates": ("a", "b"), "states": ("h",), "equations": equations}
    return type("Own", (GatedCell,), names | stated)()


def both(self, wx, wh, prev, *unit):
    return State(h=tanh(wx.a + wh.a + wx.b))


INNER = {"inner_gates": ("b",)}
MATRIX = {"matrices": ("m",)}
WRONG = [
    (lambda s, wx, wh, prev: State(h=wx.a + wx.b + wh.b(prev.h)), {}, "wh_b takes no value: .* inner_gates"),
    (
        lambda s, wx, wh, prev: State(h=wx.a + wh.a + wh.b),
        INNER,
        "with wh.b, which takes a value of the step",
    ),
    (lambda s, wx, wh, prev: State(h=wx.a + wh.a + wh.b(1.0)), INNER, "a value of the step, not 1.0"),
    (lambda s, wx, wh, prev, unit: State(h=wx.a + wx.b + unit.m), MATRIX, "with unit.m, which takes a value"),
    (lambda s, wx, wh, prev: State(h=wx.a + wx.b + np.mean(wh.a)), {}, r"wh_a is no array: .* mean\(value\)"),
    (lambda s, wx, wh, prev: State(h=wx.a + wx.b + wh.a.mean(-1)), {}, r"wh_a has no mean: .* mean\(value\)"),
    (lambda s, wx, wh, prev: State(h=wx.a + wh.a @ wx.b), {}, "@ on wh_a: .* matrices"),
    (lambda s, wx, wh, prev: State(h=linear(wx.a, wh.a) + wx.b), {}, "wx_a has no reshape: .* matrices"),
    (lambda s, wx, wh, prev: State(h=wx.a + wx.b + wh.a[0]), {}, "wh_a has no units to choose from"),
    (lambda s, wx, wh, prev: State(h=mean(wx.a + wx.b)), {}, "state h is the same in all units"),
    (lambda s, wx, wh, prev: (mean(wx.a + wx.b), State(h=wx.a)), {}, "the output is the same in all units"),
    (both, INNER, r"wh.b\(value\) is never used"),
    (both, MATRIX, r"unit.m\(value\) is never used"),
    (both, {"inner_gates": ("q",)}, "inner_gates has 'q', .* those with one are a, b"),
    (both, {"inner_gates": "b"}, "inner_gates is 'b'; it must be a tuple"),
    (both, {"matrices": "m"}, "matrices is 'm'; it must be a tuple"),
    (both, {"matrices": ("weight_hh",)}, "matrices has 'weight_hh', which every cell may have"),
    (both, MATRIX | {"vectors": ("m",)}, "'m' is in vectors and in matrices"),
    (both, INNER | {"states": ("h", "c"), "recurrent_states": ("h", "c")}, "has 2 states; .* `matrices`"),
]


@pytest.mark.parametrize(("equations", "stated", "says"), WRONG, ids=[says[:30] for *_, says in WRONG])
def test_what_cannot_be_recorded_is_named_with_its_line(equations, stated, says):
    with pytest.raises(EquationError, match=rf"test_cell_inner.py:\d+: .*{says}") as error:
        own(equations, **stated).verify()
    assert "\n" not in str(error.value)


def test_a_number_and_a_mean_may_be_averaged_and_multiplied():
    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.a + mean(2.0) * wh.a + wh.b(mean(mean(prev.h) + wx.b))))

    case = problem(own(equations, **INNER))
    want = computed(prepare("torch", case), case)
    for backend in ("numpy", "numba"):
        compare(computed(prepare(backend, case), case), want, 2 * tolerance("float64", case.steps))


def test_operations_of_a_reset_before_the_product_are_counted_by_hand():
    count, hidden = cells.get("mgu:biases=0").operations(16, 32), 32
    assert count.forward_products == 2 * (2 * hidden * 16 + 2 * hidden * hidden)
    assert count.backward_products == 2 * count.forward_products
    assert count.forward_elementwise == (2 + 1 + 2 + 4) * hidden  # f; f h; +, tanh; 1 - f, two products, +


def test_a_mean_is_counted_as_a_sum_and_a_division_once_for_all_units():
    def centred(self, wx, wh, prev):
        return State(h=wx.a + wx.b - 2 * mean(prev.h))

    count = own(centred, recurrent_gates=()).operations(16, 32)
    assert count.forward_elementwise == 64 + 32 + 32 + (32 + 1) + 1  # biases, +, -, the mean, twice that


def test_a_matrix_of_its_own_is_a_parameter_drawn_as_others_are():
    def equations(self, wx, wh, prev, unit):
        return State(h=tanh(wx.a + sigmoid(wx.b) * unit.m(prev.h)))

    cell = own(equations, recurrent_gates=(), **MATRIX)
    assert cell.parameter_shapes(5, 7)["m"] == (7, 7)
    drawn = cell.init(5, 7)["m"]
    assert 0.3 < np.abs(drawn).max() <= 7**-0.5


def test_a_kernel_of_one_phase_has_one_loop_over_the_units_and_one_more_for_each_product():
    loops = {name: printed.text(cells.get(name), "float32") for name in ("gru", "gru_reset_before")}
    counts = {name: text.count("for j in range(hidden)") for name, text in loops.items()}
    assert counts == {"gru": 3, "gru_reset_before": 6}  # two forwards and a backward


def test_the_equations_show_the_product_and_the_mean():
    pytest.importorskip("sympy")
    assert r"W_{hn} \left(r_{t} h_{t-1}\right)" in cells.get("gru_reset_before").latex()
    assert r"W_{hy} z_{t} + b_{hy}" in cells.get("lem:biases=2").latex()
    assert r"c_{t} - \operatorname{mean}\left(c_{t}\right)" in cells.get("layernorm_lstm").latex()


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
@pytest.mark.parametrize("name", ["Chained", "Normed"])
def test_gradients_of_odd_cells_with_products_inside_match_float64_autograd(name, backend):
    case = problem(cells.get(f"{ODD}:{name}"))
    allowed = slack(case.cell, case.cell.sizes(case.params)[1]) * tolerance("float64", case.steps)
    compare(computed(prepare(backend, case), case), float64_autograd(case), allowed)
