"""What is measured is on the disk at once, and a folder is tried before anything is measured."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.claims import _file
from cellbench.harness.cli import main
from cellbench.harness.store import pages

CLAIM = """
import time
from dataclasses import dataclass
from pathlib import Path
from cellbench.harness.claim import HOLDS, Claim, Ruling
from cellbench.harness.report.table import Entry, Table


@dataclass(frozen=True)
class One(Claim):
    place, sentence, how, rule, caption, seconds = 1, "It falls.", "by falling", "always", "A fall.", 0.1

    def measure(self, tick):
        tick("it")
        with (Path(__file__).parent / "measured").open("a") as file:
            file.write(type(self).__name__ + "\\n")
        self.wait()
        return {"fall": 5.0}

    def wait(self):
        pass

    def judge(self, numbers):
        return Ruling(HOLDS, f"It fell {numbers['fall']:g}.")

    def table(self, numbers):
        return Table("", ("fall",), ((Entry("5 m"),),))

    def draw(self, numbers):
        from matplotlib.figure import Figure

        return Figure()


@dataclass(frozen=True)
class Two(One):
    place = 2


@dataclass(frozen=True)
class Slow(One):
    place = 3

    def wait(self):
        time.sleep(600)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A file of claims in the working directory; returns the names of those measured so far."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CLAIM)
    return lambda: Path("measured").read_text().split() if Path("measured").exists() else []


def stored(folder="out"):
    return {c["claim"]: c for c in json.loads(Path(folder, "claims.json").read_text())["claims"]}


