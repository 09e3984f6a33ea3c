"""Files written whole and durably: after a kill or a power cut a reader sees the old content or the new.

Every file of the harness that is not appended to is written here. Folders are made by the caller.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

OWNER = r"[0-9a-f]{4}-\d{1,9}"  # what `owner` gives


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; when the block ends it takes the place of `path`.

    For libraries that write a file by name. An error in the block leaves `path` as it was.
    """
    target = path.resolve()  # a link stays a link, and the file that it leads to is replaced
    _sweep(target)
    # in the same folder, since a rename is whole within one file system only; hidden from whoever lists it
    temporary = target.with_name(f".{target.name}.{owner()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _sweep(target: Path) -> None:
    """Removes what a killed process of this machine left of the same file."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.({OWNER})-[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):
        for path in target.parent.iterdir():
            if (match := pattern.fullmatch(path.name)) and has_ended(match[1]):
                path.unlink()


def owner() -> str:
    """This process in the name of a file that is for a while: letters for the machine, and the number."""
    return f"{_host()}-{os.getpid()}"


def has_ended(owner: str) -> bool:
    """Whether the process was one of this machine and runs no more."""
    host, _, number = owner.partition("-")
    if host != _host():
        return False
    try:  # the number of a killed process stays until its parent has asked, in some containers for ever
        return psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


@lru_cache
def _host() -> str:
    """A few letters for this machine: a process of another one, on a shared disk, may well be alive."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def sync(path: Path) -> None:
    """Waits until a file is on the disk, or of a folder the names in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Waits until a rename inside the folder is on the disk."""
    with suppress(OSError):  # some network file systems sync files only, and the rename stands already
        sync(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Raises OSError, with the path, where it cannot be written."""
    try:
        _write_bytes(path, content)
    except OSError as error:
        if error.filename is None:  # of a full disk the system names no file
            error.filename = str(path)
        raise


def _write_bytes(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():  # a pipe or a device such as /dev/stdout has nothing to replace
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # else a pipe that nobody reads would wait
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8. Raises OSError where the folder cannot be written."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, **options: Any) -> None:
    """Writes what `as_json` gives. Raises OSError where the folder cannot be written."""
    write_text(path, as_json(value, **options))


def as_json(
    value: Any,
    *,
    exact: bool = False,
    indent: int | None = 1,
    sort_keys: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Plain values and NumPy numbers as strict JSON; a float that is not finite is null.

    `exact` writes such a float as Python does, NaN or Infinity: for files that cellbench alone reads again.
    """
    return (
        json.dumps(
            value if exact else finite(value),
            allow_nan=exact,
            indent=indent,
            sort_keys=sort_keys,
            ensure_ascii=exact,  # a name of undecodable bytes comes back as it was
            default=default,
        )
        + "\n"
    )


def finite(value: Any) -> Any:
    """The same with None for every float that is not finite; a NumPy number becomes Python's."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
