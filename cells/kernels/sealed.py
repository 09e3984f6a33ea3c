"""Files of the kernels' folder: written whole, and where code is read from them, with this user's seal."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .. import seal


def keep(path: Path, content: bytes) -> None:
    """Sees to it that the file holds this content. Raises OSError where it cannot be written."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write(path: Path, content: bytes) -> None:
    """Writes a file whole, with its seal before the content. Raises OSError."""
    keep(path, seal.seal(content, path.name).encode() + content)


def opened(path: Path) -> bytes:
    """A file's content without its seal. Raises OSError where that is not this user's."""
    if not path.is_file():
        raise OSError(f"{path} is no file")
    content = path.read_bytes()
    given, rest = content[: seal.DIGITS], content[seal.DIGITS :]
    if not seal.is_ours(rest, path.name, given.decode("ascii", "replace")):
        raise OSError(f"{path} is damaged")
    return rest
