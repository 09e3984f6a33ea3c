"""Numba's compiled code on disk, sealed: what is cut, changed or somebody else's is compiled again.

Numba's own cache unpickles whatever lies in its folder, and trusts it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

from .. import seal
from .sealed import opened


def keep(module: ModuleType) -> None:
    """Has the module's functions share their compiled code with other processes.

    Raises OSError where there is no folder that can be written.
    """
    for function in vars(module).values():
        if isinstance(function, Dispatcher):
            try:
                cached: Any = function
                cached._cache = SealedCache(function.py_func)
            except RuntimeError as error:  # what Numba raises for a folder that cannot be written
                raise OSError(str(error)) from None


def shared(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's `njit` of a function in a file of ours, which shares its compiled code where it can.

    An installed package may be read-only, and a home too: then each process compiles it in memory.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        made = numba.njit(**options)(function)
        with suppress(RuntimeError):  # what Numba raises where there is no folder that can be written
            made._cache = SealedCache(function)
        return made

    return compiled


class SealedCache(FunctionCache):
    """Numba's cache of one function, whose files begin with this user's seal."""

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        stamp, base = self._impl.locator.get_source_stamp(), self._impl.filename_base
        # a name apart: an older version, as `regress` runs one, reads the plain name without a seal. Numba's
        # version is part of it: another Numba's index cannot be read, not even up to its version
        self._cache_file = SealedFiles(self._cache_path, f"{base}.sealed-{numba.__version__}", stamp)


class SealedFiles(IndexDataCacheFile):
    """The index of a function's compiled code, and a file for each signature."""

    def _load_index(self) -> dict[Any, str]:
        try:
            version, stamp, overloads = pickle.loads(opened(Path(self._index_path)))
        except OSError:
            return {}
        fresh = version == self._version and stamp == self._source_stamp
        return overloads if fresh else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        content = self._version, self._source_stamp, overloads
        self._write(Path(self._index_path), self._dump(content))

    def _load_data(self, name: str) -> Any:
        return pickle.loads(opened(Path(self._data_path(name))))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(Path(self._data_path(name)), self._dump(data))

    def _write(self, path: Path, content: bytes) -> None:
        with suppress(OSError), self._open_for_write(str(path)) as file:  # a full disk: it is compiled again
            file.write(seal.seal(content, path.name).encode() + content)
