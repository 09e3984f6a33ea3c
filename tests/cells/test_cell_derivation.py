"""The recorded graph of equations, its printed form, its degree, and errors that point at the line."""

import inspect
import math
import random
import re

import numpy as np
import pytest
import torch

from cellbench import cells
from cellbench.cells import GatedCell, State, maximum, sigmoid, tanh
from cellbench.cells.derived.derive import EquationError, degree, vector_jacobian
from cellbench.cells.kernels import arrays
from cellbench.cells.kernels.printing import assignments, plain_number
from cellbench.cells.vocabulary.graph import Tape
from cellbench.cells.vocabulary.primitives import FUNCTIONS

pytestmark = pytest.mark.quick


def cell_of(equations, gates=("a", "b"), states=("h",)):
    """A cell with these equations."""
    return type("Written", (GatedCell,), {"gates": gates, "states": states, "equations": equations})()


def unknown_gate(self, wx, wh, prev):
    return State(h=tanh(wx.a + wh.b) + wx.z)  # wrong


def unknown_state(self, wx, wh, prev):
    return State(h=tanh(wx.a + wh.b) + prev.c)  # wrong


def numpy_function(self, wx, wh, prev):
    return State(h=np.tanh(wx.a + wh.b))  # wrong


def control_flow(self, wx, wh, prev):
    if wx.a > 0:  # wrong
        return State(h=wx.a)
    return State(h=wh.b)


def equality(self, wx, wh, prev):
    if wx.a == 0:  # wrong
        return State(h=wx.a)
    return State(h=wh.b)


def other_type(self, wx, wh, prev):
    return State(h=tanh(wx.a + wh.b) + "1")  # wrong


def real_power(self, wx, wh, prev):
    return State(h=(wx.a + wh.b) ** 0.5)  # wrong


RAISING = [unknown_gate, unknown_state, numpy_function, control_flow, equality, other_type, real_power]


@pytest.mark.parametrize("equations", RAISING)
def test_an_error_names_file_line_and_vocabulary(equations):
    lines, first = inspect.getsourcelines(equations)
    line = first + next(k for k, text in enumerate(lines) if "# wrong" in text)
    with pytest.raises(EquationError) as caught:
        cell_of(equations).derivation()
    message = str(caught.value)
    assert f"{__file__}:{line}: " in message
    assert all(word in message for word in [*FUNCTIONS, "+ - * /", "gates (a, b)", "states (h)"])


FOREIGN = {
    "NumPy": (lambda value: np.exp(value), "another library, such as NumPy, torch or math"),
    "torch": (lambda value: torch.tanh(value), "another library, such as NumPy, torch or math"),
    "torch's functional": (lambda value: torch.nn.functional.relu(value), "import it from cellbench.cells"),
    "math": (lambda value: math.exp(value), "another library, such as NumPy, torch or math"),
    "an operator": (lambda value: value % 2, "the operator % does not apply to a value of the equations"),
    "a sum of units": (lambda value: sum(value), "has no units to"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_other_libraries_say_of_a_value_is_said_in_the_authors_words(name):
    function, words = FOREIGN[name]

    def equations(self, wx, wh, prev):
        return State(h=function(wx.a + wh.b))

    with pytest.raises(EquationError) as caught:
        cell_of(equations).derivation()
    assert words in str(caught.value) and "Node" not in str(caught.value)


@pytest.mark.parametrize("gates", [["a", "b"], "a"])
def test_names_that_are_no_tuple_are_shown_as_one(gates):
    cell = cell_of(bare_value)
    type(cell).gates = gates
    with pytest.raises(EquationError) as caught:
        cell.derivation()
    assert str(caught.value).endswith(f"must be a tuple of names such as {tuple(gates)!r}")


def never_produced(self, wx, wh, prev):
    return State(h=wx.a + wh.b)


def never_used(self, wx, wh, prev):
    return State(h=tanh(wx.a + wh.a) + prev.c, c=prev.c)


def bare_value(self, wx, wh, prev):
    return tanh(wx.a + wh.b)


def a_number(self, wx, wh, prev):
    return State(h=wx.a + wh.b, c=1.0)


@pytest.mark.parametrize(
    ("equations", "words"),
    [
        (never_produced, "State has h; states says h, c"),
        (never_used, "gate 'b' is never used"),
        (bare_value, r"must return State\("),
    ],
)
def test_wrong_results_are_refused_with_the_place(equations, words):
    with pytest.raises(EquationError, match=words) as caught:
        cell_of(equations, states=("h", "c")).derivation()
    assert f"{__file__}:{equations.__code__.co_firstlineno}: " in str(caught.value)


def test_a_state_that_is_a_plain_number_is_refused_by_name():
    with pytest.raises(EquationError, match=r"c\b.*1\.0"):
        cell_of(a_number, states=("h", "c")).derivation()


def test_a_cell_without_equations_says_so():
    with pytest.raises(EquationError, match="has no equations"):
        cell_of(GatedCell.equations).derivation()


def test_no_equations_are_said_at_the_file_of_the_class():
    with pytest.raises(
        EquationError, match=rf"^Written has no equations in {re.escape(__file__)}; write the"
    ):
        cell_of(GatedCell.equations).derivation()


def test_what_an_author_s_line_raises_has_its_kind_in_the_message():
    def raises(self, wx, wh, prev):
        raise KeyError("width")

    with pytest.raises(EquationError, match="KeyError: 'width'"):
        cell_of(raises).derivation()


@pytest.mark.parametrize("what", ["gates", "states"])
def test_a_name_that_stands_twice_is_refused(what):
    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.a + wh.a))

    names = {"gates": ("a",), "states": ("h",)}
    names[what] *= 2
    with pytest.raises(EquationError, match=f"{what} has '{names[what][0]}' twice"):
        cell_of(equations, **names).derivation()


