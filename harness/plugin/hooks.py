"""The plugin as pytest sees it: options, the fixture `cellbench`, the marker of that name, the summary.

pytest loads this file in every session of an environment that has cellbench, so nothing heavy is imported at
its top.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import ending
from .session import FIXTURE, Session

if TYPE_CHECKING:
    from ..measure.judge import Judge
    from .gate import Gate

SESSION = pytest.StashKey[Session]()
END = pytest.StashKey[Callable[[int], None]]()  # what says the exit code to the parent process


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cellbench", "cellbench: gates on speed (fixture `cellbench`)")
    group.addoption(
        "--cellbench-compare",
        metavar="REV",
        type=_given,
        help="git revision that not_slower_than_base measures against; without it such a test runs its"
        " function once and is skipped",
    )
    group.addoption(
        "--cellbench-unsure",
        choices=("fail", "skip", "xfail"),
        default="fail",
        help="result of a test whose verdict is UNSURE, INVALID or no baseline (default: %(default)s)",
    )
    group.addoption(
        "--cellbench-json",
        metavar="FILE",
        type=_file,
        help="write all judgements to FILE, anew after each test",
    )
    group.addoption(
        "--cellbench-processes",
        metavar="N",
        type=_processes,
        default=5,
        help="fresh processes of a first look, at least 3 (default: %(default)s)",
    )
    group.addoption(
        "--cellbench-budget",
        metavar="SECONDS",
        type=_seconds,
        default=15.0,
        help="timed work of one comparison; a verdict of UNSURE doubles its processes within this budget"
        " (default: %(default)s)",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """From here on somebody's code runs.

    A session that gates, or writes what was judged, ends green by its own last line alone.
    """
    stack = ExitStack()
    stack.enter_context(ending.staying())
    option = early_config.known_args_namespace
    gates = option.cellbench_compare or option.cellbench_json
    if gates and not option.collectonly and ending.is_program():  # nothing is captured yet
        early_config.stash[END] = ending.guarded(lambda line: os.write(2, f"{line}\n".encode()))
    stack.enter_context(ending.begun(early_config))
    early_config.add_cleanup(stack.close)
    try:
        return (yield)
    except (SystemExit, ending.EndedProcess) as error:
        raise ending.left(error) from None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    code = yield
    if END in config.stash:
        config.stash[END](int(code or 0))
    return code


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cellbench: gates a speed; set on every test that uses the fixture `cellbench`"
    )
    config.stash[SESSION] = Session(config)
    config.pluginmanager.register(config.stash[SESSION], "cellbench-session")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker(FIXTURE)


@pytest.fixture(scope="session")
def cellbench_judge(pytestconfig: pytest.Config) -> Judge:
    """The `Judge` of all gates: override it for another effort, time limit or number of threads."""
    import numpy as np

    from ..measure.judge import Judge

    options = pytestconfig.option
    return Judge(
        np.random.default_rng(), processes=options.cellbench_processes, budget_s=options.cellbench_budget
    )


@pytest.fixture
def cellbench(request: pytest.FixtureRequest, cellbench_judge: Judge) -> Gate:
    """Gates on speed: not_slower, faster, same, not_slower_than_base, cell_not_slower_than_base."""
    session = request.config.stash[SESSION]
    if session.workers > 1:
        pytest.skip(
            f"not measured: {session.workers} workers of pytest-xdist disturb each other; -n 0 -m cellbench"
            " measures"
        )
    from .gate import Gate

    return Gate(request.node, cellbench_judge, session)


def _given(text: str) -> str:
    """A revision; an empty variable of a CI script would otherwise skip every gate, and be green."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a git revision, or leave the option out")
    return text


def _file(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a file, or leave the option out")
    return Path(text)


def _processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 3")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return seconds
