"""Printed modules on disk: readable, importable by their own name, keyed by content, written atomically.

The folder is CELLBENCH_CACHE, else the user's cache folder. Equal text is one file, so that compiled code is
shared between processes (Numba keeps its own cache beside the module).
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from platformdirs import user_cache_dir

from ..find import module_of


def folder() -> Path:
    """Where printed modules lie."""
    return Path(os.environ.get("CELLBENCH_CACHE") or user_cache_dir("cellbench")) / "kernels"


def load(stem: str, text: str) -> ModuleType:
    """The module with this text, imported; written first if no process has done so yet."""
    name = f"{stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    path = folder() / f"{name}.py"
    if name not in sys.modules and not path.exists():
        _write(path, text)
    return module_of(path, name)  # by its own name, for Numba's disk cache looks a function's module up by it


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf8") as file:
        file.write(text)
    Path(temporary).replace(path)
