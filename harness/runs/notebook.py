"""What a notebook's cell defines, as the text of a file that stands by itself.

A cell uses what other cells have imported and defined. Those are found by their names in the notebook.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
PLAIN = (bool, int, float, str, type(None))


def source(text: str, space: Mapping[str, Any]) -> str:
    """The imports, functions and classes of a cell's text, below what they use of the notebook's names.

    Raises SyntaxError for a cell that is no plain Python.
    """
    parts: list[str] = []
    _collect([node for node in ast.parse(text).body if isinstance(node, KEPT)], text, space, parts, set())
    return "\n\n".join(parts) + "\n"


def _collect(
    nodes: list[ast.stmt], text: str, space: Mapping[str, Any], parts: list[str], seen: set[str]
) -> None:
    """Adds what the statements use, then the statements."""
    seen |= {name for node in nodes for name in _bound(node)}
    for name in sorted({name for node in nodes for name in _used(node)} - seen):
        if name not in space or hasattr(builtins, name) or name in seen:
            continue
        seen.add(name)
        if line := _imported(name, space[name]):
            parts.append(line)
        elif found := _defined(name, space[name]):
            _collect([found[0]], found[1], space, parts, seen)
    lines = text.splitlines()
    parts += [_of(node, lines) for node in nodes]


def _imported(name: str, value: Any) -> str:
    """A line that has another process give the name this value; empty where no line can."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    module, inside = (getattr(value, key, "") for key in ("__module__", "__qualname__"))
    if module and module != "__main__" and str(inside).isidentifier():
        return f"from {module} import {inside} as {name}"
    plain = isinstance(value, PLAIN) or (
        isinstance(value, tuple) and all(isinstance(one, PLAIN) for one in value)
    )
    return f"{name} = {value!r}" if plain else ""


def _defined(name: str, value: Any) -> tuple[ast.stmt, str] | None:
    """(the statement that defines a function or class of the notebook, the text of its cell)."""
    functions = (
        [value] if inspect.isfunction(value) else [*vars(value).values()] if inspect.isclass(value) else []
    )
    for file in {f.__code__.co_filename for f in map(inspect.unwrap, functions) if inspect.isfunction(f)}:
        text = "".join(linecache.getlines(file))
        for node in _body(text):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return node, text
    return None


def _body(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except SyntaxError:
        return []


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((one.asname or one.name).partition(".")[0] for one in node.names)
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name


def _used(node: ast.stmt) -> Iterator[str]:
    """Names that a statement reads; those of arguments and of its own are among them, and found nowhere."""
    yield from (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _of(node: ast.stmt, lines: list[str]) -> str:
    """The lines of a statement, its decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])
