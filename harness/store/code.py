"""Which code made a result: digests of the package's rooms and of the files that a configuration names."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

from . import files

DIGITS = 16
PACKAGE = Path(__file__).resolve().parents[2]
ROOMS = ("cells", "harness", "conf")
READ = (".py", ".yaml", ".json")  # what a measurement depends on, and not what a page looks like


def digests(config: Any = None, of_room: Callable[[str], str] | None = None) -> dict[str, str]:
    """A digest for each room of the package, and for each file that a configuration names by path.

    `of_room` is what reads a room; by default each is read once in a process.
    """
    return {room: (of_room or _of_room)(room) for room in ROOMS} | {
        name: digest(path) for name, path in files_named(config).items()
    }


def digest(path: Path) -> str:
    """Of a file's content; absent where there is none."""
    return _of(files.read(path)) if path.is_file() else "absent"


def files_named(config: Any) -> dict[str, Path]:
    """The files of cells, backends, probes and tasks in a configuration, by their names in it.

    With them those that lie beside such a file and that it imports.
    """
    from cellbench.cells import find  # here: what reads results starts without the cells

    named: dict[str, Path] = {}
    for text in _texts(config):
        if (path := find.path_of(text)) is not None:
            name = text.partition(".py")[0] + ".py"
            named[name] = path
            folder = Path(name).parent
            named |= {str(folder / one.relative_to(path.parent)): one for one in imported(path)}
    return named


class Watch:
    """Whether the code of a configuration is still that of the beginning: a file may be edited meanwhile."""

    def __init__(self, config: Any) -> None:
        self.config, self.then = config, digests(config)
        self.paths = [
            *files_named(config).values(),
            *(path for room in ROOMS for path in _files(PACKAGE / room)),
        ]
        self.states = [*map(_state, self.paths)]

    def changed(self) -> list[str]:
        """The names of what has another content now; nothing is read before something moved."""
        if (states := [*map(_state, self.paths)]) == self.states:
            return []
        if not (found := changed(self.then, digests(self.config, _of_room.__wrapped__))):
            self.states = states  # written again as it was
        return found


def _state(path: Path) -> tuple[int, ...]:
    """What another content changes, told without reading it."""
    try:
        about = path.stat()
    except OSError:
        return ()
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino


def source(spec: str | None) -> str | None:
    """A digest of the file that a spec names, with what it imports beside it; None for a member by name."""
    digests = [hashlib.sha256(files.read(path)).hexdigest() for path in files_named(spec).values()]
    return "".join(digests) or None


def imported(file: Path) -> list[Path]:
    """The modules below a file's folder that it imports, and those that they import, sorted.

    The files are read and not run: an import by a name that is computed is not seen.
    """
    known, left = {file}, [file]
    while left:
        one = left.pop()
        for name, level in _imports(one):
            if level and (one == file or file.parent not in one.parents[level - 1 :]):
                continue  # a member's own file is imported as one of the package: its relatives lie there
            new = _modules(name, one.parents[level - 1] if level else file.parent) - known
            known |= new
            left += new
    return sorted(known - {file})


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """(a dotted name, how many dots stand before it) of each import in a file."""
    try:
        tree = ast.parse(files.read(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):  # it says so when it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = f"{node.module}." if node.module else ""
            yield from ((above + alias.name, node.level) for alias in node.names)


def _modules(name: str, folder: Path) -> set[Path]:
    """The files of a dotted name below a folder: the packages on the way, and the module, where they are."""
    found = set()
    for part in name.split("."):
        places = (folder / f"{part}{suffix}" for suffix in all_suffixes())
        inits = (folder / part / f"__init__{suffix}" for suffix in all_suffixes())
        path = next((one for one in (*inits, *places) if one.is_file()), None)
        if path is not None:
            found.add(path)
        folder /= part
    return found


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


def _files(room: Path) -> list[Path]:
    return sorted(path for path in room.rglob("*") if path.suffix in READ)


@lru_cache
def _of_room(room: str, package: Path = PACKAGE) -> str:
    files = _files(package / room)
    named = (path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() for path in files)
    return _of(b"\0".join(hashlib.sha256(one).digest() for one in named))


def _of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
