"""Printed modules on disk: readable, importable by their own name, keyed by content, written atomically.

The folder is CELLBENCH_CACHE, else the user's cache folder. Equal text is one file, so that compiled code is
shared between processes (Numba keeps its own cache beside the module).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from platformdirs import user_cache_dir


def folder() -> Path:
    """Where printed modules lie."""
    return Path(os.environ.get("CELLBENCH_CACHE") or user_cache_dir("cellbench")) / "kernels"


def load(stem: str, text: str) -> ModuleType:
    """The module with this text, imported; written first if no process has done so yet."""
    name = f"{stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    path = folder() / f"{name}.py"
    if not path.exists():
        _write(path, text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba's disk cache looks a function's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf8") as file:
        file.write(text)
    Path(temporary).replace(path)
