"""`cellbench check`: exit code 0 when right, 1 when it deviates, 2 for bad input with one line."""

from pathlib import Path

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness.cli import main

pytestmark = pytest.mark.quick

PORTS = Path(__file__).parents[1] / "support" / "user_ports.py"


def checked(capsys, *arguments):
    code = main(["check", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err.strip()


FEW = ("--steps", 4)  # a NumPy port's gradients cost two runs for each entry


@pytest.mark.parametrize(
    "name, against", [("Packed", "gru"), ("KerasLSTM", "lstm"), ("dict_gru", "gru"), ("Single", "elman")]
)
def test_a_right_port_ends_with_0(capsys, name, against):
    code, out, error = checked(capsys, f"{PORTS}:{name}", "--against", against, *FEW)
    assert (code, error) == (0, "") and f"{name} against {against}: right" in out and "d_weight_hh" in out


SHOWS = {
    ("ResetBefore", "gru"): "this is gru_reset_before: check it --against gru_reset_before",
    ("Swapped", "gru"): "z and 1 - z exchanged",
    ("ordered_gru", "gru"): "gate order z, r, n (Keras's and ONNX's)",
    ("IFOG", "lstm"): "gate order i, f, o, g",
    ("IOFG", "lstm"): "gate order i, o, f, g (ONNX's)",
}


@pytest.mark.parametrize("name, against", SHOWS)
def test_a_wrong_port_ends_with_1_and_is_diagnosed_by_name(capsys, name, against):
    code, out, error = checked(capsys, f"{PORTS}:{name}", "--against", against, *FEW)
    assert (code, error) == (1, "") and SHOWS[name, against] in out
    assert "first deviation: output at step 0" in out


def test_the_cell_that_the_diagnosis_names_is_right(capsys):
    assert checked(capsys, f"{PORTS}:ResetBefore", "--against", "gru_reset_before")[0] == 0


def test_options_reach_the_check(capsys):
    options = {"input-size": 3, "hidden-size": 4, "steps": 2, "batch": 1, "dtype": "float64", "seed": 5}
    sizes = [text for name, value in options.items() for text in (f"--{name}", value)]
    code, out, _ = checked(capsys, f"{PORTS}:PerGate", "--against", "lstm", *sizes)
    assert code == 0 and "float64" in out


def test_weights_come_from_a_file(capsys, tmp_path):
    cell = cells.get("lstm:biases=1")
    np.savez(tmp_path / "lstm.npz", **cell.init(3, 4, seed=7))
    file = ("--weights", tmp_path / "lstm.npz")
    assert checked(capsys, f"{PORTS}:arrays_lstm", "--against", "lstm", *file)[0] == 0


def test_a_file_with_one_thing_needs_no_name_and_may_import_what_lies_beside_it(capsys, tmp_path):
    (tmp_path / "beside.py").write_text("import numpy as np\nsquash = np.tanh\n")
    (tmp_path / "mine.py").write_text(
        "from beside import squash\n\ndef step(x, h, W, U, b):\n    return squash(x @ W + h @ U + b)\n"
    )
    assert checked(capsys, tmp_path / "mine.py", "--against", "elman")[0] == 0


BAD = {
    ("nowhere.py:GRU", "gru"): "no file 'nowhere.py'",
    ("nowhere.onnx", "gru"): "no file 'nowhere.onnx'",
    ("GRU", "gru"): "is no FILE:NAME",
    (f"{PORTS}:Pakced", "gru"): "did you mean 'Packed'",
    (f"{PORTS}", "gru"): "say which",
    (f"{PORTS}:Packed", "grru"): "unknown cell 'grru'; did you mean 'gru'",
    (f"{PORTS}:Packed", "lstm"): "not read as those of cell 'lstm'",
    (f"{PORTS}:Needy", "gru"): "cannot build Needy",
    (f"{PORTS}:shapeless", "gru"): "matrix of the wrong kind",
    (f"{PORTS}:strange", "gru"): "name them so, or W_GATE",
    (f"{PORTS}:NOTHING", "gru"): "int cannot be called",
}


@pytest.mark.parametrize("thing, against", BAD)
def test_bad_input_is_one_line_and_exit_code_2(capsys, thing, against):
    code, out, error = checked(capsys, thing, "--against", against)
    assert (code, out) == (2, "") and BAD[thing, against] in error and "\n" not in error, error


@pytest.mark.parametrize(
    "text, words",
    [
        ("import nowhere_to_be_found\n", "cannot be imported: ModuleNotFoundError"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(capsys, tmp_path, text, words):
    (tmp_path / "mine.py").write_text(text)
    code, _, error = checked(capsys, f"{tmp_path}/mine.py:GRU", "--against", "gru")
    assert code == 2 and words in error and "\n" not in error


@pytest.mark.parametrize(
    "options",
    [["--steps", "0"], ["--dtype", "float16"], ["--weights", "nowhere.npz"], ["--hidden-size", "x"], []],
)
def test_bad_options_are_one_line_and_exit_code_2(capsys, options):
    against = ["--against", "gru"] if options else []
    code, _, error = checked(capsys, f"{PORTS}:Packed", *against, *options)
    assert code == 2 and error and "\n" not in error


def test_a_weights_file_that_is_none_is_refused(capsys, tmp_path):
    (tmp_path / "bad.npz").write_text("no arrays")
    code, _, error = checked(capsys, f"{PORTS}:Packed", "--against", "gru", "--weights", tmp_path / "bad.npz")
    assert code == 2 and "is no .npz file" in error
