"""Parameters, FLOPs and initial values, against published figures, hand counts and torch's own counters."""

import numpy as np
import pytest
import torch
from support.comparison import CELLS, fitting
from support.oracle import equal_torch
from torch.utils.flop_counter import FlopCounterMode

from cellbench import cells

PUBLISHED = [
    ("elman", 98816, 98560),
    ("lstm", 395264, 394240),
    ("gru", 296448, 295680),
]  # I=128, H=256: two biases, one


@pytest.mark.parametrize(("name", "two", "one"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(name, two, one):
    assert cells.get(f"{name}:biases=2").parameter_count(128, 256) == two
    assert cells.get(f"{name}:biases=1").parameter_count(128, 256) == one
    assert cells.get(f"{name}:biases=0").parameter_count(128, 256) == one - (two - one)


def test_the_lecture_s_network_has_its_five_arrays():
    inputs, hidden, outputs = 5, 7, 3
    cell = cells.get("elman", biases=1, readout=outputs)
    assert cell.parameter_shapes(inputs, hidden) == {
        "weight_ih": (7, 5),
        "weight_hh": (7, 7),
        "bias_ih": (7,),
        "weight_out": (3, 7),
        "bias_out": (3,),
    }
    assert cell.parameter_count(inputs, hidden) == hidden * (inputs + hidden + 1) + outputs * (hidden + 1)


@pytest.mark.parametrize("spec", [spec for spec in CELLS if equal_torch(spec)])
def test_parameters_are_those_of_torch_nn(spec):
    cell = cells.get(spec)
    kind, options = cell.torch_module()
    module = getattr(torch.nn, kind)(5, 7, bias=cell.biases > 0, **options)
    theirs = [(name, tuple(value.shape)) for name, value in module.named_parameters()]
    assert [(f"{name}_l0", shape) for name, shape in cell.parameter_shapes(5, 7).items()] == theirs


def test_parameter_count_is_what_init_makes(arrays):
    cell = cells.get(arrays)
    sizes = fitting(cell, 5, 7)
    params = cell.init(*sizes)
    assert cell.parameter_count(*sizes) == sum(v.size for v in params.values())
    assert {k: v.shape for k, v in params.items()} == cell.parameter_shapes(*sizes)
    assert list(params) == list(cell.parameter_shapes(*sizes))
    assert {v.dtype for v in params.values()} == {np.dtype("float64")}


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_products_are_those_of_torch_s_flop_counter(name):
    steps, batch, inputs, hidden = 50, 8, 16, 32
    kind, options = cells.get(name).torch_module()
    module = getattr(torch.nn, kind)(inputs, hidden, **options)
    # oneDNN's fused LSTM is one operation that the counter counts as nothing
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        module(torch.zeros(steps, batch, inputs))
    assert (
        counter.get_total_flops()
        == steps * batch * cells.get(name).operations(inputs, hidden).forward_products
    )


def test_elementwise_operations_of_elman_are_counted_by_hand():
    hidden = 32
    two, none = (cells.get(f"elman:biases={b}").operations(16, hidden) for b in (2, 0))
    assert none.forward_elementwise == 2 * hidden  # wx + wh, tanh
    assert two.forward_elementwise == 4 * hidden  # and two biases
    # d * (1 - h * h) is 3, the cotangents of the output and of the recurrent product are 2 more, then one for
    # each bias
    assert none.backward_elementwise == 5 * hidden
    assert two.backward_elementwise == 7 * hidden
    assert two.forward_products == none.forward_products == 2 * hidden * (16 + hidden)
    assert two.backward_products == 2 * two.forward_products


def test_elementwise_operations_of_gru_are_counted_by_hand():
    # r, z: 2 each; n: r * wh, +, tanh; h: 1 - z, product, product, +
    assert cells.get("gru:biases=0").operations(16, 32).forward_elementwise == (2 + 2 + 3 + 4) * 32


def test_read_out_is_counted():
    plain, read = cells.get("elman").operations(16, 32), cells.get("elman", readout=4).operations(16, 32)
    assert read.forward_products - plain.forward_products == 2 * 4 * 32
    assert read.forward_elementwise - plain.forward_elementwise == 4


def test_sums_of_operations_agree(spec):
    cell = cells.get(spec)
    ops = cell.operations(*fitting(cell, 5, 7))
    assert ops.forward == ops.forward_products + ops.forward_elementwise
    assert ops.of("forward") == ops.forward
    assert ops.of("backward") == ops.forward + ops.backward
    assert (
        min(ops.forward_products, ops.forward_elementwise, ops.backward_products, ops.backward_elementwise)
        > 0
    )