def test_equations_that_say_another_thing_when_called_again_are_refused():
    """They were one constant in numba's kernels, which then were timed as right."""
    calls = []

    def counts(self, wx, wh, prev):
        calls.append(1)
        return State(h=tanh(len(calls) * wx.a + wh.b))

    def draws(self, wx, wh, prev):
        return State(h=tanh(random.random() * wx.a + wh.b))

    for equations in (counts, draws):
        with pytest.raises(EquationError, match="say another thing when they are called again"):
            cell_of(equations).derivation()


def test_equal_expressions_are_one_node():
    tape = Tape()
    x, y = tape.input("x"), tape.input("y")
    assert tanh(x + y) is tanh(x + y)
    assert x + y is not y + x
    assert x * 2 is x * 2.0
    assert tape.constant(0.0) is not tape.constant(-0.0)
    assert (x + y) * (x + y) is (x + y) ** 2


def test_printed_lines_keep_the_written_order_and_names():
    def equations(self, wx, wh, prev):
        open = sigmoid(wx.a + wh.a)
        fresh = tanh(wh.b - (wx.b - 1) * open)
        return State(h=fresh - open * (fresh - prev.h) / 2)

    source = inspect.getsource(arrays.module(cell_of(equations)).forward)
    assert "wx_b - 1" in source
    written = [
        "open = sigmoid(wx_a + wh_a)",
        "fresh = tanh(wh_b - ",
        "h = fresh - open * (fresh - prev_h) / 2",
    ]
    places = [source.find(text) for text in written]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(
    "write",
    [
        lambda a, b, c: a - (b - c),
        lambda a, b, c: (a - b) - c,
        lambda a, b, c: a / (b * c),
        lambda a, b, c: a / b * c,
        lambda a, b, c: -(a + b) * c,
        lambda a, b, c: -(-a),  # noqa: B002
        lambda a, b, c: a - -b,
        lambda a, b, c: a * (b / c),
        lambda a, b, c: (a + b) * (a - c),
        lambda a, b, c: 2 - a * -3,
        lambda a, b, c: maximum(a - b, -0.5) ** 3,
    ],
)
def test_printed_expressions_evaluate_as_written(write):
    tape = Tape()
    nodes = [tape.input(n) for n in "abc"]
    root = write(*nodes)
    lines, variable = assignments([root], dict(zip(nodes, "abc", strict=True)), {})
    values = {"a": 0.7, "b": -1.3, "c": 3.1, "maximum": maximum}
    exec("\n".join(lines), values)
    assert values[variable[root]] == write(0.7, -1.3, 3.1)


@pytest.mark.parametrize("value", [0.1, 1.0, -2.0, 1e30, 1e-40, -0.0, 1 / 3])
def test_a_printed_constant_is_the_same_number(value):
    assert repr(float(eval(plain_number(value)))) == repr(value)


def test_degree_counts_the_recurrent_product_as_linear():
    tape = Tape()
    wx, wh, h = tape.input("wx_a"), tape.input("wh_a"), tape.input("prev_h")
    assert [degree(n) for n in (wx, wh, h, tape.constant(3))] == [0, 1, 1, 0]
    assert degree(tanh(wx) * h + wh) == 1
    assert degree(h / sigmoid(wx)) == 1
    assert degree(-h - 2 * wh) == 1
    assert degree(wh * h) == 2
    assert degree((h + wx) ** 3) == 3
    assert degree(tanh(wx)) == 0
    assert degree(wx / h) == degree(tanh(h)) == float("inf")


def test_affine_is_found_from_the_graph():
    assert cells.get("elman:activation=identity").affine()
    assert not any(cells.get(name).affine() for name in ("elman", "elman:activation=relu", "lstm", "gru"))
    gated = cell_of(lambda self, wx, wh, prev: State(h=sigmoid(wx.a) * prev.h + (1 - sigmoid(wx.a)) * wx.b))
    assert gated.affine()


def test_gates_in_one_sum_and_gates_apart_are_told():
    found = {name: cells.get(name) for name in ("elman", "lstm", "gru")}
    apart = {name: [g for g in cell.gates if cell.derivation().separate(g)] for name, cell in found.items()}
    assert apart == {"elman": [], "lstm": [], "gru": ["n"]}


def test_an_input_without_influence_has_no_cotangent():
    cell = cell_of(lambda self, wx, wh, prev: State(h=tanh(wx.a + wh.b)))
    assert set(vector_jacobian(cell.derivation())) == {"d_wx_a", "d_wh_b"}


def test_a_constant_that_is_not_finite_is_refused():
    with pytest.raises(TypeError, match="not finite"):
        Tape().input("wx_a") * float("inf")
