"""Revisions whose dependencies differ: their environments, processes in turn, blunt verdicts."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness import store
from cellbench.harness.case import Case
from cellbench.harness.measure import levels
from cellbench.harness.measure.verdict import Verdict
from cellbench.harness.regress.apart import abba, environments
from cellbench.harness.regress.apart.abba import Apart, Revision
from cellbench.harness.regress.apart.environments import (
    Environment,
    NoEnvironment,
    different_dependencies,
    environment,
)
from cellbench.harness.regress.apart.suite import apart
from cellbench.harness.regress.benchmarks import Comparison
from cellbench.harness.regress.resumed import Asked
from cellbench.harness.regress.revision import RevisionError

ROOT = Path(cells.__file__).resolve().parent.parent
HERE = Environment(Path(sys.executable), Path("unused"))

ASKED = Asked("regress", "main", (), 0)


def revision(
    folder, dependencies='"numpy>=2.0", "torch>=2.6"', pins="numpy==2.4.6\ntorch==2.13.0\nxdist==1\n"
):
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "c"\nversion = "1"\ndependencies = [{dependencies}]\n'
    )
    if pins is not None:
        (folder / "constraints.txt").write_text(pins)
    return folder


# what differs


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"dependencies": '"torch >= 2.6", "numpy>=2.0"'},
        {"pins": "# a comment\nNumPy==2.4.6  # another\ntorch==2.13.0\nxdist==2\nmore==1\n"},
    ],
    ids=["equal", "order and spaces", "pins of what is not required"],
)
def test_equal_dependencies_need_no_environment(other, tmp_path):
    a, b = revision(tmp_path / "a"), revision(tmp_path / "b", **other)
    # the name is compared as PyPI does, the line as it is written
    b.joinpath("constraints.txt").write_text(
        b.joinpath("constraints.txt").read_text().replace("NumPy", "numpy")
    )
    assert different_dependencies(a, b) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"dependencies": '"numpy>=2.1", "torch>=2.6"'},
            "numpy>=2.0 numpy==2.4.6 -> numpy>=2.1 numpy==2.4.6",
        ),
        ({"dependencies": '"numpy>=2.0"'}, "torch>=2.6 torch==2.13.0 -> none"),
        ({"dependencies": '"numpy>=2.0", "torch>=2.6", "jax"'}, "none -> jax"),
        ({"pins": "numpy==2.4.7\ntorch==2.13.0\n"}, "numpy==2.4.6 -> numpy>=2.0 numpy==2.4.7"),
        ({"pins": None}, "torch==2.13.0 -> torch>=2.6"),
    ],
)
def test_a_difference_is_named(other, said, tmp_path):
    reason = different_dependencies(revision(tmp_path / "a"), revision(tmp_path / "b", **other))
    assert said in reason and "\n" not in reason


@pytest.mark.parametrize("text", [None, "not toml [", "[tool.x]\n"])
def test_a_pyproject_that_cannot_be_read_is_one_line(text, tmp_path):
    a, b = revision(tmp_path / "a"), tmp_path / "b"
    b.mkdir()
    if text is not None:
        (b / "pyproject.toml").write_text(text)
    with pytest.raises(RevisionError, match=r"pyproject\.toml cannot be read"):
        different_dependencies(a, b)


# environments


def test_an_environment_has_the_revisions_packages_and_is_made_once(tmp_path, monkeypatch):
    wheel = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny_thing.py", "VALUE = 42\n")
        file.writestr(
            "tiny_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n"
        )
        file.writestr(
            "tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    root = revision(tmp_path / "root", f'"tiny-thing @ {wheel.as_uri()}"', "other==1\n")
    made = environment(root, tmp_path / "cache")
    done = subprocess.run(
        [made.python, "-c", "import tiny_thing; print(tiny_thing.VALUE)"], capture_output=True, check=True
    )
    assert done.stdout.strip() == b"42"
    monkeypatch.setattr(environments, "done_by", lambda *command: pytest.fail("made again"))
    assert (
        environment(
            revision(tmp_path / "twin", f'"tiny-thing @ {wheel.as_uri()}"', "other==1\n"), tmp_path / "cache"
        )
        == made
    )


def test_an_environment_cut_off_half_way_is_made_again(tmp_path, monkeypatch):
    root, seen = revision(tmp_path / "root"), []

    def pip(*command):
        seen.append(command)
        if command[1:3] == ("-m", "venv"):
            Path(command[3]).mkdir()
        elif len(seen) == 2:
            raise NoEnvironment("ERROR: no network")

    monkeypatch.setattr(environments, "done_by", pip)
    with pytest.raises(NoEnvironment, match="no network"):
        environment(root, tmp_path / "cache")
    made = environment(root, tmp_path / "cache")
    assert [c[2] for c in seen] == ["venv", "pip", "venv", "pip"] and environment(
        root, tmp_path / "cache"
    ) == made
    assert seen[-1][-2:] == ("numpy>=2.0", "torch>=2.6") and "-c" in seen[-1]
    pins = Path(seen[-1][seen[-1].index("-c") + 1])
    assert pins.read_text().split() == ["numpy==2.4.6", "torch==2.13.0", "xdist==1"]


def test_other_pins_are_another_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(
        environments, "make", lambda place, wanted, pins: (place.mkdir(), (place / "installed").touch())
    )
    roots = [
        revision(tmp_path / "a"),
        revision(tmp_path / "b", pins="numpy==2.4.7\n"),
        revision(tmp_path / "c", '"numpy"'),
    ]
    assert len({environment(root, tmp_path / "cache").python for root in roots}) == 3


def test_what_pip_says_comes_back_as_one_line():
    code = "import sys; print('noise'); print('ERROR: no such package\\nhint', file=sys.stderr); sys.exit(1)"
    with pytest.raises(NoEnvironment, match=r"^ERROR: no such package$"):
        environments.done_by(sys.executable, "-c", code)


def test_a_cache_that_cannot_be_written_is_no_environment(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NoEnvironment, match="no environment can be made"):
        environment(revision(tmp_path / "root"), tmp_path / "file")


# the processes


@dataclass
class Scripted(Apart):
    """Processes that end as script(side, name, number) says; `ran` has (side, names) of each."""

    script: Callable[[str, str, int], Any] = lambda side, name, number: None
    ran: list[tuple[str, list[str]]] = field(default_factory=list)

    def run(self, job, made, timeout_s):
        side = made.python.name
        number = sum(s == side for s, _ in self.ran)
        self.ran.append((side, [case["name"] for case in job["cases"]]))
        lines = []
        for case in job["cases"]:
            found = self.script(side, case["name"], number)
            if isinstance(found, tuple):  # the process ends here
                return lines, *found
            lines.append(json.dumps({"name": case["name"], **found}))
        return lines, "ok", ""


def scripted(script, names=("one",), seed=0, **more):
    how = Scripted(
        np.random.default_rng(seed),
        build=lambda root: Environment(root, Path("unused")),
        script=script,
        **more,
    )
    judgements, missing, notes = how.judge(dict.fromkeys(names, CASE), Path("a"), Path("b"))
    return SimpleNamespace(
        judgements={j.name: j for j in judgements}, missing=missing, notes=notes, ran=how.ran
    )


CASE = Case("throughput", "gru", "numpy", "cpu", "float32", 1, 4, 2, 3, 5, "forward")
JITTER = np.random.default_rng(9).normal(0, 0.004, 1000)


def took(seconds, number=0):
    benchmark = [[seconds * (1 + JITTER[3 * number + build])] for build in range(3)]
    return {
        "status": "ok",
        "benchmark": benchmark,
        "anchor": [[1.0]] * 3,
        "implementation": "x",
        "versions": {},
    }


@pytest.mark.parametrize("seed", range(4))
def test_processes_are_in_abba_order(seed):
    order = "".join(
        side for side, _ in scripted(lambda side, name, n: took(1.0, n), processes=6, seed=seed).ran
    )
    assert order in ("abbaabbaabba", "baabbaabbaab")


def test_the_start_is_random():
    starts = {
        scripted(lambda side, name, n: took(1.0, n), processes=2, seed=seed).ran[0][0] for seed in range(8)
    }
    assert starts == {"a", "b"}


def test_a_change_is_said_once_it_was_repeated():
    found = scripted(lambda side, name, n: took(1.3 if side == "b" else 1.0, n)).judgements["one"]
    assert found.verdict is Verdict.SLOWER and (found.processes, found.repeated) == (8, 8) and found.p < 1e-6
    assert found.effect.estimate == pytest.approx(0.3, abs=0.02) and "confirmed" in found.reason


def test_a_change_that_a_repetition_does_not_show_is_unsure():
    found = scripted(lambda side, name, n: took(1.3 if side == "b" and n < 8 else 1.0, n)).judgements["one"]
    assert found.verdict is Verdict.UNSURE and "did not confirm" in found.reason


def test_equal_sides_are_the_same_after_the_first_look():
    found = scripted(lambda side, name, n: took(1.0, n if side == "a" else n + 100))
    assert found.judgements["one"].verdict is Verdict.SAME and len(found.ran) == 16
    assert "blunter" in found.notes[0] and "less than 1 % is not told" in found.notes[0]


def test_where_it_cannot_tell_it_looks_twice_as_often():
    rng = np.random.default_rng(0)
    found = scripted(lambda side, name, n: took(float(np.exp(rng.normal(0, 0.3)))))
    assert found.judgements["one"].verdict is Verdict.UNSURE and found.judgements["one"].processes == 16


def test_a_benchmark_that_ends_its_process_takes_no_other_along():
    def script(side, name, n):
        return (
            ("crashed", "SIGSEGV")
            if name == "bad" and side == "b"
            else took(1.0, n if side == "a" else n + 100)
        )

    found = scripted(script, ("one", "bad", "two"))
    assert found.judgements["bad"].verdict is Verdict.INVALID and found.judgements["bad"].status == "crashed"
    assert "in B: SIGSEGV" in found.judgements["bad"].reason
    assert {found.judgements[name].verdict for name in ("one", "two")} == {Verdict.SAME}
    assert {found.judgements[name].processes for name in ("one", "two")} == {8}
    assert sum("bad" in names for side, names in found.ran if side == "b") == 1


def test_what_is_timed_after_the_code_was_edited_is_a_failure(monkeypatch):
    line = json.dumps({"name": "one", "status": "ok"})
    monkeypatch.setattr(Apart, "run", lambda *_: ([line], "", ""))
    edited = []
    how = Apart(np.random.default_rng(0), changed=lambda: edited)
    assert how.process({"one": CASE}, Revision(ROOT, HERE)) == [json.loads(line)]
    edited.append("mine.py")
    (found,) = how.process({"one": CASE}, Revision(ROOT, HERE))
    assert found["status"] == "failed" and "mine.py changed after the comparison began" in found["reason"]


def absent(*sides):
    return lambda side, name, n: (
        {"status": "absent", "reason": "unknown cell"} if side in sides else took(1.0, n)
    )


def test_what_b_no_longer_has_is_missing():
    found = scripted(absent("b"))
    assert not found.judgements and found.missing == ["one: runs in the base, but now unknown cell"]


@pytest.mark.parametrize(("sides", "said"), [("a", "new, no baseline"), ("ab", "not timed")])
def test_what_a_never_had_is_a_note_and_no_verdict(sides, said):
    found = scripted(absent(*sides))
    assert not found.judgements and not found.missing and any(said in note for note in found.notes)


def test_without_an_environment_nothing_is_valid():
    def build(root):
        raise NoEnvironment("ERROR: no network")

    judgements, missing, notes = Apart(np.random.default_rng(0), build=build).judge(
        {"one": CASE}, Path("a"), Path("b")
    )
    assert (
        [j.verdict for j in judgements] == [Verdict.INVALID]
        and not missing
        and "ERROR: no network" in notes[0]
    )


def test_a_process_without_an_end_is_ended_and_named(monkeypatch, tmp_path):
    def late(*_):
        return abba.worker.Done(b'{"name": "one"}\n{"name": "tw', b"", None)

    monkeypatch.setattr(abba.worker, "run", late)
    lines, status, reason = Apart(np.random.default_rng(0)).run({"root": "r"}, HERE, 7)
    assert lines == ['{"name": "one"}'] and status == "timed_out" and "7 s" in reason


# real processes, of a checkout and of a copy in which one backend is wrong and one ends the process


OFF = """from .numpy import NumpyBackend


