"""What a page shows of each probe. `NAME.py` is the section of the probe NAME: its figures and its tables.

A file here has two names. ORDER is its place on the page. `sections(rows, colours)` gives Sections from the
probe's rows, those without a result too; one without figures and rows is left out. Two more
names may be there: QUESTION, which has a tab of the page, and MAIN, the metric that is drawn over a sweep. A
file with an underscore belongs to another one.

A probe from elsewhere may have a method `sections` that does the same (see `harness.probe.Probe`). The page
asks it only where whoever writes the page hands over the probe: a result names a probe, and never code to
import.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

import pandas as pd

from ...store.imported import PROBE
from ..drawing import drawing
from ..frame import of_probe, unique
from ..section import Colours, Section, Sections
from ..strange import shown
from ._plain import plain_section

OTHERS = "Other probes"  # the question of a probe from elsewhere whose sections name none


class Shown(Protocol):
    """A probe that may know how it is shown; None for the plain table."""

    @property
    def name(self) -> str: ...

    def sections(self, rows: pd.DataFrame, colours: Colours) -> Iterable[Section] | None: ...


@cache
def _modules() -> dict[str, Any]:
    """The files of this folder by the name of their probe."""
    return {
        module.name: importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    }


@cache
def built_in() -> dict[str, Sections]:
    """The sections in this folder by the name of their probe, in their order on the page."""
    modules = _modules()
    ordered = sorted(modules, key=lambda name: modules[name].ORDER)
    return {name: modules[name].sections for name in ordered}


def main_metric(probe: str, rows: pd.DataFrame) -> str:
    """The metric that stands for the probe: MAIN of its file, or the first that has one value at a place.

    The first of all where every one has a value at each lag.
    """
    named = getattr(_modules().get(probe), "MAIN", "")
    measured = unique(rows["metric"])
    single = unique(rows.loc[rows["lag"].isna(), "metric"])
    return named if named in measured else (single or measured or [""])[0]


def of_page(ready: pd.DataFrame, probes: Iterable[Shown] = ()) -> list[Section]:
    """The sections of all probes of a prepared frame by question, those of this folder first."""
    measured = unique(ready["probe"])
    ordered = [name for name in built_in() if name in measured]
    content = list(_of(ready, probes, dict.fromkeys([*ordered, *measured])))
    places = {question: i for i, question in enumerate(dict.fromkeys(one.question for one in content))}
    return sorted(content, key=lambda one: places[one.question])


def foreign(ready: pd.DataFrame, probes: Iterable[Shown] = ()) -> Iterator[Section]:
    """The sections of what no summary covers: of probes that have no file here, and imported benchmarks."""
    known = set(built_in()) - {PROBE}
    return _of(ready, probes, [name for name in unique(ready["probe"]) if name not in known])


def _of(ready: pd.DataFrame, probes: Iterable[Shown], names: Iterable[str]) -> Iterator[Section]:
    given, colours = {probe.name: probe.sections for probe in probes}, colours_of(ready)
    for name in names:
        made = _made(name, of_probe(ready, name, None), colours, given)
        asked = getattr(_modules().get(name), "QUESTION", OTHERS)
        yield from (replace(one, question=one.question or asked) for one in made if not one.empty)


def _made(
    name: str, rows: pd.DataFrame, colours: Colours, given: Mapping[str, Sections]
) -> Iterable[Section]:
    for known in (given, built_in()):
        if name not in known:
            continue
        with shown(f"probe {name!r}"):
            if (made := known[name](rows, colours)) is not None:
                return list(made)
    return [plain_section(name, rows)]


def colours_of(ready: pd.DataFrame) -> Colours:
    """A colour for each backend by order of names, which every run has, and for each cell by appearance."""
    backends = drawing.colours(sorted(unique(ready["backend"])))
    return Colours(backends, drawing.colours(unique(ready["label"])))
