"""`cellbench check` of files that say which cell they hold: right, wrong, and what is left aside."""

from pathlib import Path

import pytest
from support.exchange import drawn
from test_exchange_stored_files import DATA, PACKAGES

from cellbench import cells
from cellbench.harness.cli import main

RIGHT = {
    "onnx/batch_first.onnx": "lstm:layers=2:bidirectional=True",
    "onnx/first_state.onnx": "gru",
    "onnx/lengths.onnx": "peephole_lstm:bidirectional=True",
    "keras/bidirectional_lstm.keras": "lstm:bidirectional=True",
    "keras/stacked_gru.h5": "gru:layers=2",
    "keras/simple_rnn.weights.h5": "elman",
    "flax/nnx_pair.msgpack": "gru:bidirectional=True",
    "safetensors/lstm.safetensors": "lstm:layers=2:bidirectional=True",
    "safetensors/gru.pt": "gru",
}


def given(name):
    pytest.importorskip(PACKAGES.get(Path(name).suffix, "numpy"))
    return DATA / name


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_of_the_cell_is_right(name):
    result = cells.check(given(name), against=RIGHT[name])
    assert result.ok, result.diagnosis
    assert {"output", "state h"} <= {row.name for row in result.rows}
    assert any(
        "holds arrays" in note or "arrays without code" in note or "ONNX file" in note
        for note in result.notes
    )


@pytest.mark.parametrize(
    "options", ["layers=2", "bidirectional=True", "layers=2:bidirectional=True:readout=2"]
)
def test_a_stack_in_onnx_is_told_from_one_of_other_equations(options, tmp_path):
    gru = cells.get(f"gru_reset_before:biases=2:{options}")
    cells.to_onnx(gru, drawn(gru), tmp_path / "stack.onnx")
    assert cells.check(tmp_path / "stack.onnx", against=f"gru_reset_before:{options}").ok
    result = cells.check(tmp_path / "stack.onnx", against=f"gru:{options}")
    assert not result.ok
    assert result.diagnosis.startswith("stack.onnx holds gru_reset_before:")
    assert max(row.error for row in result.rows) > 1e-3


@pytest.mark.parametrize("against", ["lstm", "lstm:layers=2", "gru:layers=2:bidirectional=True"])
def test_a_cell_of_other_layers_is_named_with_what_the_file_holds(against, capsys):
    assert main(["check", str(DATA / "onnx/batch_first.onnx"), "--against", against]) == 2
    text = capsys.readouterr().err
    assert "batch_first.onnx holds lstm:readout=2:layers=2:bidirectional=True, whose arrays are not" in text
    assert f"not those of {against}; check it with --against lstm:" in text
    assert "Traceback" not in text


def test_what_a_file_holds_beside_the_cell_is_said_not_to_be_compared():
    state = cells.check(DATA / "onnx/first_state.onnx", against="gru").notes
    assert "the file's own first state is not compared: others are given" in state
    lengths = cells.check(DATA / "onnx/lengths.onnx", against="peephole_lstm:bidirectional=True").notes
    assert "the file's own lengths are not compared: sequences are whole" in lengths
