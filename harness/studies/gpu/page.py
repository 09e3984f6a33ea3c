"""The study's page and table: Markdown for a person, CSV with every figure."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from typing import Any

import pandas as pd

from ...report.units import digits
from ..made import made
from . import published
from .grid import APART, CHECKED, Grid
from .without_product import METRIC

KEYS = ["label", "direction", "dtype", "hidden_size", "batch"]
TITLES = {"label": "cell", "direction": "direction", "dtype": "format", "hidden_size": "H", "batch": "B"}
METRICS = (
    *("seconds", "predicted_s", "ratio_to_native", METRIC, "peak_bytes", "check_error"),
    *("launches_per_step", "saved_bytes_per_step", "energy_j"),
    *("flop_per_s", "bytes_per_s", "flop_share", "bytes_share"),
)
WITHOUT = (
    "Microseconds a step of kernels alone, without the product of the inputs that they leave to PyTorch, and"
    " without its gradients. Backends that compute it inside are not here. The times that FlashRNN's authors"
    " have published are of this kind."
)
TAKEN = (
    "Launches are what the device does in a step. Saved is what a forward keeps a step for the backward, its"
    " output among it. Both are counted over the first {steps} steps. Shares are of ceilings that the same"
    " process has measured: of a large product in the format, and of a large copy. Bytes are the least that a"
    " run can move."
)
IS_DRY = "**Dry**: no device. Every case was walked through on the CPU, and nothing was timed."
KIB = 1024
Key = tuple[Any, ...]


def prepared(frame: pd.DataFrame) -> pd.DataFrame:
    """With the cell's name and options in one column."""
    options = frame["options"].fillna("")
    return frame.assign(label=[f"{c}:{o}" if o else c for c, o in zip(frame["cell"], options, strict=True)])


def markdown(grid: Grid, frame: pd.DataFrame, machine: str) -> str:
    """The page: a row a comparison, a column a backend; then what has no number, with its reason."""
    cases = frame.drop_duplicates("case")
    counts = ", ".join(f"{n} {status}" for status, n in Counter(cases["status"]).items())
    titles = [*TITLES.values(), *grid.backends, "triton / predicted", "native ran"]
    lines = ["# Cells on a CUDA device", "", *([IS_DRY, ""] if grid.dry else [])]
    lines += [f"T = {grid.steps}, I = H, on {machine}. Cases: {counts}."]
    lines += [made(f"nox -s gpu{' -- --dry' if grid.dry else ''}")]
    lines += [
        "Microseconds a step, the median of one process's samples; a word where there is none.",
        "",
    ]
    lines += _head(titles)
    for key, here in frame.groupby(KEYS, sort=False):
        lines.append(_row(key, {str(b): rows for b, rows in here.groupby("backend")}, grid))
    lines += ["", *_without(grid, frame), *_taken(grid, frame)]
    lines += [*_reasons(cases), *([""] if (cases["status"] != "ok").any() else []), *published.markdown()]
    return "\n".join(lines) + "\n"


def _row(key: Key, by_backend: dict[str, pd.DataFrame], grid: Grid) -> str:
    entries = [str(value) for value in key]
    entries += [_entry(by_backend.get(backend), grid.steps) for backend in grid.backends]
    triton, native = by_backend.get("triton"), by_backend.get("native")
    ratio = math.nan if triton is None else median(triton, "seconds") / median(triton, "predicted_s")
    ran = "" if native is None else native["implementation"].iloc[0]
    entries += [digits(ratio) if math.isfinite(ratio) else "–", ran or "–"]
    return f"| {' | '.join(entries)} |"


def _head(titles: list[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]


def _without(grid: Grid, frame: pd.DataFrame) -> list[str]:
    """The second table: kernels without the product of the inputs."""
    backends = [backend for backend in grid.backends if backend in APART]
    frame = frame[frame["backend"].isin(backends)]
    if not len(frame):
        return []
    lines = ["## Without the inputs' product", "", WITHOUT, "", *_head([*TITLES.values(), *backends])]
    for key, here in frame.groupby(KEYS, sort=False):
        by_backend = {str(b): rows for b, rows in here.groupby("backend")}
        entries = [_entry(by_backend.get(backend), grid.steps, METRIC) for backend in backends]
        lines.append(f"| {' | '.join([*map(str, key), *entries])} |")
    return [*lines, ""]


def _taken(grid: Grid, frame: pd.DataFrame) -> list[str]:
    """What runs take of the device, where it was counted."""
    counted = frame[frame["metric"].isin(("launches_per_step", "saved_bytes_per_step"))]["case"].unique()
    if not len(counted):
        return []
    titles = [*TITLES.values(), "backend", "launches", "KiB saved", "FLOP/s, %", "bytes/s, %"]
    lines = ["## What a step takes", "", TAKEN.format(steps=min(grid.steps, CHECKED)), "", *_head(titles)]
    for _, rows in frame[frame["case"].isin(counted)].groupby("case", sort=False):
        first = rows.iloc[0]
        saved = median(rows, "saved_bytes_per_step") / KIB
        shares = [median(rows, name) * 100 for name in ("flop_share", "bytes_share")]
        numbers = [median(rows, "launches_per_step"), saved, *shares]
        entries = [*(str(first[key]) for key in KEYS), first["backend"]]
        entries += [digits(number) if math.isfinite(number) else "–" for number in numbers]
        lines.append(f"| {' | '.join(entries)} |")
    return [*lines, ""]


def _entry(rows: pd.DataFrame | None, steps: int, metric: str = "seconds") -> str:
    if rows is None:
        return "–"
    seconds = median(rows, metric)
    if not math.isnan(seconds):
        return digits(seconds / steps * 1e6)
    return (
        "dry"
        if rows["variant"].iloc[0] == "dry" and rows["status"].iloc[0] == "ok"
        else rows["status"].iloc[0]
    )


def median(rows: pd.DataFrame, metric: str) -> float:
    """Of a metric's values; NaN where there are none."""
    return float(rows.loc[rows["metric"] == metric, "value"].median())


def _reasons(cases: pd.DataFrame) -> list[str]:
    """Why cases have no number, those with one reason together."""
    rest = cases[cases["status"] != "ok"]
    lines = [
        "## Without a number",
        "",
        "| cells | backend | status | cases | reason |",
        "|---|---|---|---|---|",
    ]
    for (backend, status, reason), here in rest.groupby(["backend", "status", "reason"], sort=False):
        names = ", ".join(here["label"].unique())
        lines.append(f"| {names} | {backend} | {status} | {len(here)} | {reason.replace('|', '/')} |")
    return lines if len(rest) else []


def table(frame: pd.DataFrame) -> str:
    """CSV: a row a case, with the medians of its metrics."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([*TITLES.values(), "T", "backend", *METRICS, "status", "implementation", "reason", "mark"])
    for _, here in frame.groupby("case", sort=False):
        head = here.iloc[0]
        numbers = [median(here, metric) for metric in METRICS]
        rows.writerow(
            [
                *(head[key] for key in KEYS),
                head["steps"],
                head["backend"],
                *("" if math.isnan(number) else f"{number:.6g}" for number in numbers),
                *(head[name] or "" for name in ("status", "implementation", "reason", "variant")),
            ]
        )
    return out.getvalue()
