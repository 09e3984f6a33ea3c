"""Tells what this user's own programs wrote from what came from elsewhere: by a digest with a secret key.

The key lies outside of everything that is handed on: in the user's state folder, or in the cache folder where
that cannot be written. A file of the key that somebody else owns or may read is not used.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from platformdirs import user_cache_dir, user_state_dir

LENGTH = 32  # bytes of the key
DIGITS = 64  # of a seal


VARIABLES = ("CELLBENCH_CACHE", "CELLBENCH_DATA")  # folders that a person may name


def folder_of(variable: str) -> Path:
    """The folder that a variable of the environment names, else the user's cache folder.

    Raises ValueError for one that is set and empty: a script meant another folder.
    """
    value = os.environ.get(variable)
    if value is not None and not value.strip():
        raise ValueError(f"{variable} is set and empty; give a folder, or unset it")
    return Path(user_cache_dir("cellbench") if value is None else value)


def cache_folder() -> Path:
    """CELLBENCH_CACHE, else the user's cache folder."""
    return folder_of("CELLBENCH_CACHE")


def seal(content: bytes, purpose: str) -> str:
    """64 hexadecimal digits for a content; empty where this user can keep no key.

    One purpose's seal is not another's: a kernel's file is no run's manifest.
    """
    key = _key((Path(user_state_dir("cellbench")) / "key", cache_folder() / "key"))
    return hmac.digest(key, purpose.encode() + b"\0" + content, "sha256").hex() if key else ""


def is_ours(content: bytes, purpose: str, given: object) -> bool:
    """Whether `given` is the seal that this user's key makes of the content."""
    made = seal(content, purpose)
    return bool(made) and isinstance(given, str) and hmac.compare_digest(made.encode(), given.encode())


@lru_cache
def _key(places: tuple[Path, ...]) -> bytes:
    """The key that is kept in the first place that has one, else a new one; empty where none can be kept."""
    for place in places:
        if known := _read(place):
            return known
    for place in places:
        with suppress(OSError):
            return _made(place)
    return b""


def _read(place: Path) -> bytes:
    """The key in a file; empty for a file that is not this user's alone."""
    with suppress(OSError):
        handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(handle)
            private = about.st_uid == os.geteuid() and not about.st_mode & 0o077
            content = file.read(LENGTH + 1) if stat.S_ISREG(about.st_mode) and private else b""
            return content if len(content) == LENGTH else b""
    return b""


def _made(place: Path) -> bytes:
    """A new key, or the one that another process made meanwhile. Raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(handle)
        try:
            place.hardlink_to(temporary)  # unlike a rename it replaces no key that another process made
        except FileExistsError:
            if not _read(place):
                temporary.replace(place)  # cut short, or readable by others
    finally:
        temporary.unlink(missing_ok=True)
    return _read(place)
