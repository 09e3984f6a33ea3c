"""Files damaged at random: they are read, or refused in one line that names them; nothing else comes out."""

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import damaged
from test_exchange_stored_files import DATA, PACKAGES, READERS

from cellbench import cells
from cellbench.cells.exchange import files, trees

SEEDS = {".onnx": 100, ".keras": 60, ".h5": 40}
LONGEST = 600  # characters of a line


def damage(name, file, rng):
    """Writes the stored file, damaged, to `file`."""
    data = (DATA / name).read_bytes()
    inside = rng.integers(3) > 0
    if inside and name.endswith(".onnx"):
        data = damaged.onnx_model(onnx.load_from_string(data), rng).SerializeToString()
    elif inside and name.endswith(".keras"):
        data = damaged.archive(data, rng)
    elif not inside or not name.endswith(".h5"):
        data = damaged.cut(data, rng) if rng.integers(3) == 0 else damaged.flipped(data, rng)
    file.write_bytes(data)
    if inside and name.endswith(".h5"):
        damaged.model_h5(file, rng)


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line_that_names_it(name, tmp_path):
    pytest.importorskip(PACKAGES.get(Path(name).suffix, "numpy"))
    reader, options, kind = READERS[name]
    file, refused, wrong = tmp_path / Path(name).name, 0, []
    for seed in range(SEEDS.get(file.suffix, 30)):
        damage(name, file, np.random.default_rng(seed))
        try:
            getattr(cells, reader)(*((kind, file) if ".weights" in name else (file,)), **options)
        except ValueError as error:
            refused += 1
            text = str(error)
            if file.name not in text or "\n" in text or len(text) > LONGEST:
                wrong.append(f"seed {seed}: {text}")
        except Exception as error:  # what must not come out, whatever it is
            wrong.append(f"seed {seed}: {type(error).__name__}: {error}")
    assert not wrong
    assert refused > 5


@pytest.mark.skipif(not Path("/proc/kmsg").is_file(), reason="there is no such file of the kernel's here")
@pytest.mark.parametrize("suffix", ["onnx", "npz", "pt", "safetensors", "msgpack"])
def test_a_link_to_a_file_that_keeps_its_reader_waiting_is_refused(suffix, tmp_path):
    file = tmp_path / f"waits.{suffix}"
    file.symlink_to("/proc/kmsg")
    reader = cells.from_onnx if suffix == "onnx" else trees.loaded
    with pytest.raises(ValueError, match=rf"waits\.{suffix} is empty"):
        reader(file)


def test_what_another_library_says_of_a_file_has_nothing_that_a_terminal_obeys():
    assert files.one_line(ValueError("in \x1b[2J\n at \u202e")) == r"in \x1b[2J at \u202e"


def test_a_name_inside_of_a_file_has_nothing_that_a_terminal_obeys_either(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name in ("a/data.pkl", "\x1b[2J.npy"):
            archive.writestr(name, b"")
    with pytest.raises(ValueError, match=r"a\.pt is no \.pt file of arrays: ") as told:
        cells.from_torch(tmp_path / "a.pt")
    assert str(told.value).isprintable()


@pytest.mark.parametrize("suffix", ["onnx", "npz", "pt", "safetensors"])
def test_a_file_larger_than_memory_is_refused_with_the_figure(suffix, tmp_path):
    pytest.importorskip("safetensors")
    file = tmp_path / f"large.{suffix}"
    with file.open("wb") as made:
        made.truncate(1 << 42)
    with pytest.raises(
        ValueError, match=rf"large\.{suffix} holds {1 << 42} bytes, and this machine has \d+ bytes"
    ):
        cells.from_onnx(file) if suffix == "onnx" else cells.from_torch(file)


def test_a_zip_that_unpacks_to_more_than_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, weight_ih=np.zeros(10**6))
    assert file.stat().st_size < 20_000
    monkeypatch.setattr(files, "_memory", lambda: 10**6)
    with pytest.raises(ValueError, match=r"bomb\.npz holds 80\d+ bytes, and this machine has 1000000 bytes"):
        cells.from_torch(file)
