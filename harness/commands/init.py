"""Writes a GitHub workflow, a session of nox and a first test into your repository.

They compare the cells of the repository with the base of a pull request. Cells are found by reading: a class
with `equations` or `step`, in a file that imports cellbench. Nothing is asked, and no file is written over.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ._arguments import epilog, word
from ._first_files import files, session

HIDDEN = re.compile(r"\.|__pycache__$|(node_modules|site-packages|venv|env|build|dist|tests?)$")
PLAIN = re.compile(r"[A-Za-z0-9_./-]+\.py:[A-Za-z_]\w*")  # as a workflow, a shell and a key take it
MOST = 1 << 20  # bytes of a file that is read for cells
EXAMPLES = """\
  cellbench init
  cellbench init src/mycell.py:MyCell"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench init [FILE.py:NAME ...]"
    parser.add_argument(
        "cells", nargs="*", type=word, metavar="FILE.py:NAME", help="the cells (default: all that are found)"
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench init`; returns the exit code."""
    from ..regress.revision import git

    top = git(Path.cwd(), "rev-parse", "--show-toplevel")
    root = Path(top.decode().removesuffix("\n")).resolve() if top else Path.cwd().resolve()
    cells = [given(cell, root) for cell in arguments.cells] or sorted(found(root))
    if not cells:
        raise ValueError(
            f"{root} has no cell: no file that imports cellbench has a class with `equations` or `step`;"
            " write one, or name it: cellbench init path/to/file.py:Name"
        )
    is_package = (root / "pyproject.toml").is_file() or (root / "setup.py").is_file()
    for name, text in files(cells, _version(), is_package).items():
        print(written(root, name, text))
        if name == "noxfile.py" and "def cellbench(" not in (root / name).read_text(encoding="utf-8"):
            print(f"add this session to it:\n\n{session(cells, is_package)}")
    print(f"cells: {', '.join(cells)}")
    return 0


def given(cell: str, root: Path) -> str:
    """A cell as it was named, from the top of the repository. Raises ValueError for another one's."""
    from cellbench.cells import find

    path, name = find.path_of(cell), cell.rpartition(":")[2]
    if path is None or not path.is_file() or not path.is_relative_to(root):
        raise ValueError(f"{cell!r} is no cell of a file in {root}; give path/to/file.py:Name")
    if (names := _named(path)) is not None and name not in names:
        raise ValueError(
            f"{path.relative_to(root).as_posix()} has no {name!r}{find.nearest(name, names)} it has:"
            f" {', '.join(names) or 'no class'}"
        )
    spec = f"{path.relative_to(root).as_posix()}:{name}"
    if not PLAIN.fullmatch(spec):
        raise ValueError(f"{spec!r} has other signs than letters, digits, _ . / and -; rename the file")
    return spec


def _named(file: Path) -> list[str] | None:
    """What stands under a name at the top of a file; None where reading alone does not tell."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as Python: {error}") from None
    names = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names += [alias.asname or alias.name for alias in node.names]
        elif not isinstance(node, ast.Expr):  # such as an `if` or a `try`, which may make a class
            return None
    return None if "*" in names else names


def found(root: Path) -> Iterator[str]:
    """The cells in the files below root, by reading alone."""
    for folder, inside, names in os.walk(root):
        inside[:] = [name for name in inside if not HIDDEN.match(name)]
        for name in (n for n in names if n.endswith(".py") and not n.startswith("test_")):
            file = Path(folder, name)
            specs = (f"{file.relative_to(root).as_posix()}:{cls}" for cls in classes(file))
            yield from (spec for spec in specs if PLAIN.fullmatch(spec))


def classes(file: Path) -> list[str]:
    """The names of the cells in a file; none where it cannot be read as Python."""
    try:
        text = file.read_bytes() if file.stat().st_size <= MOST else b""
        tree = ast.parse(text) if b"cellbench" in text else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if any(isinstance(n, ast.FunctionDef) and n.name in ("equations", "step") for n in node.body)
    ]


def written(root: Path, name: str, text: str) -> str:
    """Writes a file that is not there yet; returns a line on it. Raises ValueError for a link out of root."""
    path = root / name
    if not path.parent.resolve().is_relative_to(root):
        raise ValueError(f"{path.parent} is a link out of {root}; nothing is written through it")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return f"kept {name}, which is there already"
    return f"wrote {name}"


def _version() -> str:
    """The tag of this version, that the workflow is pinned to."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"v{version('cellbench')}"
    except PackageNotFoundError:
        return "main"
