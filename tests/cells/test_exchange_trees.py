"""Stacks and both directions to Keras, flax, equinox and TensorFlow and back; state_dicts with prefixes."""

import re

import numpy as np
import pytest
import torch
from support.keras_steps import keras_layer

from cellbench import cells
from cellbench.cells.exchange.layouts import EQUINOX, FLAX, KERAS, TENSORFLOW

FORMS = [{}, {"layers": 2}, {"bidirectional": True}, {"layers": 3, "bidirectional": True}]
X = np.random.default_rng(1).standard_normal((6, 2, 3))


def output(cell, params):
    program = cells.backend("numpy").prepare(
        cell, params, steps=len(X), batch=X.shape[1], dtype="float64", direction="forward"
    )
    return program.forward(X).output


def drawn(cell):
    rng = np.random.default_rng(2)  # not init's: biases that are zero would hide where they go
    return {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes(3, 4).items()}


def layers_of(keys, cell):
    return list(zip(keys[::2], keys[1::2], strict=True)) if cell.bidirectional else keys


def back(library, cell, held):
    """What comes back of what was written."""
    if library == "keras":
        return cells.from_keras(cell.name, held)
    prefix = None
    if library == "flax" and "layers_0" in held["params"]:
        ends = ("/forward_rnn", "/backward_rnn") if cell.bidirectional else ("",)
        prefix = [tuple(key + end for end in ends) for key in held["params"]]
    if library == "equinox" and cell.stacked:
        prefix = layers_of([str(k) for k in range(len(held))], cell)
    return getattr(cells, f"from_{library}")(held, prefix=prefix)


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(
    ("library", "name"),
    [
        (library, name)
        for library, table in zip(
            ("keras", "flax", "equinox", "tensorflow"), (KERAS, FLAX, EQUINOX, TENSORFLOW), strict=True
        )
        for name in table
    ],
)
def test_a_stack_written_and_read_again_computes_the_same(library, name, form, biases):
    cell = cells.get(name, biases=biases, **form)
    params = drawn(cell)
    again, read = back(library, cell, getattr(cells, f"to_{library}")(cell, params))
    assert (again.name, again.layers, again.bidirectional) == (name, cell.layers, cell.bidirectional)
    np.testing.assert_allclose(output(again, read), output(cell, params), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KERAS)
def test_both_directions_of_a_keras_stack_are_what_keras_s_equations_give(name):
    cell = cells.get(name, biases=2, layers=2, bidirectional=True)
    params = drawn(cell)
    arrays, x = cells.to_keras(cell, params), X
    for k in range(0, 12, 6):
        forward = keras_layer(name, arrays[k : k + 3], x)["output"]
        backward = keras_layer(name, arrays[k + 3 : k + 6], x[::-1])["output"][::-1]
        x = np.concatenate([forward, backward], -1)
    np.testing.assert_allclose(output(cell, params), x, rtol=0, atol=1e-12)


def test_basic_lstm_cell_s_forget_bias_is_added_as_tensorflow_adds_it():
    """By the documented equations: i, j, f, o = [x; h] W + b, c = c sigmoid(f + 1) + sigmoid(i) tanh(j)."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((7, 16)), rng.standard_normal(16)
    cell, params = cells.from_tensorflow(
        {"rnn/basic_lstm_cell/kernel:0": kernel, "rnn/basic_lstm_cell/bias:0": bias}
    )
    h, c, outputs = np.zeros((2, 4)), np.zeros((2, 4)), []
    for x in X:
        i, j, f, o = np.split(np.concatenate([x, h], 1) @ kernel + bias, 4, 1)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f + 1, o))
        c = c * f + i * np.tanh(j)
        h = np.tanh(c) * o
        outputs.append(h)
    np.testing.assert_allclose(output(cell, params), outputs, rtol=0, atol=1e-12)


def test_the_recurrent_part_of_a_model_s_state_dict_is_found_or_asked_for():
    model = torch.nn.ModuleDict(
        {"encoder": torch.nn.GRU(3, 4, 2, bidirectional=True), "out": torch.nn.Linear(8, 2)}
    )
    model = model.double()
    cell, params = cells.from_torch(model.state_dict())
    with torch.no_grad():
        want = model["encoder"](torch.tensor(X))[0]
    np.testing.assert_allclose(output(cell, params), want, rtol=0, atol=1e-12)
    model["decoder"] = torch.nn.LSTM(3, 4)
    with pytest.raises(ValueError, match=re.escape("encoder, decoder; say which: prefix='encoder'")):
        cells.from_torch(model.state_dict())
    assert cells.from_torch(model.state_dict(), prefix="decoder")[0].name == "lstm"


def test_a_safetensors_file_is_read_as_the_module_that_wrote_it(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    module = torch.nn.LSTM(3, 4, dtype=torch.float64)
    save_file({f"rnn.{k}": v for k, v in module.state_dict().items()}, tmp_path / "m.safetensors")
    cell, params = cells.from_torch(tmp_path / "m.safetensors")
    with torch.no_grad():
        want = module(torch.tensor(X))[0]
    np.testing.assert_allclose(output(cell, params), want, rtol=0, atol=1e-12)


def test_a_weight_that_is_computed_from_others_is_refused_by_name():
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.LSTM(3, 4), "weight_hh_l0")
    with pytest.raises(ValueError, match="remove the parametrization first"):
        cells.from_torch(module.state_dict())
