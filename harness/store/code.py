"""Which code made a result: digests of the package's rooms and of the files that a configuration names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import files

DIGITS = 16
PACKAGE = Path(__file__).resolve().parents[2]
ROOMS = ("cells", "harness", "conf")
READ = (".py", ".yaml", ".json")  # what a measurement depends on, and not what a page looks like


def digests(config: Any = None) -> dict[str, str]:
    """A digest for each room of the package, and for each file that a configuration names by path."""
    return {room: _of_room(room) for room in ROOMS} | {
        name: digest(path) for name, path in files_named(config).items()
    }


def digest(path: Path) -> str:
    """Of a file's content; absent where there is none."""
    return _of(files.read(path)) if path.is_file() else "absent"


def files_named(config: Any) -> dict[str, Path]:
    """The files of cells, backends, probes and tasks in a configuration, by their names in it."""
    from cellbench.cells import find  # here: what reads results starts without the cells

    named: dict[str, Path] = {}
    for text in _texts(config):
        if (path := find.path_of(text)) is not None:
            named[text.partition(".py")[0] + ".py"] = path
    return named


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names under which two digests differ; of a room as 'the package cells'."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return [f"the package {name}" if name in ROOMS else name for name in names]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)


@lru_cache
def _of_room(room: str, package: Path = PACKAGE) -> str:
    files = sorted(path for path in (package / room).rglob("*") if path.suffix in READ)
    named = (path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() for path in files)
    return _of(b"\0".join(hashlib.sha256(one).digest() for one in named))


def _of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
