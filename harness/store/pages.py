"""Files in a folder that a person named: they are put there whole, and only what was put there is replaced.

A hidden file keeps the hash of each. What is there without standing in it, what was changed since, and a link
that leads elsewhere belong to the person, and nothing is written.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from . import atomic, files
from .files import ResultsError

MARKER = ".cellbench-files"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
Known = dict[str, dict[str, list[str]]]  # kind of page: name: hashes that it may have


def check(folder: Path, names: Iterable[str]) -> None:
    """Makes the folder and tries it: before minutes of measuring.

    Raises ResultsError where it cannot be written, or has something of these names that is not ours.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".{secrets.token_hex(4)}.tmp"
        trial.write_bytes(b"\n")
        trial.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None
    _refuse_foreign(folder, names, _read(folder))


def replace(folder: Path, kind: str, content: Mapping[str, str]) -> None:
    """Writes files by name, in place of those that the last page of this kind left; those no longer there go.

    Raises ResultsError as `check` does, and then writes nothing.
    """
    for name in content:
        assert NAME.fullmatch(name), name
    check(folder, content)
    known = _read(folder)
    before = known.get(kind, {})
    after = {name: [_hash(text.encode())] for name, text in content.items()}
    both = {name: sorted({*before.get(name, []), *after.get(name, [])}) for name in {**before, **after}}
    try:
        # first, so that a kill in between leaves nothing that is not known as ours
        _write(folder, known | {kind: both})
        for name, text in content.items():
            atomic.write_text(folder / name, text)
        for name in before.keys() - after.keys():
            if _is_ours(folder / name, known):
                (folder / name).unlink()
        _write(folder, known | {kind: after})
    except OSError as error:
        raise _unwritable(folder, error) from None


def written(folder: Path) -> set[str]:
    """The names of all files that were written here."""
    return (
        set()
        if (folder / MARKER).is_symlink()
        else {name for page in _read(folder).values() for name in page}
    )


def _unwritable(folder: Path, error: OSError) -> ResultsError:
    return ResultsError(f"output {str(folder)!r} cannot be written: {error.strerror}; give another folder")


def _refuse_foreign(folder: Path, names: Iterable[str], known: Known) -> None:
    for name in names:
        if os.path.lexists(folder / name) and not _is_ours(folder / name, known):
            raise ResultsError(
                f"output {str(folder)!r} holds {name!r}, which cellbench did not write, or which was changed"
                " since; give another folder, or move it away"
            )


def _is_ours(path: Path, known: Known) -> bool:
    hashes = {one for page in known.values() for one in page.get(path.name, ())}
    if not hashes or path.is_symlink():
        return False
    with suppress(OSError):
        return _hash(files.read(path)) in hashes
    return False


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(folder: Path) -> Known:
    """What was written here by kind of page; nothing where the marker is damaged or leads elsewhere."""
    path = folder / MARKER
    if path.is_symlink():
        raise ResultsError(f"{path} is a link; nothing is written through it, so remove it")
    with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
        found = files.parse(files.read(path))
        return {
            kind: {name: [*map(str, hashes)] for name, hashes in page.items() if NAME.fullmatch(name)}
            for kind, page in found["pages"].items()
        }
    return {}


def _write(folder: Path, known: Known) -> None:
    about = "what cellbench wrote here, with its hashes; nothing else in this folder is replaced"
    atomic.write_json(folder / MARKER, {"about": about, "pages": known}, sort_keys=True)
