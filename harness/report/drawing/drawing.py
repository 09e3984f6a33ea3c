"""How figures look and become SVG: one palette, panels with legends outside, ids unique in a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ..units import digits, power_of_ten

# seaborn's "colorblind" without its two that fade on white
COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#808080")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH = 11.0  # inches
LEGIBLE = 0.975  # of its size, to which a page may shrink a figure: 8.5 points are 11 pixels then
# up to so many decades on a log axis: ticks at these multiples of a power of ten
SUBS = ((0.8, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)), (1.3, (1.0, 2.0, 5.0)), (2.2, (1.0, 3.0)), (np.inf, (1.0,)))
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the same in every figure that is given the same names."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def apart(known: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """The known colours; where these are too many to be told apart, colours for one panel's names."""
    return known if len(known) <= len(COLOURS) else colours(names)


def shades(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each of some ordered names: dark to light, and to no lighter than white paper allows."""
    import seaborn as sns

    return dict(
        zip(names, sns.color_palette("inferno", as_cmap=True)(np.linspace(0, 0.65, len(names))), strict=True)
    )


@contextmanager
def style(name: str) -> Iterator[None]:
    """Drawing settings of this report alone, whatever a matplotlibrc says; name salts the ids of the SVG."""
    import matplotlib.style
    import seaborn as sns

    settings = {**sns.axes_style("whitegrid"), **sns.plotting_context("paper"), "grid.color": "#e4e4e4"}
    settings |= {"axes.edgecolor": "#999999"}
    settings |= {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.size": 9,
        "lines.linewidth": 1.6,
    }
    settings |= {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    }
    settings |= {f"{part}.labelsize": 9 for part in ("axes", "xtick", "ytick")}
    settings |= {
        "axes.titlesize": 9.5,
        "legend.fontsize": 9,
        "legend.title_fontsize": 9,
        "legend.frameon": False,
    }
    with matplotlib.style.context(settings, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing"
        )  # a name may be in any script; the reader's font draws it
        yield


def grid(
    rows: int,
    columns: int,
    height: float,
    legend: float,
    *,
    left: float = 0.75,
    bottom: float = 0.6,
    gap: float = 0.3,
    between: float = 0.75,
    widest: float = 5.5,
    **share: Any,
) -> tuple[Any, Any]:
    """Figure and (rows, columns) axes.

    In inches: height and widest of a panel, legend (room at the right), the margins left and bottom, the gap
    beside panels and between them one above the other.
    """
    from matplotlib.figure import Figure

    width = min(widest, (WIDTH - left - legend - 0.15 - gap * (columns - 1)) / columns)
    top = 0.45
    size = (
        left + columns * width + gap * (columns - 1) + 0.15 + legend,
        top + bottom + rows * height + between * (rows - 1),
    )
    figure = Figure(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False, **share)
    figure.subplots_adjust(
        left=left / size[0],
        right=1 - (legend + 0.15) / size[0],
        top=1 - top / size[1],
        bottom=bottom / size[1],
        wspace=gap / width,
        hspace=between / height,
    )
    return figure, axes


def shortened(text: str, longest: int) -> str:
    """At most `longest` characters, the middle given up."""
    # matplotlib leaves out of a legend what begins with an underscore
    text = " " + text if text.startswith("_") else text
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[len(text) - half :]}"


def legend_room(names: Sequence[str], longest: int = 44) -> float:
    """Inches that a legend of these names needs."""
    return 0.75 + 0.078 * max((min(len(name), longest) for name in names), default=0)


def legend(
    panel: Any, lines: dict[str, Any], title: str = "", beyond: float = 0.0, longest: int = 44
) -> None:
    """A legend outside a panel, at its upper right, `beyond` so many inches; lines: by name what is drawn."""
    names = [shortened(name, longest) for name in lines]
    right = 1.02 + beyond / (panel.get_position().width * panel.figure.get_figwidth())
    corner = {"loc": "upper left", "bbox_to_anchor": (right, 1.03), "alignment": "left"}
    panel.legend(list(lines.values()), names, title=title or None, **corner)


def label_lowest(axes: Any, count: int, name: str) -> None:
    """Hides all but the first `count` panels; the lowest of each column has the x axis' numbers and name."""
    for unused in axes.flat[count:]:
        unused.set_visible(False)
    for column in axes.T:
        shown = [axis for axis in column if axis.get_visible()]
        if shown:
            shown[-1].set_xlabel(name)
            shown[-1].tick_params(labelbottom=True)


def line(colour: Any, dash: Any = "-", marker: str = "") -> Any:
    """What a legend shows of a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=dash, marker=marker, markersize=5)


def log_axis(axis: Any, low: float, high: float, form: Callable[[float], str] | None = None) -> None:
    """A log scale over at least a factor of 4, with ticks that a person reads (1k, 10k) or powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    middle, half = np.sqrt(low) * np.sqrt(high), np.sqrt(high / low)
    factor = max(half * 1.15, half**1.1, 2.0)  # a mark at an end has room, however many decades there are
    subs = next(digits for most, digits in SUBS if 2 * np.log10(factor) <= most)
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(middle / factor, middle * factor)
    axis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: (form or tick)(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def tick(value: float) -> str:
    """A tick of a log axis: 0.02, 3, 10k; a power of ten where that would be long."""
    if 1e-3 <= value < 1e13:
        scale, name = next(
            (s, n) for s, n in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (0, "")) if value >= s
        )
        return f"{value / (scale or 1):.4g}{name}"
    return power_of_ten(np.log10(value)) if abs(np.log10(value) % 1) < 1e-6 else digits(value)


def spaced(values: Sequence[float], most: int = 5) -> list[float]:
    """Up to about `most` of sorted positive values that stand apart on a log axis, the first among them."""
    if len(values) < 2:
        return list(values)
    apart, kept = np.log(values[-1] / values[0]) / most, [values[0]]
    for value in values[1:]:
        if np.log(value / kept[-1]) >= apart * 0.99:
            kept.append(value)
    return kept


def _powers(figure: Any) -> Iterator[Any]:
    """Tick labels that Matplotlib itself writes as mathematics; a name with dollar signs is a name."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for label in axis.get_ticklabels(which="both"):
                if label.get_text().startswith("$\\mathdefault{"):
                    yield label


def svg(figure: Any, name: str, title: str) -> str:
    """The figure as SVG to put into a page: no metadata, every id and reference prefixed with name."""
    from .marks import mark

    buffer = io.StringIO()
    if layout := figure.get_layout_engine():  # where things stand is known after it
        layout.execute(figure)
    for label in _powers(figure):
        label.set_parse_math(True)
    marked = mark(figure)
    edges, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    inside = edges.x0 >= 0 and edges.y0 >= 0 and edges.x1 <= width and edges.y1 <= height
    # the figure of a probe from elsewhere may be laid out by nobody: then the page grows around it
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches=None if inside else "tight")
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)
    # was a style sheet, which would reach into the page; where it is too wide a figure scrolls
    least = LEGIBLE * float(root.get("width", "0pt").removesuffix("pt")) * 96 / 72
    root.set("style", f"stroke-linejoin: round; stroke-linecap: butt; min-width: {least:.0f}px")
    decades = any(value.endswith(" decades") for one in marked.values() for value in one.values())
    places = 4 if decades else 2  # a hundredth of a point is much of a decade
    for element in root.iter():
        for key, value in marked.get(element.get("id", ""), {}).items():
            element.set(key, value)
        for key, value in element.attrib.items():
            element.set(key, _rounded(value, places) if key == "d" else _prefixed(key, value, name))
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")


def _rounded(path: str, places: int) -> str:
    """The path with so many decimals of a point, where six say no more and take twice the room."""
    return " ".join(
        re.sub(
            r"\d+\.\d+", lambda found: f"{float(found[0]):.{places}f}".rstrip("0").rstrip("."), path
        ).split()
    )


def _prefixed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href") and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")
