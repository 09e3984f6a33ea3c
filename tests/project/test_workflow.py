"""The workflows: CI runs nox's sessions and nothing of its own, swallows no failure, and pins what it
takes from others.
"""

import ast
import re
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOW, RELEASE = ROOT / ".github/workflows/ci.yml", ROOT / ".github/workflows/release.yml"
STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell", "timeout-minutes", "working-directory"}
JOB = {
    "environment",
    "name",
    "if",
    "needs",
    "runs-on",
    "timeout-minutes",
    "permissions",
    "strategy",
    "steps",
    "env",
}


def jobs(workflow=WORKFLOW):
    return yaml.safe_load(workflow.read_text())["jobs"]


def steps(workflow):
    return [step for job in jobs(workflow).values() for step in job["steps"]]


def sessions():
    """Names of noxfile.py's sessions: the functions decorated with session, or session(name=...)."""
    found = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            given = (
                [k.value.value for k in mark.keywords if k.arg == "name"]
                if isinstance(mark, ast.Call)
                else []
            )
            named = mark.func if isinstance(mark, ast.Call) else mark
            if isinstance(named, ast.Name) and named.id == "session":
                found.add((given or [node.name])[0])
    return found


def named(text):
    return set(re.findall(r"nox (?:-s|--session) ([\w-]+)", text))


@pytest.mark.parametrize("file", [*WORKFLOWS, ROOT / ".ci/run", ROOT / "README.md"], ids=lambda p: p.name)
def test_every_nox_session_that_is_named_exists(file):
    assert named(file.read_text()), f"{file} names no session"
    assert named(file.read_text()) <= sessions()


def test_a_session_that_does_not_exist_would_be_found():
    assert "lint" in sessions() and not named("nox -s lnit") <= sessions()


def test_lint_tests_and_exact_gates_run_always_and_regress_on_a_pull_request():
    runs = jobs()["check"]["strategy"]["matrix"]["run"]
    assert {"nox -s lint", "nox -s baselines -- --check"} <= set(runs)
    assert {"run": "${{ matrix.run }}"} in jobs()["check"]["steps"] and "if" not in jobs()["check"]
    assert {"run": "nox -s tests"} in jobs()["tests"]["steps"] and "if" not in jobs()["tests"]
    assert {"3.11", "3.12", "3.13"} == set(jobs()["tests"]["strategy"]["matrix"]["python"])
    assert jobs()["regress"]["if"] == "github.event_name == 'pull_request'"
    text = "\n".join(step.get("run", "") for step in jobs()["regress"]["steps"])
    assert "git merge-base" in text and "nox -s regress" in text and "GITHUB_STEP_SUMMARY" in text


def test_the_merge_base_is_in_the_checkout_of_regress():
    first = jobs()["regress"]["steps"][0]
    assert first["uses"].startswith("actions/checkout@") and first["with"]["fetch-depth"] == 0


def test_no_failure_is_swallowed():
    text = WORKFLOW.read_text()
    for swallowing in ("continue-on-error", "|| ", "set +e", "; true"):
        assert swallowing not in text
    timed = [step for step in jobs()["regress"]["steps"] if "nox" in step.get("run", "")]
    assert not any("if" in step for step in timed)


def test_report_and_summary_are_kept_whatever_regress_found():
    kept = [
        s
        for s in jobs()["regress"]["steps"]
        if "upload-artifact" in s.get("uses", "") or s.get("name") == "Summary"
    ]
    assert len(kept) == 2 and all(step["if"] == "always()" for step in kept)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_keys_of_jobs_and_steps_are_those_that_github_knows(workflow):
    assert all(set(job) <= JOB for job in jobs(workflow).values())
    assert all(set(step) <= STEP for step in steps(workflow))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_nothing_may_be_written(workflow):
    pinned = r"(actions/[\w-]+|pypa/gh-action-pypi-publish)@[0-9a-f]{40}"
    assert all(re.fullmatch(pinned, s["uses"]) for s in steps(workflow) if "uses" in s)
    assert yaml.safe_load(workflow.read_text())["permissions"] == {}
    allowed = (
        {"contents": "read"},
        {"id-token": "write"},
    )  # the second is the upload's, and it checks nothing out
    assert all(job["permissions"] in allowed for job in jobs(workflow).values())


def test_what_the_tests_skip_without_a_browser_or_a_cluster_runs_weekly():
    weekly = ROOT / ".github/workflows/weekly.yml"
    runs = jobs(weekly)["session"]["strategy"]["matrix"]["run"]
    assert {"browser", "cluster", "ray", "trackers", "lowest"} <= named("\n".join(runs))
    assert {"run": "${{ matrix.run }}"} in jobs(weekly)["session"]["steps"]


def test_what_is_uploaded_was_tried_in_an_empty_environment_first():
    upload, build = jobs(RELEASE)["upload"], jobs(RELEASE)["build"]
    assert upload["needs"] == "build" and upload["environment"] == "pypi"
    assert {"run": "nox -s wheel"} in build["steps"]


def test_quick_tests_touch_every_room():
    rooms = {file.parent for file in (ROOT / "tests").glob("*/test_*.py")}
    quick = {
        folder for folder in rooms if any("mark.quick" in f.read_text() for f in folder.glob("test_*.py"))
    }
    assert len(rooms) > 10 and quick == rooms
