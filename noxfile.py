"""Sessions: report (the default comparison and its page), tests, anchors, lint, bench. They share one environment."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import nox

nox.options.sessions = ["report"]
ENVIRONMENT = Path(".nox/cellbench").absolute()
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# nox gives every session an environment of its own; with torch in it that is a minute and 1.5 GB each, so they make one
session = nox.session(venv_backend="none")


def run(session: nox.Session, program: str, *arguments: str, **options) -> None:
    """Runs a program of the shared environment."""
    session.run(str(ENVIRONMENT / "bin" / program), *arguments, external=True, **options)


def install(session: nox.Session) -> None:
    """The project and the tested set of packages; nothing is fetched again where neither has changed."""
    stamp = ENVIRONMENT / "installed"
    wanted = "".join(Path(f).read_text() for f in ("constraints.txt", "pyproject.toml")) + sys.version
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    run(session, "python", "-m", "pip", "install", "-c", "constraints.txt", "-e", ".[test,lint]")
    stamp.write_text(wanted)


@session
def report(session: nox.Session) -> None:
    """Runs the default comparison and writes its page. Further overrides: nox -s report -- KEY=VALUE."""
    install(session)
    run(session, "cellbench", "data", "fetch", success_codes=[0, 2])  # data that is absent becomes rows that say so
    results = [a.partition("=")[2] for a in session.posargs if a.startswith("results=")]
    try:
        run(session, "cellbench", "run", "experiment=report", *session.posargs)
    finally:  # a run with a case that went wrong has its page too, and is an error all the same
        run(session, "cellbench", "report", *(f"--results={folder}" for folder in results))


@session
def tests(session: nox.Session) -> None:
    """The test suite, in two processes."""
    install(session)
    run(session, "pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@session
def anchors(session: nox.Session) -> None:
    """Published and computed anchors of the gradient measures, measured again (about 15 minutes)."""
    install(session)
    run(session, "python", "-m", "harness.studies.anchors", env=ONE_THREAD)


@session
def verdicts(session: nox.Session) -> None:
    """Verdicts on 65 networks whose condition is known, and their confusion matrix (8 to 15 minutes)."""
    install(session)
    run(session, "python", "tests/verdict_suite.py", "results/reference/verdicts", env=ONE_THREAD)


@session(name="long-sequences")
def long_sequences(session: nox.Session) -> None:
    """Time and memory of the gradient measures up to a million steps (about 15 minutes)."""
    install(session)
    run(session, "python", "-m", "harness.studies.long_sequences", env=ONE_THREAD)


@session
def lint(session: nox.Session) -> None:
    """ruff and mypy."""
    install(session)
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "mypy")


@session
def bench(session: nox.Session) -> None:
    """pytest-benchmark over cells and backends, taken over as a run; then the fused kernels against torch.nn."""
    install(session)
    file = Path("results/bench") / f"{datetime.now():%Y%m%d-%H%M%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    options = ("--benchmark-enable", f"--benchmark-json={file}")
    run(session, "pytest", "tests/bench_backends.py", "tests/bench_gradients.py", *options, *session.posargs, env=ONE_THREAD)
    run(session, "cellbench", "import", str(file))
    run(session, "cellbench", "run", "experiment=speed")
    run(session, "cellbench", "report")
