"""What the page's script reads of a figure: the scales of its panels, and the names of its lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from ..units import power_of_ten

WHOLE = 3000  # points up to which a line is drawn with each of them, for the page reads them back
SCALES = ("linear", "log", "decades")  # those that the script can read values from
Look = tuple[str, str, str]


def mark(figure: Any) -> dict[str, dict[str, str]]:
    """Names the panels, lines and legends of a figure; returns the attributes of each, by its id in the SVG.

    A panel has `data-x` and `data-y`, its limits and scale; of decades, a tick at 2 says 10². A line that
    a legend names has `data-series`, the name, and its band has `data-band` too. The legend's entry has
    `data-legend`.
    """
    legends = {
        axes: {_look(handle): text.get_text() for handle, text in _entries(axes.get_legend())}
        for axes in figure.axes
        if axes.get_legend()
    }
    everywhere = {look: name for entries in legends.values() for look, name in entries.items()}
    found: dict[str, dict[str, str]] = {}
    for number, axes in enumerate(figure.axes, 1):
        for artist, attributes in _marked(axes, legends.get(axes, everywhere)):
            identity = f"axes_{number}" if artist is axes else f"mark_{len(found)}"
            artist.set_gid(identity)
            found[identity] = attributes
    return found


def _entries(legend: Any) -> Iterator[tuple[Any, Any]]:
    """The lines that a legend shows, with their texts."""
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=False):
        if isinstance(handle, Line2D):
            yield handle, text


def _look(line: Any) -> Look:
    return _hex(line.get_color()), str(line.get_linestyle()), str(line.get_marker())


def _hex(colour: Any) -> str:
    return str(to_hex(colour))


def _marked(axes: Any, entries: dict[Look, str]) -> Iterator[tuple[Any, dict[str, str]]]:
    """Each artist of a panel that the script needs, with its attributes."""
    if legend := axes.get_legend():
        for entry in _entries(legend):
            yield from ((artist, {"data-legend": entry[1].get_text()}) for artist in entry)
    scales = {"data-x": _scale(axes.xaxis), "data-y": _scale(axes.yaxis)}
    if axes.name != "rectilinear" or not axes.lines or not all(scales.values()):
        return
    yield axes, scales
    for line in axes.lines:
        if name := _named(_look(line), entries):
            if len(line.get_xdata()) <= WHOLE:
                line.get_path().should_simplify = False
            yield line, {"data-series": name}
    bands = [one for one in axes.collections if isinstance(one, PolyCollection)]
    for band in bands:
        colours = {_hex(colour) for colour in band.get_facecolor()}
        if len(colours) == 1 and (name := _named((colours.pop(), "", ""), entries)):
            yield band, {"data-series": name, "data-band": ""}


def _scale(axis: Any) -> str:
    """The limits, and what lies between them; nothing for a scale that the script does not know."""
    decades = axis.get_major_formatter()(2.0, 0) == power_of_ten(2.0)
    kind = "decades" if axis.get_scale() == "linear" and decades else axis.get_scale()
    low, high = map(float, axis.get_view_interval())
    return f"{low!r} {high!r} {kind}" if kind in SCALES else ""


def _named(look: Look, entries: dict[Look, str]) -> str:
    """The entry that looks like this; else the only one of its colour."""
    if look in entries:
        return entries[look]
    alike = {name for (colour, *_), name in entries.items() if colour == look[0]}
    return alike.pop() if len(alike) == 1 else ""
