"""A revision as a gate compares with it: where its files lie, and a function as it was there."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..probe import NotOk
from .functions import Function


@dataclass(frozen=True)
class Base:
    """A revision: the repository's folder, where the revision's files lie, and how a person calls it."""

    repository: str
    place: str
    name: str

    def counterpart(self, path: Path) -> Path | None:
        """Where the revision has a path of the repository; None for one outside, or of an environment inside.

        The path must be resolved: a package may be imported through a link, as cellbench's own folders are.
        """
        if not path.is_relative_to(self.repository) or "site-packages" in path.parts:
            return None
        return Path(self.place) / path.relative_to(self.repository)


@dataclass(frozen=True)
class BaseFunction:
    """A function as the revision has it."""

    function: Function
    base: Base

    def load(self) -> Callable[..., Any]:
        """The function, in the worker. Raises NotOk, status `no baseline`, where it cannot be loaded."""
        from .beside import import_beside

        assert self.function.file
        path = Path(self.function.file)
        file = self.base.counterpart(path)
        where = f"{path.relative_to(self.base.repository)} at {self.base.name}"
        if file is None or not file.is_file():
            raise NotOk("no baseline", f"there is no {where}")
        before = set(sys.modules)
        try:
            module = import_beside(self.function, self.base)
        except Exception as error:  # whatever the module raises
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise NotOk("no baseline", f"{where} cannot be imported: {text}") from None
        if Path(module.__file__ or "").resolve() != file.resolve():
            raise NotOk("no baseline", f"{where} is hidden by {module.__file__}")
        refuse_mixture(before, self.base, where)
        try:
            return operator.attrgetter(self.function.name)(module)
        except AttributeError:
            raise NotOk("no baseline", f"{where} has no {self.function.name}") from None


def refuse_mixture(before: Collection[str], base: Base, what: str, known: Collection[str] = ()) -> None:
    """Raises NotOk where modules of the working tree were loaded since; `known` are packages that may be."""
    new = [name for name in sys.modules if name not in before and name.partition(".")[0] not in known]
    files = {name: getattr(sys.modules[name], "__file__", None) for name in new}
    mixed = sorted(name for name, file in files.items() if file and base.counterpart(Path(file).resolve()))
    if mixed:
        raise NotOk(
            "no baseline",
            f"{what} loads {', '.join(mixed[:3])} of the working tree: that would be a mixture",
        )
