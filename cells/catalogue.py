"""Cells and backends by name, with their options."""

from __future__ import annotations

import sys
from typing import Any

from . import find
from .cell import GatedCell
from .programs.backend import Backend

ZOO, BACKENDS = f"{__package__}.zoo", f"{__package__}.backends"
CELL_ENTRY_POINTS, BACKEND_ENTRY_POINTS = "cellbench.cells", "cellbench.backends"


def names() -> list[str]:
    """Every cell in the zoo and of installed packages (entry points `cellbench.cells`)."""
    return find.names(ZOO, CELL_ENTRY_POINTS)


def get(spec: str, **options: Any) -> GatedCell:
    """The cell that a spec names: 'lstm', 'elman:activation=relu', 'path/to/file.py:Name'.

    A file's class may be a torch module, which torch alone runs. Options may be keywords too. Raises
    ValueError for an unknown cell or option, EquationError for equations that cannot be recorded.
    """
    cell = find.member(spec, GatedCell, ZOO, CELL_ENTRY_POINTS, options, _of_module)
    cell.verify()
    return cell


def _of_module(cls: type) -> type[GatedCell] | None:
    """The cell of a torch module's class, or None: where torch is not imported, no class is a module."""
    if "torch" not in sys.modules:
        return None
    from .modules.cell import cell_of

    return cell_of(cls)


def backend_names() -> list[str]:
    """Every backend, of installed packages too (entry points `cellbench.backends`)."""
    return find.names(BACKENDS, BACKEND_ENTRY_POINTS)


def backend(spec: str) -> Backend:
    """The backend that a name or path/to/file.py:Name names. Raises ValueError for an unknown one."""
    return find.member(spec, Backend, BACKENDS, BACKEND_ENTRY_POINTS)
