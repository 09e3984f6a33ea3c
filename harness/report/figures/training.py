"""Loss against time and steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .. import drawing
from ..losses import loss_scale, smoothed, with_a_finite_loss
from ..observations import PANEL, of_metric, of_probe, sized, unique, varying
from ..panels import Figure, at, chunks, cut, finish, number, parts, titled


def training(frame: pd.DataFrame, backends: dict[str, str], cells: dict[str, str]) -> Figure | None:
    """Training loss against time and steps: colour is the cell, dash the backend."""
    part = of_metric(of_probe(frame, "training", None), "loss", "elapsed_s", "trivial_loss")
    loss = with_a_finite_loss(of_metric(part, "loss"), ["task", "label", "backend"])
    part = part[part["label"].isin(loss["label"]) & part["task"].isin(loss["task"])]
    if not len(loss):
        return None
    extra = varying(part, [key for key in PANEL if key not in ("input_size", "batch", "match")])
    count = len(unique(loss["backend"]))
    together = 8 if count == 1 else max(1, min(4, 8 // count))
    drawn = {values: unique(rows["label"]) for values, rows in parts(loss, ["task", *extra])}
    groups = [(values, rows) for values, rows in parts(part, ["task", *extra]) if values in drawn]
    panels, rest = cut([(values, rows, names) for values, rows in groups for names in chunks(drawn[values], together)])
    seeds = loss["seed"].nunique()
    unit = " (nats)" if set(loss["unit"]) == {"nats"} else ""
    smooth = loss.groupby(["case", "label", "backend", "task", "seed"], sort=False).size().max() > 200
    caption = (
        f"Training loss{unit} against training time (left) and optimiser steps (right). "
        f"{'Dark: median; light: each of ' if seeds > 1 else ''}{number(seeds, 'seed')}. Dashed grey: best constant prediction."
        f"{' Smoothed by a running mean.' if smooth else ''}"
    )
    dashes = {name: drawing.DASHES[i % len(drawing.DASHES)] for i, name in enumerate(backends)}
    return finish("training", "Training", caption + rest, lambda: _loss_panels(panels, extra, cells, dashes, unit))


def _loss_panels(panels: list, extra: list[str], colours: dict[str, str], dashes: dict[str, str], unit: str) -> Any:
    """Colour is the cell, dash the backend."""
    lines = [_loss_lines(rows, names) for _, rows, names in panels]
    room = drawing.legend_room([name for panel in lines for name in panel])
    known = pd.concat([one for panel in lines for one in panel.values()])
    timed = [column for column in ("elapsed_s", "lag") if known[column].notna().any()]
    figure, axes = drawing.grid(len(panels), len(timed), 2.1, room, gap=0.35, sharey="row")
    for row, (values, rows, names), panel in zip(axes, panels, lines, strict=True):
        look = drawing.apart(colours, names)
        looks = {name: (look[cell], dashes[backend]) for name, (cell, backend) in _line_keys(rows, names).items()}
        for axis, column in zip(row, timed, strict=True):
            for name, one in panel.items():
                _loss_line(axis, one, column, *looks[name])
            axis.set_xlabel("training time (s)" if column == "elapsed_s" else "optimiser steps")
            axis.set_xlim(left=0)
        _loss_axis(row, rows, unit)
        titled(row[0], f"{values[0]}{at(extra, values[1:])}")
        drawing.legend(row[-1], {name: drawing.line(*looks[name]) for name in panel})
    return figure


def _line_keys(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """'cell, backend' -> (cell, backend), in the order of names."""
    first = rows.drop_duplicates(["label", "backend"]).to_dict("records")
    pairs = {(row["label"], row["backend"]): f"{sized(row['label'], row)}, {row['backend']}" for row in first}
    return {text: pair for name in names for pair, text in pairs.items() if pair[0] == name}


def _loss_lines(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By line: columns seed, lag, loss, elapsed_s (NaN where not known)."""
    found = {}
    for name, (cell, backend) in _line_keys(rows, names).items():
        here = of_metric(rows[(rows["label"] == cell) & (rows["backend"] == backend)], "loss", "elapsed_s")
        wide = here.pivot_table(index=["seed", "lag"], columns="metric", values="value", dropna=False).reset_index()
        if "loss" in wide and np.isfinite(wide["loss"]).any():
            found[name] = wide.reindex(columns=["seed", "lag", "loss", "elapsed_s"])
    return found


def _loss_line(axis: Any, line: pd.DataFrame, column: str, colour: str, dash: str) -> None:
    """Each seed light, their median dark; a value that is not finite is a gap."""
    finite = line.assign(loss=line["loss"].where(np.isfinite(line["loss"]))).sort_values("lag")
    for _, one in finite.groupby("seed"):
        one = smoothed(one)
        axis.plot(one[column], one["loss"], color=colour, linestyle=dash, linewidth=0.8 if line["seed"].nunique() > 1 else 1.6,
                  alpha=0.35 if line["seed"].nunique() > 1 else 1.0)  # fmt: skip
    if line["seed"].nunique() > 1:
        middle = finite.groupby("lag", as_index=False)[["loss", "elapsed_s"]].median()
        middle = smoothed(middle)
        axis.plot(middle[column], middle["loss"], color=colour, linestyle=dash)


def _loss_axis(row: Sequence[Any], rows: pd.DataFrame, unit: str) -> None:
    for axis in row:
        for value in of_metric(rows, "trivial_loss")["value"].dropna().unique()[:1]:
            axis.axhline(value, color="#777777", linestyle=(0, (4, 3)), linewidth=1.1)
    loss_scale(row[0])
    row[0].set_ylabel(f"loss{unit}")
