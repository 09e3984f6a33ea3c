"""Checking files of arrays without code: state_dicts of torch, parameters of flax, models of Keras."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch import nn

from cellbench import cells
from cellbench.harness.cli import main

FOUR = "gru:layers=2:bidirectional=true"


@pytest.fixture
def absent(monkeypatch):
    """Neither flax nor Keras is installed."""
    monkeypatch.setitem(sys.modules, "flax", None)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "keras" else found(name, *a)
    )


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_state_dict_of_torch_is_run_as_torch_s_module(tmp_path, ending):
    module = nn.GRU(5, 7, num_layers=2, bidirectional=True)
    if ending == "pt":
        torch.save(module.state_dict(), tmp_path / "m.pt")
    else:
        pytest.importorskip("safetensors.torch").save_file(module.state_dict(), tmp_path / "m.safetensors")
    result = cells.check(tmp_path / f"m.{ending}", against=FOUR, steps=11)
    assert result.ok and "run as torch.nn.GRU" in str(result)
    with pytest.raises(ValueError, match="check it --against gru:layers=2:bidirectional=true"):
        cells.check(tmp_path / f"m.{ending}", against="gru")


def test_a_state_dict_in_a_python_file_is_checked(capsys, tmp_path):
    (tmp_path / "my.py").write_text("import torch\n\nstate = torch.nn.LSTM(3, 4).state_dict()\n")
    assert main(["check", f"{tmp_path}/my.py:state", "--against", "lstm", "--steps", "5"]) == 0
    assert "state against lstm: right" in capsys.readouterr().out
    assert main(["check", f"{tmp_path}/my.py:state", "--against", "gru", "--steps", "5"]) == 2
    assert capsys.readouterr().err.strip().endswith("check it --against lstm")


def tree_of(spec):
    cell = cells.get(spec)
    return cells.to_flax(cell, cell.init(5, 7, seed=3))


@pytest.mark.parametrize(
    "spec", ["lstm", "gru", "elman", "gru:bidirectional=true", "lstm:layers=2:bidirectional=true"]
)
def test_parameters_of_flax_are_run_by_flax(spec):
    pytest.importorskip("flax")
    result = cells.check(tree_of(spec), against=spec, steps=5)
    assert result.ok and "run as flax's cells" in str(result)


def test_a_file_of_flax_s_own_module_is_right_and_another_cell_is_named(tmp_path):
    flax, jax = pytest.importorskip("flax"), pytest.importorskip("jax")
    from flax import linen, serialization

    assert flax
    module = linen.Bidirectional(linen.RNN(linen.GRUCell(7)), linen.RNN(linen.GRUCell(7)))
    params = module.init(jax.random.PRNGKey(0), np.zeros((2, 4, 5), np.float32))
    file = tmp_path / "f.msgpack"
    file.write_bytes(serialization.to_bytes(params))
    assert cells.check(file, against="gru:bidirectional=true", steps=5).ok
    with pytest.raises(ValueError, match="check it --against gru:bidirectional=true"):
        cells.check(file, against="gru")
    wrong = cells.check(tree_of("gru"), against="gru_reset_before", steps=5)
    assert not wrong.ok and "this is gru" in wrong.diagnosis


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_keras_bidirectional_file_is_run_by_keras(tmp_path, monkeypatch, ending):
    pytest.importorskip("keras"), pytest.importorskip("h5py")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((None, 5)),
            layers.Bidirectional(layers.GRU(7, return_sequences=True)),
            layers.Bidirectional(layers.GRU(7)),
        ]
    )
    file = tmp_path / f"m.{ending}"
    model.save(file)
    result = cells.check(file, against=FOUR, steps=5)
    assert result.ok and "run as Keras's layers" in str(result)
    with pytest.raises(ValueError, match="holds a gru:layers=2:bidirectional=true"):
        cells.check(file, against="lstm:layers=2:bidirectional=true")


def test_a_tree_of_flax_without_flax_is_one_line(absent):
    with pytest.raises(ValueError, match="package flax is not installed: pip install flax") as caught:
        cells.check(tree_of("gru"), against="gru")
    assert "\n" not in str(caught.value)


def test_a_file_of_keras_without_keras_is_one_line(absent, tmp_path):
    from cellbench.cells.checking.keras import _keras

    with pytest.raises(ValueError, match="package keras is not installed: pip install keras"):
        _keras("m.keras")


def test_variables_of_tensorflows_old_cells_are_held_against_a_cell(tmp_path):
    cell = cells.get("gru_reset_before:layers=2")
    variables = cells.to_tensorflow(cell, cell.init(3, 4))
    assert "rnn/multi_rnn_cell/cell_0/gru_cell/gates/kernel" in variables
    np.savez(tmp_path / "tf.npz", **variables)
    found = cells.check(tmp_path / "tf.npz", "gru_reset_before:layers=2")
    assert found.ok and "what TensorFlow computes is not compared" in str(found)
    with pytest.raises(
        ValueError, match="holds gru_reset_before:layers=2, whose arrays are not those of gru"
    ):
        cells.check(tmp_path / "tf.npz", "gru")


@pytest.mark.parametrize("ending", ["npz", "msgpack", "pt", "safetensors", "keras", "h5"])
def test_a_file_that_is_none_is_one_line(capsys, tmp_path, ending):
    file = tmp_path / f"bad.{ending}"
    file.write_text("x")
    assert main(["check", str(file), "--against", "gru"]) == 2
    error = capsys.readouterr().err.strip()
    assert "bad" in error and "\n" not in error
    assert main(["check", f"{tmp_path}/nowhere.{ending}", "--against", "gru"]) == 2
    assert "no file" in capsys.readouterr().err


def test_arrays_of_no_recurrent_module_are_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"a.npz holds a, which are no arrays of a recurrent module"):
        cells.check(tmp_path / "a.npz", against="gru")
