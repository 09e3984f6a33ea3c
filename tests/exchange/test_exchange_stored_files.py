"""Stored files of other libraries against what each library computed: the libraries need not be there."""

from pathlib import Path

import numpy as np
import pytest
from support.exchange import close, output

from cellbench import cells

pytestmark = pytest.mark.quick
DATA = Path(__file__).parents[1] / "data"
READERS = {  # by file: who reads it, and with what
    "keras/bidirectional_lstm.keras": ("from_keras", {}, "lstm"),
    "keras/stacked_gru.h5": ("from_keras", {}, "gru"),
    "keras/simple_rnn.weights.h5": ("from_keras", {}, "elman"),
    "flax/linen_stack.msgpack": ("from_flax", {"prefix": ["layers_0", "layers_1"]}, "lstm"),
    "flax/nnx_pair.msgpack": ("from_flax", {}, "gru"),
    "equinox/gru.npz": ("from_equinox", {}, "gru"),
    "safetensors/lstm.safetensors": ("from_torch", {}, "lstm"),
    "safetensors/gru.pt": ("from_torch", {}, "gru"),
    "onnx/batch_first.onnx": ("from_onnx", {"start": True}, "lstm"),
    "onnx/first_state.onnx": ("from_onnx", {"start": True}, "gru"),
    "onnx/lengths.onnx": ("from_onnx", {"start": True}, "peephole_lstm"),
}
PACKAGES = {".keras": "h5py", ".h5": "h5py", ".msgpack": "msgpack", ".safetensors": "safetensors"}


def read(name):
    """(cell, arrays) or (cell, arrays, start) of a stored file."""
    reader, options, kind = READERS[name]
    file = DATA / name
    pytest.importorskip(PACKAGES.get(file.suffix, "numpy"))
    given = (kind, file) if ".weights" in name else (file,)
    return getattr(cells, reader)(*given, **options)


@pytest.mark.parametrize("name", READERS)
def test_a_stored_file_computes_what_its_library_computed(name):
    cell, params, *rest = read(name)
    assert cell.name == READERS[name][2]
    with np.load(DATA / f"{name}.npz") as stored:
        x, y = stored["x"].astype(np.float64), stored["y"]
    state = rest[0].of_batch(x.shape[1]) if rest else None
    close(output(cell, params, x, state, rest[0].lengths if rest else None), y)


def test_every_stored_file_is_read_and_all_are_small():
    files = [file for file in DATA.rglob("*.*") if file.is_file() and file.suffix != ".py"]
    files = [file for file in files if file.relative_to(DATA).parts[0] != "imports"]  # benchmarks of others
    names = {file.relative_to(DATA).as_posix() for file in files}
    assert names == {*READERS, *(f"{name}.npz" for name in READERS)}
    assert sum(file.stat().st_size for file in files) < 300_000


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("onnx/first_state.onnx", r"first_state\.onnx holds a first state .*initial_h.*start=True"),
        ("onnx/lengths.onnx", r"lengths\.onnx holds lengths .*sequence_lens.*start=True"),
    ],
)
def test_what_a_stored_file_holds_beside_weights_is_not_dropped_in_silence(name, words):
    with pytest.raises(ValueError, match=words):
        cells.from_onnx(DATA / name)
