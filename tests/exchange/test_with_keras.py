"""Layers, models and files of Keras against what Keras itself computes, both ways (nox -s exchange)."""

import os

import numpy as np
import pytest
from support.exchange import FORMS, INPUTS, UNITS, close, drawn, form_name, output, redrawn, x_of

from cellbench import cells

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="Keras is not installed; nox -s exchange installs it")

KINDS = {
    "elman": ("SimpleRNN", {}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {"reset_after": True}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
}
X = x_of()


def layers_of(kind, form, **options):
    """The recurrent layers of a model."""
    made = []
    for _ in range(form.get("layers", 1)):
        one = getattr(keras.layers, kind)(UNITS, return_sequences=True, **options)
        made.append(keras.layers.Bidirectional(one) if form.get("bidirectional") else one)
    return made


def model_of(layers, seed=3):
    """A model of these layers with weights and biases drawn."""
    model = keras.Sequential([keras.Input((None, INPUTS)), *layers])
    model.set_weights(redrawn(model.get_weights(), seed))
    return model


def of_keras(model, x=X):
    """What Keras computes, (T, B, O)."""
    return np.asarray(model(x.swapaxes(0, 1).astype(np.float32))).swapaxes(0, 1)


def read_as(model, given, **options):
    """The cell that is read computes what the model does."""
    cell, params = cells.from_keras(given, **options)
    close(output(cell, params, X), of_keras(model))
    return cell


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_keras_is_read_as_keras_computes_it(name, form, bias):
    kind, options = KINDS[name]
    model = model_of(layers_of(kind, form, use_bias=bias, **options))
    cell = read_as(model, model)
    assert (cell.name, cell.layers, cell.bidirectional) == (
        name,
        form.get("layers", 1),
        "bidirectional" in form,
    )


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("name", KINDS)
def test_a_cell_s_arrays_compute_the_cell_in_keras(name, form, biases):
    kind, options = KINDS[name]
    cell = cells.get(name, biases=biases, **form)
    params = drawn(cell)
    model = model_of(layers_of(kind, form, use_bias=biases > 0, **options))
    model.set_weights(cells.to_keras(cell, params))
    close(of_keras(model), output(cell, params, X))


@pytest.mark.parametrize("end", [".keras", ".h5"])
@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_keras_saved_is_read_as_the_model(name, form, end, tmp_path):
    kind, options = KINDS[name]
    model = model_of([*layers_of(kind, form, **options), keras.layers.Dense(2)])
    model.save(tmp_path / f"model{end}")
    assert read_as(model, str(tmp_path / f"model{end}")).readout == 2


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_weights_alone_is_read_as_the_cell_that_is_named(name, tmp_path):
    kind, options = KINDS[name]
    model = model_of(layers_of(kind, {"layers": 2, "bidirectional": True}, **options))
    model.save_weights(tmp_path / "m.weights.h5")
    cell, params = cells.from_keras(name, tmp_path / "m.weights.h5")
    close(output(cell, params, X), of_keras(model))


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear", None])
def test_activations_of_a_simple_rnn_are_kept_by_name(activation):
    model = model_of(layers_of("SimpleRNN", {"layers": 2}, activation=activation))
    read_as(model, model)


def test_activations_given_as_functions_are_known_by_their_name(tmp_path):
    options = {"activation": keras.activations.tanh, "recurrent_activation": keras.activations.sigmoid}
    model = model_of(layers_of("LSTM", {}, **options))
    model.save(tmp_path / "m.keras")
    read_as(model, str(tmp_path / "m.keras"))


def test_a_layer_alone_with_dropout_and_state_is_read_as_it_runs_when_used():
    layer = keras.layers.GRU(UNITS, return_sequences=True, dropout=0.3, recurrent_dropout=0.2)
    model = model_of([layer])
    read_as(model, layer)


def test_layers_of_one_class_are_told_apart_in_files(tmp_path):
    """Files count layers of a class (lstm, lstm_1); names that a user gave do not sort that way."""
    names = ("z", "lstm_9", "a")
    layers = [keras.layers.LSTM(INPUTS, return_sequences=True, name=name) for name in names]
    model = model_of(layers)
    for end in (".keras", ".h5"):
        model.save(tmp_path / f"m{end}")
        read_as(model, str(tmp_path / f"m{end}"))


def test_a_functional_model_is_read_and_a_layer_of_one_that_branches_is_picked(tmp_path):
    given = keras.Input((None, INPUTS))
    mixed = keras.layers.GRU(UNITS, return_sequences=True, name="mixed")(given)
    chain = keras.Model(given, keras.layers.Dense(2)(mixed))
    chain.set_weights(redrawn(chain.get_weights()))
    chain.save(tmp_path / "chain.keras")
    read_as(chain, str(tmp_path / "chain.keras"))
    branched = keras.Model(given, keras.layers.Concatenate()([mixed, given]))
    branched.save(tmp_path / "branched.keras")
    with pytest.raises(ValueError, match=r"branched\.keras: concatenate takes mixed, .*layer='mixed'"):
        cells.from_keras(tmp_path / "branched.keras")
    cell, params = cells.from_keras(tmp_path / "branched.keras", layer="mixed")
    close(output(cell, params, X), of_keras(keras.Model(given, mixed)))


def test_a_bidirectional_layer_with_a_backward_layer_of_its_own_is_read(tmp_path):
    pair = keras.layers.Bidirectional(
        keras.layers.LSTM(UNITS, return_sequences=True, name="there"),
        backward_layer=keras.layers.LSTM(UNITS, return_sequences=True, go_backwards=True, name="back"),
    )
    model = model_of([pair])
    read_as(model, model)
    model.save(tmp_path / "m.keras")
    read_as(model, str(tmp_path / "m.keras"))


def test_a_layer_around_a_cell_is_read():
    model = model_of([keras.layers.RNN(keras.layers.GRUCell(UNITS), return_sequences=True)])
    read_as(model, model)


def test_a_dense_in_time_distributed_is_the_read_out(tmp_path):
    model = model_of(
        [*layers_of("LSTM", {}), keras.layers.TimeDistributed(keras.layers.Dense(3, use_bias=False))]
    )
    read_as(model, model)
    model.save(tmp_path / "m.keras")
    read_as(model, str(tmp_path / "m.keras"))


def test_a_class_of_the_same_name_is_not_taken_for_keras_s(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class GRU(keras.layers.GRU):
        def call(self, sequences, initial_state=None, mask=None, training=False):
            return -super().call(sequences, initial_state, mask, training)

    model = keras.Sequential([keras.Input((None, INPUTS)), GRU(UNITS, return_sequences=True)])
    model.save(tmp_path / "m.keras")
    for given in (model, model.layers[0], tmp_path / "m.keras"):
        with pytest.raises(ValueError, match="is a class of its own called GRU"):
            cells.from_keras(given)


def test_a_stateful_layer_is_read_as_it_runs_from_zero(tmp_path):
    layer = keras.layers.LSTM(UNITS, return_sequences=True, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(X.shape[1], None, INPUTS)), layer])
    for end in (".keras", ".h5"):
        model.save(tmp_path / f"m{end}")
        read_as(model, tmp_path / f"m{end}")
        layer.reset_state()


