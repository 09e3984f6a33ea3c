"""The spec `file.py:Name` of a class or a function in hand, so that a fresh process can import it."""

from __future__ import annotations

import builtins
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from cellbench.cells import GatedCell, find
from cellbench.cells.catalogue import ZOO

from ..store.atomic import write_text
from .notebook import source
from .values import ConfigError

FOLDER = ".own"  # below the results: what was defined in a notebook


def spec_of(cell: type | GatedCell, results: Path) -> str:
    """The spec of a class, or of a cell with its options: the zoo's name, or its file and name.

    What a notebook defines gets a file below the results. Raises ConfigError for what no other process could
    import.
    """
    cls = cell if isinstance(cell, type) else type(cell)
    package, _, name = cls.__module__.rpartition(".")
    named = name if package == ZOO else "{}:{}".format(*place(cls, results / FOLDER))
    return ":".join([named, *(() if isinstance(cell, type) else _options(cell))])


def _options(cell: GatedCell) -> Iterator[str]:
    """What a cell has otherwise than its class says, as options of a spec."""
    for one in fields(cell):
        value = getattr(cell, one.name)
        if not one.init or value == one.default:
            continue
        if not isinstance(value, bool | int | float | str) or ":" in str(value):
            raise ConfigError(
                f"option {one.name} of cell {cell.name} is {value!r}, which no spec holds; give a text or a"
                " number"
            )
        yield f"{one.name}={value}"


def place(thing: type | Callable[..., Any], folder: Path) -> tuple[Path, str]:
    """(file, name) by which another process imports a class or a function.

    What a notebook defines is kept in a file of the folder. Raises ConfigError where there is no source.
    """
    kind = "class" if isinstance(thing, type) else "function"
    name = thing.__qualname__
    if not name.isidentifier():
        raise ConfigError(
            f"{kind} {name} stands inside another thing, where no process can import it; define it at the top"
            " of a file or of a notebook's cell"
        )
    file = _file(thing) if isinstance(thing, type) else inspect.unwrap(thing).__code__.co_filename
    if file and Path(file).is_file():
        if find.imports_relatively(file):
            raise ConfigError(
                f"{kind} {name} stands in {thing.__module__}, whose file imports from its own package, so"
                f" that no path names it; write one of yours in a file, which imports {name} and calls it or"
                " inherits"
            )
        return Path(file).resolve(), name
    if not file or not (lines := linecache.getlines(file)):
        raise ConfigError(
            f"{kind} {name} has no source that can be read; put it in a file, and give the {kind} or"
            " path/to/file.py:Name"
        )
    space = vars(sys.modules.get(thing.__module__, builtins))
    return _saved(name, kind, "".join(lines), folder, space).resolve(), name


def _file(cls: type) -> str | None:
    """The file that its methods say they are from, for a notebook's module has none."""
    functions = [f for f in map(inspect.unwrap, vars(cls).values()) if inspect.isfunction(f)]
    own = [f.__code__.co_filename for f in functions if f.__module__ == cls.__module__]
    own.append(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    # methods that dataclass makes are from '<string>'
    return next((name for name in own if f"class {cls.__name__}" in "".join(linecache.getlines(name))), None)


def _saved(name: str, kind: str, text: str, folder: Path, space: Mapping[str, Any]) -> Path:
    """The file of what a notebook defines: its cell's imports, and what it uses of the notebook."""
    try:
        kept = source(name, text, space)
    except SyntaxError:
        raise ConfigError(
            f"the notebook's cell of {kind} {name} is no plain Python (a % or ! command?); define the"
            f" {kind} and what it imports in a cell of its own"
        ) from None
    digest = sha256(kept.encode()).hexdigest()[:12]
    path = folder / f"{name}_{digest}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, kept)
    return path
