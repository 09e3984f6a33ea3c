"""The spec `file.py:Name` of a class in hand, so that a fresh process can import it."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from hashlib import sha256
from pathlib import Path

from cellbench.cells.catalogue import ZOO

from ..store.atomic import write_text
from .values import ConfigError

FOLDER = ".own"  # below the results: what was defined in a notebook
KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)  # of the notebook's cell that defines it


def spec_of(cls: type, results: Path) -> str:
    """The zoo's name of a class, or its file and name. A notebook's class gets a file below the results.

    Raises ConfigError for a class that no other process could import.
    """
    package, _, name = cls.__module__.rpartition(".")
    if package == ZOO:
        return name
    if "<locals>" in cls.__qualname__ or "." in cls.__qualname__:
        raise ConfigError(
            f"class {cls.__qualname__} stands inside another thing, where no process can import it;"
            " define it at the top of a file or of a notebook's cell"
        )
    file = _file(cls)
    if file and Path(file).is_file():
        return f"{Path(file).resolve()}:{cls.__name__}"
    if not file or not (lines := linecache.getlines(file)):
        raise ConfigError(
            f"class {cls.__name__} has no source that can be read; put it in a file, and give the class or"
            " path/to/file.py:Name"
        )
    return f"{_saved(cls, ''.join(lines), results).resolve()}:{cls.__name__}"


def _file(cls: type) -> str | None:
    """The file that its methods say they are from, for a notebook's module has none."""
    functions = [f for f in map(inspect.unwrap, vars(cls).values()) if inspect.isfunction(f)]
    own = [f.__code__.co_filename for f in functions if f.__module__ == cls.__module__]
    own.append(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    # methods that dataclass makes are from '<string>'
    return next((name for name in own if f"class {cls.__name__}" in "".join(linecache.getlines(name))), None)


def _saved(cls: type, text: str, results: Path) -> Path:
    """The file of a class from a notebook: the imports, functions and classes of the cell that defines it."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        raise ConfigError(
            f"the notebook's cell of class {cls.__name__} is no plain Python (a % or ! command?); define the"
            " class and what it imports in a cell of its own"
        ) from None
    lines = text.splitlines()
    kept = "\n\n".join(_of(node, lines) for node in body if isinstance(node, KEPT)) + "\n"
    digest = sha256(kept.encode()).hexdigest()[:12]
    path = results / FOLDER / f"{cls.__name__}_{digest}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, kept)
    return path


def _of(node: ast.stmt, lines: list[str]) -> str:
    """The lines of a statement, its decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])
