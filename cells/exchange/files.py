"""Files of other software: whatever is wrong with one is told in one line that names it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .optional import NotInstalled

FOREIGN = (UnicodeError, json.JSONDecodeError)  # which are made of more than a text


@contextmanager
def told_of(given: Any, what: str) -> Iterator[None]:
    """Where `given` is a file, makes a ValueError of one line, which names it, of all that goes wrong.

    what says what a file is that can be read. Where `given` is no file, nothing is changed.
    """
    try:
        yield
    except NotInstalled:
        raise
    except ValueError as error:
        named = isinstance(given, str | Path) and Path(given).name in str(error)
        if not isinstance(given, str | Path) or (named and str(error).isprintable()):
            raise
        kind = ValueError if isinstance(error, FOREIGN) else type(error)
        raise kind(one_line(error) if named else f"{given}: {one_line(error)}") from None
    except Exception as error:  # a damaged file can have anything in the place of anything
        if not isinstance(given, str | Path):
            raise
        raise ValueError(f"{given} is no {what}: {one_line(error)}; it is damaged or incomplete") from None


def checked_size(path: Path) -> None:
    """Raises ValueError for a file that is empty, or holds more bytes, unpacked, than memory has.

    It is read whole. Of a file of the kernel's, such as /proc/kmsg, which may keep a reader waiting for ever,
    the size is 0.
    """
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; give a file with weights")
    if (size := _bytes(path)) > (most := _memory()):
        raise ValueError(f"{path} holds {size} bytes, and this machine has {most} bytes of memory")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _bytes(path: Path) -> int:
    """Of a zip what its members say that they hold: a thousand times of what it has itself, maybe."""
    with suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as held:
                return sum(member.file_size for member in held.infolist())
    return path.stat().st_size


def one_line(error: BaseException) -> str:
    """What an error says, in one line no longer than a person reads. A KeyError says a name alone."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__} {text}" if isinstance(error, LookupError) else text
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text[:400] or type(error).__name__
