"""Baselines, checkpoints, archives of data and the cache of kernels, each read by what reads it."""

import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np

from cellbench import cells
from cellbench.cells import seal
from cellbench.harness.case import Case
from cellbench.harness.data import archives
from cellbench.harness.data.archives import Archive
from cellbench.harness.learn import checkpoint, training
from cellbench.harness.learn.model import Model
from cellbench.harness.regress.baselines import __main__ as baselines
from cellbench.harness.regress.baselines.files import GROUPS
from cellbench.harness.task import MANY_TO_ONE, Data, DataAbsent, Sequences

from . import mutate
from .kind import Kind
from .weights import _with_code

RECORDED = Path(__file__).parents[3] / "results/baselines/gru.json"


class Baseline(Kind):
    """The exact numbers of a cell."""

    name, file = "baseline", Path("baselines/gru.json")

    def build(self):
        self.file.parent.mkdir()
        self.file.write_bytes(RECORDED.read_bytes())
        content = json.loads(RECORDED.read_text())
        self.facts = {"gru": {group: content[group] for group in GROUPS}}

    def ways(self):
        commands = [[*flag, "gru", "--folder", str(self.file.parent)] for flag in (["--check"], [])]
        return [(f"baselines {' '.join(c)}", lambda c=c: self.called(c), self.file) for c in commands]

    def called(self, command):
        with mock.patch.object(baselines, "zoo", lambda: ["gru"]):
            return baselines.main(command, self.facts)


class Checkpoint(Kind):
    """What a training goes on from: it is read, and the training goes on."""

    name, file = "checkpoint", Path("one.safetensors")

    def build(self):
        one = learner(0.02)
        one.learn(lambda made: checkpoint.save(self.file, made) if len(made.course.epochs) == 1 else None)

    def ways(self):
        return [("a training from its checkpoint", lambda: told(self.gone_on, self.file), self.file)]

    def gone_on(self):
        checkpoint.rate(self.file)
        one = learner(0.02)
        checkpoint.resume(self.file, one)
        one.learn(lambda made: checkpoint.save(Path("again.safetensors"), made))
        if not all(isinstance(loss, float) for loss in one.course.losses):
            raise AssertionError("a loss is no number")

    def mutated(self, file, rng):
        way = rng.random()
        content = file.read_bytes()
        if way < 0.1:
            file.write_bytes(_with_code(content, file))
        elif way < 0.3 or rng.random() < 0.06:
            file.write_bytes(mutate.data(content, rng)) if way > 0.15 else mutate.path(file, rng)
        else:
            size = int.from_bytes(content[:8], "little")
            head = json.loads(content[8 : 8 + size])
            about = head["__metadata__"]
            name = rng.choice(["course", "course", "rng", "rate", ""])
            if name == "":
                head = mutate.value(head, rng, self.values)
            elif name == "rate":
                about[name] = str(rng.choice(mutate.ODD))
            else:
                about[name] = json.dumps(mutate.value(json.loads(about[name]), rng, self.values))
            made = json.dumps(head).encode()
            file.write_bytes(len(made).to_bytes(8, "little") + made + content[8 + size :])


def learner(rate):
    """A small training of two epochs."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (24, 5))
    part = Sequences(x, np.full(24, 5), x[:, 0])
    data = Data(part, part, 4, 0.1, MANY_TO_ONE, 4)
    size = {"steps": 5, "batch": 8, "input_size": 6, "hidden_size": 3}
    case, cell = Case("training", "gru", "numpy", "cpu", "float32", seed=0, **size), cells.get("gru")

    def made():
        return Model(case, cell.init(6, 3, 0), data.output_size, 0, MANY_TO_ONE, data.vocabulary)

    return training.learner(made, data, training.Recipe(batch=8, epochs=2), rate, 0)


class Data_(Kind):
    """An archive of data, and what was made of it: neither is read unless it is what it was."""

    name = "archive"

    def build(self):
        os.environ["CELLBENCH_DATA"] = "."
        with zipfile.ZipFile("made", "w") as file:
            file.writestr("a/x.txt", "1 2 3")
            file.writestr("a/data.py", "raise SystemExit")
        content = Path("made").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self.archive = Archive("thing", "a==1", digest, len(content), ("a/x.txt",), "none", "none")
        Path("data").mkdir()
        Path("made").rename(archives.path(self.archive))
        self.value()

    def ways(self):
        return [("the arrays of an archive", self.same, path) for path in sorted(Path("data").iterdir())]

    def value(self):
        return archives.arrays(self.archive, numbers)["x"].tolist()

    def same(self):
        try:
            found = self.value()
        except DataAbsent as error:
            print(error, file=sys.stderr)
            return 2
        if found != [1, 2, 3]:
            raise AssertionError(f"other data: {found}")
        return 0

    def mutated(self, file, rng):
        if rng.random() < 0.3:
            file.write_bytes(_with_code(archives.path(self.archive).read_bytes(), Path("a.npz")))
        elif rng.random() < 0.1:
            mutate.path(file, rng)
        else:
            file.write_bytes(mutate.data(file.read_bytes(), rng))


def numbers(members):
    return {"x": np.array(members["a/x.txt"].split(), int)}


class Kernel(Kind):
    """The cache of kernels: whatever lies in it, the backend computes what it did."""

    name = "kernel"

    def build(self):
        self.cell = cells.get("elman")
        self.params = self.cell.init(2, 3)
        self.right = {backend: self.value(backend) for backend in ("numpy", "numba")}

    def value(self, backend):
        os.environ["CELLBENCH_CACHE"] = "cache"
        for name in [n for n in sys.modules if n.startswith(("numpy_elman", "numba_elman"))]:
            del sys.modules[name]
        program = cells.backend(backend).prepare(
            self.cell, self.params, steps=4, batch=1, dtype="float64", direction="backward"
        )
        program.forward(np.ones((4, 1, 2)))
        return float(program.backward(np.ones((4, 1, 3))).x.sum())

    def ways(self):
        files = sorted(p for p in Path("cache").rglob("num*_*") if p.is_file())
        return [(f"elman on {b}", lambda b=b: self.same(b), p) for p in files for b in (p.name[:5],)]

    def first(self):
        return [(b, lambda b=b: self.same(b)) for b in self.right]

    def same(self, backend):
        if not np.isclose(self.value(backend), self.right[backend], rtol=1e-12, atol=0):
            raise AssertionError("it computes something else")
        return 0

    def mutated(self, file, rng):
        content = file.read_bytes()
        if rng.random() < 0.3:
            evil = b"open('../proof', 'w').write('executed')\n" + content
            code = b"0" * seal.DIGITS + _with_code(b"", Path("a"))
            file.write_bytes(evil if file.suffix == ".py" else code)
        elif rng.random() < 0.1:
            mutate.path(file, rng)
        else:
            file.write_bytes(mutate.data(content, rng))


def told(call, file):
    """0, or 2 and the line of the error, which must name the file."""
    try:
        call()
    except training.Diverged:
        return 0
    except checkpoint.CheckpointError as error:
        if file.name not in str(error):
            raise AssertionError(f"the line does not name the file: {error}") from None
        print(error, file=sys.stderr)
        return 2
    return 0


KINDS = (Baseline, Checkpoint, Data_, Kernel)
