"""The tables of the gradient probes: what their figures cannot show in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from .frame import SETTING, of_metric, of_probe, unique, varying
from .table import Entry, Table, number
from .units import digits, exact, interval

Write = Callable[[float], Entry]
PRECISION = {
    "first_subnormal": "first subnormal",
    "first_zero": "first zero",
    "stuck": "stuck from",
    "off": "10 % off from",
    "overflow": "overflow at",
}


def plain(value: float) -> Entry:
    return number("–" if np.isnan(value) else digits(value))


def whole(value: float) -> Entry:
    return number("–" if np.isnan(value) else exact(value))


def _table(
    frame: pd.DataFrame, probe: str, heading: str, columns: Mapping[str, tuple[str, Write]], note: str
) -> Table:
    """A row for each cell and variant: the median over seeds of each metric, its range below where seeds
    differ.
    """
    part = of_probe(frame, probe)
    keys = ["label", *varying(part, ("backend", *SETTING, "variant"))]
    rows = []
    for values, here in part.groupby(keys, sort=False):
        fields = [
            _over_seeds(of_metric(here, metric)["value"], write) for metric, (_, write) in columns.items()
        ]
        rows.append(
            (*(Entry("–" if v in ("", -1) else str(v).removeprefix("scheme=")) for v in values), *fields)
        )
    header = ("cell", *("format" if k == "variant" and probe == "precision" else k for k in keys[1:]))
    titles = tuple(title for title, _ in columns.values())
    return Table(heading, (*header, *titles), tuple(rows), note).without_empty()


def _over_seeds(values: pd.Series, write: Write) -> Entry:
    known = values.dropna()
    if not len(known):
        return Entry("–")
    middle = write(float(known.median()))
    if known.nunique() == 1 or not np.isfinite(known).all():
        return middle
    return number(middle.text, interval(known.min(), known.max(), "count", float(known.median())))


def spectrum(frame: pd.DataFrame) -> Table:
    """Dimension, entropy and the check of the sum rule."""
    columns = {
        "kaplan_yorke": ("Kaplan-Yorke dimension", plain),
        "entropy_rate": ("entropy rate (nats/step)", plain),
        "sum_residual": ("sum rule residual", plain),
        "state_size": ("state", whole),
    }
    note = (
        "Median over seeds. Residual: sum of all exponents less the mean log |det J|, which is rounding alone"
        " where it is right."
    )
    return _table(frame, "spectrum", "Lyapunov spectrum in numbers", columns, note)


def lag_share(frame: pd.DataFrame) -> Table:
    """k95 and the gradient's size."""
    columns = {
        "k95": ("k95 (steps)", whole),
        "parameter_log_norm": ("log norm of the gradient (nats)", plain),
    }
    note = (
        "k95: the smallest lag within which 95 % of the recurrent weights' gradient arises. Median over"
        " seeds."
    )
    return _table(frame, "lag_share", "Lag share in numbers", columns, note)


def precision(frame: pd.DataFrame) -> Table:
    """The lags at which each format fails."""
    columns = {name: (title, whole) for name, title in PRECISION.items()} | {
        "stored_rate": ("stored rate (nats/step)", plain)
    }
    note = (
        "Lags, median over seeds; –: not within T. Stored rate: of the Jacobians as the format stores them,"
        " computed exactly."
    )
    return _table(frame, "precision", "Number formats, by lag", columns, note)


def horizon(frame: pd.DataFrame) -> Table:
    """Solved or not, by length."""
    columns = {
        "solved": ("solved", plain),
        "solved_step": ("at step", whole),
        "error_rate": ("error rate", plain),
    }
    return _table(
        frame,
        "horizon",
        "Horizon in numbers",
        columns,
        "Solved: at most 1 % of the test sequences wrong. Median over seeds.",
    )


def verdict(frame: pd.DataFrame) -> Table:
    """Each trained case with its evidence."""
    part = of_probe(frame, "verdict")
    part = part[part["metric"].str.startswith("label.")]
    keys = ["label", *varying(part, ("backend", *SETTING)), "variant", "seed"]
    rows = []
    for values, here in part.groupby(keys, sort=False):
        said = unique(here["metric"])[0].removeprefix("label.")
        line = next((r for r in unique(here["reason"]) if r), "")
        rows.append(
            (*(Entry(str(v)) for v in values), Entry(said), Entry(line.removeprefix(said).lstrip(": ")))
        )
    header = ("cell", *("made" if k == "variant" else k for k in keys[1:]), "verdict", "evidence")
    note = (
        "made: what the network was made to be before it was judged. The evidence is the verdict's own line."
    )
    return Table("Verdicts with their evidence", header, tuple(rows), note)


TABLES = (spectrum, lag_share, precision, verdict, horizon)


def tables(frame: pd.DataFrame) -> list[Table]:
    """Those whose probe has measured something."""
    known = set(unique(frame.loc[frame["status"] == "ok", "probe"]))
    return [make(frame) for make in TABLES if make.__name__ in known]