def test_a_kill_leaves_every_claim_that_was_measured(mine):
    command = [sys.executable, "-m", "cellbench.harness.cli", "claims", "--output", "out"]
    command += [f"mine.py:{name}" for name in ("One", "Two", "Slow")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while "Slow" not in mine():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert set(stored()) == {"One", "Two"}
    assert not [p for p in Path("out").iterdir() if p.name.endswith(".tmp")]


def test_one_claim_keeps_the_others(mine, capsys):
    assert main(["claims", "mine.py:One", "mine.py:Two", "--output", "out"]) == 0
    first = stored()
    assert main(["claims", "mine.py:Two", "--output", "out"]) == 0
    assert stored()["One"] == first["One"] and set(stored()) == {"One", "Two"}
    text = Path("out/claims.md").read_text()
    assert "It fell 5." in text and "1 One" in text and "5 m" in text
    assert mine() == ["One", "Two", "Two"]


def test_an_interrupted_call_is_gone_on_with(mine, capsys, monkeypatch):
    from cellbench.harness import claim

    def get(name, options=None):
        return real(f"mine.py:{name.capitalize()}", options)

    real = claim.get
    monkeypatch.setattr(claim, "names", lambda: ["one", "two"])
    monkeypatch.setattr(claim, "get", get)
    source = {"created": "2026", "git": {}, "versions": {}, "machine": {}}
    Path("out").mkdir()
    _file.write(_file.Record(source, (), left=("one", "two")), Path("out"))
    assert main(["claims", "--resume", "--output", "out"]) == 0
    assert mine() == ["One", "Two"]
    Path("out/index.html").unlink()  # as a kill before the page leaves it
    assert main(["claims", "--resume", "--output", "out"]) == 0
    assert "nothing left to measure" in capsys.readouterr().out
    assert mine() == ["One", "Two"] and "It fell 5." in Path("out/index.html").read_text()


def test_a_file_that_was_left_is_not_run_by_resume(mine, capsys):
    Path("out").mkdir()
    record = _file.Record({"created": "2026"}, (), left=("mine.py:One",))
    _file.write(record, Path("out"))
    assert main(["claims", "--resume", "--output", "out"]) == 2
    assert "cellbench claims mine.py:One" in capsys.readouterr().err and not mine()


def test_a_claims_json_that_is_no_record_is_not_replaced(mine, capsys):
    Path("out").mkdir()
    for content in ("", "my notes", "[]", '{"claims": 3}'):
        Path("out/claims.json").write_text(content)
        assert main(["claims", "mine.py:One", "--output", "out"]) == 2
        assert "claims.json" in capsys.readouterr().err
        assert Path("out/claims.json").read_text() == content and not mine()


def test_a_full_disk_says_which_claim_was_lost(mine, capsys):
    assert main(["claims", "mine.py:One", "--output", "out"]) == 0
    real = _file.atomic.write_text

    def full(path, text):
        if path.name == "claims.json" and '"Two"' in text:
            raise OSError(28, "No space left on device")
        real(path, text)

    _file.atomic.write_text = full
    try:
        assert main(["claims", "mine.py:Two", "--output", "out"]) == 2
    finally:
        _file.atomic.write_text = real
    error = capsys.readouterr().err.splitlines()[-1]
    assert "No space left" in error and "of Two is lost" in error and "--resume" in error
    assert set(stored()) == {"One"}


MEASURE = [["claims", "mine.py:One"], ["regress", "base=HEAD"], ["compare", "gru:lstm"]]


@pytest.mark.parametrize("command", MEASURE)
def test_an_output_that_cannot_be_written_is_said_before_anything_is_measured(mine, capsys, command):
    Path("taken").write_text("")
    start = time.monotonic()
    assert main([*command, "--output", "taken/out"]) == 2
    error = capsys.readouterr().err
    assert "'taken/out' cannot be written" in error and error.count("\n") == 1
    assert not mine() and not Path("results/runs").exists() and time.monotonic() - start < 60


PROBE = """
from dataclasses import dataclass
from pathlib import Path
from cellbench.harness.case import Case
from cellbench.harness.probe import Probe, series


def noted(text):
    with (Path(__file__).parent / "passes").open("a") as file:
        file.write(text + "\\n")


@dataclass(frozen=True)
class Twice(Probe):
    @property
    def repeats(self):
        return 2

    def cases(self, plan):
        return [Case(self.name, "gru", "numpy", variant=v, seed=0) for v in ("a", "b")]

    def comparisons(self, cases):
        return [[case] for case in cases]

    def measure(self, case, emit):
        noted(f"first {case.variant}")
        emit((case.id, [series("early", "s", [1.0])]))
        return "me", [series("first_call_s", "s", [2.0])]

    def compare(self, cases, process, emit):
        for case in cases:
            noted(f"second {case.variant} {process}")
            emit((case.id, [series("seconds", "s", [3.0], process=process)]))
"""


def test_after_a_kill_what_was_finished_is_not_measured_again(tmp_path):
    (tmp_path / "twice.py").write_text(PROBE)
    given = [f"probes=[{tmp_path}/twice.py:Twice]", "cells=[gru]", f"results={tmp_path / 'runs'}"]
    assert main(["run", *given]) == 0
    (run,) = store.runs(tmp_path / "runs")
    lines = (run / store.BLOCKS).read_bytes().splitlines(keepends=True)
    whole = harness.load(run)
    for kept in range(1, len(lines)):
        (run / store.BLOCKS).write_bytes(b"".join(lines[:kept]))
        blocks = [json.loads(line) for line in lines[:kept]]
        finished = {b["definition"]["variant"] for b in blocks if b["implementation"]}
        # of the last block more may have followed, so that its process measures again
        timed = {(b["definition"]["variant"], s.get("process")) for b in blocks[:-1] for s in b["series"]}
        done = {b["definition"]["variant"] for b in blocks if b["done"]}
        (tmp_path / "passes").write_text("")
        assert main(["run", f"resume={run}"]) == 0
        passes = Counter((tmp_path / "passes").read_text().splitlines())
        for variant in "ab":
            assert passes[f"first {variant}"] == (variant not in finished), (kept, variant)
            for process in range(2):
                again = variant not in done and (variant, process) not in timed
                assert passes[f"second {variant} {process}"] == again, (kept, variant, process)
        frame = harness.load(run)
        values = frame.groupby(["variant", "metric"]).value.apply(list).to_dict()
        assert values == whole.groupby(["variant", "metric"]).value.apply(list).to_dict(), kept
        assert set(frame[frame.metric != "early"].implementation) == {"me"} and set(frame.status) == {"ok"}


@contextmanager
def files_of_at_most(size):
    """Files of this process may have so many bytes: what lies beyond cannot be written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_says_that_the_block_in_hand_is_lost(tmp_path):
    writer = store.create(tmp_path, {})
    writer.append("one", {"probe": "p"}, "ok", done=True)
    size = (writer.folder / store.BLOCKS).stat().st_size
    with files_of_at_most(size + 50):
        with pytest.raises(store.ResultsError, match=r"of case two, is lost.*before it is kept"):
            writer.append("two", {"probe": "p"}, "ok", reason="x" * 200, done=True)
        writer.close()  # says nothing more: that line is under way
    assert list(harness.load(writer.folder).case) == []
    assert len(list(store.read_blocks(writer.folder))) == 1


def test_an_import_onto_a_full_disk_leaves_nothing_and_names_no_run_to_go_on_with(tmp_path, capsys):
    stats = {"data": [1e-3] * 200}
    benchmarks = [{"fullname": f"test_{n}", "extra_info": {}, "stats": stats} for n in range(20)]
    (tmp_path / "b.json").write_text(json.dumps({"benchmarks": benchmarks}))
    with files_of_at_most(6000):
        assert main(["import", str(tmp_path / "b.json"), "--results", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert "cannot be written: File too large; nothing is left there" in error and "resume" not in error
    assert list((tmp_path / "runs").iterdir()) == []


def test_temporaries_that_a_killed_process_left_go_with_the_next_write(tmp_path):
    code = "import sys, pathlib\nfrom cellbench.harness.store import atomic\n"
    code += "with atomic.replacing(pathlib.Path(sys.argv[1])) as t:\n    t.write_text('x')\n"
    code += "    import os; os.kill(os.getpid(), 9)\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "page")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    pages.replace(tmp_path, "report", {"page": "whole"})
    assert {p.name for p in tmp_path.iterdir()} == {"page", pages.MARKER}
