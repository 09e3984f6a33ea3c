"""`cellbench list`: names alone, or a table of one kind of members from their classes and docstrings."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import shorten

from cellbench import cells

from .. import probe, task

NAMES: dict[str, Callable[[], list[str]]] = {
    "cells": cells.names,
    "backends": cells.backend_names,
    "probes": probe.names,
    "tasks": task.names,
}
GET: dict[str, Callable] = {"backends": cells.backend, "probes": probe.get, "tasks": task.get}
PACKAGES = {"backends": "cellbench.cells.backends", "probes": probe.PACKAGE, "tasks": task.PACKAGE}
SIZES = (32, 64)  # I and H at which parameters are counted
NUMBERS = ("parameters", "size")  # columns


def names() -> str:
    """A line for each kind."""
    return "\n".join(f"{kind}: {', '.join(known())}" for kind, known in NAMES.items())


def print_table(kind: str) -> None:
    """Members of a kind."""
    if kind == "cells":
        print_rows(CELL_COLUMNS, map(cell_row, NAMES[kind]()))
        print("parameters at I {}, H {}; `cellbench show CELL` prints the rest".format(*SIZES))
    else:
        print_rows(("name", "what"), member_rows(kind))


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; on a terminal the last column is cut to fit, piped it is plain aligned text."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name != header[-1])
    for row in rows:
        table.add_row(*(Text(entry, no_wrap=True, overflow="ellipsis") for entry in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table)


CELL_COLUMNS = ("name", "kind", "states", "affine", "parameters", "source")


def cell_row(name: str) -> Sequence[str]:
    """What the table says of one cell; of one that cannot be used, why."""
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
    for name in NAMES[kind]():
        yield name, first_line(module_docstring(kind, name))


def module_docstring(kind: str, name: str) -> str:
    """Read from the member's file, which is not imported; one of another package is, to find its file."""
    spec = importlib.util.find_spec(f"{PACKAGES[kind]}.{name}")
    if spec and spec.origin:
        return ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    return inspect.getdoc(sys.modules[type(GET[kind](name)).__module__]) or ""


def source(text: str) -> str:
    """The first of the citations, which stand in brackets with their year; without one the first line."""
    cited = re.search(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)", text)
    return first_line(" ".join(cited[1].split()) if cited else text)


def first_line(text: str) -> str:
    return shorten(text.partition("\n")[0], 90, placeholder=" …")
