"""Runs in an object store, or wherever fsspec reaches: brought into a scratch folder, and read there.

Of a run its manifest comes, and its blocks, or its table where it has no blocks; of a pack all three files.
"""

from __future__ import annotations

import atexit
import posixpath
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .. import extras
from . import files, packed
from .files import ResultsError
from .manifest import BLOCKS, MANIFEST, TABLE
from .scratch import scratch

URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/{1,2}(?P<path>.*)")  # a Path has one slash of two
MOST_FILES = 1_000_000
_kept = ExitStack()  # the folders go when this process ends: a lazy frame reads them until then


def is_remote(path: str | Path) -> bool:
    """Whether a path is an address such as s3://bucket/runs."""
    return URL.match(str(path)) is not None and not Path(path).exists()


def brought(path: str | Path) -> Path:
    """The folder on this machine that holds what is at an address. Raises ResultsError, or PackageMissing."""
    match = URL.match(str(path))
    assert match
    address = f"{match['scheme']}://{match['path']}"
    extras.requires("fsspec", f"{address} needs")
    system, root = _opened(address)
    folder = Path(_folder()) / match["scheme"] / match["path"].strip("/").replace("..", "_")
    try:
        wanted = _wanted(system, root)
        for inside, size in wanted.items():
            target = folder / inside
            files.check_size(size, files.LARGE, Path(inside))
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(posixpath.join(root, inside), str(target))
    except Exception as error:  # whatever the client of a store raises
        raise ResultsError(f"{address} cannot be read: {_line(error)}") from None
    if not wanted:
        raise ResultsError(f"no run in {address!r}; give a run's folder, a folder of runs, or a pack")
    return folder


def _opened(address: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(address)
    except ImportError as error:  # the package of a store, which fsspec names
        raise ResultsError(f"{address} cannot be read: {_line(error)}") from None
    except Exception as error:
        raise ResultsError(
            f"{address} cannot be read: {_line(error)}; an address is such as s3://BUCKET/runs"
        ) from None
    return system, root


def _wanted(system: Any, root: str) -> dict[str, int]:
    """The files to bring, by their path below root, with their sizes."""
    there = system.find(root, maxdepth=3, detail=True)
    if len(there) > MOST_FILES:
        raise ResultsError(f"it has {len(there):,} files; at most {MOST_FILES:,} are looked at")
    base = system._strip_protocol(root).rstrip("/")
    sizes = {
        str(name)[len(base) :].lstrip("/"): int(about.get("size") or 0)
        for name, about in there.items()
        if about.get("type") == "file"
    }
    wanted: dict[str, int] = {}
    for inside in sizes:
        folder, name = posixpath.split(inside)
        if any(part.startswith(".") for part in folder.split("/") if part):
            continue
        if name == MANIFEST:
            rows = next((n for n in (BLOCKS, TABLE) if posixpath.join(folder, n) in sizes), None)
            chosen = [MANIFEST, *([rows] if rows else [])]
        elif name == packed.INDEX:
            chosen = [packed.INDEX, packed.ARCHIVE, packed.TABLE]
        else:
            continue
        paths = [posixpath.join(folder, one) for one in chosen]
        wanted |= {one: sizes[one] for one in paths if one in sizes}
    return wanted


def _folder() -> Path:
    """A new folder for as long as this process runs."""
    folder = _kept.enter_context(scratch())
    atexit.register(_kept.close)
    return folder


def _line(error: Exception) -> str:
    text = str(error).splitlines() or [""]
    return f"{text[0] or type(error).__name__:.200}"
