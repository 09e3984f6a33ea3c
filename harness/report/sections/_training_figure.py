"""Loss and accuracy of a task against time and steps (tokens below them), with the rivals as lines across."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing, references
from ..drawing.courses import AXES, SMOOTH, Course, courses
from ..drawing.losses import axis_of
from ..drawing.panels import Figure, at, chunks, counted, cut, parts, titled
from ..drawing.references import Reference
from ..frame import PANEL, telling
from ..section import Colours
from ..standings import CONSTANT, CURVES, level, of_task, rivals

LONGEST = 26  # characters of a name in the legend
TOGETHER = 8  # lines in a panel
MOST_LIGHT = 48  # lines of single seeds in a figure, at most: beyond, the medians alone
LIGHT: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.3}  # of one seed
DOT: dict[str, Any] = {
    "marker": "o",
    "markersize": 4.5,
    "markeredgecolor": "white",
    "markeredgewidth": 0.7,
    "zorder": 3,
}
CROSS: dict[str, Any] = {
    "marker": "x",
    "markersize": 6,
    "markeredgewidth": 1.6,
    "zorder": 4,
    "clip_on": False,
}
DOTS = 12  # epochs that are marked on a curve, at most


@dataclass(frozen=True)
class Panels:
    """A row of panels with one y axis: its curves, the lines across, and whether it is about accuracy.

    left_out counts the rivals for which there was no room.
    """

    title: str
    lines: dict[str, Course]
    across: list[Reference]
    left_out: int
    accuracy: bool


def figures(rows: pd.DataFrame, task: str, name: str, colours: Colours) -> tuple[Figure, ...]:
    """The figure of one task, where a finite loss is known; `name` is its file's."""
    rows = of_task(rows, task)
    extra = telling(rows, [key for key in PANEL if key not in ("input_size", "batch", "match")])
    classes = bool((rows["metric"] == "accuracy").any())
    panels = list(_rows(rows, extra, classes))
    if not panels:
        return ()
    panels, rest = cut(panels)
    dashes = {backend: drawing.DASHES[i % len(drawing.DASHES)] for i, backend in enumerate(colours.backends)}
    unit = " (nats)" if "nats" in set(rows.loc[rows["metric"] == "loss", "unit"]) else ""
    caption = _caption(panels, classes, unit) + rest
    return (Figure(name, f"Training: {task}", caption, lambda: _draw(panels, colours.cells, dashes, unit)),)


def _rows(rows: pd.DataFrame, extra: list[str], classes: bool) -> Iterator[Panels]:
    """For each setting and up to eight curves a row of losses; one of accuracies where there are classes."""
    groups = parts(rows, extra) if extra else [((), rows)]
    losses, accuracies = _across(rows, False), _across(rows, True)
    for values, here in groups:
        lines = courses(here)
        for names in chunks(_in_order(lines), TOGETHER):
            title, some = at(extra, values).removeprefix(" · "), {name: lines[name] for name in names}
            yield Panels(title, some, *losses, False)
            if classes and any(line.middle_epochs["accuracy"].notna().any() for line in some.values()):
                yield Panels(title, some, *accuracies, True)


def _in_order(lines: dict[str, Course]) -> list[str]:
    """As they come; the lowest test loss first where they are too many for one panel."""
    if len(lines) <= TOGETHER:
        return list(lines)
    # so that a panel's lines lie close and its axis suits all of them
    ends = {name: line.middle_epochs["test_loss"].min() for name, line in lines.items()}
    return sorted(lines, key=lambda name: (bool(np.isnan(ends[name])), ends[name]))


def _across(rows: pd.DataFrame, accuracy: bool) -> tuple[list[Reference], int]:
    """The constant answer, the rivals, the target and the floor, and how many rivals found no room."""
    rows = rows[~rows["metric"].isin(CURVES)]
    metric = "best_accuracy" if accuracy else "best_test_loss"
    known = []
    for r in rivals(rows):
        values = r.values(metric)
        kind = "constant" if r.name == CONSTANT else "rival"
        known += [Reference(r.name, float(values.median()), kind)] if len(values) else []
    if not accuracy:
        levels = {kind: level(rows, f"{kind}_loss") for kind in ("target", "floor")}
        known += [Reference(kind, value, kind) for kind, value in levels.items() if np.isfinite(value)]
    return references.chosen(known, lowest=not accuracy)


def _caption(rows: list[Panels], classes: bool, unit: str) -> str:
    lines = [line for row in rows for line in row.lines.values()]
    seeds, longest = max(len(line.steps) for line in lines), max(line.length for line in lines)
    drawn_apart = f"light is each of {counted(seeds, 'seed')}"
    light = drawn_apart if _lights(rows) else f"the {seeds} seeds are in the table"
    across, left_out = rows[0].across, rows[0].left_out
    several = sum(not row.accuracy for row in rows) > 1 and any(len(row.lines) == TOGETHER for row in rows)
    sentences = {
        f"A line is the training loss{unit}, and a dot the test loss after an epoch.": True,
        "The lower row has the accuracy on the test part.": classes,
        f"Dark is the median over seeds; {light}.": seeds > 1,
        "There is one seed.": seeds == 1,
        f"Lines are smoothed by a running mean over 1/{SMOOTH[1]} of the steps.": longest > SMOOTH[0],
        "A cross is where a training diverged.": any(len(line.broken) for line in lines),
        "Lines across are the test losses of the constant answer, the rivals, the target and the floor, as"
        " far as known. A rival answers without a recurrent cell. The floor is the best answer there can"
        " be.": bool(across),
        "The floor is 0, which a log axis does not have.": any(r.value <= 0 for r in across) and _log(rows),
        "Panels go from the lowest test loss to the highest.": several,
        f"{counted(left_out, 'rival')} with the highest loss found no room.": left_out > 0,
    }
    return " ".join(sentence for sentence, holds in sentences.items() if holds)


