"""The files that a CI keeps: regress.md, regress.json and junit.xml."""

from __future__ import annotations

from pathlib import Path

from ...store import pages
from ..benchmarks import Comparison
from .junit import junit
from .page import markdown
from .record import record

FILES = {"regress.md": markdown, "regress.json": record, "junit.xml": junit}


def check(folder: Path | None) -> None:
    """Raises ResultsError for a folder that they cannot be written to: before anything is timed.

    None is the folder of the run, which is made later.
    """
    if folder is not None:
        pages.check(folder, FILES)


def write(folder: Path, comparison: Comparison) -> list[Path]:
    """Writes the files, each whole or not at all; returns their paths. Raises ResultsError."""
    # all of them before the first is written: a form that fails leaves the old files as they were
    texts = {name: make(comparison) for name, make in FILES.items()}
    pages.replace(folder, "regress", texts)
    return [folder / name for name in texts]
