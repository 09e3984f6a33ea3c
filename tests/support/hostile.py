"""Result files mutated by the thousand, and every command that reads them: what runs, is written, is said.

    python -m support.hostile --count 5000 --seed 0

An audit hook sees each file that is opened to be written, removed or renamed outside of the sandbox, each
code object of a file in it that is run, and each process that is started.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from cellbench.harness import store
from cellbench.harness.claims import _file
from cellbench.harness.claims._result import ClaimResult
from cellbench.harness.cli import main as cellbench

from . import stored_runs

EVIL = "from pathlib import Path\nPath({proof!r}).write_text('executed')\nclass Evil: pass\n"
ODD = [None, True, -1, 0, 1, 2**31, 2**53, 2**62, 2**64, 10**40, -(2**63), 1e308, 1e-320]
ODD += [
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "\x1b[2J\x1b]0;x\x07",
    "\ud800",
    "\x00",
    "<script>alert(1)</script>",
    "a|b\n::error::c",
]
ODD += ["evil.py:Evil", "evil.py", "../../../thesis", "/thesis", "..", "all", "gru", [], {}, [[]], [None]]
ODD += [["evil.py:Evil"], {"a": {"b": {}}}, {"__class__": "evil.Evil"}, "claims/evil.py:Evil"]
ODD += ["!!python/object/apply:os.system ['true']"]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
)
HARMLESS = ("git", "nvidia-smi")  # what a manifest of one's own asks


def deep(rng):
    value = rng.choice(ODD)
    for _ in range(rng.choice((3, 39, 41, 500))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def places(value, path=()):
    """The paths of everything in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