class Off(NumpyBackend):
    def program(self, *arguments, **options):
        program = super().program(*arguments, **options)
        program.host = lambda array: array + 0.01 * (array.shape == (3, 2, 3))  # d_x alone
        print("noise", flush=True)
        return program
"""
ENDS = """import os

from .numpy import NumpyBackend


class Ends(NumpyBackend):
    def program(self, *arguments, **options):
        os._exit(7)
"""


def copy_of_cells(folder):
    shutil.copytree(ROOT / "cells", folder / "cells", ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    (folder / "cells" / "backends" / "off.py").write_text(OFF)
    (folder / "cells" / "backends" / "ends.py").write_text(ENDS)
    return folder


@pytest.mark.parametrize("layout", ["top-level packages", "one name"])
def test_a_worker_checks_times_and_reports_one_line_a_case(tmp_path, layout):
    root = copy_of_cells(tmp_path / "revision")
    if layout == "one name":
        (root / "src" / "cellbench").mkdir(parents=True)
        (root / "src" / "cellbench" / "__init__.py").write_text("")
        (root / "src" / "cellbench" / "cells").symlink_to("../../cells")
    how = Apart(np.random.default_rng(0), seconds=0.01, builds=2)
    backends = ("numpy", "off", "ends", "nowhere")
    cases = {
        name: Case("throughput", "elman", name, "cpu", "float32", 1, 3, 2, 3, 5, "backward")
        for name in backends
    }
    found = {
        f["name"]: f
        for f in how.process(cases, Revision(root, Environment(Path(sys.executable), tmp_path / "kernels")))
    }
    assert {name: f["status"] for name, f in found.items()} == {
        "numpy": "ok",
        "off": "wrong",
        "ends": "crashed",
        "nowhere": "absent",
    }
    assert found["off"]["reason"].startswith("d_x is off the float64 reference")
    assert "exit code 7" in found["ends"]["reason"]
    assert [len(found["numpy"][what]) for what in ("benchmark", "anchor")] == [2, 2]
    assert np.isfinite(levels.level(found["numpy"]["benchmark"], found["numpy"]["anchor"]))
    assert found["numpy"]["versions"] == {"numpy": np.__version__}


def test_another_package_than_the_revisions_is_refused(tmp_path):
    for folder in ("other/cells", "root/src/cellbench"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "root/src/cellbench/cells").symlink_to(tmp_path / "other/cells")
    found = Apart(np.random.default_rng(0)).process({"one": CASE}, Revision(tmp_path / "root", HERE))
    assert found[0]["status"] == "crashed" and f"not from {tmp_path}" in found[0]["reason"]


def test_the_command_prints_writes_keeps_and_cannot_tell_without_an_environment(tmp_path, capsys):
    def build(root):
        raise NoEnvironment("ERROR: no network")

    planned = SimpleNamespace(probe=SimpleNamespace(name="throughput"), cases=[CASE])
    settings = SimpleNamespace(probes=[planned], results=tmp_path / "runs", config={}, case_timeout_s=9)
    start = Comparison("b against a", "a", "b", ())
    how = Apart(np.random.default_rng(0), build=build)
    assert (
        apart(
            start,
            ROOT,
            ROOT,
            settings,
            tmp_path / "out",
            lambda case: f"again {case.spec}",
            ASKED,
            how,
        )
        == 3
    )
    printed = capsys.readouterr().out
    assert "ERROR: no network" in printed and "CANNOT TELL" in printed and "again gru" in printed
    assert json.loads((tmp_path / "out" / "regress.json").read_text())["exit_code"] == 3


def test_the_command_keeps_every_process_and_is_red_for_a_slower_side(tmp_path, capsys):
    planned = SimpleNamespace(probe=SimpleNamespace(name="throughput"), cases=[CASE])
    settings = SimpleNamespace(probes=[planned], results=tmp_path / "runs", config={}, case_timeout_s=9)
    how = Scripted(np.random.default_rng(0), build=lambda root: Environment(root, Path("unused")))
    how.script = lambda side, name, number: took(1.3 if side == "b" else 1.0, number)
    code = apart(
        Comparison("t", "A", "B", ()), Path("a"), Path("b"), settings, None, lambda case: "again", ASKED, how
    )
    run = next((tmp_path / "runs").iterdir())
    blocks = list(store.read_blocks(run))
    metrics = [s["metric"] for block in blocks for s in block["series"]]
    assert (
        code == 1
        and len(blocks) == 33
        and blocks[-1]["done"]
        and {"regress.md", "regress.json", "junit.xml"} <= {p.name for p in run.iterdir()}
    )
    assert metrics.count("seconds_benchmark_b_first") == metrics.count("seconds_anchor_a_again") == 8
    assert "REGRESSION" in capsys.readouterr().out
