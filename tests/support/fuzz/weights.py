"""Weights: ONNX models and the files of other libraries, read as arrays and by `check`."""

import io
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np

from cellbench import cells
from cellbench.harness.cli import main as cellbench

from .. import damaged
from . import mutate
from .kind import Kind

DATA = Path(__file__).parents[2] / "data"
READERS = {  # by file: who reads it, with what, and the cell that it is of
    "onnx/batch_first.onnx": ("from_onnx", {"start": True}, "lstm"),
    "onnx/first_state.onnx": ("from_onnx", {"start": True}, "gru"),
    "onnx/lengths.onnx": ("from_onnx", {"start": True}, "peephole_lstm"),
    "keras/bidirectional_lstm.keras": ("from_keras", {}, "lstm"),
    "keras/stacked_gru.h5": ("from_keras", {}, "gru"),
    "flax/linen_stack.msgpack": ("from_flax", {"prefix": ["layers_0", "layers_1"]}, "lstm"),
    "flax/nnx_pair.msgpack": ("from_flax", {}, "gru"),
    "equinox/gru.npz": ("from_equinox", {}, "gru"),
    "safetensors/lstm.safetensors": ("from_torch", {}, "lstm"),
    "safetensors/gru.pt": ("from_torch", {}, "gru"),
}
OUTSIDE = ("../../../thesis/index.html", "/etc/passwd", "weights.bin", "../proof", "\x1b[2J", "/dev/zero")
CHECKED = {  # by file that `check` takes: the cell that it is held against
    "onnx/batch_first.onnx": "lstm:readout=2:layers=2:bidirectional=True",
    "onnx/first_state.onnx": "gru",
    "safetensors/gru.pt": "gru",
}
CELL = "cell.npz"


class Evil:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return exec, ("open('../proof', 'w').write('executed')",)


class Weights(Kind):
    """Files of Keras, flax, equinox and torch."""

    name = "weights"
    files = tuple(name for name in READERS if not name.endswith(".onnx"))

    def build(self):
        for name in self.files:
            Path(name).parent.mkdir(exist_ok=True)
            shutil.copy(DATA / name, name)
        np.savez(CELL, **cells.get("gru").init(3, 4))

    def ways(self):
        chosen = [(name, *READERS[name]) for name in self.files]
        reads = [(f"cells.{r}({n!r})", lambda n=n, r=r, o=o: read(r, n, o), Path(n)) for n, r, o, _ in chosen]
        checks = [["check", n, "--against", CHECKED[n], "--steps", "3"] for n in self.files if n in CHECKED]
        if self.name == "weights":
            checks.append(["check", "mine.py:GRU", "--against", "gru", "--weights", "cell.npz"])
        return reads + [
            (" ".join(c), lambda c=c: self.checked(c), Path(CELL if "mine.py:GRU" in c else c[1]))
            for c in checks
        ]

    def checked(self, command):
        Path("mine.py").write_text("import torch\nclass GRU(torch.nn.GRU):\n    pass\n")
        self.seen.evil = "/nowhere"  # a person typed that file
        try:
            return cellbench(command)
        finally:
            self.seen.evil = self.seen.allowed[0]

    def mutated(self, file, rng):
        way, numbers = rng.random(), np.random.default_rng(rng.randrange(2**32))
        if way < 0.06:
            return mutate.path(file, rng)
        content = file.read_bytes()
        if way < 0.12:
            file.write_bytes(_with_code(content, file))
        elif way < 0.6 and file.suffix == ".keras":
            file.write_bytes(damaged.archive(content, numbers))
        elif way < 0.6 and file.suffix == ".h5":
            damaged.model_h5(file, numbers)
        elif way < 0.6 and file.suffix in (".npz", ".pt"):
            file.write_bytes(_members(content, rng))
        elif way < 0.7:
            file.write_bytes(damaged.flipped(content, numbers, 40))
        else:
            file.write_bytes(mutate.data(content, rng))
        return None


def _members(content, rng):
    """A zip with one of its members mutated, gone, twice, enormous, or of another name."""
    held = zipfile.ZipFile(io.BytesIO(content))
    files = {name: held.read(name) for name in held.namelist()}
    chosen = rng.choice(list(files))
    way = rng.randrange(5)
    if way == 0:
        del files[chosen]
    elif way == 1:
        files[rng.choice(["../../evil.npy", "/thesis/x", "\x1b[2J.npy", "ü.npy", "a" * 3000])] = files.pop(
            chosen
        )
    elif way == 2:
        files[chosen] = files[chosen][:20] + rng.choice(mutate.LUMPS) + files[chosen][20:]
    elif way == 3:
        head = rng.choice(["(99999999999, 9)", "(-1,)", "(2,", "()", "(" * 300, "(3, 4, 5)", "(1e9,)"])
        files[chosen] = _npy(head, rng.choice(["<f8", "|O", "<U9", ">f2", "nope", "V999999999"]))
    else:
        files[chosen] = mutate.data(files[chosen], rng)
    made = io.BytesIO()
    kind = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    with zipfile.ZipFile(made, "w", kind) as target:
        for name, one in files.items():
            target.writestr(name, one)
    return made.getvalue()


def _npy(shape, kind):
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(96)


def _with_code(content, file):
    """What would run, were it unpickled."""
    code = pickle.dumps(Evil())
    if file.suffix not in (".npz", ".pt", ".keras"):
        return code
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as held, zipfile.ZipFile(made, "w") as target:
        for name in held.namelist():
            evil = name.endswith((".pkl", ".npy"))
            head = _npy("(1,)", "|O")[:-96] if name.endswith(".npy") else b""
            target.writestr(name, head + code if evil else held.read(name))
    return made.getvalue()


class Onnx(Weights):
    """ONNX models, some with data that is said to lie in another file."""

    name = "onnx"
    files = tuple(name for name in READERS if name.endswith(".onnx"))

    def mutated(self, file, rng):
        import onnx

        way = rng.random()
        if way < 0.06:
            return mutate.path(file, rng)
        content = file.read_bytes()
        if way < 0.7:
            model = onnx.load_from_string(content)
            if way < 0.15:
                _external(model, rng)
            for _ in range(rng.choice((1, 1, 2, 4))):
                if model.graph.node:
                    model = damaged.onnx_model(model, np.random.default_rng(rng.randrange(2**32)))
            file.write_bytes(model.SerializeToString())
        else:
            file.write_bytes(mutate.data(content, rng))
        return None


def _external(model, rng):
    for tensor in model.graph.initializer:
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", rng.choice(OUTSIDE)
        if rng.random() < 0.5:
            entry = tensor.external_data.add()
            entry.key, entry.value = "length", str(rng.choice([-1, 2**62, 8]))
        tensor.data_location = 1


def read(reader, name, options):
    """0, or 2 with the line of an error that a file may raise."""
    try:
        getattr(cells, reader)(name, **options)
    except (ValueError, OSError) as error:
        if Path(name).name not in str(error):
            raise AssertionError(f"the line does not name the file: {error}") from None
        print(error, file=sys.stderr)
        return 2
    return 0


KINDS = (Weights, Onnx)
