"""Checking a port: implementations in users' styles are understood, and an error in one is named."""

import numpy as np
import pytest
import torch
from support import user_ports as ports
from support.comparison import compare
from torch import nn

from cellbench import cells
from cellbench.cells.programs.tolerance import tolerance

RIGHT = {
    "Packed": "gru",
    "PerGate": "lstm",
    "Joined": "lstm",
    "Wrapped": "gru",
    "SplitGRU": "gru",
    "dict_gru": "gru",
    "arrays_lstm": "lstm",
    "d2l_lstm": "lstm",
    "columns_lstm": "lstm",
    "KerasGRU": "gru",
    "KerasLSTM": "lstm",
    "Single": "elman",
    "Keeping": "elman",
    "Given": "gru",
    "functional_lstm": "lstm",
    "carried_lstm": "lstm",
    "helped_gru": "gru",
    "OwnCell": "gru",
    "ResetBefore": "gru_reset_before",
    "LSTM": "lstm",
    "Dictionaries": "lstm",
    "Headed": "lstm",
    "Vectors": "lstm",
    "keras_gru": "gru",
}

WRONG = {
    "ResetBefore": ("gru", "this is gru_reset_before: check it --against gru_reset_before"),
    "textbook_gru": ("gru", "this is gru_reset_before with z and 1 - z exchanged"),
    "Swapped": ("gru", "right with z and 1 - z exchanged"),
    "ordered_gru": ("gru", "right with gate order z, r, n (Keras's and ONNX's) where gru has r, z, n"),
    "IFOG": ("lstm", "right with gate order i, f, o, g where lstm has i, f, g, o"),
    "IOFG": ("lstm", "right with gate order i, o, f, g (ONNX's) where lstm has i, f, g, o"),
    "ForgetBias": ("lstm", "1 added inside the sigmoid of f (a forget bias of 1)"),
    "SigmoidCandidate": ("lstm", "sigmoid where g has tanh"),
    "NoTanh": ("lstm", "the tanh of c left out"),
    "OneBias": ("lstm", "bias_hh left out"),
    "HardSigmoid": ("lstm", "hard sigmoid (a / 6 + 0.5) where every gate has sigmoid"),
    "OrderAndForgetBias": (
        "lstm",
        "gate order i, f, o, g where lstm has i, f, g, o and 1 added inside the sigmoid of f",
    ),
    "Interleaved": ("lstm", "in the order of units"),
    "Backwards": ("lstm", "the state taken as (c, h)"),
    "Cut": ("lstm", "outputs and states agree, gradients do not"),
    "CutBias": ("lstm", "gradients do not (d_bias_ih): none comes to bias_ih"),
    "Zeroed": ("lstm", "the initial state not used"),
    "TransposedU": ("elman", "weight_hh used transposed"),
    "Else": ("lstm", "no variant makes it right"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_implementation_is_found_right_in_every_style(name):
    # few steps, for each entry of a NumPy port's arrays costs two runs; other than the batch and the sizes
    result = cells.check(getattr(ports, name), against=RIGHT[name], steps=4)
    assert result.ok and result.first is None, str(result)
    assert all(row.ok and row.error <= row.tolerance for row in result.rows)
    names = {row.name for row in result.rows}
    assert {"output", "d_weight_ih", "d_weight_hh", "d_x"} <= names
    if name not in ("Keeping", "Vectors", "Headed"):  # no state goes in
        assert {f"{d}state {s}" for s in cells.get(RIGHT[name]).states for d in ("", "d_")} <= names


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    against, words = WRONG[name]
    result = cells.check(getattr(ports, name), against=against)
    assert not result.ok and result.first is not None and "\n" not in result.diagnosis
    assert words in result.diagnosis, str(result)
    assert any(not row.ok for row in result.rows)


def test_the_simplest_of_the_variants_that_match_is_named():
    for name in ("Swapped", "ForgetBias", "IFOG"):
        assert " and 1 added" not in cells.check(getattr(ports, name), against=WRONG[name][0]).diagnosis


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_diagnosis_does_not_depend_on_the_numbers_drawn(seed):
    assert WRONG["textbook_gru"][1] in cells.check(ports.textbook_gru, "gru", steps=4, seed=seed).diagnosis
    assert cells.check(ports.Packed, "gru", seed=seed).ok


def test_the_first_deviation_has_its_step_array_and_gate():
    result = cells.check(ports.Swapped, against="gru")
    assert (result.first.step, result.first.array, result.first.gate) == (0, "output", "z")
    assert result.first.error > result.first.tolerance


def test_a_deviation_that_comes_late_is_found_at_its_step():
    class Late(ports.LSTM):
        count = 0

        def forward(self, x, state):
            h, c = super().forward(x, state)
            self.count += 1
            return (h * 1.001 if self.count % 11 == 7 else h), c

    result = cells.check(Late, against="lstm", hidden_size=6, steps=11)
    assert not result.ok and result.first.step == 6, str(result)


def test_an_error_of_ten_tolerances_deviates_and_one_of_a_tenth_does_not():
    def off(by):
        def step(x, h, W, U, b):
            return np.tanh(x @ W.T + h @ U.T + b) * (1 + by)

        return step

    allowed = tolerance("float64", 11)
    assert not cells.check(off(10 * allowed), against="elman").ok
    assert cells.check(off(0.1 * allowed), against="elman").ok


def test_a_nan_deviates():
    def step(x, h, W, U, b):
        return np.tanh(x @ W.T + h @ U.T + b) * np.nan

    result = cells.check(step, against="elman")
    assert not result.ok and not any(row.ok for row in result.rows)


def test_the_tolerance_follows_dtype_and_steps(dtype):
    for steps in (1, 17):
        result = cells.check(ports.LSTM, against="lstm", dtype=dtype, steps=steps)
        assert result.ok and result.rows[0].tolerance == tolerance(dtype, steps)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_modules_of_torch_are_right(kind, bias):
    name = {"RNN": "elman", "LSTM": "lstm", "GRU": "gru"}[kind.removesuffix("Cell")]
    assert cells.check(getattr(nn, kind)(4, 6, bias=bias), against=name).ok
    assert cells.check(getattr(nn, kind), against=name).ok


def test_an_object_keeps_its_arrays_and_its_sizes_and_is_left_untouched():
    module = nn.GRU(3, 9, batch_first=True).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    assert cells.check(module, against="gru").ok and module.training
    compare(module.state_dict(), before, 0)
    layer = ports.KerasLSTM(4, 6)
    kernel = layer.kernel.copy()
    assert cells.check(layer, against="lstm", steps=4).ok and np.array_equal(layer.kernel, kernel)


def test_weights_are_the_cells_arrays():
    cell = cells.get("gru")
    params = cell.init(5, 7, seed=4)
    module = nn.GRU(5, 7).double()
    module.load_state_dict({f"{k}_l0": torch.tensor(v) for k, v in params.items()})
    assert cells.check(module, against="gru", weights=params).ok
    assert not cells.check(module, against="gru", weights=cell.init(5, 7, seed=5)).ok
    with pytest.raises(ValueError, match="weights hold bias_hh, for which it has no array"):
        cells.check(ports.dict_gru, against="gru", weights=params)
    one_bias = cells.get("gru:biases=1").init(3, 4)
    assert cells.check(ports.dict_gru, against="gru", weights=one_bias, steps=4).ok
    # both biases in one array: forms of the arrays in which one would be lost are not tried
    assert cells.check(ports.keras_gru, against="gru", weights=cell.init(3, 4), steps=4).ok


@pytest.mark.parametrize("name", [n for n in cells.names() if n != "gru"])
def test_every_cell_is_right_against_itself(name):
    cell = cells.get(name)
    result = cells.check(cell, against=name)
    assert result.ok, str(result)


def test_a_small_batch_and_sizes_that_are_alike_do_not_confuse_it():
    for sizes in (
        {"input_size": 7, "hidden_size": 7},
        {"batch": 1},
        {"steps": 1},
        {"input_size": 1, "hidden_size": 33},
    ):
        assert cells.check(ports.LSTM, against="lstm", **sizes).ok
        assert cells.check(ports.PerGate, against="lstm", **sizes).ok


def test_an_onnx_file_is_run_and_its_outputs_compared(tmp_path):
    pytest.importorskip("onnx")
    for name, form in (("lstm", "right"), ("gru", "right"), ("gru_reset_before", "this is gru_reset_before")):
        cell = cells.get(name, biases=2)
        cells.to_onnx(cell, cell.init(5, 7), tmp_path / "port.onnx")
        result = cells.check(tmp_path / "port.onnx", against="gru" if "gru" in name else name)
        assert form in result.diagnosis and result.ok == (form == "right"), str(result)
        assert "cannot be had" in str(result) and {row.name for row in result.rows} >= {"output", "state h"}


BAD = {
    "Needy": "cannot build Needy: its constructor takes flavour, colour, taste",
    "shapeless": "matrix of the wrong kind",
    "strange": "not read as the arrays of cell 'gru'",
    "NOTHING": "cannot be called",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_one_line_that_says_what_is_needed(name):
    with pytest.raises(ValueError, match=BAD[name]) as caught:
        cells.check(getattr(ports, name), against="gru")
    assert "\n" not in str(caught.value)


def test_arrays_of_another_cell_are_refused_by_name():
    with pytest.raises(ValueError, match=r"weight_ih.*\(28, 5\).*not read as those of cell 'gru'"):
        cells.check(ports.LSTM, against="gru")
    with pytest.raises(ValueError, match="parameters are weight_ih; cell"):
        cells.check(ports.LSTM, against="lstm", weights={"weight_ih": np.zeros((3, 3))})


def test_the_report_can_be_read():
    text = str(cells.check(ports.IFOG, against="lstm"))
    assert (
        text.startswith("IFOG deviates from lstm: it is right with gate order i, f, o, g")
        and "d_weight_hh" in text
        and "allowed" in text
    )
