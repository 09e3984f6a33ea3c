"""Loss against steps by clipping threshold, and what clipping did."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.losses import loss_scale, smoothed, with_a_finite_loss
from ..drawing.panels import MANY, Figure, at, counted, cut, parts, titled
from ..frame import PANEL, SETTING, measured, of_metric, shared_settings, sized, telling, unique
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import interval, quantity

ORDER = 32
QUESTION = "Learns?"
HEADING = "Gradient clipping"
KEYS = ("label", "backend")
Case = tuple[tuple[Any, ...], pd.DataFrame]  # the values of the keys, and the rows


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    yield Section(HEADING, _figures(rows), (_table(rows),) if len(rows) else ())


def _figures(rows: pd.DataFrame) -> tuple[Figure, ...]:
    """Training loss against steps for each way of clipping: median over seeds."""
    rows = of_metric(rows, "loss")
    extra = telling(rows, ("task", *PANEL), beside=KEYS)
    rows = with_a_finite_loss(rows, [*KEYS, *extra])
    if not len(rows):
        return ()
    panels, rest = cut(parts(rows, [*KEYS, *extra]))
    caption = (
        "Training loss against optimiser steps by the largest gradient norm that is let through. A line is"
        f" the median over {counted(rows['seed'].nunique(), 'seed')}; it has a gap where that is not finite."
    )
    return (Figure("clipping", HEADING, caption + rest, lambda: _panels(panels, extra)),)


def _panels(panels: list, extra: list[str]) -> Any:
    variants = unique(variant for _, rows in panels for variant in rows["variant"])
    colours, names = drawing.shades(variants), {v: v.removeprefix("max_norm=") for v in variants}
    many = len(panels) > 2 * MANY
    columns = min(4 if many else 3, len(panels))
    room = drawing.legend_room(["largest norm", *names.values()])
    figure, axes = drawing.grid(-(-len(panels) // columns), columns, 1.2 if many else 1.9, room, gap=0.75)
    for axis, (values, rows) in zip(axes.flat, panels, strict=False):
        for variant, one in rows.groupby("variant", sort=False):
            _line(axis, one, colours[variant])
        loss_scale(axis)
        titled(axis, f"{sized(values[0], rows.iloc[0])}, {values[1]}{at(extra, values[2:])}")
        axis.set_xlabel("optimiser steps")
    for row in axes:
        row[0].set_ylabel("loss")
    for unused in axes.flat[len(panels) :]:
        unused.set_visible(False)
    shown = {names[v] or "–": drawing.line(colours[v]) for v in variants}
    drawing.legend(axes[0][columns - 1], shown, "largest norm")
    return figure


def _line(axis: Any, rows: pd.DataFrame, colour: Any) -> None:
    """The median over seeds, a loss that is not finite counting as the worst; gaps where it is not finite."""
    worst = rows.assign(loss=rows["value"].where(np.isfinite(rows["value"]), np.inf))
    middle = worst.groupby("lag", as_index=False)["loss"].median()
    curve = smoothed(middle.assign(loss=middle["loss"].where(np.isfinite(middle["loss"]))))
    axis.plot(curve["lag"], curve["loss"], color=colour)


def _table(rows: pd.DataFrame) -> Table:
    """What clipping did, by threshold: fractions and counts are medians over seeds."""
    extra = telling(rows, ("task", *SETTING), beside=KEYS)
    keys = [*KEYS, *extra, "variant"]
    titles = {"label": "cell", "variant": "clipping"}
    columns: list[Column[Case]] = [
        Column(titles.get(key, key), partial(_key, i)) for i, key in enumerate(keys)
    ]
    columns += [
        Column("seeds", lambda case: number(str(case[1]["seed"].nunique()))),
        Column("steps clipped", partial(_over_seeds, "clipped_fraction", "%")),
        Column("loss spikes", partial(_over_seeds, "spikes", "count")),
        Column("non-finite steps", partial(_over_seeds, "nonfinite_steps", "count")),
        Column("error rate", partial(_over_seeds, "error_rate", "%")),
        Column("solved", _solved),
    ]
    shared = shared_settings(rows, ("task", "device", "dtype", "steps", "batch", "hidden_size"))
    note = f"{shared}Each value is the median over seeds, and below it is their range."
    return table_of(HEADING, columns, rows.groupby(keys, sort=False), note)


def _key(index: int, case: Case) -> Entry:
    return known(case[0][index])


def _over_seeds(metric: str, kind: str, case: Case) -> Entry:
    """Median over seeds and, where they differ, their range; a NaN is named, as no median has it."""
    values = of_metric(case[1], metric)["value"]
    if not len(values):
        return number("–")
    if values.isna().any():
        bad = values.isna().sum()
        return number("NaN" if bad == len(values) else f"NaN in {bad} of {len(values)}")
    middle, low, high = values.median(), values.min(), values.max()
    return number(quantity(middle, kind), interval(low, high, kind, middle) if high > low else "")


def _solved(case: Case) -> Entry:
    """'2 of 3', and the median step at which those solved it."""
    solved, steps = (of_metric(case[1], name)["value"] for name in ("solved", "solved_step"))
    steps = steps.dropna()
    count = f"{solved.sum():.0f} of {len(solved)}" if len(solved) else "–"
    return number(count, f"median step {steps.median():.0f}" if len(steps) else "")
