"""Printed modules on disk: readable, importable by their own name, keyed by content, written atomically.

The folder is CELLBENCH_CACHE, else the user's cache folder. Equal text is one file, so that compiled code is
shared between processes (`compiled` keeps Numba's beside the module). What runs is the text that was printed:
a file that is cut or was changed is written again. Where nothing can be written, kernels live in memory.
"""

from __future__ import annotations

import hashlib
import linecache
import multiprocessing
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from .. import seal
from .sealed import keep


def folder() -> Path:
    """Where printed modules lie."""
    return seal.cache_folder() / "kernels"


def name(stem: str, text: str) -> str:
    """The name of the module with this text."""
    return f"{stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def load(stem: str, text: str) -> ModuleType:
    """The module with this text, imported; written first if no process has done so yet."""
    called = name(stem, text)
    if called in sys.modules:
        return sys.modules[called]
    path = folder() / f"{called}.py"
    try:
        keep(path, text.encode())
    except OSError as error:
        _warn(str(folder()), error.strerror or str(error))
        return _module(called, f"<{called}, in memory>", text)
    module = _module(called, str(path), text)
    if any(hasattr(value, "enable_caching") for value in vars(module).values()):  # Numba's functions
        _share(module)
    return module


def unwritable() -> str | None:
    """Why kernels cannot be kept here, or None."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder()).close()
    except OSError as error:
        return f"{folder()} cannot be written ({error.strerror})"
    return None


def _module(name: str, file: str, text: str) -> ModuleType:
    """The module of the text itself: what lies in the file, or beside it as .pyc, is not run."""
    module = ModuleType(name)
    module.__file__ = file
    # for tracebacks and debuggers, which cannot read what is in memory
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[name] = module  # before it runs: Numba looks a function's module up there
    try:
        exec(compile(text, file, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _share(module: ModuleType) -> None:
    from . import compiled

    try:
        compiled.keep(module)
    except OSError as error:
        _warn(str(folder()), str(error))


@lru_cache
def _warn(place: str, reason: str) -> None:
    """Once in the process that a person started; its workers are silent."""
    if multiprocessing.parent_process() is None:
        warnings.warn(
            f"{place} cannot be written ({reason}): kernels are compiled in memory, again by each process;"
            " CELLBENCH_CACHE names another folder",
            stacklevel=3,
        )
