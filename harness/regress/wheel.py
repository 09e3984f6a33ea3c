"""A wheel as the base of a comparison: the modules that it would install."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from .base import Base
from .revision import RevisionError

SUFFIX = ".whl"
MOST = 1 << 28  # bytes of modules


def unpacked(file: Path, cell: Path, folder: Path) -> tuple[Base, str]:
    """(the base below folder, the wheel's SHA-256). `cell` is a file of the working tree that it has too.

    Raises RevisionError for what is no wheel, or has no such file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            modules = [one for one in archive.infolist() if one.filename.endswith(".py")]
            if sum(one.file_size for one in modules) > MOST:
                raise RevisionError(f"{file} has more than {MOST >> 20} MB of modules; it is no usual wheel")
            names = {one.filename for one in modules}
            parts = cell.parts[1:]
            ends = (parts[k:] for k in range(len(parts)))  # the longest first
            end = next((end for end in ends if "/".join(end) in names), None)
            if end is None:
                raise RevisionError(f"{file} has no {cell.name} to compare with")
            archive.extractall(folder, modules)  # which leaves no path outside of the folder
    except (OSError, zipfile.BadZipFile) as error:
        raise RevisionError(f"base={file} cannot be read as a wheel: {error}") from None
    top = Path(*cell.parts[: len(cell.parts) - len(end)])
    return Base(str(top), str(folder), file.name), hashlib.sha256(file.read_bytes()).hexdigest()
