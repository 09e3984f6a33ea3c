"""Cells and backends by name, with their options."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

from . import find
from .cell import GatedCell
from .programs.backend import Backend

ZOO, BACKENDS = f"{__package__}.zoo", f"{__package__}.backends"
CELL_ENTRY_POINTS, BACKEND_ENTRY_POINTS = "cellbench.cells", "cellbench.backends"


def names() -> list[str]:
    """Every cell in the zoo and of installed packages (entry points `cellbench.cells`)."""
    return find.names(ZOO, CELL_ENTRY_POINTS)


def get(spec: str | type | GatedCell, **options: Any) -> GatedCell:
    """The cell that a spec names: 'lstm', 'elman:activation=relu', 'path/to/file.py:Name'.

    It may be a class or a cell in hand too. A class, of a file too, may be a torch module, which torch alone
    runs. Options may be keywords. Raises ValueError for an unknown cell or option, EquationError for
    equations that cannot be recorded.
    """
    if isinstance(spec, str):
        cell = find.member(spec, GatedCell, ZOO, CELL_ENTRY_POINTS, options, _of_module)
    else:
        cell = _in_hand(spec, options)
    cell.verify()
    return cell


def _in_hand(given: object, options: dict[str, Any]) -> GatedCell:
    """The cell of a class, or of a cell with other options."""
    if isinstance(given, type):
        cls = given if issubclass(given, GatedCell) else _of_module(given)
        if cls is not None:
            return find.of_class(cls, cls.__name__, options=options)
    if isinstance(given, GatedCell):
        kept = {f.name: getattr(given, f.name) for f in fields(given) if f.init}
        return find.of_class(type(given), type(given).__name__, options=kept | options)
    shown = given.__name__ if isinstance(given, type) else repr(given)
    raise ValueError(
        f"{shown[: find.LONGEST]} is no cell; give a name, path/to/file.py:Name, a class of GatedCell or of"
        " torch.nn.Module, or a cell"
    )


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
