"""The workflow of CI: it runs nox's sessions and nothing of its own, swallows no failure, and pins what it
takes from others.
"""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/ci.yml"
STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell", "timeout-minutes", "working-directory"}
JOB = {"name", "if", "needs", "runs-on", "timeout-minutes", "permissions", "strategy", "steps", "env"}


def jobs():
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]


def steps():
    return [step for job in jobs().values() for step in job["steps"]]


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


@pytest.mark.parametrize("file", [".github/workflows/ci.yml", ".ci/run", "README.md"])
def test_every_nox_session_that_is_named_exists(file):
    assert named((ROOT / file).read_text()), f"{file} names no session"
    assert named((ROOT / file).read_text()) <= sessions()


def test_a_session_that_does_not_exist_would_be_found():
    assert "lint" in sessions() and not named("nox -s lnit") <= sessions()


def test_lint_tests_and_exact_gates_run_always_and_regress_on_a_pull_request():
    runs = jobs()["check"]["strategy"]["matrix"]["run"]
    assert runs == ["nox -s lint", "nox -s tests", "nox -s baselines -- --check"]
    assert {"run": "${{ matrix.run }}"} in jobs()["check"]["steps"] and "if" not in jobs()["check"]
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


def test_keys_of_jobs_and_steps_are_those_that_github_knows():
    assert all(set(job) <= JOB for job in jobs().values())
    assert all(set(step) <= STEP for step in steps())


def test_actions_are_pinned_by_commit_and_nothing_may_be_written():
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", s["uses"]) for s in steps() if "uses" in s)
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {}
    assert all(job["permissions"] == {"contents": "read"} for job in jobs().values())
