"""The equations as LaTeX say what the graph computes."""

import pytest

from cellbench import cells

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("name", cells.names())
def test_every_state_and_every_named_value_has_its_line(name):
    cell = cells.get(name)
    if cell.written_out:
        assert cell.latex() == ""
        return
    left = [line.partition(" = ")[0] for line in cell.latex().splitlines()]
    assert {f"{s}_t" for s in cell.states} <= set(left) and len(set(left)) == len(left)
    assert {f"{n}_t" for n in cell.derivation().names.values()} <= set(left)


def test_a_sum_inside_a_product_keeps_its_parentheses():
    assert r"r_{t} \left(W_{hn} h_{t-1} + b_{hn}\right)" in cells.get("gru").latex()
    assert r"\left(1 - z_{t}\right) n_{t}" in cells.get("gru").latex()


def test_biases_and_read_out_are_those_of_the_options():
    lecture = cells.get("elman", biases=1, readout=2).latex().splitlines()
    assert lecture == [
        r"h_t = \tanh\left(W_{ih} x_t + b_{h} + W_{hh} h_{t-1}\right)",
        "y_t = W_{yx} h_t + b_y",
    ]
    assert "b_" not in cells.get("lstm", biases=0).latex()
