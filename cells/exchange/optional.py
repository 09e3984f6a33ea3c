"""Packages that only some exchanges need, imported where they are used."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


class NotInstalled(ValueError):
    """An optional package is not there; the message has the command that installs it."""


def is_installed(name: str) -> bool:
    """Whether there is such a package; a folder of that name in the working directory is none."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def package(name: str, extra: str = "onnx") -> Any:
    """The optional package. Raises NotInstalled with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise NotInstalled(f"package {name} is not installed; pip install 'cellbench[{extra}]'") from None
