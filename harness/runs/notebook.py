"""What a notebook's cell defines, as the text of a file that stands by itself.

A cell uses what other cells have imported and defined. Those are found by their names in the notebook.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import sys
from collections.abc import Mapping
from symtable import symtable
from types import ModuleType
from typing import Any

from .literal import literal
from .values import ConfigError

DEFINED = (ast.FunctionDef, ast.ClassDef)


def source(name: str, text: str, space: Mapping[str, Any]) -> str:
    """The imports of a cell's text, and its function or class of that name below what that uses.

    Raises SyntaxError for a cell that is no plain Python, and ConfigError for a value that no line stands
    for, or where the definition stands inside another statement.
    """
    body = ast.parse(text).body
    if not _definition(name, text):
        raise ConfigError(f"{name} stands inside another statement of its cell; define it at the cell's top")
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = {(one.asname or one.name).partition(".")[0] for node in imports for one in node.names}
    parts = [_of(node, text) for node in imports]
    _collect(name, text, space, parts, bound | {name})
    return "\n\n".join(parts) + "\n"


def _collect(name: str, text: str, space: Mapping[str, Any], parts: list[str], seen: set[str]) -> None:
    """Adds what a text's definition of the name uses, then the definition."""
    statement = _definition(name, text)
    for used in sorted(_used(statement)):
        if used in seen or _is_everywhere(used, space):
            continue
        seen.add(used)
        where = _text_of(used, space[used], text) if used in space else text
        if used in space and (line := _imported(used, space[used])):
            parts.append(line)
        elif _definition(used, where):
            _collect(used, where, space, parts, seen)
        elif used in space:
            parts.append(_written(used, space[used], name))
    parts.append(statement)


def _is_everywhere(name: str, space: Mapping[str, Any]) -> bool:
    """Whether every module has the name with this value: a builtin that no cell gave another meaning."""
    if name.startswith("__") and name.endswith("__"):
        return True
    if not hasattr(builtins, name):
        return False
    return name not in space or space[name] is getattr(builtins, name)


def _imported(name: str, value: Any) -> str:
    """A line that imports the value under the name; empty where no module has it."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    inside = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None) or type(getattr(value, "__self__", None)).__module__
    if not isinstance(inside, str) or module == "__main__":
        return ""
    for own in (inside, inside.rpartition(".")[2]):  # torch.tanh is a method by its __qualname__
        if getattr(sys.modules.get(module), own, None) is value:
            return f"from {module} import {own} as {name}"
    return ""


def _written(name: str, value: Any, user: str) -> str:
    """Lines that give the name an equal value. Raises ConfigError where none do."""
    try:
        return literal(name, value)
    except ValueError as error:
        raise ConfigError(
            f"{user} uses {name} of the notebook, and that is or holds {error}; make it inside {user}, or put"
            " both into a file and import them"
        ) from None


def _text_of(name: str, value: Any, text: str) -> str:
    """The text of the cell that defines a function or class of the notebook; `text` where none says so."""
    value = inspect.unwrap(value) if callable(value) else value
    functions = vars(value).values() if inspect.isclass(value) else [value]
    for file in {f.__code__.co_filename for f in map(inspect.unwrap, functions) if inspect.isfunction(f)}:
        found = "".join(linecache.getlines(file))
        if _definition(name, found):
            return found
    return text if callable(value) else ""


def _definition(name: str, text: str) -> str:
    """The last statement of a text that defines a function or class of the name; empty where none does."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return ""
    found = [node for node in body if isinstance(node, DEFINED) and node.name == name]
    return _of(found[-1], text) if found else ""


def _used(statement: str) -> set[str]:
    """The global names that a statement reads; an argument or a variable of its own is none of them."""
    names: set[str] = set()
    tables = [symtable(statement, "<cell>", "exec")]
    for table in tables:
        tables += table.get_children()
        read = [one for one in table.get_symbols() if one.is_referenced() or one.is_declared_global()]
        names |= {one.get_name() for one in read if one.is_global()}
    return names


def _of(node: ast.stmt, text: str) -> str:
    """The lines of a statement, its decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
