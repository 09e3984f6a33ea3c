"""Which cell leads, first on the page: the fastest, the smallest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from .frame import (
    DIRECTIONS,
    FEWEST,
    PANEL,
    estimates,
    measured,
    of_metric,
    of_probe,
    setting_text,
    tally,
    telling,
    unique,
)
from .section import Finding, anchor_of
from .sections import parameters, throughput
from .units import exact, interval, quantity

MOST_SETTINGS = 2  # with a sentence each; of more it is counted which cell is the fastest
SHOWN = ("steps", "batch", "input_size", "size")  # of a setting, whether they vary or not


@dataclass(frozen=True)
class _Lead:
    """The fastest program of one setting, and those of the other cells, the next one first."""

    setting: str
    first: pd.Series
    others: pd.DataFrame

    @property
    def few(self) -> bool:
        """Whether a program has too few processes to prove anything."""
        return bool(min(self.first["units"], self.others["units"].min()) < FEWEST)

    @property
    def overlaps(self) -> bool:
        """Whether another cell had a process as fast as the slowest of the first, as far as known."""
        return bool((self.others["low"] <= self.first["high"]).any())

    @property
    def caveat(self) -> str:
        """Why this is not sure; '' where it is."""
        if self.overlaps:
            return " Ranges overlap, so this is not sure."
        return f" That needs {FEWEST} processes to be sure." if self.few else ""


def fastest(ready: pd.DataFrame) -> Iterator[Finding]:
    """For each direction the cell that takes the least time, on whichever backend."""
    rows = of_metric(measured(of_probe(ready, "throughput", None)), "seconds")
    rows = rows[rows["steps"] == rows.groupby("run")["steps"].transform("max")]
    for direction, name in DIRECTIONS.items():
        leads = list(_leads(rows[rows["direction"] == direction]))
        if 0 < len(leads) <= MOST_SETTINGS:
            texts = [_fastest(lead, name) for lead in leads]
        else:
            texts = [_counted(leads, name)] if leads else []
        yield from (Finding(text, anchor_of(throughput.HEADING)) for text in texts)


def _leads(rows: pd.DataFrame) -> Iterator[_Lead]:
    """One for each setting in which several cells were timed."""
    varied = telling(rows, PANEL, ("label", "steps"))
    told = [key for key in (*PANEL, "steps") if key in SHOWN or key in varied]
    for _, here in rows.groupby([*PANEL, "steps"], sort=False):
        order = estimates(here, ("label", "backend"), "process", 2).sort_values("median", kind="stable")
        first, others = order.iloc[0], order[order["label"] != order["label"].iloc[0]]
        if len(others):
            yield _Lead(setting_text(here.iloc[0], sorted(told, key=_place)), first, others)


def _place(key: str) -> int:
    return SHOWN.index(key) if key in SHOWN else len(SHOWN)


def _fastest(lead: _Lead, direction: str) -> str:
    first, second = (_program(one) for one in (lead.first, lead.others.iloc[0]))
    cells = 1 + lead.others["label"].nunique()
    return f"Fastest of {cells} cells, {direction} ({lead.setting}): {first}; next is {second}.{lead.caveat}"


def _program(one: pd.Series) -> str:
    between = interval(one["low"], one["high"], "s", one["median"])
    time = quantity(one["median"], "s") + (f" ({between})" if between else "")
    return f"{one['label']} on {one['backend']}, {time}"


def _counted(leads: list[_Lead], direction: str) -> str:
    often = tally((lead.first["label"], not lead.caveat) for lead in leads)
    return (
        f"Fastest cell in {len(leads)} settings, {direction}: {often}. Sure: its slowest process, of at least"
        f" {FEWEST}, is faster than any of another cell."
    )


def smallest(ready: pd.DataFrame) -> Iterator[Finding]:
    """The cells with the fewest and the most parameters, at one size that they share."""
    rows = of_metric(measured(of_probe(ready, "parameters", None)), "parameters")
    rows = rows[rows["match"] == ""]  # cells that were matched differ by choice
    sizes = rows[["input_size", "hidden_size"]].drop_duplicates()
    count = rows.groupby("label", sort=False)["value"].median().sort_values(kind="stable")
    if len(sizes) != 1 or len(unique(count)) < 2:
        return
    least = [name for name, value in count.items() if value == count.iloc[0]]
    alike = f" ({len(least)} cells have so few)" if len(least) > 1 else ""
    at = setting_text(sizes.iloc[0], list(sizes))
    yield Finding(
        f"Fewest parameters ({at}): {least[0]}, {exact(count.iloc[0])}{alike}; most: {count.index[-1]},"
        f" {exact(count.iloc[-1])} ({quantity(count.iloc[-1] / count.iloc[0], 'x')}).",
        anchor_of(parameters.HEADING),
    )
