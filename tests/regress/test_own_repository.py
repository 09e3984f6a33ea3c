"""The gate in a person's own repository: `init`, `regress` against their git or a wheel, the action."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
import yaml
from support.pages import ROOT

from cellbench import cells
from cellbench.harness.cli import main
from cellbench.harness.measure import conditions
from cellbench.harness.measure.pair import Timing
from cellbench.harness.measure.worker import Result
from cellbench.harness.regress import judged

pytestmark = pytest.mark.quick
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
SMALL = ["backends=[numpy]", "workload.steps=8", "workload.hidden_size=8", "direction=forward"]
CELL = """from cellbench import cells


class MyCell(cells.GatedCell):
    \"\"\"A leaky unit.\"\"\"

    gates = ("a",)
    states = ("h",)

    def equations(self, wx, wh, prev):
        h = 0.5 * prev.h + 0.5 * cells.tanh(wx.a + wh.a)
        return cells.State(h=h)
"""
SLOWER = CELL.replace(
    "        return", "        for _ in range(40):\n            h = h + 0 * cells.exp(h)\n        return"
)
REWRITTEN = CELL.replace("0.5 * prev.h + 0.5 * cells", "(prev.h + cells").replace("wh.a)\n", "wh.a)) / 2\n")
WRONG = CELL.replace("0.5 * cells", "0.25 * cells")
OTHER = CELL.replace('("a",)', '("a", "b")').replace("wh.a)", "wh.a + wx.b)")


def git(folder, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a cell of its own, committed; the working folder."""
    folder = tmp_path / "theirs"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "mycell.py").write_text(CELL)
    git(folder, "init", "--quiet", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "a cell")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def here(monkeypatch):
    """Both sides are built and checked in this process; the clock counts the operations of a side."""

    def call(function, pairs, *args, on_message, **options):
        for pair in pairs:
            pair.make(*pair.args)
            a, b = (seconds(side.case) for side in pair.args[:2])
            before = conditions.observe()
            on_message((pair.name, Timing({"a": a, "b": b, "again": a}, before.until(before))))
        return Result("ok")

    monkeypatch.setattr(judged, "of_one_code", lambda settings: call)


def seconds(case):
    operations = cells.get(case.spec).operations(case.input_size, case.hidden_size)
    return [[1e-9 * operations.of(case.direction)] * 3] * 3


def regress(base="main", spec="src/mycell.py:MyCell", output="out"):
    return main(["regress", f"base={base}", f"cells=[{spec}]", *SMALL, "--output", output])


def test_a_commit_that_slows_the_cell_is_red_and_says_by_how_much(repository, here, capsys):
    (repository / "src" / "mycell.py").write_text(SLOWER)
    assert regress() == 1
    page = (repository / "out" / "regress.md").read_text()
    assert page.startswith("## ❌ REGRESSION: 1 SLOWER of 1") and "theirs: working tree against main" in page
    assert "exactly different" not in page


def test_a_commit_that_computes_wrong_is_red_with_another_reason(repository, here, capsys):
    (repository / "src" / "mycell.py").write_text(WRONG)
    assert regress() == 1
    page = (repository / "out" / "regress.md").read_text()
    assert "1 SAME of 1, 1 exact value differs" in page and "computes another output" in page
    (repository / "src" / "mycell.py").write_text(OTHER)
    assert regress() == 1
    assert "weight_ih (16, 32)" in capsys.readouterr().out


def test_an_unchanged_one_is_green_and_is_not_timed(repository, monkeypatch, capsys):
    monkeypatch.setattr(judged, "Judge", None)
    assert regress() == 0
    assert "file for file; not timed" in capsys.readouterr().out


def test_equations_that_are_written_in_another_way_are_no_difference(repository, here, capsys):
    (repository / "src" / "mycell.py").write_text(REWRITTEN)
    assert regress() == 0
    assert "exactly different" not in capsys.readouterr().out


def test_a_wheel_is_a_base_too(repository, here, capsys):
    with zipfile.ZipFile("mine-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mycell.py", CELL)
        wheel.writestr("../outside.py", "")
    (repository / "src" / "mycell.py").write_text(SLOWER)
    assert regress("mine-1.0-py3-none-any.whl") == 1
    assert "REGRESSION: 1 SLOWER" in capsys.readouterr().out
    assert not (repository.parent / "outside.py").exists()