def _lights(rows: list[Panels]) -> bool:
    """Whether each seed is drawn."""
    counts = [len(line.steps) for row in rows for line in row.lines.values() if not row.accuracy]
    return max(counts) > 1 and sum(counts) <= MOST_LIGHT


def _log(rows: list[Panels]) -> bool:
    return any(axis_of(*_seen(row))[2] for row in rows if not row.accuracy)


def _seen(row: Panels) -> tuple[np.ndarray, np.ndarray]:
    """Every value of the curves of the loss, and every level across."""
    return np.concatenate([line.losses for line in row.lines.values()]), np.array(
        [r.value for r in row.across]
    )


def _draw(rows: list[Panels], colours: dict[str, str], dashes: dict[str, str], unit: str) -> Any:
    """Colour is the cell, dash the backend; the columns of a row share the y axis."""
    names = references.room([r for row in rows for r in row.across])
    legend = drawing.legend_room([name for row in rows for name in row.lines], LONGEST)
    known = pd.concat([line.middle_steps for row in rows for line in row.lines.values()])
    columns = [column for column in AXES if known[column].notna().any()]
    below = {"bottom": 0.85, "between": 0.85}  # two lines of numbers and two of names
    figure, axes = drawing.grid(
        len(rows), len(columns), 2.3, legend + names, gap=0.25, sharey="row", widest=3.8, **below
    )
    light = _lights(rows)
    for panels, row in zip(axes, rows, strict=True):
        look = drawing.apart(colours, list(dict.fromkeys(line.cell for line in row.lines.values())))
        looks = {name: (look[line.cell], dashes[line.backend]) for name, line in row.lines.items()}
        for axis, column in zip(panels, columns, strict=True):
            for name, line in row.lines.items():
                (_accuracy if row.accuracy else _loss)(axis, line, column, light, *looks[name])
            _x_axis(axis, column, row)
        _y_axis(panels[0], row, unit)
        references.draw(panels, row.across)
        titled(panels[0], row.title)
        if not row.accuracy:
            drawing.legend(
                panels[-1], {n: drawing.line(*looks[n]) for n in row.lines}, beyond=names, longest=LONGEST
            )
    return figure


def _x_axis(axis: Any, column: str, row: Panels) -> None:
    """From 0, with few numbers; below a number of steps the tokens seen in so many, on average."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=column == "lag", steps=[1, 2, 2.5, 5, 10]))
    tokens = pd.Series([line.tokens_a_step for line in row.lines.values()], dtype=float).median()
    if column == "lag" and tokens > 0:
        axis.xaxis.set_major_formatter(
            FuncFormatter(lambda steps, _: f"{steps:.0f}\n{_rounded(steps * tokens)}")
        )
        axis.set_xlabel(f"{AXES[column]}\ntokens")
    else:
        axis.set_xlabel(AXES[column])


def _rounded(count: float) -> str:
    """Three significant digits: 12.3k."""
    return drawing.tick(float(f"{count:.3g}")) if count >= 1 else "0"


def _loss(axis: Any, line: Course, column: str, light: bool, colour: str, dash: str) -> None:
    """Each seed light, their median dark, a dot for the test after an epoch, a cross where one diverged."""
    look = {"color": colour, "linestyle": dash}
    for one in line.steps if light and len(line.steps) > 1 else ():
        axis.plot(one[column].to_numpy(), one["loss"].to_numpy(), **look, **LIGHT)
    axis.plot(
        line.middle_steps[column].to_numpy(), line.middle_steps["loss"].to_numpy(), **look, linewidth=1.5
    )
    tested = line.middle_epochs.iloc[:: _stride(line)]
    axis.plot(tested[column].to_numpy(), tested["test_loss"].to_numpy(), color=colour, linestyle="", **DOT)
    if len(line.broken):
        axis.plot(line.broken[column], line.broken["loss"], color=colour, linestyle="", **CROSS)


def _stride(line: Course) -> int:
    return max(1, -(-len(line.middle_epochs) // DOTS))


def _accuracy(axis: Any, line: Course, column: str, light: bool, colour: str, dash: str) -> None:
    look = {"color": colour, "linestyle": dash}
    for one in line.epochs if light and len(line.epochs) > 1 else ():
        axis.plot(one[column].to_numpy(), one["accuracy"].to_numpy(), **look, **LIGHT)
    tested = line.middle_epochs
    axis.plot(
        tested[column].to_numpy(),
        tested["accuracy"].to_numpy(),
        **look,
        **DOT,
        linewidth=1.5,
        markevery=_stride(line),
    )


def _y_axis(axis: Any, row: Panels, unit: str) -> None:
    if row.accuracy:
        values = [
            *(v for line in row.lines.values() for one in line.epochs for v in one["accuracy"].dropna()),
            *(r.value for r in row.across),
        ]
        margin = max(0.05 * (max(values) - min(values)), 0.01)
        axis.set_ylim(min(values) - margin, max(values) + margin)
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        axis.set_ylabel("accuracy")
        return
    low, high, log = axis_of(*_seen(row))
    if log:
        drawing.log_axis(axis.yaxis, low, high)
    else:
        axis.set_ylim(low, high)
    axis.set_ylabel(f"loss{unit}")
