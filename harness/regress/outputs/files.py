"""The files that a CI keeps: regress.md, regress.json and junit.xml."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
        return [_replace(folder / name, text) for name, text in texts.items()]
    except OSError as error:
        raise OutputError(
            f"output {str(folder)!r} cannot be written: {error.strerror}; give another folder"
        ) from None


def _replace(path: Path, text: str) -> Path:
    file, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(file, "w", encoding="utf8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        os.chmod(temporary, 0o644)  # noqa: PTH101, mkstemp's own is for one person only
        return Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