@pytest.mark.parametrize(
    ("base", "spec", "says"),
    [
        ("nope", "src/mycell.py:MyCell", "base=nope is no revision of"),
        ("no.whl", "src/mycell.py:MyCell", "base=no.whl cannot be read as a wheel"),
        ("main", "src/mycell.py:MyCell,gru", "cell 'gru' is none of the repository of"),
        ("main", "src/mycell.py:MyCel", "did you mean 'MyCell'"),
        ("main", "../loose.py:MyCell", "lies in no git repository"),
    ],
)
def test_what_cannot_be_compared_is_one_line(repository, base, spec, says, capsys):
    (repository.parent / "loose.py").write_text(CELL)
    assert regress(base, spec) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1


def test_a_cell_that_the_base_has_not_is_no_baseline(repository, capsys):
    (repository / "src" / "new.py").write_text(CELL)
    assert regress(spec="src/new.py:MyCell") == 3
    assert "new, no baseline" in capsys.readouterr().out


def test_a_base_whose_file_is_broken_is_named_by_its_revision(repository, capsys):
    (repository / "src" / "mycell.py").write_text("x = (\n")
    git(repository, "commit", "--quiet", "-a", "-m", "broken")
    (repository / "src" / "mycell.py").write_text(CELL)
    assert regress() == 3
    page = (repository / "out" / "regress.md").read_text()
    assert "not timed, no baseline (src/mycell.py at main cannot be imported: SyntaxError" in page


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("src/mycell.py:MyCel", "src/mycell.py has no 'MyCel'; did you mean 'MyCell'?"),
        ("src/empty.py:MyCell", "src/empty.py has no 'MyCell'; it has: no class"),
        ("src/broken.py:MyCell", "cannot be read as Python"),
    ],
)
def test_init_refuses_a_cell_that_is_not_in_its_file_and_writes_nothing(repository, spec, says, capsys):
    (repository / "src" / "empty.py").write_text("")
    (repository / "src" / "broken.py").write_text("class MyCell(\n")
    assert main(["init", spec]) == 2
    assert says in capsys.readouterr().err and not (repository / "noxfile.py").exists()


def test_init_writes_three_files_once_and_keeps_what_is_there(repository, capsys):
    (repository / "noxfile.py").write_text("mine = 1\n")
    assert main(["init"]) == 0
    out = capsys.readouterr().out
    assert "wrote .github/workflows/cellbench.yml" in out and "wrote tests/test_cellbench.py" in out
    assert "kept noxfile.py" in out and "def cellbench(session" in out
    assert (repository / "noxfile.py").read_text() == "mine = 1\n"
    before = {path: path.read_bytes() for path in repository.rglob("*.*") if path.is_file()}
    assert main(["init"]) == 0
    assert all(path.read_bytes() == text for path, text in before.items())


def test_the_first_test_of_a_repository_passes(repository, capsys):
    assert main(["init", "src/mycell.py:MyCell"]) == 0
    space = {"__file__": str(repository / "tests" / "test_cellbench.py"), "__name__": "first"}
    exec((repository / "tests" / "test_cellbench.py").read_text(), space)
    assert space["CELLS"] == ["src/mycell.py:MyCell"]
    space["test_a_backend_agrees_with_the_equations"]("src/mycell.py:MyCell", "torch")
    compile((repository / "noxfile.py").read_text(), "noxfile.py", "exec")


