"""A revision as a gate compares with it: where its files lie, and a function as it was there."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..probe import NotOk


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
