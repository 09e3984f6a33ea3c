"""What clipping did, among the sentences at the top of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from .frame import PANEL, measured, of_metric, of_probe, setting_text, telling
from .section import Finding, anchor_of
from .sections import clipping
from .units import quantity

UNCLIPPED = "max_norm=none"
MOST = 4  # cells with a sentence each


@dataclass(frozen=True)
class _Pair:
    """The error rates of one cell, a row a seed: without clipping, and with the way that has the lowest."""

    name: str
    way: str
    without: pd.Series
    clipped: pd.Series

    @property
    def lower(self) -> int:
        """In how many seeds clipping has the lower error rate."""
        return int((self.clipped < self.without).sum())

    @property
    def word(self) -> str:
        """'helps' or 'hurts' where every one of several seeds says so, else 'makes no sure difference'."""
        higher = int((self.clipped > self.without).sum())
        several = len(self.without) > 1
        if several and len(self.without) in (self.lower, higher):
            return "helps" if self.lower else "hurts"
        return "makes no sure difference"


def clipped(ready: pd.DataFrame) -> Iterator[Finding]:
    """A sentence for each cell; of more than four cells it is counted what clipping does."""
    pairs, anchor = list(_pairs(ready)), anchor_of(clipping.HEADING)
    if len(pairs) > MOST:
        counts = Counter(pair.word for pair in pairs).most_common()
        told = ", ".join(f"{word} in {count}" for word, count in counts)
        yield Finding(f"Clipping, {len(pairs)} trainings by cell and backend: {told}.", anchor)
        return
    yield from (Finding(_sentence(pair), anchor) for pair in pairs)


def _pairs(ready: pd.DataFrame) -> Iterator[_Pair]:
    rows = of_metric(measured(of_probe(ready, "clipping", None)), "error_rate")
    told = ["task", *telling(rows, ("backend", *PANEL))]  # an error rate says nothing without its task
    for (cell, *_), here in rows.groupby(["label", "backend", "task", *PANEL], sort=False):
        rates = here.groupby(["seed", "variant"])["value"].median().unstack()
        ways = [way for way in rates if way != UNCLIPPED]
        if UNCLIPPED not in rates or not ways:
            continue
        best = rates[ways].median().idxmin()
        known = rates[[UNCLIPPED, best]].dropna()
        if len(known):
            name = ", ".join(filter(None, (str(cell), setting_text(here.iloc[0], told))))
            yield _Pair(name, str(best), known[UNCLIPPED], known[best])


def _sentence(pair: _Pair) -> str:
    clipped, without = (quantity(one.median(), "%") for one in (pair.clipped, pair.without))
    return (
        f"Clipping {pair.word} in {pair.name}: error rate {clipped} with {pair.way}, {without} without it"
        f" (lower in {pair.lower} of {len(pair.without)} seed{'' if len(pair.without) == 1 else 's'})."
    )
