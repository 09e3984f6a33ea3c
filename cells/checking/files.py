"""What a FILE:NAME names, and arrays from a file."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..find import nearest
from .things import said


def load(spec: str) -> Any:
    """What FILE:NAME names, or the only class or function that FILE defines. Raises ValueError, one line,
    where there is none.
    """
    path, _, name = spec.rpartition(".py:")
    path, name = (path + ".py", name) if path else (spec, "")
    file = Path(path).expanduser()
    if not path.endswith(".py"):
        raise ValueError(f"{spec!r} is no FILE:NAME; give path/to/file.py:Name, or an .onnx file")
    if not file.is_file():
        raise ValueError(f"no file {path!r}; give path/to/file.py:Name, or an .onnx file")
    module = _imported(file)
    if name:
        if hasattr(module, name):
            return getattr(module, name)
        known = [
            k
            for k, v in vars(module).items()
            if not k.startswith("_") and getattr(v, "__module__", "") == module.__name__
        ]
        raise ValueError(
            f"{path} has no {name!r}{nearest(name, known)} it has:"
            f" {', '.join(known) or 'nothing that can be called'}"
        )
    own = {
        k: v
        for k, v in vars(module).items()
        if callable(v) and getattr(v, "__module__", "") == module.__name__
    }
    if len(own) != 1:
        raise ValueError(
            f"{path} defines {', '.join(own) or 'nothing that can be called'}; say which: {path}:NAME"
        )
    return next(iter(own.values()))


def _imported(file: Path) -> Any:
    name = f"checked_{file.stem}_{abs(hash(str(file.resolve()))):x}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.resolve().parent))  # the file may import what lies beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{file} cannot be imported: {said(error)}") from error
    finally:
        sys.path.pop(0)
    return module


def weights(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Raises ValueError for a file that is none."""
    if not file.is_file():
        raise ValueError(
            f"no file {str(file)!r}; --weights takes an .npz file of the cell's arrays, as np.savez writes it"
        )
    try:
        with np.load(file) as held:
            return {name: held[name] for name in held.files}
    except (ValueError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is no .npz file of arrays: {said(error)}") from None
