"""Initialisation schemes: torch's bounds, orthogonal and identity blocks, biases that set the memory span."""

import numpy as np
import pytest
import torch
from support.comparison import ARRAYS, CELLS, fitting, having, label

from cellbench import cells

pytestmark = pytest.mark.quick

# cells whose recurrent blocks are square: not those that project the state
SQUARE = [spec for spec in having("weight_hh") if spec not in having("weight_hr")]
KEEPING = [n for n in cells.names() if cells.get(n).keep_gate]
HIDDEN = 33


def bias_of(cell, params, gate):
    """The sum of the gate's biases."""
    total = np.zeros(HIDDEN)
    for name, gates in (("bias_ih", cell.gates), ("bias_hh", cell.recurrent)):
        if name in params and gate in gates:  # bias_ih may be of the first gates alone
            total = total + params[name].reshape(-1, HIDDEN)[gates.index(gate) :][:1].sum(0)
    return total


@pytest.mark.parametrize(
    ("spec", "scheme"),
    [(spec, "torch") for spec in CELLS]
    + [(spec, scheme) for scheme in ("orthogonal(1.2)", "identity") for spec in SQUARE],
    ids=label,
)
def test_the_seed_determines_everything(spec, scheme):
    cell = cells.get(spec)
    sizes = fitting(cell, 5, HIDDEN)
    first, same, other = (cell.init(*sizes, seed=s, scheme=scheme) for s in (3, 3, 4))
    assert all(np.array_equal(first[k], same[k]) for k in first)
    assert not all(np.array_equal(first[k], other[k]) for k in first)


def test_torch_scheme_has_torch_s_bounds(arrays):
    cell = cells.get(arrays)
    inputs, hidden = fitting(cell, 40, HIDDEN)
    bound = 1 / np.sqrt(cell.units(hidden))
    params = cell.init(inputs, hidden)
    for name, value in params.items():
        assert np.abs(value).max() <= bound, name
    assert np.abs(params["weight_ih"]).max() > 0.99 * bound
    limits = {
        n: float(p.detach().abs().max()) for n, p in torch.nn.RNN(40, cell.units(hidden)).named_parameters()
    }
    assert all(v <= np.float32(bound) for v in limits.values())  # as torch rounds it
    assert abs(params["weight_ih"].mean()) < 0.1 * bound
    np.testing.assert_allclose(params["weight_ih"].std(), bound / np.sqrt(3), rtol=0.05)


@pytest.mark.parametrize("spec", SQUARE, ids=label)
@pytest.mark.parametrize(
    ("scheme", "gain"), [("orthogonal", 1.0), ("orthogonal(1.2)", 1.2), (" orthogonal(0.5) ", 0.5)]
)
def test_orthogonal_blocks_have_their_gain(spec, scheme, gain):
    cell = cells.get(spec)
    sizes = fitting(cell, 5, HIDDEN)
    weight = cell.init(*sizes, scheme=scheme)["weight_hh"]
    size = weight.shape[1] // len(cell.fed_back)
    blocks = [b for side in np.split(weight, len(cell.fed_back), 1) for b in side.reshape(-1, size, size)]
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, gain**2 * np.eye(size), atol=1e-13)
    assert all(not np.allclose(blocks[0], b) for b in blocks[1:])


@pytest.mark.parametrize("arrays", having("weight_hh", ARRAYS))
def test_identity_blocks_and_zero_biases(arrays):
    cell = cells.get(arrays)
    sizes = fitting(cell, 5, HIDDEN)
    params = cell.init(*sizes, scheme="identity")
    for block in np.concatenate(np.split(params["weight_hh"], len(cell.fed_back), 1)).reshape(
        -1, HIDDEN, HIDDEN
    ):
        assert np.array_equal(block, np.eye(HIDDEN))
    assert not any(params[k].any() for k in params if k.startswith("bias"))


@pytest.mark.parametrize("biases", [1, 2])
@pytest.mark.parametrize("name", KEEPING)
def test_forget_bias_is_the_sum_of_the_biases(name, biases):
    cell = cells.get(f"{name}:biases={biases}")
    params, plain = cell.init(5, HIDDEN, scheme="forget_bias(2.5)"), cell.init(5, HIDDEN)
    assert (bias_of(cell, params, cell.keep_gate) == 2.5).all()
    assert (bias_of(cell, cell.init(5, HIDDEN, scheme="forget_bias"), cell.keep_gate) == 1).all()
    for gate in set(cell.gates) - {cell.keep_gate}:
        assert np.array_equal(bias_of(cell, params, gate), bias_of(cell, plain, gate))


@pytest.mark.parametrize("name", KEEPING)
def test_chrono_biases_span_up_to_the_longest_time(name):
    cell, longest = cells.get(name), 50
    draws = [cell.init(5, HIDDEN, seed=s, scheme=f"chrono({longest})") for s in range(20)]
    keep = np.concatenate([bias_of(cell, p, cell.keep_gate) for p in draws])
    assert keep.min() >= 0
    assert keep.max() <= np.log(longest - 1)
    np.testing.assert_allclose(np.exp(keep).mean(), longest / 2, rtol=0.1)
    if cell.input_gate:
        assert np.array_equal(np.concatenate([bias_of(cell, p, cell.input_gate) for p in draws]), -keep)


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("orthogonl", "unknown scheme 'orthogonl'; did you mean 'orthogonal'"),
        ("", "unknown scheme"),
        ("torch)", "unknown scheme"),
        ("orthogonal(x)", "no number"),
        ("orthogonal(1, 2)", "too many arguments"),
        ("torch(1)", "too many arguments"),
        ("chrono(2)", "above 2"),
        ("chrono(nan)", "chrono"),
        ("chrono(inf)", "chrono"),
        ("orthogonal(nan)", "orthogonal"),
        ("forget_bias(inf)", "forget_bias"),
    ],
)
def test_a_wrong_scheme_is_one_clear_line(scheme, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")) as caught:
        cells.get("lstm").init(5, 7, scheme=scheme)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("elman", "no keep_gate"), ("lstm:biases=0", "no bias here")])
@pytest.mark.parametrize("scheme", ["forget_bias(1)", "chrono(100)"])
def test_a_scheme_that_the_cell_has_no_bias_for_is_refused(name, words, scheme):
    with pytest.raises(ValueError, match=words):
        cells.get(name).init(5, 7, scheme=scheme)
