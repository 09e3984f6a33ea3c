"""Time and memory of the gradient's diagnostics against T, up to a million steps (`nox -s long-sequences`).

H = 64, I = 8, B = 1, x a float32 memory map, one thread. Every figure is of a process of its own. Its peak is
that of the resident memory beyond the peak of a short run, which makes everything ready; the memory map's own
pages count. The memory of the plain programs grows with T, so that these are run up to 100 000 steps and
taken as proportional beyond. Writes long_sequences.{csv,md,svg} into results/reference/gradients.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellbench import cells

from ..gradients import lag_profile, lyapunov_spectrum
from ..measure.worker import limited
from ..report.drawing import drawing
from ..report.units import quantity
from ..store import atomic, provenance
from .made import made

FOLDER = Path("results/reference/gradients")
CELLS = ("elman", "lstm")
STEPS = (1_000, 10_000, 100_000, 1_000_000)
PLAIN = 100_000  # steps up to which the plain forward and backward is run
INPUTS, HIDDEN = 8, 64
TITLE = "Gradients of long sequences: time and memory against the number of steps"


@dataclass(frozen=True)
class Cost:
    """What one run costs: processor and wall time, and peak resident bytes beyond a short run's.

    load   of the machine, the mean over the last minute
    """

    cell: str
    what: str
    steps: int
    seconds: float
    wall_s: float
    peak_bytes: int
    load: float


def plain(direction: str) -> Callable[..., None]:
    """The numpy program in float64."""

    def run(cell: cells.GatedCell, params: dict[str, Any], x: np.ndarray) -> None:
        program = cells.backend("numpy").prepare(
            cell, params, steps=len(x), batch=1, dtype="float64", direction=direction
        )
        program.load(x)
        program.run()

    return run


WHAT: dict[str, Callable[..., Any]] = {
    "forward": plain("forward"),
    "forward and backward": plain("backward"),
    "lag_profile": lag_profile,
    "lyapunov_spectrum(k=1)": lambda cell, params, x: lyapunov_spectrum(cell, params, x, k=1),
}


def measure(name: str, what: str, steps: int, file: str) -> Cost:
    """Runs in a process of its own; file holds (T, 1, I) float32."""
    cell = cells.get(name)
    params = cell.init(INPUTS, HIDDEN)
    x = np.memmap(file, np.float32, "r", shape=(steps, 1, INPUTS))
    WHAT[what](cell, params, np.array(x[:300]))  # compiles, or reads what was compiled
    before, start, wall = _peak(), time.process_time(), time.perf_counter()
    WHAT[what](cell, params, x)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    return Cost(name, what, steps, seconds, wall, _peak() - before, os.getloadavg()[0])


def _peak() -> int:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def run_all(steps: tuple[int, ...]) -> list[Cost]:
    """One after the other; prints each as soon as it is there."""
    costs = []
    with limited(1), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.float32"
        np.random.default_rng(0).standard_normal((max(steps), INPUTS), np.float32).tofile(file)
        for name in CELLS:
            for what in WHAT:
                for count in steps:
                    if what.startswith("forward") and count > PLAIN:
                        continue
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        cost: Cost = pool.apply(measure, (name, what, count, str(file)))
                    costs.append(cost)
                    print(
                        name,
                        what,
                        count,
                        quantity(cost.seconds, "s"),
                        quantity(cost.peak_bytes, "B"),
                        sep=" | ",
                        flush=True,
                    )
    return costs


def allowed_s(costs: list[Cost], cell: str, steps: int) -> float:
    """1.5 plain forward and backward, and one forward."""
    seconds = {(c.what, c.steps): c.seconds for c in costs if c.cell == cell}
    longest = max(count for what, count in seconds if what == "forward" and count <= steps)
    plain_s = 1.5 * seconds["forward and backward", longest] + seconds["forward", longest]
    return plain_s * steps / longest


def markdown(costs: list[Cost]) -> str:
    """The committed page."""
    facts = provenance.fingerprint()
    lines = [
        "# Gradients of long sequences",
        "",
        (
            f"H = {HIDDEN}, I = {INPUTS}, B = 1, x a float32 memory map, one thread of"
            f" {facts.get('cpu', 'this machine')}; load {min(c.load for c in costs):.1f} to"
            f" {max(c.load for c in costs):.1f}. Time is that of the processor, which others may have used at"
            " the same time. It is to be at most that of 1.5 plain forward and backward and one forward of"
            " the numpy program (at a million steps, ten times those of 100 000), and peak memory at most 1"
            " GB (0 B: no more than the short run before had used)."
        ),
        "",
        made("nox -s long-sequences"),
        "",
        "![time and memory](long_sequences.svg)",
        "",
        "| cell | what | T | time | a step | of what is allowed | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for c in costs:
        share = (
            f"{c.seconds / allowed_s(costs, c.cell, c.steps):.2f}" if "(" in c.what or "_" in c.what else ""
        )
        figures = (
            quantity(c.seconds, "s"),
            quantity(c.seconds / c.steps, "s"),
            share,
            quantity(c.peak_bytes, "B"),
        )
        lines.append("| " + " | ".join([c.cell, c.what, f"{c.steps:,}", *figures]) + " |")
    return "\n".join(lines) + "\n"


def draw(costs: list[Cost]) -> str:
    """SVG: time and peak memory against T, a colour a kind of run, a dash a cell."""
    from matplotlib.figure import Figure

    colour, dash = drawing.colours(list(WHAT)), dict(zip(CELLS, drawing.DASHES, strict=False))
    with drawing.style("long_sequences"):
        figure = Figure(figsize=(drawing.WIDTH, 4.2), layout="constrained")
        time_axes, memory_axes = figure.subplots(1, 2)
        for name in CELLS:
            for what in WHAT:
                row = [c for c in costs if (c.cell, c.what) == (name, what)]
                steps = [c.steps for c in row]
                style = {"color": colour[what], "linestyle": dash[name], "marker": "o"}
                time_axes.plot(steps, [c.seconds for c in row], markersize=4, **style)
                memory_axes.plot(steps, [c.peak_bytes / 1e6 or np.nan for c in row], markersize=4, **style)
        memory_axes.axhline(1000, color="#999999", linewidth=0.8)
        for axes, label in (
            (time_axes, "processor time [s]"),
            (memory_axes, "peak memory beyond a short run's [MB]"),
        ):
            axes.set(xlabel="steps T", ylabel=label)
            drawing.log_axis(axes.xaxis, min(STEPS), max(STEPS))
            drawing.log_axis(
                axes.yaxis,
                *np.nanpercentile(np.concatenate([line.get_ydata() for line in axes.lines]), [0, 100]),
            )
        lines = {name: drawing.line("#333333", dash[name]) for name in CELLS}
        lines |= {what: drawing.line(colour[what], "-", "o") for what in WHAT}
        figure.legend(list(lines.values()), list(lines), loc="outside right center")
        return drawing.svg(figure, "long_sequences", TITLE)


def write(folder: Path, costs: list[Cost]) -> None:
    """long_sequences.md, .csv (numbers in full) and .svg."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "long_sequences.md", markdown(costs))
    with (folder / "long_sequences.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Cost.__dataclass_fields__)
        rows.writerows(map(astuple, costs))
    atomic.write_text(folder / "long_sequences.svg", draw(costs))


def main(arguments: list[str] | None = None) -> None:
    """Measures, and writes."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.long_sequences",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help=f"folder to write to (default: {FOLDER})"
    )
    parser.add_argument(
        "--longest", type=int, default=max(STEPS), help="steps of the longest sequence (default: a million)"
    )
    given = parser.parse_args(arguments)
    write(given.results, run_all(tuple(s for s in STEPS if s <= given.longest)))
    print(f"Written to {given.results}")


if __name__ == "__main__":
    main()
