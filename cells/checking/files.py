"""Files that hold a port: how each is read, by its ending.

A reader takes the path and the cell that is checked against. It returns what computes and the arrays with
which it does; a file that holds arrays alone is computed by the cell of its own that it describes
(`given.of_cell` and `Implementation.put`). It raises ValueError for a file that is none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..cell import GatedCell
from .implementation import Implementation


def _onnx(path: Path, cell: GatedCell) -> Implementation:
    from .onnx import of_file

    return of_file(str(path))


READERS: dict[str, Callable[[Path, GatedCell], Implementation]] = {".onnx": _onnx}