def test_an_adapter_of_low_rank_is_merged_in_a_file_and_refused_in_a_model(tmp_path):
    dense = keras.layers.Dense(2, name="out")
    model = model_of([*layers_of("LSTM", {}), dense])
    dense.enable_lora(1)
    model.set_weights(redrawn(model.get_weights()))
    with pytest.raises(ValueError, match=r"out has the arrays .*\(1, 2\); a Dense must have kernel, bias"):
        cells.from_keras(model)
    model.save(tmp_path / "m.keras")
    read_as(model, tmp_path / "m.keras")


REFUSED = {
    "go_backwards": (lambda: [keras.layers.GRU(UNITS, go_backwards=True)], "go_backwards=True"),
    "merge_mode": (
        lambda: [keras.layers.Bidirectional(keras.layers.GRU(UNITS), merge_mode="sum")],
        "merge_mode='sum'",
    ),
    "activation": (lambda: [keras.layers.LSTM(UNITS, activation="relu")], "activation 'relu'"),
    "recurrent_activation": (
        lambda: [keras.layers.GRU(UNITS, recurrent_activation="hard_sigmoid")],
        "recurrent_activation 'hard_sigmoid'",
    ),
    "simple_rnn": (lambda: [keras.layers.SimpleRNN(UNITS, activation="sigmoid")], "activation 'sigmoid'"),
    "masking": (lambda: [keras.layers.Masking(), keras.layers.LSTM(UNITS)], "masking.*layer='lstm"),
    "normalised": (
        lambda: [*layers_of("LSTM", {}), keras.layers.LayerNormalization()],
        "layer_normalization.*layer='lstm",
    ),
    "softmax": (
        lambda: [*layers_of("LSTM", {}), keras.layers.Dense(2, activation="softmax")],
        "Dense with activation softmax",
    ),
    "stacked cells": (
        lambda: [keras.layers.RNN([keras.layers.LSTMCell(UNITS), keras.layers.LSTMCell(UNITS)])],
        "StackedRNNCells|several cells",
    ),
    "convolutional": (
        lambda: [keras.layers.Reshape((-1, 3, 1, 1)), keras.layers.ConvLSTM2D(2, 1)],
        "reshape",
    ),
    "distributed": (
        lambda: [keras.layers.Reshape((-1, 3, 1)), keras.layers.TimeDistributed(keras.layers.LSTM(2))],
        "reshape",
    ),
    "different": (
        lambda: [*layers_of("LSTM", {}), *layers_of("GRU", {})],
        "gru.* is gru.*lstm.* is lstm",
    ),
    "two layers and one": (
        lambda: [*layers_of("LSTM", {"bidirectional": True}), *layers_of("LSTM", {})],
        "(directions|inputs)",
    ),
    "nested": (
        lambda: [keras.Sequential([keras.Input((None, INPUTS)), *layers_of("LSTM", {})])],
        "sequential",
    ),
    "no recurrence": (lambda: [keras.layers.Dense(2)], "dense"),
}


@pytest.mark.parametrize("end", ["", ".keras", ".h5"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_no_cell_computes_is_refused_in_one_line_that_names_the_layer(case, end, tmp_path):
    make, words = REFUSED[case]
    model = keras.Sequential([keras.Input((None, INPUTS)), *make()])
    given = model
    if end:
        given = tmp_path / f"model{end}"
        model.save(given)
    with pytest.raises(ValueError, match=words) as caught:
        cells.from_keras(given)
    assert "\n" not in str(caught.value)
    assert not end or f"model{end}" in str(caught.value)
