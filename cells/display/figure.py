"""The figure of a result, drawn from its frame alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

LOW, HIGH = 0.25, 0.75  # quartiles over samples, of the band
MOST_NAMES = 12  # entries of a legend
FEW = 16  # points of a line that are marked
WIDE = 100  # a ratio of values from which on an axis of names is logarithmic


def new_axes() -> Axes:
    """The axes of a new figure."""
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def draw(frame: pandas.DataFrame, axis: str | None, drawn: tuple[str, ...], text: str, ax: Axes) -> None:
    """Lines along an axis; bars of single numbers; the text, where there is no number to draw."""
    columns = _numbers(frame, axis, drawn)
    if axis is not None and columns and frame[axis].notna().any():
        _lines(frame[frame[axis].notna()], axis, columns, ax)
    elif axis is None and columns:
        _bars(frame, columns, ax)
    else:
        ax.set_axis_off()
        ax.text(0.5, 0.5, text, ha="center", va="center", wrap=True, parse_math=False)


def _numbers(frame: pandas.DataFrame, axis: str | None, drawn: tuple[str, ...]) -> list[str]:
    """The columns to draw, those of mappings under their own names; all numbers where none is named."""
    numbers = frame.select_dtypes("number").columns.drop([axis or "", "sample"], errors="ignore")
    chosen = [c for c in numbers if any(c == name or c.startswith(f"{name}_") for name in drawn)]
    if not drawn and axis is not None:
        chosen = [c for c in numbers if frame.loc[frame[axis].notna(), c].notna().any()]
    return chosen or ([] if drawn else list(numbers))


def _lines(frame: pandas.DataFrame, axis: str, columns: list[str], ax: Axes) -> None:
    """A line for each column, and for each name where the frame has several results."""
    groups: Any = frame.groupby("name", sort=False) if _several(frame, axis) else [("", frame)]
    for name, rows in groups:
        for column in columns:
            label = " ".join(word for word in (str(name), column if len(columns) > 1 else "") if word)
            _line(rows, axis, column, label, ax)
    ax.set_xlabel(_words(axis))
    if len(columns) == 1:  # of several the legend says which is which
        ax.set_ylabel(_words(columns[0]))
    if isinstance(frame[axis].iloc[0], str):
        ax.tick_params("x", rotation=90)
    values = frame[columns].to_numpy(float)
    positive = values[np.isfinite(values) & (values > 0)]
    if isinstance(frame[axis].iloc[0], str) and positive.size and positive.max() > WIDE * positive.min():
        ax.set_yscale("log")
    handles, labels = ax.get_legend_handles_labels()
    if any(labels):
        ax.legend(handles[:MOST_NAMES], labels[:MOST_NAMES], frameon=False)


def _line(rows: pandas.DataFrame, axis: str, column: str, label: str, ax: Axes) -> None:
    values = rows[column].astype(float).replace([np.inf, -np.inf], np.nan)  # ends the line there
    over = values.groupby(rows[axis], sort=False)
    middle = over.median()
    places = list(middle.index)
    named = isinstance(places[0], str)
    marker, style = "o" if named or len(middle) < FEW else "", "" if named else "-"
    (line,) = ax.plot(places, middle.to_numpy(), label=label or None, marker=marker, linestyle=style)
    if over.size().max() > 1:
        band = over.quantile(LOW).to_numpy(), over.quantile(HIGH).to_numpy()
        ax.fill_between(places, *band, color=line.get_color(), alpha=0.2, linewidth=0)


def _bars(frame: pandas.DataFrame, columns: list[str], ax: Axes) -> None:
    """A bar for each number of one result; of several a group for each name."""
    numbers = frame[columns].astype(float).replace([np.inf, -np.inf], np.nan)
    if "name" not in frame:
        ax.barh(list(map(_words, columns)), numbers.iloc[0])
        ax.invert_yaxis()  # the first lies on top
        return
    if not numbers.to_numpy().any():
        ax.set_xlim(0, 1)  # shares that are all 0 stand at the left, not in the middle
    height = 0.8 / len(columns)
    for k, column in enumerate(columns):
        at = np.arange(len(frame)) + (k - (len(columns) - 1) / 2) * height
        ax.barh(at, numbers[column], height=0.9 * height, label=_words(column))
    ax.set_yticks(range(len(frame)), list(frame["name"]))
    ax.invert_yaxis()
    ax.legend(frameon=False)


def _several(frame: pandas.DataFrame, axis: str) -> bool:
    """Whether the frame has several results by name; a result may have an axis of that name too."""
    return "name" in frame and axis != "name"


def _words(name: str) -> str:
    return name.replace("_", " ")
