"""Printed source as text: the names in it, and the functions that it calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from ..step import Step


def identifiers(lines: Iterable[str]) -> set[str]:
    """All names in the lines."""
    nodes = ast.walk(ast.parse("\n".join(lines)))
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def used_backward(source: Step) -> set[str]:
    """The names that a step's backward reads."""
    return identifiers([*source.backward, *source.cotangents.values()])


def functions(*names: str) -> dict[str, str]:
    """The functions of files of this folder, by name, as they are written there."""
    found = {}
    for name in names:
        text = _text(name)
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = "\n".join(text.splitlines()[node.lineno - 2 : node.end_lineno])
    return found


def constants(name: str) -> list[str]:
    """The assignments of a file of this folder."""
    return [ast.unparse(node) for node in ast.parse(_text(name)).body if isinstance(node, ast.AnnAssign)]


def called(known: dict[str, str], by: Iterable[str]) -> list[str]:
    """Those of the known functions that the texts call, directly or not, in the order of `known`."""
    todo = list(by)
    found: set[str] = set()
    while todo:
        new = (identifiers([todo.pop()]) & set(known)) - found
        found |= new
        todo += [known[name] for name in new]
    return [name for name in known if name in found]


def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf8")
