"""How far back gradients reach, among the sentences at the top of a page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from .frame import named, setting_text, tally, varying
from .section import Finding, anchor_of
from .sections import gradient_decay
from .summary import Row
from .units import digits

ANCHOR = anchor_of(gradient_decay.HEADING)
MOST_NAMED = 6  # cells in a sentence
MOST_SETTINGS = 2  # with a sentence each; of more it is counted which cell is slowest
# what a gradient depends on; a run is told only where two of them differ at one setting
KEYS = ("dtype", "input_size", "match", "size", "steps")
Places = dict[tuple[str, str], Row]  # by cell and setting


def vanishing(rows: Iterable[Row]) -> Iterator[Finding]:
    """Which cells' gradients vanish, explode or stay, and at which setting where there are several."""
    places = _places(rows)
    settings = Counter(cell for cell, _ in places)
    words: dict[str, Places] = {}
    for place, row in places.items():
        words.setdefault(row.gradient, {})[place] = row
    for word, here in words.items():
        what = "is stable" if word == "stable" else word
        text = f"At the first weights, the gradient {what} in {_where(here, settings)}: {_factors(here)}."
        yield Finding(text, ANCHOR)


def _where(here: Places, settings: Counter[str]) -> str:
    """'gru and lstm at H 8, in lru at each of 2 settings'; of many, how many there are."""
    counts = Counter(cell for cell, _ in here)
    groups: dict[str, list[str]] = {}
    for cell, setting in here:
        everywhere = counts[cell] > 1 and counts[cell] == settings[cell]
        cells = groups.setdefault(f"each of {counts[cell]} settings" if everywhere else setting, [])
        cells += [] if cell in cells else [cell]
    if len(groups) > MOST_NAMED:
        return f"{len(here)} pairs of cell and setting"
    texts = [named(cells, MOST_NAMED, "cells") + _at(setting) for setting, cells in groups.items()]
    return ", in ".join(texts)


def _at(setting: str) -> str:
    return f" at {setting}" if setting else ""


def _factors(here: Places) -> str:
    """'each step back multiplies it by 0.610 to 0.720'."""
    rates = sorted(row.rate.value for row in here.values())
    ends = dict.fromkeys(digits(math.exp(rate)) for rate in (rates[0], rates[-1]))
    return f"each step back multiplies it by {' to '.join(ends)}"


def reach(rows: Iterable[Row]) -> Iterator[Finding]:
    """At each setting the cell whose gradient falls least with each step back, where all of them vanish."""
    settings: dict[str, list[Row]] = {}
    for (_, setting), row in _places(rows).items():
        settings.setdefault(setting, []).append(row)
    leads = {
        setting: sorted(here, key=lambda row: -row.rate.value)
        for setting, here in settings.items()
        if len(here) > 1 and all(row.gradient == "vanishes" for row in here)
    }
    if len(leads) > MOST_SETTINGS:
        yield Finding(_counted(list(leads.values())), ANCHOR)
    else:
        yield from (Finding(_slowest(setting, order), ANCHOR) for setting, order in leads.items())


def _slowest(setting: str, order: list[Row]) -> str:
    first, *others = order
    caveat = "" if _sure(order) else " Intervals overlap, so the first is not sure."
    told = "".join(f", in {one.cell} every {_tenth(one)}" for one in others[: MOST_NAMED - 1])
    return (
        f"The gradient{_at(setting)} falls most slowly in {first.cell}: to a tenth every {_tenth(first)}"
        f" steps{told}.{caveat}"
    )


def _counted(leads: list[list[Row]]) -> str:
    often = tally((order[0].cell, _sure(order)) for order in leads)
    return (
        f"The gradient that falls most slowly, in {len(leads)} settings: {often}. Sure: no interval of"
        " another cell overlaps."
    )


def _sure(order: list[Row]) -> bool:
    return order[0].rate.low > max(row.rate.high for row in order[1:])


def _tenth(row: Row) -> str:
    """Steps in which a line of the fitted rate falls to a tenth; the first lags may fall in another way."""
    return digits(math.log(10) / -row.rate.value)


def _places(rows: Iterable[Row]) -> Places:
    """A row for each cell and setting with a gradient; backends share it."""
    known = [row for row in rows if row.gradient]
    settings = [_setting(row) for row in known]
    told = varying(pd.DataFrame(settings, columns=["run", *KEYS]), KEYS)
    keys = [(row.cell, setting_text(one, told)) for row, one in zip(known, settings, strict=True)]
    rates = {(*key, row.rate.value) for key, row in zip(keys, known, strict=True)}
    if len(rates) > len(set(keys)):
        keys = [
            (row.cell, setting_text(one, ["run", *told])) for row, one in zip(known, settings, strict=True)
        ]
    places: Places = {}
    for key, row in zip(keys, known, strict=True):
        places.setdefault(key, row)
    return places


def _setting(row: Row) -> dict[str, Any]:
    size = -1 if row.setting["match"] else row.setting["hidden_size"]
    return row.setting | {"size": size, "steps": row.steps}
