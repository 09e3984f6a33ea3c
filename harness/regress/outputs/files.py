"""The files that a CI keeps: regress.md, regress.json and junit.xml."""

from __future__ import annotations

from pathlib import Path

from ...store import atomic
from ..benchmarks import Comparison
from .junit import junit
from .page import markdown
from .record import record

FILES = {"regress.md": markdown, "regress.json": record, "junit.xml": junit}


class OutputError(ValueError):
    """A folder cannot be written to; the message names it."""


def write(folder: Path, comparison: Comparison) -> list[Path]:
    """Writes the files, each whole or not at all; returns their paths. Raises OutputError."""
    texts = {
        name: make(comparison) for name, make in FILES.items()
    }  # all of them, before the first is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            atomic.write_text(folder / name, text)
    except OSError as error:
        raise OutputError(
            f"output {str(folder)!r} cannot be written: {error.strerror}; give another folder"
        ) from None
    return [folder / name for name in texts]
