"""The figures of a report. Each returns None when there is nothing to draw, so that no panel is ever empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from . import drawing
from .observations import DIRECTIONS, FEWEST, SETTING, estimates, of_metric, of_probe, setting_text, unique, varying
from .units import power_of_ten

MOST_PANELS = 64
POINTS = 300  # of a curve, at most
UNDERFLOW, OVERFLOW = -330.0, 310.0  # decades: a little beyond what float64 can hold; the axis is cut there
NAMES = ("throughput", "gradient_decay", "training", "clipping")


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its file name without .svg, heading, caption, and the SVG itself."""

    name: str
    heading: str
    caption: str
    svg: str


def figures(frame: pd.DataFrame) -> list[Figure]:
    """All figures for which the prepared frame has data."""
    backends, cells = drawing.colours(sorted(unique(frame["backend"]))), drawing.colours(unique(frame["label"]))
    drawn = (throughput(frame, backends), gradient_decay(frame, cells), training(frame, backends, cells), clipping(frame))
    return [figure for figure in drawn if figure]


def _finish(name: str, heading: str, caption: str, draw: Callable[[], Any]) -> Figure:
    with drawing.style(name):
        return Figure(name, heading, caption, drawing.svg(draw(), name, heading))


def _parts(part: pd.DataFrame, keys: Sequence[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """The rows by key values, in order of appearance."""
    return list(part.groupby(list(keys), sort=False))


def _chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _cut(panels: list) -> tuple[list, str]:
    """The first panels, and what to say of the rest."""
    over = len(panels) > MOST_PANELS
    return panels[:MOST_PANELS], f" The first {MOST_PANELS} of {len(panels)} panels; the tables have all." if over else ""


def _titled(axes: Any, text: str) -> None:
    """A title over a panel, in at most two lines of its width."""
    longest = max(int(axes.get_position().width * axes.figure.get_figwidth() / 0.08), 12)
    at = longest if ":" not in text[:longest] else text.rindex(":", 0, longest) + 1
    lines = (text,) if len(text) <= longest else (text[:at], drawing.shortened(text[at:], longest))
    axes.set_title("\n".join(lines), loc="left", pad=5)


def _at(keys: Sequence[str], values: Sequence[Any]) -> str:
    text = setting_text(dict(zip(keys, values, strict=True)), keys)
    return f" · {text}" if text else ""


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


# --- throughput ---------------------------------------------------------------------------------------------------------------


def throughput(frame: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """Steps per second against T; where every case has one T, a point for each cell and backend."""
    part = of_metric(of_probe(frame, "throughput"), "steps_per_s")
    part = part[np.isfinite(part["value"]) & (part["value"] > 0)]
    if not len(part):
        return None
    extra = varying(part)
    rates = estimates(part, ["label", *extra, "direction", "backend", "steps"], "process")
    processes = int(rates["units"].max())
    over = f"median of {_number(processes, 'process')}{', {}: range over them' if processes >= FEWEST else ''}."
    if len(unique(rates["steps"])) > 1:
        panels, rest = _cut(_parts(rates, ["label", *extra]))
        caption = "Time steps per second (a batch advances together) against the sequence length T; " + over.format("band")
        return _finish("throughput", "Throughput", caption + rest, lambda: _rate_curves(panels, extra, colours))
    caption = f"Time steps per second at T = {unique(rates['steps'])[0]}, further right is faster; {over.format('bar')}"
    return _finish("throughput", "Throughput", caption, lambda: _rate_points(rates, extra, colours))


def _rate_curves(panels: list, extra: list[str], colours: dict[str, str]) -> Any:
    """A row of panels for each direction, wrapped after four cells; all on the same axes."""
    every = pd.concat([rows for _, rows in panels])
    directions = [d for d in (*DIRECTIONS, "") if d in set(every["direction"])]
    blocks = _chunks(panels, 4)
    shown = [name for name in colours if name in set(every["backend"])]
    room = drawing.legend_room(shown, 24)
    figure, axes = drawing.grid(
        len(blocks) * len(directions), min(4, len(panels)), 1.75, room, left=0.95, sharex=True, sharey=True
    )
    _rate_axes(axes[0, 0], every)
    for (b, block), (d, direction) in product(enumerate(blocks), enumerate(directions)):
        row = axes[b * len(directions) + d]
        for axis, (values, rows) in zip(row, block, strict=False):
            _rate_panel(axis, rows[rows["direction"] == direction], colours)
            _titled(axis, f"{values[0]}{_at(extra, values[1:])}")
        row[0].set_ylabel(f"{DIRECTIONS.get(direction, '')}\nsteps/s".strip())
        for unused in row[len(block) :]:
            unused.set_visible(False)
    _label_lowest(axes)
    last = axes[0][min(4, len(panels)) - 1]
    drawing.legend(last, {n: drawing.line(colours[n], marker=_marker(n, colours)) for n in shown}, "backend")
    return figure


def _marker(name: str, names: dict[str, str]) -> str:
    return drawing.MARKERS[list(names).index(name) % len(drawing.MARKERS)]


def _rate_panel(axis: Any, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    for backend, one in rows.sort_values("steps").groupby("backend", sort=False):
        axis.plot(one["steps"], one["median"], color=colours[backend], marker=_marker(backend, colours), markersize=5)
        axis.fill_between(one["steps"], one["low"], one["high"], color=colours[backend], alpha=0.2, linewidth=0)


def _rate_axes(first: Any, every: pd.DataFrame) -> None:
    """Log scales and ticks at the T that were run, on one panel: the others share them."""
    from matplotlib.ticker import FixedLocator

    low, high = every[["median", "low"]].min().min(), every[["median", "high"]].max().max()
    steps = sorted(every["steps"].unique())
    drawing.log_axis(first.xaxis, steps[0], steps[-1], lambda value: f"{value:.0f}")
    drawing.log_axis(first.yaxis, low, high)
    first.xaxis.set_major_locator(FixedLocator(drawing.spaced(steps)))


def _label_lowest(axes: Any) -> None:
    """Numbers and name of the x axis under the lowest panel of each column."""
    for column in axes.T:
        lowest = [axis for axis in column if axis.get_visible()][-1]
        lowest.set_xlabel("T (steps)")
        lowest.tick_params(labelbottom=True)


def _rate_points(rates: pd.DataFrame, extra: list[str], colours: dict[str, str]) -> Any:
    """A panel for each direction, a line for each cell, a point for each backend."""
    names = {values: f"{values[0]}{_at(extra, values[1:])}" for values, _ in _parts(rates, ["label", *extra])}
    place = {values: i for i, values in enumerate(names)}
    directions = [d for d in (*DIRECTIONS, "") if d in set(rates["direction"])]
    shown = [name for name in colours if name in set(rates["backend"])]
    apart = 0.6 / max(len(shown), 1)
    height = max(1.2, len(names) * max(0.3, 0.13 * len(shown)))
    left = 0.3 + 0.075 * max(min(len(name), 40) for name in names.values())
    figure, axes = drawing.grid(1, len(directions), height, drawing.legend_room(shown, 24), left=left, sharey=True, sharex=True)
    for axis, direction in zip(axes[0], directions, strict=True):
        for row in rates[rates["direction"] == direction].to_dict("records"):
            y = place[tuple(row[k] for k in ("label", *extra))] + apart * (shown.index(row["backend"]) - (len(shown) - 1) / 2)
            _rate_point(axis, row, y, colours)
        axis.set_title(DIRECTIONS.get(direction, ""), loc="left", pad=5)
        axis.set_xlabel("steps/s")
        drawing.log_axis(axis.xaxis, rates[["median", "low"]].min().min(), rates[["median", "high"]].max().max())
    axes[0][0].set_yticks(range(len(names)), [drawing.shortened(name, 40) for name in names.values()])
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    drawing.legend(axes[0][-1], {n: drawing.line(colours[n], "", _marker(n, colours)) for n in shown}, "backend")
    return figure


def _rate_point(axis: Any, row: dict[str, Any], y: float, colours: dict[str, str]) -> None:
    colour = colours[row["backend"]]
    axis.plot(row["median"], y, marker=_marker(row["backend"], colours), color=colour, markersize=6, linestyle="")
    if np.isfinite(row["low"]):
        axis.hlines(y, row["low"], row["high"], color=colour, linewidth=1.6)


# --- gradient decay -----------------------------------------------------------------------------------------------------------


def gradient_decay(frame: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """The norm of dL/d(state) against lag, in powers of ten: log norms are drawn as they are, so nothing over- or underflows."""
    part = of_metric(of_probe(frame, "gradient_decay"), "log_norm")
    part = part[part["steps"] == part.groupby("run")["steps"].transform("max")]
    part = part.assign(decades=part["value"].where(np.isfinite(part["value"])) / np.log(10)).dropna(subset=["decades", "lag"])
    if not len(part):
        return None
    extra = varying(part)
    groups = _parts(part.assign(all=""), [*extra, "all"])
    panels = [(values[:-1], rows, names) for values, rows in groups for names in _chunks(unique(rows["label"]), 8)]
    panels, rest = _cut(panels)
    seeds, samples = part["seed"].nunique(), part["sample"].nunique()
    cut = part["decades"].min() < UNDERFLOW or part["decades"].max() > OVERFLOW
    caption = (
        "Norm of the gradient of the loss with respect to the joint state, against how many steps that state lies before the "
        f"last. Line: mean of the log over {_number(samples, 'sample')} and {_number(seeds, 'seed')}"
        f"{'; band: range over seeds' if seeds > 1 else ''}. A gap is a gradient of exactly 0."
    )
    caption += " The axis ends where float64 does; lines go on beyond it." if cut else ""
    return _finish("gradient_decay", "Gradient norm against lag", caption + rest, lambda: _decay_panels(panels, extra, colours))


def _decay_panels(panels: list, extra: list[str], colours: dict[str, str]) -> Any:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    room = drawing.legend_room([name for _, _, names in panels for name in names])
    height = 3.2 if len(panels) == 1 else 2.6
    figure, axes = drawing.grid(len(panels), 1, height, room, left=0.85, widest=8.0, sharex=True, sharey=True)
    lows, highs = [], []
    for axis, (values, rows, names) in zip(axes[:, 0], panels, strict=True):
        for name in names:
            low, high = _decay_line(axis, rows[rows["label"] == name], colours[name])
            lows.append(low)
            highs.append(high)
        _titled(axis, _at(extra, values).removeprefix(" · "))
        axis.set_ylabel("gradient norm")
        axis.tick_params(labelbottom=True)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        drawing.legend(axis, {name: drawing.line(colours[name]) for name in names}, "cell")
    low, high = max(min(lows), UNDERFLOW), min(max(highs), OVERFLOW)
    low, high = min(low, OVERFLOW - 1), max(high, UNDERFLOW + 1)
    axes[0, 0].set_ylim(low - max(0.04 * (high - low), 0.5), high + max(0.04 * (high - low), 0.5))
    axes[-1, 0].set_xlabel("lag (steps before the last)")
    return figure


def _decay_line(axis: Any, rows: pd.DataFrame, colour: str) -> tuple[float, float]:
    """Draws one cell; returns its lowest and highest mean, in decades."""
    lags = np.arange(rows["lag"].min(), rows["lag"].max() + 1)
    by_seed = rows.groupby(["lag", "seed"])["decades"].mean().unstack().reindex(lags)
    mean = by_seed.mean(axis=1)
    keep = slice(None, None, max(1, len(lags) // POINTS)) if not mean.isna().any() else slice(None)
    axis.plot(lags[keep], mean.to_numpy()[keep], color=colour)
    if by_seed.shape[1] > 1:
        low, high = by_seed.min(axis=1).to_numpy(), by_seed.max(axis=1).to_numpy()
        axis.fill_between(lags[keep], low[keep], high[keep], color=colour, alpha=0.15, linewidth=0)
    return float(mean.min()), float(mean.max())


# --- training -----------------------------------------------------------------------------------------------------------------


def training(frame: pd.DataFrame, backends: dict[str, str], cells: dict[str, str]) -> Figure | None:
    """Training loss against time and steps: colour is the cell, dash the backend."""
    part = of_metric(of_probe(frame, "training"), "loss", "elapsed_s", "trivial_loss")
    loss = _with_a_finite_loss(of_metric(part, "loss"), ["task", "label", "backend"])
    part = part[part["label"].isin(loss["label"]) & part["task"].isin(loss["task"])]
    if not len(loss):
        return None
    extra = varying(part, [key for key in SETTING if key not in ("input_size", "batch")])
    count = len(unique(loss["backend"]))
    together = 8 if count == 1 else max(1, min(4, 8 // count))
    drawn = {values: unique(rows["label"]) for values, rows in _parts(loss, ["task", *extra])}
    groups = [(values, rows) for values, rows in _parts(part, ["task", *extra]) if values in drawn]
    panels, rest = _cut([(values, rows, names) for values, rows in groups for names in _chunks(drawn[values], together)])
    seeds = loss["seed"].nunique()
    unit = " (nats)" if set(loss["unit"]) == {"nats"} else ""
    smooth = loss.groupby(["case", "label", "backend", "task", "seed"], sort=False).size().max() > 200
    caption = (
        f"Training loss{unit} against training time (left) and optimiser steps (right). "
        f"{'Dark: median; light: each of ' if seeds > 1 else ''}{_number(seeds, 'seed')}. Dashed grey: best constant prediction."
        f"{' Smoothed by a running mean.' if smooth else ''}"
    )
    look = _looks(backends, cells)
    return _finish("training", "Training", caption + rest, lambda: _loss_panels(panels, extra, look, unit))


def _with_a_finite_loss(loss: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of those groups in which any loss can be drawn."""
    finite = loss.assign(finite=np.isfinite(loss["value"])).groupby(keys, sort=False)["finite"].transform("any")
    return loss[finite.astype(bool)]


def _looks(backends: dict[str, str], cells: dict[str, str]) -> Callable[[str, str], tuple[str, str]]:
    """How a line of (cell, backend) looks: the cell's colour, the backend's dash."""
    dashes = {name: drawing.DASHES[i % len(drawing.DASHES)] for i, name in enumerate(backends)}
    return lambda cell, backend: (cells[cell], dashes[backend])


def _loss_panels(panels: list, extra: list[str], look: Callable, unit: str) -> Any:
    lines = [_loss_lines(rows, names) for _, rows, names in panels]
    room = drawing.legend_room([name for panel in lines for name in panel])
    known = pd.concat([one for panel in lines for one in panel.values()])
    timed = [column for column in ("elapsed_s", "lag") if known[column].notna().any()]
    figure, axes = drawing.grid(len(panels), len(timed), 2.1, room, gap=0.35, sharey="row")
    for row, (values, rows, names), panel in zip(axes, panels, lines, strict=True):
        looks = {name: look(*key) for name, key in _line_keys(rows, names).items()}
        for axis, column in zip(row, timed, strict=True):
            for name, one in panel.items():
                _loss_line(axis, one, column, *looks[name])
            axis.set_xlabel("training time (s)" if column == "elapsed_s" else "optimiser steps")
            axis.set_xlim(left=0)
        _loss_axis(row, rows, unit)
        _titled(row[0], f"{values[0]}{_at(extra, values[1:])}")
        drawing.legend(row[-1], {name: drawing.line(*looks[name]) for name in panel})
    return figure


def _line_keys(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """'cell, backend' -> (cell, backend), in the order of names."""
    pairs = dict.fromkeys(rows[["label", "backend"]].itertuples(index=False, name=None))
    return {f"{cell}, {backend}": (cell, backend) for name in names for cell, backend in pairs if cell == name}


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


def smoothed(curve: pd.DataFrame) -> pd.DataFrame:
    """Beyond 200 points: a centred running mean of the loss over 1/50 of them, thinned to POINTS rows."""
    if len(curve) <= 200:
        return curve
    mean = curve["loss"].rolling(max(3, len(curve) // 50), center=True, min_periods=1).mean().where(curve["loss"].notna())
    return curve.assign(loss=mean).iloc[:: max(1, len(curve) // POINTS)]


def _loss_axis(row: Sequence[Any], rows: pd.DataFrame, unit: str) -> None:
    for axis in row:
        for value in of_metric(rows, "trivial_loss")["value"].dropna().unique()[:1]:
            axis.axhline(value, color="#777777", linestyle=(0, (4, 3)), linewidth=1.1)
    loss_scale(row[0])
    row[0].set_ylabel(f"loss{unit}")


def loss_scale(axis: Any) -> None:
    """A log scale if what is drawn is positive and spans more than a factor of 30; a spike does not set the upper limit."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()] or [np.ones(1)])
    drawn = drawn[np.isfinite(drawn)] if np.isfinite(drawn).any() else np.ones(1)
    low, high = drawn.min(), drawn.max()
    if low > 0 and high / low > 30:
        drawing.log_axis(axis.yaxis, low, min(high, np.median(drawn) * 1e4))
        return
    spike_free = max(np.quantile(drawn, 0.98) * 2, drawn[-1])  # the last line drawn is the trivial loss, where known
    top = min(high, spike_free) if high > 0 else high
    margin = 0.05 * (top - low) or 0.5
    axis.set_ylim(low - margin, top + margin)


# --- clipping -----------------------------------------------------------------------------------------------------------------


def clipping(frame: pd.DataFrame) -> Figure | None:
    """Training loss against steps for each way of clipping: median over seeds."""
    part = of_metric(of_probe(frame, "clipping"), "loss")
    extra = varying(part, ("task", *SETTING))
    part = _with_a_finite_loss(part, ["label", "backend", *extra])
    if not len(part):
        return None
    panels, rest = _cut(_parts(part, ["label", "backend", *extra]))
    caption = (
        "Training loss against optimiser steps by the largest gradient norm that is let through; "
        f"median over {_number(part['seed'].nunique(), 'seed')}. A gap is a step at which the median is not finite."
    )
    return _finish("clipping", "Gradient clipping", caption + rest, lambda: _clipping_panels(panels, extra))


def _clipping_panels(panels: list, extra: list[str]) -> Any:
    variants = unique(variant for _, rows in panels for variant in rows["variant"])
    colours, names = drawing.shades(variants), {v: v.removeprefix("max_norm=") for v in variants}
    columns = min(3, len(panels))
    room = drawing.legend_room(["largest norm", *names.values()])
    figure, axes = drawing.grid(-(-len(panels) // columns), columns, 1.9, room, gap=0.6)
    for axis, (values, rows) in zip(axes.flat, panels, strict=False):
        for variant, one in rows.groupby("variant", sort=False):
            _clipping_line(axis, one, colours[variant])
        loss_scale(axis)
        _titled(axis, f"{values[0]}, {values[1]}{_at(extra, values[2:])}")
        axis.set_xlabel("optimiser steps")
    for row in axes:
        row[0].set_ylabel("loss")
    for unused in axes.flat[len(panels) :]:
        unused.set_visible(False)
    shown = {names[v] or "–": drawing.line(colours[v]) for v in variants}
    drawing.legend(axes[0][columns - 1], shown, "largest norm")
    return figure


def _clipping_line(axis: Any, rows: pd.DataFrame, colour: Any) -> None:
    """The median over seeds, a loss that is not finite counting as the worst; gaps where it is not finite."""
    worst = rows.assign(loss=rows["value"].where(np.isfinite(rows["value"]), np.inf))
    middle = worst.groupby("lag", as_index=False)["loss"].median()
    curve = smoothed(middle.assign(loss=middle["loss"].where(np.isfinite(middle["loss"]))))
    axis.plot(curve["lag"], curve["loss"], color=colour)
