"""A cell's own page on a site: its equations, counts and kernel, and what the newest runs measured of it.

A result is data: what a name in it leads to is looked up among the known cells, and nothing is imported.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from cellbench import cells
from cellbench.cells import GatedCell

from ..report.frame import unique
from ..report.html import as_html
from ..report.page import content
from ..report.section import Section
from ..report.table import Entry, Table
from . import show

PLAIN = re.compile(r"[a-z][a-z0-9_]{0,60}")
DRAWN = {"throughput", "gradient_decay"}  # figures of a cell's page; the tables have the rest
WHAT = "What is it?"  # the question of what follows from equations
NOT_ABOUT_A_CELL = {"Environment", "Configuration", "How to reproduce", "Cases without a result", "Training"}


@dataclass(frozen=True)
class Page:
    """A cell of the newest runs: its name in them, one line on it, its sections."""

    name: str
    about: str
    sections: tuple[Section, ...]
    runs: tuple[str, ...]

    @property
    def file(self) -> str:
        """A name that every file system takes, another one for each cell."""
        if PLAIN.fullmatch(self.name):
            return f"cell-{self.name}.html"
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower())[:40].strip("-")
        return f"cell-{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}.html"


def pages(ready: Sequence[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]) -> list[Page]:
    """A page for each cell of the runs (manifest, tidy and prepared rows, the newest first), by name."""
    names = unique(name for _, _, one in ready for name in unique(one["label"]))
    return [_page(name, ready) for name in sorted(names)]


def html(page: Page, site: Sequence[tuple[str, str]]) -> str:
    lines = [page.about, f"Measured in run {', '.join(page.runs)}."]
    return as_html(page.name, lines, list(page.sections), site=site)


def _page(name: str, ready: Sequence[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]) -> Page:
    """Of each probe the newest run that has the cell: what two machines took is never one number."""
    seen: set[str] = set()
    runs, parts = [], []
    for manifest, rows, one in ready:
        here = one["label"] == name
        new = here & ~one["probe"].isin(seen)
        if new.any():
            runs.append(str(manifest["run"]))
            parts.append(_in_order(rows, one, new))
            seen |= set(one.loc[new, "probe"])
    measured = content(pd.concat(parts, ignore_index=True), [])
    cell = _known(name)
    about = show.documentation(cell).splitlines()[0] if cell else "A cell from outside the zoo."
    own, last = (tuple(_own(cell)), tuple(_kernel(cell))) if cell else ((), ())
    shown = tuple(map(_drawn, (one for one in measured if one.heading not in NOT_ABOUT_A_CELL)))
    return Page(name, about, (*own, *shown, *last), tuple(runs))


def _in_order(rows: pd.DataFrame, ready: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """The rows behind those of the prepared frame, which stand in another order."""
    keys = set(ready.loc[wanted, ["probe", "case"]].itertuples(index=False, name=None))
    pairs = zip(rows["probe"].fillna(""), rows["case"].fillna(""), strict=True)
    return rows[[pair in keys for pair in pairs]]


def _drawn(section: Section) -> Section:
    figures = tuple(figure for figure in section.figures if figure.name in DRAWN)
    return replace(section, figures=figures, parts=tuple(map(_drawn, section.parts)))


def _known(name: str) -> GatedCell | None:
    """The cell of the zoo or of an installed package; a path or anything else is not followed."""
    first = name.partition(":")[0]
    if not PLAIN.fullmatch(first) or first not in cells.names():
        return None
    try:
        return cells.get(name)
    except (ValueError, TypeError):  # options of another version
        return None


def _own(cell: GatedCell) -> Iterator[Section]:
    """What follows from the equations."""
    # without the file that a text is from: that is a place on the publisher's machine
    texts = (re.sub(r" \(.*\)\n", "\n", text, count=1) for text in show.sources(cell))
    yield Section("Equations", commands=tuple(texts), question=WHAT)
    sizes = show.fitting(cell, None, show.SIZES[1])
    facts = (
        ("kind", f"{show.kind(cell)}; {show.affinity(cell)} in the state"),
        ("options", "; ".join(show.options(cell))),
        ("gates", ", ".join(cell.gates) or "none that are known"),
        ("states", "; ".join(show.states(cell, sizes[1]))),
        ("operations", show.operations(cell, *sizes)),
    )
    count, *arrays = show.parameters(cell, *sizes)
    rows = tuple(tuple(map(Entry, line.split(" ", 1))) for line in arrays)
    table = Table("Arrays", ("array", "shape"), rows, f"{count} parameters.")
    yield Section("Counts", facts=facts, tables=(table,), question="Costs?")


def _kernel(cell: GatedCell) -> Iterator[Section]:
    if cell.printable:
        from cellbench.cells.kernels import printed

        line = "The fused kernel of the backend numba, as it is printed from the equations."
        yield Section("Kernel", lines=(line,), commands=(printed.text(cell, "float32"),), question=WHAT)
