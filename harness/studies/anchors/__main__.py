"""Published and computed anchors of gradients in recurrent networks, each against a run (`nox -s anchors`).

    python -m cellbench.harness.studies.anchors [--results FOLDER]

Prints a table and writes it, with a figure, into results/reference/anchors. Exit code 1 where a figure is
outside its allowed range, which is set by the finite size of the run.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from functools import partial
from pathlib import Path

from ...store import atomic
from ..made import made
from . import initial_decay, learned, maps, random_network
from .anchor import Anchor, Group
from .figure import draw
from .running import PROCESSES, run_all

FOLDER = Path("results/reference/anchors")
HEADER = ("anchor", "published", "computed", "measured", "allowed", "finite-size note", "seconds", "verdict")
COLUMNS = (
    "section",
    "anchor",
    "published",
    "computed",
    "measured",
    "low",
    "high",
    "note",
    "seconds",
    "holds",
)
GROUPS: dict[str, tuple[Group, ...]] = {
    "Random tanh networks": (
        random_network.mean_field_figures,
        *(partial(random_network.largest_exponents, 400, 8, gain) for gain in random_network.PUBLISHED),
        *(partial(random_network.largest_exponents, 1600, 2, gain) for gain in random_network.PUBLISHED),
        random_network.whole_spectra,
        random_network.below_chaos,
        random_network.noise_against_chaos,
    ),
    "Maps and products of matrices": (maps.chaotic_maps, maps.random_products, maps.clipped_descent),
    "Untrained networks": (
        initial_decay.default_rates,
        initial_decay.ring_of_modes,
        initial_decay.gru_singular_values,
        initial_decay.gru_growth,
    ),
    "Learned or not": (
        *(partial(learned.recall_default, name) for name in ("elman", "gru", "lstm")),
        partial(learned.recall_prepared, "elman", "orthogonal(1)", "57 to 66"),
        partial(learned.recall_prepared, "gru", "chrono(40)", "122 to 161"),
        partial(learned.recall_prepared, "lstm", "chrono(40)", "142 to 218"),
        partial(learned.horizon, "elman"),
        partial(learned.horizon, "gru"),
        learned.clipped_order,
        learned.unclipped_order,
        learned.adding_default,
        learned.adding_chrono,
    ),
}


def markdown(sections: dict[str, list[Anchor]], elapsed_s: float) -> str:
    """The committed page."""
    anchors = [a for section in sections.values() for a in section]
    outside = sum(not a.holds for a in anchors)
    lines = [
        "# Anchors: published, computed, measured",
        "",
        (
            f"{len(anchors)} figures, {outside} outside what their finite size allows; {elapsed_s / 60:.1f}"
            f" minutes in {PROCESSES} processes of one thread. Exponents and rates are in nats a step."
            " *Computed* is this project's own quadrature or closed form, of infinitely many units unless"
            " the note says otherwise; *allowed* is for *measured*."
        ),
        "",
        "![measured against published](anchors.svg)",
        "",
        made("nox -s anchors"),
    ]
    for name, rows in sections.items():
        lines += [
            "",
            f"## {name}",
            "",
            "| " + " | ".join(HEADER) + " |",
            "|" + "|".join(["---"] * len(HEADER)) + "|",
        ]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in a.cells()) + " |" for a in rows]
    return "\n".join(lines) + "\n"


def write(folder: Path, sections: dict[str, list[Anchor]], elapsed_s: float) -> None:
    """anchors.md, anchors.csv (numbers in full) and anchors.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "anchors.md", markdown(sections, elapsed_s))
    with (folder / "anchors.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        rows.writerows(_row(name, anchor) for name, anchors in sections.items() for anchor in anchors)
    atomic.write_text(folder / "anchors.svg", draw(sections))


def _row(section: str, a: Anchor) -> dict[str, object]:
    low, high = a.allowed
    values = (section, a.name, a.published, a.computed, a.measured, low, high, a.note, a.seconds, a.holds)
    return dict(zip(COLUMNS, values, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where an anchor is outside."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.anchors", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help=f"folder to write to (default: {FOLDER})"
    )
    given = parser.parse_args(arguments)
    start = time.perf_counter()
    print(" | ".join(HEADER))
    sections = run_all(GROUPS)
    write(given.results, sections, time.perf_counter() - start)
    outside = [a.name for rows in sections.values() for a in rows if not a.holds]
    print(f"{len(outside)} outside{': ' if outside else ''}{'; '.join(outside)}. Written to {given.results}")
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(main())
