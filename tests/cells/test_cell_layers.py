"""Imports go down only: cells/ knows no harness, its imports are relative, no backend names a cell."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from cellbench import cells

ROOT = Path(cells.__file__).parent
FILES = sorted(p for p in ROOT.rglob("*.py") if "__pycache__" not in p.parts)


def imported(path):
    """(level, module) of every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_cells_import_nothing_of_the_harness_and_each_other_relatively(path):
    absolute = [module.partition(".")[0] for level, module in imported(path) if level == 0]
    assert not {"cellbench", "harness", "cells"} & set(absolute)
    deepest = len(path.relative_to(ROOT).parts)
    assert all(level <= deepest for level, _ in imported(path))


def module_names():
    """The files by the names of their modules below cells, which itself is ''."""
    names = {}
    for path in FILES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if path.stem == "__init__" else parts)] = path
    return names


def graph_of_imports():
    """By module, the modules of cells that it imports anywhere in its file."""
    names, graph = module_names(), {}
    for name, path in names.items():
        graph[name] = imports = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = path.relative_to(ROOT).parts[: -node.level]
                start = ".".join([*folder, *(node.module.split(".") if node.module else [])])
                members = (f"{start}.{alias.name}".lstrip(".") for alias in node.names)
                imports |= {member if member in names else start for member in members}
    return graph


def test_no_files_of_cells_import_each_other_in_a_circle():
    graph = graph_of_imports()
    assert {"contract", "find"} <= graph["cell"] | graph["contract"] and graph["zoo.lstm"] == {""}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_contract_knows_no_member(path):
    """Members are found by listing their folder: no file imports one by name, but a member another.

    Those that run Triton's kernels on the CPU are members by other names: they run that backend's programs.
    """
    known = ("backends.triton",) if path.stem in ("interpreted", "compiled") else ()
    members = [m for _, m in imported(path) if m.startswith(("zoo.", "backends."))]
    assert not set(members) - set(known)


# the cells themselves, and other software's names for them
KNOWS_CELLS = ("zoo", "exchange", "checking", "drop_in")
NAMELESS = [p for p in FILES if not set(KNOWS_CELLS) & {p.stem, *p.relative_to(ROOT).parts}]


def words(source):
    """(line, word) of every name, attribute and text of some code; docstrings and comments are none."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield from ((node.lineno, word) for word in re.findall(r"\w+", node.value))
        for field in ("id", "attr", "arg", "name"):
            if isinstance(getattr(node, field, None), str):
                yield getattr(node, "lineno", 0), getattr(node, field)


def cells_named(source):
    known = {name.casefold() for name in cells.names()}
    return [(line, word) for line, word in words(source) if word.casefold() in known]


@pytest.mark.parametrize("path", NAMELESS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_backend_and_nothing_else_that_serves_all_cells_names_one(path):
    assert cells_named(path.read_text(encoding="utf8")) == []


@pytest.mark.parametrize(
    "code", ["if cell.name == 'gru': x", "torch.nn.LSTM(3, 4)", "lstm = 3", "f(gru=1)", "f'the elman {x}'"]
)
def test_a_cell_that_is_named_in_code_is_found(code):
    assert cells_named(code)


def test_a_cell_that_is_named_in_prose_is_not_found():
    assert not cells_named('"""Unlike lstm."""\n\ndef f():\n    "as in the gru"\n    return 1  # elman')
