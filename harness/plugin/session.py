"""One pytest session's gates: the revision to compare with, judgements, summary, file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..regress.base import Base

FIXTURE = "cellbench"
SCHEMA = 1


class Session:
    """A plugin of its own. Raises UsageError, when built, for options that no measurement can follow."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        self.revision: str | None = option.cellbench_compare
        self.unsure: str = option.cellbench_unsure
        self.file: Path | None = option.cellbench_json
        self.root, self.workers, self.listing = config.rootpath, _workers(config), option.collectonly
        self.is_worker = hasattr(config, "workerinput")
        self.tests = 1  # that gate; a change must stand among so many
        self.judgements: list[dict[str, Any]] = []
        self.commit: str | None = None
        self._folder: Path | None = None
        self._stack = ExitStack()
        if self.revision and self.workers > 1:
            raise pytest.UsageError(
                f"--cellbench-compare and {self.workers} workers of pytest-xdist, which disturb each other:"
                " add -n 0 -m cellbench"
            )
        if self.revision:
            self.commit, self.repository = _revision(self.root, self.revision)
        if self.file and not self.file.parent.is_dir():
            raise pytest.UsageError(f"--cellbench-json={self.file}: there is no folder {self.file.parent}")

    def base(self) -> Base | None:
        """The revision's files, taken out once; None without --cellbench-compare."""
        if self.commit is None or self.revision is None:
            return None
        from ..regress.base import Base
        from ..regress.revision import take_out
        from ..store.scratch import scratch

        if self._folder is None:
            self._folder = self._stack.enter_context(scratch()).resolve()
            take_out(self.commit, self.repository, self._folder, package=None)
        place = self._folder / self.commit[:12]
        return Base(str(self.repository), str(place), self.revision)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests = max(1, sum(FIXTURE in getattr(item, "fixturenames", ()) for item in session.items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the judgements of a test, in a worker of pytest-xdist too, and writes them at once."""
        if report.when != "teardown":  # whose report carries the properties of all phases
            return
        judgements: list[Any] = [value for name, value in report.user_properties if name == FIXTURE]
        self.judgements += judgements
        if judgements and self.file and not self.is_worker:
            self.write()

    def write(self) -> None:
        """Writes all judgements, whole or not at all."""
        from ..store import atomic, provenance

        assert self.file is not None
        content = {
            "schema": SCHEMA,
            "base": self.revision,
            "commit": self.commit,
            "machine": provenance.key(threads=1),
            "versions": provenance.versions(),
            "judgements": self.judgements,
        }
        atomic.write_json(self.file, content)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fails a comparison that measured nothing; writes the file that was asked for."""
        if self.is_worker or self.listing:
            return
        if self.file and not self.judgements:
            self.write()
        if self.vacuous() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def vacuous(self) -> bool:
        """Whether a comparison was asked for, and nothing was measured against the revision."""
        return bool(self.revision) and not any(
            one["base"] and one["verdict"] != "INVALID" for one in self.judgements
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.listing or not (self.judgements or self.revision):
            return
        against = f": base {self.revision} is {self.commit[:12]}" if self.commit else ""
        terminalreporter.section(f"cellbench{against}", sep="=")
        for one in self.judgements:
            terminalreporter.line(f"{one['outcome']}: {one['test']}: {one['line']}")
        if self.vacuous():
            terminalreporter.line(
                f"nothing was measured against {self.revision}: no test that ran compares with it"
            )

    def pytest_unconfigure(self) -> None:
        self._stack.close()


def _workers(config: pytest.Config) -> int:
    """How many processes of pytest-xdist run tests; 1 without it."""
    if hasattr(config, "workerinput"):
        return config.workerinput["workercount"]
    if config.getoption("dist", "no") == "no":
        return 1
    return max(1, len(config.getoption("tx", None) or []))


def _revision(root: Path, name: str) -> tuple[str, Path]:
    """(commit, top of the repository that pytest's root folder lies in)."""
    from ..regress.revision import RevisionError, commit, git

    top = git(root, "rev-parse", "--show-toplevel")
    if top is None:
        raise pytest.UsageError(f"--cellbench-compare={name}: {root} lies in no git repository")
    folder = Path(top.decode().removesuffix("\n")).resolve()
    try:
        return commit(name, folder, option="--cellbench-compare"), folder
    except RevisionError as error:
        raise pytest.UsageError(str(error)) from None