def changed_value(value, rng):
    """One to three entries replaced, removed, renamed, or put where another stands."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        known = [p for p in places(value) if p]
        if not known:
            return rng.choice(ODD)
        *above, last = rng.choice(known)
        at = value
        for key in above:
            at = at[key]
        way = rng.random()
        if way < 0.15:
            del at[last]
        elif way < 0.25 and isinstance(at, dict):
            at[rng.choice(["evil", "../x", "", "seal", "run", "spec", str(last) * 2])] = at.pop(last)
        elif way < 0.35:
            other = value
            for key in rng.choice(known):
                if isinstance(other, (dict, list)):
                    other = other[key] if not isinstance(other, dict) or key in other else other
            at[last] = copy.deepcopy(other)
        else:
            at[last] = deep(rng) if way > 0.95 else rng.choice(ODD)
    return value


def changed_bytes(content, rng):
    """Bytes flipped, cut, doubled or put in."""
    content = bytearray(content)
    at = rng.randrange(len(content) + 1)
    way = rng.randrange(5)
    if way == 0 and at < len(content):
        content[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        del content[at:]
    elif way == 2:
        content[at:at] = content[at : at + rng.randrange(200)]
    elif way == 3:
        content[at:at] = rng.choice(
            (b"\x00", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"\x1b[2J", b"\n", b'"')
        )
    else:
        content[:] = rng.choice((b"", b"\x00" * 50, b"null", b"{}", b"[]", b"PAR1", b"PAR1PAR1"))
    return bytes(content)


def changed_file(path, rng):
    content = path.read_bytes()
    if path.suffix == ".parquet" or rng.random() < 0.2:
        path.write_bytes(changed_bytes(content, rng))
    elif path.suffix == ".jsonl":
        lines = content.splitlines()
        n = rng.randrange(len(lines))
        lines[n] = json.dumps(changed_value(json.loads(lines[n]), rng)).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")
    else:
        path.write_text(json.dumps(changed_value(json.loads(content), rng)))


class Sandbox:
    """A folder with two runs, claims, a history and a file to import; restored before each input."""

    def __init__(self, folder):
        self.folder, self.proof = folder, folder / "proof"
        self.whole, self.now = folder / "whole", folder / "now"
        self.events = []
        (folder / "thesis").mkdir(parents=True)
        (folder / "thesis/index.html").write_text("mine")
        self.build(self.whole)

    def build(self, place):
        cases = (stored_runs.program(), stored_runs.native(), stored_runs.parameters(100))
        for _ in range(2):
            stored_runs.a_run(place / "runs", *cases)
        (place / "claims").mkdir()
        words = ("gates", "gates", 5, "It holds.", "by doing", "always", "holds", "Once.")
        point = {"cell": "lstm", "bias": 1.0, "seed": 0, "alone": True, "log_keep": -0.1, "rate": -0.1}
        numbers = {"points": [point, point | {"alone": False}], "correlation": {"lstm": 1.0, "gru": 1.0}}
        source = {"created": "2026", "git": {}, "versions": {"numpy": "2"}, "machine": {"cpu": "a chip"}}
        result = ClaimResult(*words, 1.0, {}, numbers, source=source)
        _file.write(_file.Record(source, (result,)), place / "claims")
        point = {
            "schema": 1,
            "run": "a",
            "created": "2026",
            "commit": "a" * 40,
            "dirty": False,
            "machine": "m",
        }
        point |= {"benchmark": "b", "ratio": 1.0, "low": 0.9, "high": 1.1, "ratios": [1.0, 1.1]}
        (place / "history.jsonl").write_text("".join(json.dumps(point | {"run": r}) + "\n" for r in "abc"))
        benchmark = {"fullname": "test_a", "group": "g", "extra_info": {"steps": 64, "cell": "gru"}}
        benchmark["stats"] = {"data": [1e-3, 1.1e-3], "min": 1e-3, "median": 1e-3, "max": 1e-3}
        described = {"datetime": "2026", "version": "5", "machine_info": {"node": "a", "cpu": {"count": 2}}}
        described |= {"commit_info": {"id": "a" * 40, "dirty": False}, "benchmarks": [benchmark]}
        (place / "import.json").write_text(json.dumps(described))
        (place / "evil.py").write_text(EVIL.format(proof=str(self.proof)))

    def restore(self):
        os.chdir(self.folder)
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.whole, self.now)
        os.chdir(self.now)

    def commands(self):
        """Each command, and the files that it reads."""
        a, b = sorted(Path("runs").iterdir())
        of_run = [a / name for name in (store.MANIFEST, store.BLOCKS, store.TABLE)]
        report = ["report", str(a), "--output", "page"]
        return [
            (report, of_run),
            ([*report, "--claims", "claims"], [Path("claims/claims.json")]),
            (["compare", str(a), str(b)], of_run),
            (["history", str(a), "--file", "new.jsonl", "--output", "history"], of_run),
            (["history", "--file", "history.jsonl", "--output", "history"], [Path("history.jsonl")]),
            (["import", "import.json", "--results", "runs"], [Path("import.json")]),
            (["run", f"resume={a}"], of_run[:2]),
            (["claims", "--resume", "--output", "claims"], [Path("claims/claims.json")]),
        ]

    def watch(self, event, arguments):
        """The audit hook."""
        if event == "exec":
            name = getattr(arguments[0], "co_filename", "")
            if str(name).startswith(str(self.folder)) or str(name).endswith("evil.py"):
                self.events.append(f"ran {name}")
        elif event == "open" and isinstance(arguments[0], (str, bytes)) and (arguments[2] or 0) & WRITES:
            self.outside(f"opened to write {os.fsdecode(arguments[0])}", arguments[0])
        elif event in CHANGES:
            self.outside(f"{event} {arguments}", arguments[0])
        elif event in ("subprocess.Popen", "os.system", "os.posix_spawn") and not self.harmless(arguments):
            self.events.append(f"started {arguments}")

    def harmless(self, arguments):
        return Path(os.fsdecode(arguments[0])).name in HARMLESS

    def outside(self, what, path):
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        place = os.path.realpath(os.fsdecode(path))
        if not place.startswith((str(self.now), *self.own)):
            self.events.append(what)

    own = ("/dev/null",)


def tried(sandbox, rng):
    """(the command, what is wrong with how it took a mutated file: '' for nothing)."""
    sandbox.restore()
    command, files = rng.choice(sandbox.commands())
    file = rng.choice(files)
    changed_file(file, rng)
    if file.name == store.TABLE:
        (file.parent / store.BLOCKS).unlink()
    sandbox.events.clear()
    out, error = io.StringIO(), io.StringIO()
    start = time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = cellbench(command)
    except BaseException:
        return command[0], f"{command} of {file}: {traceback.format_exc()[-1500:]}"
    wrong = list(sandbox.events)
    if sandbox.proof.exists() or (sandbox.folder / "thesis/index.html").read_text() != "mine":
        wrong.append("it ran or overwrote")
    if code not in (0, 1, 2, 3):
        wrong.append(f"exit code {code}")
    if code == 2 and error.getvalue().count("\n") != 1:
        wrong.append(f"not one line: {error.getvalue()!r}")
    if time.monotonic() - start > 60:
        wrong.append("more than a minute")
    return command[0], f"{command} of {file}: {wrong}" if wrong else ""


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that were not taken well")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        sandbox = Sandbox(Path(place).resolve() / "sandbox")
        sandbox.restore()
        for command, _ in sandbox.commands()[:6]:  # the first of each imports and caches
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                cellbench(command)
        sys.addaudithook(sandbox.watch)
        counts, failures = Counter(), []
        for n in range(given.count):
            name, wrong = tried(sandbox, random.Random(f"{given.seed} {n}"))
            counts[name] += 1
            if wrong:
                failures.append(f"input {n}: {wrong}")
                print(failures[-1], flush=True)
                if given.keep:
                    shutil.copytree(sandbox.now, given.keep / str(n), dirs_exist_ok=True)
        os.chdir("/")
    print(f"seed {given.seed}: {given.count} inputs ({counts}), {len(failures)} not taken well")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
