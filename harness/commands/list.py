"""Lists the cells, backends, probes, tasks, experiments, launchers and sweepers that there are.

Without a kind it prints their names. With one it prints a table, which is made from classes and docstrings.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from textwrap import shorten

from cellbench import cells

from .. import probe, task
from ..runs import launch, places
from ._arguments import epilog, one_of, path
from ._table import print_table

NAMES: dict[str, Callable[[], list[str]]] = {
    "cells": cells.names,
    "backends": cells.backend_names,
    "probes": probe.names,
    "tasks": task.names,
    "experiments": places.all_experiments,
    "workloads": places.all_workloads,
    "launchers": lambda: launch.installed(launch.GROUP),
    "sweepers": lambda: launch.installed(launch.SWEEPER),
}
FILES = {"experiments": "experiment", "workloads": "workload"}
PLUGINS = {"launchers": launch.GROUP, "sweepers": launch.SWEEPER}
GET: dict[str, Callable[[str], object]] = {"backends": cells.backend, "probes": probe.get, "tasks": task.get}
PACKAGES = {"backends": "cellbench.cells.backends", "probes": probe.PACKAGE, "tasks": task.PACKAGE}
SIZES = (32, 64)  # I and H at which parameters are counted
CELL_COLUMNS = ("name", "kind", "states", "affine", "parameters", "source")
EXAMPLES = """\
  cellbench list
  cellbench list cells
  cellbench list tasks | grep translation"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench list [KIND] [--config-dir DIR]"
    parser.add_argument(
        "kind", nargs="?", type=one_of(list(NAMES)), metavar="KIND", help=f"one of {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--config-dir", type=path, metavar="DIR", help="a folder of YAML files, as of `cellbench run`"
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench list`; returns the exit code."""
    places.give(arguments.config_dir)
    if arguments.kind:
        print_members(arguments.kind)
    else:
        print(names())
    return 0


def names() -> str:
    """A line for each kind."""
    return "\n".join(f"{kind}: {', '.join(known())}" for kind, known in NAMES.items() if known())


def print_members(kind: str) -> None:
    """The table of one kind."""
    if kind == "cells":
        print_table(CELL_COLUMNS, map(cell_row, NAMES[kind]()), numbers=["parameters"])
        print("parameters at I {}, H {}; `cellbench show CELL` prints the rest".format(*SIZES))
    elif kind in FILES:
        print_table(("name", "what"), file_rows(FILES[kind]))
    elif kind in PLUGINS:
        print_table(("name", "what"), plugin_rows(PLUGINS[kind]))
    else:
        print_table(("name", "what"), member_rows(kind))


def file_rows(group: str) -> Iterator[tuple[str, str]]:
    """The rows of a group of YAML files: the comments at their top, and where a user's own lies."""
    for name, file in places.files(group).items():
        lines = [line.removeprefix("#").strip() for line in comments(file)]
        what = first_line(" ".join(line for line in lines if not line.startswith("@package")))
        yield name, what if file.is_relative_to(places.own()) else f"{what} ({file})".strip()


def plugin_rows(group: str) -> Iterator[Sequence[str]]:
    """The rows of Hydra's launchers or sweepers, then those of a user's files."""
    known = launch.PLUGINS[group]
    own = dict(file_rows(group))
    for name in launch.installed(group):
        yield name, known[name][0] if name in known else own[name]


def comments(file: Path) -> Iterator[str]:
    """The lines of comments that a YAML file begins with."""
    return takewhile(lambda line: line.startswith("#"), file.read_text(errors="replace").splitlines())


def cell_row(name: str) -> Sequence[str]:
    """The row of one cell; for a cell that cannot be used, its name and the reason."""
    from .show import documentation, fitting, kind

    try:
        cell = cells.get(name)
    except ValueError as error:
        return (name, "", "", "", "", shorten(str(error), 100, placeholder=" …"))
    affine = "yes" if cell.affine() else "" if cell.written_out else "no"
    sizes = fitting(cell, None, SIZES[1])
    count = f"{cell.parameter_count(*sizes):,}" + ("" if sizes == SIZES else f" at I {sizes[0]}")
    brief = kind(cell).removeprefix("pointwise around ").partition(",")[0]
    return (name, brief, " ".join(cell.states), affine, count, source(documentation(cell)))


def member_rows(kind: str) -> Iterator[Sequence[str]]:
    """The rows of backends, probes or tasks."""
    for name in NAMES[kind]():
        yield name, first_line(module_docstring(kind, name))


def module_docstring(kind: str, name: str) -> str:
    """The docstring of a member's file, which is read; only a member of another package is imported."""
    spec = importlib.util.find_spec(f"{PACKAGES[kind]}.{name}")
    if spec and spec.origin:
        return ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    return inspect.getdoc(sys.modules[type(GET[kind](name)).__module__]) or ""


def source(text: str) -> str:
    """The first citation, which stands in brackets with its year; without one the first line."""
    cited = re.search(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)", text)
    return first_line(" ".join(cited[1].split()) if cited else text)


def first_line(text: str) -> str:
    """The first line, at most 90 characters of it."""
    return shorten(text.partition("\n")[0], 90, placeholder=" …")