def test_the_workflow_of_init_takes_the_action_and_pins_as_ours_does(repository, capsys):
    assert main(["init"]) == 0
    text = (repository / ".github" / "workflows" / "cellbench.yml").read_text()
    workflow = yaml.safe_load(text)
    *others, action = [s for job in workflow["jobs"].values() for s in job["steps"] if "uses" in s]
    assert action["uses"].startswith("cellbench/cellbench@") and set(action["with"]) <= set(ACTION["inputs"])
    ours = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert all(re.search(rf"uses: {re.escape(step['uses'])} #", ours) for step in others)
    assert workflow["permissions"] == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "has no cell"), (["nope.py:X"], "is no cell of a file"), (["gru"], "is no cell of a file")],
)
def test_a_repository_without_a_cell_is_told_what_to_name(tmp_path, monkeypatch, arguments, says, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", *arguments]) == 2
    assert says in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_init_writes_through_no_link(repository, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (repository / "tests").symlink_to(tmp_path / "elsewhere")
    assert main(["init"]) == 2
    assert "is a link out of" in capsys.readouterr().err and not any((tmp_path / "elsewhere").iterdir())


GH = """#!/usr/bin/env python3
import os, pathlib, sys
kept = pathlib.Path(os.environ["KEPT"])
with (kept / "calls").open("a") as calls:
    print(" ".join(sys.argv[1:5]), file=calls)
if "--paginate" in sys.argv:
    if os.environ.get("UNREAD"):
        sys.exit("HTTP 502: Server Error")
    print("\\n".join(["77", "78"]) if (kept / "comment").exists() else "")
elif os.environ.get("REFUSED"):
    sys.exit(1)
else:
    body = next(a for a in sys.argv if a.startswith("body=@")).removeprefix("body=@")
    (kept / "comment").write_text(pathlib.Path(body).read_text())
"""


def step(name, folder, **variables):
    """Runs a step of the action as a runner does; `gh` and `python` keep what they were told."""
    (folder / "bin").mkdir(exist_ok=True)
    python = f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {folder}/arguments\n"
    python += "echo 'cellbench: src/a.py cannot be imported' >&2; exit ${ENDS:-0}\n"
    for program, text in (("gh", GH.replace("/usr/bin/env python3", sys.executable)), ("python", python)):
        (folder / "bin" / program).write_text(text)
        (folder / "bin" / program).chmod(0o755)
    own = {"FOLDER": str(folder), "KEPT": str(folder), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    own |= {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "REPOSITORY": "a/b", "NUMBER": "5"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]
    return subprocess.run(command, env=own | variables, capture_output=True, text=True, cwd=folder)


def test_the_action_keeps_one_comment_up_to_date(tmp_path):
    for number, method in (
        ("first", "POST repos/a/b/issues/5/comments"),
        ("second", "PATCH repos/a/b/issues/comments/77"),
    ):
        (tmp_path / "regress.md").write_text(f"## {number}\n")
        done = step("Comment", tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "comment").read_text() == f"<!-- cellbench -->\n## {number}\n"
        assert (tmp_path / "calls").read_text().splitlines()[-1] == f"api --method {method}"
        assert step("Summary", tmp_path).returncode == 0
    assert (tmp_path / "summary").read_text() == "## first\n## second\n"


def test_the_action_says_where_it_may_not_comment_and_has_nothing_to_say_without_a_page(tmp_path):
    assert step("Comment", tmp_path).returncode == 0 and not (tmp_path / "calls").exists()
    (tmp_path / "regress.md").write_text("## red\n")
    done = step("Comment", tmp_path, REFUSED="1")
    assert done.returncode == 0 and done.stdout.startswith("::warning::no comment")


def test_the_action_replaces_a_comment_where_nothing_could_be_compared(tmp_path):
    (tmp_path / "comment").write_text("<!-- cellbench -->\n## green\n")
    given = {"BASE": "abc", "CELLS": "src/a.py:A", "OVERRIDES": "", "ENDS": "2"}
    assert step("Compare", tmp_path, **given).returncode == 2
    assert step("Comment", tmp_path).returncode == 0
    text = (tmp_path / "comment").read_text()
    assert "## ❌ Nothing was compared" in text and "cellbench: src/a.py cannot be imported" in text
    (tmp_path / "regress.md").write_text("## red\n")
    assert step("Compare", tmp_path, **(given | {"ENDS": "1"})).returncode == 1
    assert (tmp_path / "regress.md").read_text() == "## red\n"


def test_comments_that_cannot_be_read_are_a_warning_and_no_second_one_is_written(tmp_path):
    (tmp_path / "regress.md").write_text("## green\n")
    done = step("Comment", tmp_path, UNREAD="1")
    assert done.returncode == 0 and done.stdout.startswith("::warning::no comment"), done.stderr
    assert (tmp_path / "calls").read_text().count("\n") == 1 and not (tmp_path / "comment").exists()


def test_the_action_hands_its_inputs_to_regress_as_words(tmp_path):
    given = {"BASE": "abc", "CELLS": "src/a.py:A,b.py:B", "OVERRIDES": "dtype=float64 workload.steps=[8,16]"}
    assert step("Compare", tmp_path, **given).returncode == 0
    assert (tmp_path / "arguments").read_text().split() == [
        *("-m", "cellbench", "regress", "base=abc", "cells=[src/a.py:A,b.py:B]"),
        *("dtype=float64", "workload.steps=[8,16]", "--output", str(tmp_path)),
    ]
    assert not any(
        "${{" in one["run"] for one in STEPS.values()
    )  # what a person wrote is never read as a script
