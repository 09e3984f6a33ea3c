"""Imports go down only: nothing under cells/ knows the harness, and inside cells/ imports are relative."""

import ast
from pathlib import Path

import pytest

import cells

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
    assert "harness" not in absolute
    assert "cells" not in absolute or path.parent.name == "zoo"
    deepest = len(path.relative_to(ROOT).parts)
    assert all(level <= deepest for level, _ in imported(path))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_contract_knows_no_member(path):
    """What a folder's members are is found by listing it: no file names one in an import, but a member another."""
    assert not [m for _, m in imported(path) if m.startswith(("zoo.", "backends."))]
