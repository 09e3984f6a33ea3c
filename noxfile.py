"""Sessions: report (the default comparison and its page), tests, lint, bench. They share one environment."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

import nox

nox.options.sessions = ["report"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "venv"
ENVIRONMENT = ".nox/cellbench"


def install(session: nox.Session) -> None:
    """The project and the tested set of packages; nothing is fetched again where the set has not changed."""
    stamp = Path(ENVIRONMENT) / "installed"
    wanted = "".join(Path(f).read_text() for f in ("constraints.txt", "pyproject.toml")) + sys.version
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.install("-c", "constraints.txt", "-e", ".[test,lint]", silent=False)
    stamp.write_text(wanted)


def session(function):
    return nox.session(venv_location=ENVIRONMENT)(function)


@session
def report(session: nox.Session) -> None:
    """Runs the default comparison and writes its page. Further overrides: nox -s report -- KEY=VALUE."""
    install(session)
    session.run("cellbench", "data", "fetch", success_codes=[0, 1, 2])  # absent data becomes skipped rows that say so
    session.run("cellbench", "run", "experiment=report", *session.posargs, success_codes=[0, 1])
    session.run("cellbench", "report")


@session
def tests(session: nox.Session) -> None:
    """The test suite."""
    install(session)
    session.run("pytest", *session.posargs)


@session
def lint(session: nox.Session) -> None:
    """ruff and mypy."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@session
def bench(session: nox.Session) -> None:
    """pytest-benchmark over cells and backends, taken over as a run; then the fused kernels against torch.nn."""
    install(session)
    file = Path("results/bench") / f"{datetime.now():%Y%m%d-%H%M%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    session.run(
        "pytest", "tests/bench_backends.py", "--benchmark-enable", f"--benchmark-json={file}", *session.posargs,
        env={**os.environ, **one_thread},
    )  # fmt: skip
    session.run("cellbench", "import", str(file))
    session.run("cellbench", "run", "experiment=speed")
    session.run("cellbench", "report")
