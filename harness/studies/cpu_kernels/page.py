"""The study's page and table: Markdown for a person, CSV with every figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from ...report.units import quantity
from ...store import provenance
from ..made import made
from .figure import NAME
from .judged import Judged, geometric_mean
from .points import OWN, Grid, Point

COLUMNS = [
    *("cell", "direction", "steps", "batch", "input_size", "hidden_size", "backend", "seconds"),
    *("ratio", "ratio_low", "ratio_high", "share", "bound_by", "error", "implementation", "status"),
    *("processes", "load", "disturbed"),
]
# the points whose share of the roofline has a goal
ROOFLINE: dict[str, tuple[Callable[[Point], bool], float]] = {
    "least share, B ≥ 8 and H ≥ 128": (lambda point: point.batch >= 8 and point.hidden >= 128, 0.75),
    "least share, B = 1": (lambda point: point.batch == 1, 0.6),
}
WAYS = {"forward": "forward", "backward": "forward and backward"}


def markdown(grid: Grid, judged: Sequence[Judged]) -> str:
    """The page: a line a cell and direction, the grids, and what fell short or was disturbed."""
    loads, facts = [each.load for each in judged], provenance.fingerprint()
    processes = sorted({each.processes for each in judged})
    peers = "; ".join(f"{WAYS[way]}: {', '.join(grid.of(way))}" for way in WAYS)
    lines = [
        "# The fused kernels against their peers",
        "",
        f"T = {grid.steps}, I = H, float32, one thread of {facts.get('cpu', 'this machine')}.",
        f"Peers are, {peers}.",
        f"A ratio is a peer's time over that of `{OWN}`.",
        f"Both are timed in random order, in {_number(processes)}.",
        "Above 1 the kernels are faster. The last figure of a field is their share of the roofline.",
        "What arithmetic allows is timed in the same rounds, for a core's speed changes with its neighbours.",
        "The interval is a bootstrap over processes and the builds in them.",
        f"The load was {min(loads):.1f} to {max(loads):.1f}.",
        made(f"nox -s cpu-kernels{' -- --all' if grid.peers else ''}"),
        "",
        f"![{NAME}]({NAME}.svg)",
        "",
        *_summary(grid, judged),
    ]
    for cell in grid.cells:
        for way, words in WAYS.items():
            some = [e for e in judged if (e.point.cell, e.point.direction) == (cell, way)]
            lines += ["", f"## {cell}, {words}", "", *_grid(grid, some)]
    slower = [each for each in judged if each.ratio and each.ratio.value < 1]
    lines += _listed("Slower than the best peer", slower, _short)
    lines += _listed("Below their share of the roofline", [e for e in judged if _is_below(e)], _below)
    lines += _listed("Disturbed to the end", [e for e in judged if e.disturbed], _disturbed)
    lines += _listed("Not timed", [e for e in judged if e.troubles], _troubles)
    return "\n".join(lines) + "\n"


def _number(processes: Sequence[int]) -> str:
    """'3 processes', or '3 to 6 processes' where some points took more."""
    return f"{' to '.join(map(str, processes))} process{'' if processes == [1] else 'es'}"


def _summary(grid: Grid, judged: Sequence[Judged]) -> list[str]:
    """A line a cell and direction: points at 1 or more, the least ratio, the geometric mean, the goals."""
    shares = [f"{name}, goal {goal:.0%}" for name, (_, goal) in ROOFLINE.items()]
    titles = ("cell", "direction", "points at 1.0 or more", "least", "geometric mean", "goal", *shares)
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for cell in grid.cells:
        for way, words in WAYS.items():
            here = [e for e in judged if (e.point.cell, e.point.direction) == (cell, way)]
            values = [e.ratio.value for e in here if e.ratio]
            if not values:
                lines.append(f"| {cell} | {words} | no point |{' – |' * (len(titles) - 3)}")
                continue
            goal = grid.goal(cell, way)
            least, mean = min(values), geometric_mean(values)
            said = "–"
            if goal:
                met = least >= goal[0] and mean >= goal[1] and len(values) == len(here)
                said = f"{goal[0]:g} and {goal[1]:g}: {'met' if met else 'missed'}"
            count = f"{sum(v >= 1 for v in values)} of {len(here)}"
            fields = (cell, words, count, f"{least:.2f}", f"{mean:.2f}", said, *_least_shares(here))
            lines.append(f"| {' | '.join(fields)} |")
    return lines


def _least_shares(here: Sequence[Judged]) -> list[str]:
    """The least share of the roofline among the points that each of ROOFLINE names."""
    texts = []
    for holds, _ in ROOFLINE.values():
        shares = [e.share for e in here if e.share is not None and holds(e.point)]
        texts.append(f"{min(shares):.0%}" if shares else "–")
    return texts


def _grid(grid: Grid, some: Sequence[Judged]) -> list[str]:
    """Rows B, columns H: the ratio to the best peer, its interval, and who that was."""
    at = {(e.point.batch, e.point.hidden): e for e in some}
    lines = ["| B \\ H | " + " | ".join(map(str, grid.sizes)) + " |", "|" + "---|" * (len(grid.sizes) + 1)]
    for batch in grid.batches:
        fields = [_field(at[batch, hidden]) for hidden in grid.sizes]
        lines.append(f"| {batch} | " + " | ".join(fields) + " |")
    return lines


def _field(judged: Judged) -> str:
    if judged.ratio is None:
        return "–"
    r, mark = judged.ratio, "*" if judged.disturbed else ""
    share = "" if judged.share is None else f", {judged.share:.0%}"
    return f"{r.value:.2f}{mark} ({r.low:.2f} to {r.high:.2f}), {judged.best}{share}"


def _listed(title: str, some: Sequence[Judged], line: Any) -> list[str]:
    return ["", f"## {title}", "", *(f"- {each.point}: {line(each)}" for each in some)] if some else []


def _short(judged: Judged) -> str:
    best = judged.best or ""
    return (
        f"{judged.ratio.value:.2f}, {quantity(judged.seconds[OWN], 's')} against"  # type: ignore[union-attr]
        f" {quantity(judged.seconds[best], 's')} of {best}"
        + ("" if judged.share is None else f"; {judged.share:.0%} of what {judged.bound_by} allows")
    )


def _is_below(judged: Judged) -> bool:
    goals = [goal for holds, goal in ROOFLINE.values() if holds(judged.point)]
    return judged.share is not None and any(judged.share < goal for goal in goals)


def _below(judged: Judged) -> str:
    return f"{judged.share:.0%} of what {judged.bound_by} allows"


def _disturbed(judged: Judged) -> str:
    return "; ".join(judged.disturbed)


def _troubles(judged: Judged) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in judged.troubles.items())


def table(judged: Sequence[Judged]) -> str:
    """CSV: a row a point and backend, numbers in full."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    rows.writeheader()
    for each in judged:
        for backend in dict.fromkeys([*each.seconds, *each.troubles]):
            rows.writerow(_row(each, backend))
    return text.getvalue()


def _row(judged: Judged, backend: str) -> dict[str, Any]:
    point, ratio = judged.point, judged.ratios.get(backend)
    return {
        "cell": point.cell,
        "direction": point.direction,
        "steps": point.steps,
        "batch": point.batch,
        "input_size": point.hidden,
        "hidden_size": point.hidden,
        "backend": backend,
        "seconds": judged.seconds.get(backend, ""),
        **({"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high} if ratio else {}),
        **({"share": judged.share, "bound_by": judged.bound_by} if backend == OWN else {}),
        "error": judged.errors.get(backend, ""),
        "implementation": judged.ran.get(backend, ""),
        "status": judged.troubles.get(backend, "ok"),
        "processes": judged.processes,
        "load": judged.load,
        "disturbed": "; ".join(judged.disturbed),
    }
