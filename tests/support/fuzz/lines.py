"""Random command lines out of each command's own flags and keys, with odd values, that start no long work."""

import os
import shlex
from functools import cache
from pathlib import Path

import numpy as np

from cellbench.harness import cli

from . import watch
from .kind import Kind

# as a person writes a path, a name, a number or a list; or as a variable that was never set has it
PATHS = [
    "",
    " ",
    "~",
    "~nosuch/x",
    "/",
    "/dev/null",
    "/dev/null/x",
    ".",
    "..",
    "nowhere",
    "a" * 300,
    "a" * 5000,
]
PATHS += [
    "folder",
    "loop",
    "pipe",
    "folder/../folder",
    "here.py",
    "zero.npz",
    "one.npy",
    "run",
    "history.jsonl",
]
PATHS += [
    "/dev/zero",
    "/proc/self/mem",
    "/proc/x",
    "a\x00b",
    "\udc80",
    "\x1b[31m",
    "ü→",
    "\n",
    "file:///etc/passwd",
]
NAMES = ["gru", "lstm:layers=2", "elman:activation=nope", "gru:hidden=3", "numba", "here.py:A", "broken.py:A"]
NAMES += [
    "leaves.py:A",
    "zero.py",
    "here.py:A:x=1",
    "numba:torch",
    "gru:lstm",
    "all",
    "::",
    "a:b:c",
    "gru:",
    ":gru",
]
NAMES += [
    "gru:layers=99999999999",
    "gru:layers=-1",
    "gru:layers=1e9",
    "gru:readout=" + "9" * 30,
    "gru:biases=None",
]
NUMBERS = [
    "-1",
    "0",
    "1e400",
    "9" * 40,
    "9" * 400,
    "9" * 5000,
    "٣",
    "0x10",
    "1_000",
    "nan",
    "inf",
    "-0.0",
    "1.5",
    "True",
    "null",
]
TEXTS = [
    "[",
    "[]",
    "[[]]",
    "{}",
    "{a:1}",
    "a=b",
    "=",
    ":",
    "a,b",
    "'",
    '"',
    "$(x)",
    "${x}",
    "??",
    "%s",
    "@x",
    "\\",
]
TEXTS += [
    "${oc.env:HOME}",
    "${cells}",
    "${oc.env:NOPE}",
    "${oc.decode:[}",
    "[1,2",
    "[a,[b]]",
    "{cells:[gru]}",
    "*",
]
TEXTS += [
    "range(1,5)",
    "choice(1,2)",
    "interval(0,1)",
    "glob(*)",
    "sort(3,1)",
    "shuffle(1,2)",
    "range(1,99999999)",
]
TEXTS += [
    "-",
    "--",
    "-x",
    "--nope",
    "--help=1",
    "-m",
    "%(prog)s",
    "None",
    "[gru,gru]",
    "[null]",
    "[1e999]",
    "a" * 99999,
]
ODD = PATHS + NAMES + NUMBERS + TEXTS
KEYS = ["cells", "backends", "probes", "tasks", "workload.steps", "workload.batch", "workload.input_size"]
KEYS += [
    "workload.hidden_size",
    "match",
    "direction",
    "dtype",
    "device",
    "threads",
    "seeds",
    "results",
    "budget_s",
]
KEYS += [
    "case_timeout_s",
    "probe.throughput.samples",
    "probe.training.epochs",
    "probe.training.learning_rate",
]
KEYS += [
    "experiment",
    "resume",
    "trust",
    "probe",
    "probe.x",
    "workload",
    "hydra.x",
    "hydra/launcher",
    "x",
    "",
    "a.b.c",
]
KEYS += [
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.mode",
    "hydra.job.chdir",
    "hydra/sweeper",
    "hydra.verbose",
]
SIGNS = ["", "", "", "", "", "+", "++", "~", "-", " "]
FILES = {
    "here.py": "class A:\n    pass\n",
    "broken.py": "raise KeyError('x')\n",
    "leaves.py": "import os\nos._exit(0)\n",
    "zero.py": "",
    "zero.npz": "",
    "history.jsonl": "",
}


def write_files(folder):
    """What some of the odd values name."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    np.save(folder / "one.npy", np.ones(3))
    os.mkfifo(folder / "pipe")


@cache
def flags(command):
    return [f for f in cli.command_parser(command).flags if f not in cli.HELP]


def line(rng):
    """A command line: a command, a few arguments and flags, in any order. rng is random.Random."""

    def odd():
        return rng.choice(rng.choice((PATHS, NAMES, NUMBERS, TEXTS)))

    def override():
        return f"{rng.choice(SIGNS)}{rng.choice(KEYS)}={odd()}"

    command = rng.choice(cli.names())
    takes_keys = command in ("run", "compare", "regress")
    count = rng.randrange(1, 4) if takes_keys else rng.randrange(3)
    words = [override() if takes_keys and rng.random() < 0.8 else odd() for _ in range(count)]
    for _ in range(rng.randrange(3)):
        if known := flags(command):
            flag = rng.choice(known)
            words += rng.choice(([flag, odd()], [f"{flag}={odd()}"], [flag]))
    rng.shuffle(words)
    harmless = _harmless(command, rng)
    # before the others too, of which the last may be a flag that takes it for its value
    return [command, *(harmless if command in NAMING else []), *words, *harmless]


NAMING = ("claims", "compare", "regress")  # commands that a name that there is not keeps from all work


def _harmless(command, rng):
    """What keeps a command from long work, whatever else stands in its line."""
    none = {  # a name that there is not, so that nothing is measured or fetched
        "claims": ["nosuchclaim"],
        "data": ["nosuchtask"],
        "regress": ["base=nosuchrevision"],
        "compare": ["workload.steps=nosuchsize"],
        "doctor": ["--seconds", "0"],
    }
    if command == "run":
        return ["--plan", *rng.choice(([], ["probes=[parameters]"]))]
    return none.get(command, [])


class Lines(Kind):
    """Command lines; there is no file that is mutated."""

    name = "line"

    def build(self):
        pass

    def first(self):
        return [("cellbench list", lambda: cli.main(["list"]))]

    def tried(self, rng):
        self.restore()
        words = line(rng)
        before = self.seen.evil
        self.seen.evil = "/nowhere"  # a file that a person types is theirs to run
        _, _, wrong = watch.taken(self.seen, lambda: cli.main(words))
        self.seen.evil = before
        return f"cellbench {shlex.join(words)!r:.600}", "the command line", wrong

    def restore(self):
        super().restore()
        write_files(Path())  # among them a pipe, which cannot be copied
