"""The summary: one row for each cell and backend, what they cost and how far back the gradient reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..gradients.rate import MARGIN, word
from .drawing.panels import MANY
from .frame import (
    DIRECTIONS,
    FEWEST,
    SETTING,
    estimates,
    of_metric,
    of_probe,
    prepare,
    setting_text,
    unique,
    varying,
)
from .overview import side_by_side
from .table import Entry, Table, number, plain
from .units import interval, quantity

CASE = ("label", "backend", *SETTING)  # what a row of the summary is about
MOST_TASKS = 4  # whose epochs have a column each
MEASURES = {"seconds": "s", "ratio_to_native": "speedup"}  # metric: its name in a column of the summary


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell x backend (and for each setting that varies), SI units; throughput at each run's
    largest steps.

    Columns: cell, backend, the settings, steps, parameters; {forward,backward}_{s,speedup}[_low,_high],
    _status, _processes; epoch_s:TASK[_low,_high,_status]; rate, rate_low, rate_high (nats/step), gradient.
    NaN or '' where there is nothing; a status is '' for a measured case. Medians over processes; the interval
    is the range over at least 3 processes (else NaN).
    """
    frame = prepare(frame)
    rows = _rows(frame)
    keys = varying(pd.DataFrame(rows, columns=list(SETTING)))
    if any(row["match"] for row in rows):
        keys = [key for key in keys if key != "hidden_size"]  # it varies by cell, within one comparison
    speed, training = _throughput(frame), _training(frame)
    brief = frame[
        frame["metric"].isin(["parameters", "rate", "rate_low", "rate_high"]) | (frame["status"] != "ok")
    ]
    decay, sizes = (
        records(_first_way(of_probe(brief, "gradient_decay", None))),
        records(of_probe(brief, "parameters", None)),
    )
    tasks = unique(of_probe(frame, "training", None)["task"])
    found = []
    for row in rows:
        out = {
            "cell": row["label"],
            "backend": row["backend"],
            **{k: row[k] for k in SETTING},
            "steps": row["steps"],
        }
        out |= _parameters(fitting(sizes, row, keys))
        for direction in DIRECTIONS:
            out |= _times(speed.get(tuple(row[key] for key in CASE), []), direction)
        for task in tasks:
            out |= _epoch(training[training["task"] == task], row, keys, task)
        out |= _gradient(fitting(decay, row, keys))
        found.append(out)
    return pd.DataFrame(found)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What the summary has a row for: timed cell x backend x setting first, then what only other probes know."""
    timed = of_probe(frame, "throughput", None)
    steps = timed.groupby("run")["steps"].max()
    cases = timed[list(CASE)].drop_duplicates().itertuples(index=False, name=None)
    rows = [dict(zip(CASE, values, strict=True)) for values in cases]
    for row in rows:
        row["steps"] = steps[row["run"]]
    seen = {(row["label"], row["backend"]) for row in rows}
    others = frame[(frame["backend"] != "") & (frame["label"] != "") & (frame["probe"] != "gradient_decay")]
    for pair in others[["label", "backend"]].drop_duplicates().itertuples(index=False, name=None):
        if pair not in seen:
            rows.append(_row_without_times(others, *pair))
    cells = {row["label"] for row in rows}
    rows += [_row_without_times(frame, name, "") for name in unique(frame["label"]) if name not in cells]
    order = {name: i for i, name in enumerate(unique(frame["label"]))}
    return sorted(rows, key=lambda row: order[row["label"]])


def _first_way(decay: pd.DataFrame) -> pd.DataFrame:
    """Of several initialisations and backends the first alone: two rates are not to be averaged. The figure
    has them all.
    """
    for key in ("variant", "backend"):
        measured_ones = decay.loc[decay["status"] == "ok", key]
        if len(measured_ones):
            decay = decay[decay[key] == measured_ones.iloc[0]]
    return decay


def _row_without_times(frame: pd.DataFrame, name: str, backend: str) -> dict[str, Any]:
    mine = frame[(frame["label"] == name) & (frame["backend"] == backend)]
    settings = {key: unique(mine[key]) for key in SETTING}
    nulls = {key: "" if key in ("run", "device", "dtype", "match") else -1 for key in SETTING}
    known = {key: values[0] if len(values) == 1 else nulls[key] for key, values in settings.items()}
    return {"label": name, "backend": backend, **known, "steps": -1}


def records(part: pd.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The rows as plain mappings, by label and run, all runs also under ''. Hundreds of frames this small
    would take seconds.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in part[
        ["label", "run", "input_size", "hidden_size", "steps", "metric", "value", "status"]
    ].to_dict("records"):
        for run in dict.fromkeys((record["run"], "")):
            found.setdefault((record["label"], run), []).append(record)
    return found


def fitting(
    known: dict[tuple[str, str], list[dict[str, Any]]], row: dict[str, Any], varied: list[str]
) -> list[dict[str, Any]]:
    """The records for the cell of `row`, and for its setting as far as they know that setting; as `matching`
    of frames.
    """
    part = known.get((row["label"], row["run"]), [])
    if not part:
        whole = known.get((row["label"], ""), [])
        part = [] if "run" in varied and any(record["run"] for record in whole) else whole
    for key in ("input_size", "hidden_size"):
        here = [record for record in part if record[key] == row[key]]
        if here or (key in varied and any(record[key] != -1 for record in part)):
            part = here
    return part


def matching(
    part: pd.DataFrame, row: dict[str, Any], varied: list[str], keys: tuple[str, ...]
) -> pd.DataFrame:
    """The rows of part for the cell of `row`, and for its setting as far as part knows that setting."""
    part = part[part["label"] == row["label"]]
    for key in keys:
        here = part[key] == row[key]
        if here.any() or (key in varied and len(unique(part[key]))):
            part = part[here]
    return part


def _throughput(frame: pd.DataFrame) -> dict[tuple, list[dict[str, Any]]]:
    """By CASE: estimates of time and speed-up at each run's largest steps; a not-ok case has metric '' and
    its status.
    """
    part = of_probe(frame, "throughput", None)
    part = part[part["steps"] == part.groupby("run")["steps"].transform("max")]
    keys = [*CASE, "direction", "status"]
    timed = estimates(of_metric(part[part["status"] == "ok"], *MEASURES), keys, "process")
    refused = part.loc[part["status"] != "ok", keys].drop_duplicates().assign(metric="")
    found: dict[tuple, list[dict[str, Any]]] = {}
    for record in [*timed.to_dict("records"), *refused.to_dict("records")]:
        found.setdefault(tuple(record[key] for key in CASE), []).append(record)
    return found


def _times(records: list[dict[str, Any]], direction: str) -> dict[str, Any]:
    here = [record for record in records if record["direction"] in (direction, "")]
    nothing = {"median": np.nan, "low": np.nan, "high": np.nan, "units": 0}
    out: dict[str, Any] = {}
    for metric, name in MEASURES.items():
        best = next((record for record in here if record["metric"] == metric), nothing)
        out |= {f"{direction}_{name}": best["median"], f"{direction}_{name}_low": best["low"]}
        out |= {f"{direction}_{name}_high": best["high"]}
        if metric == "seconds":
            out[f"{direction}_processes"] = best["units"]
    refused = next((record["status"] for record in here if record["status"] != "ok"), "")
    return out | {f"{direction}_status": refused}


def _status(part: pd.DataFrame) -> str:
    """The first status that is not ok, '' if there is none."""
    refused = part.loc[part["status"] != "ok", "status"]
    return refused.iloc[0] if len(refused) else ""


def _parameters(part: list[dict[str, Any]]) -> dict[str, Any]:
    """Parameter count, NaN if unknown or if the sizes do not single one out."""
    counts = set(_values(part, "parameters"))
    status = "" if counts else _refused(part)
    return {"parameters": counts.pop() if len(counts) == 1 else np.nan, "parameters_status": status}


def _values(part: list[dict[str, Any]], metric: str) -> list[float]:
    return [record["value"] for record in part if record["metric"] == metric]


def _refused(part: list[dict[str, Any]]) -> str:
    """The first status that is not ok, '' if there is none."""
    return next((record["status"] for record in part if record["status"] != "ok"), "")


def _training(frame: pd.DataFrame) -> pd.DataFrame:
    part = of_probe(frame, "training", None)
    return part[(part["metric"] == "epoch_s") | (part["status"] != "ok")]


def _epoch(part: pd.DataFrame, row: dict[str, Any], varied: list[str], task: str) -> dict[str, Any]:
    """Median seconds of an epoch over the medians of the seeds, and the range over them."""
    part = matching(
        part[part["backend"] == row["backend"]],
        row,
        varied,
        ("run", "device", "dtype", "threads", "hidden_size"),
    )
    measured = of_metric(part[part["status"] == "ok"], "epoch_s")
    status = "" if len(measured) else _status(part)
    found = estimates(measured, ["label"], "seed").to_dict("records")
    best = found[0] if found else {"median": np.nan, "low": np.nan, "high": np.nan}
    name = f"epoch_s:{task}"
    return {
        name: best["median"],
        f"{name}_low": best["low"],
        f"{name}_high": best["high"],
        f"{name}_status": status,
    }


def _gradient(part: list[dict[str, Any]]) -> dict[str, Any]:
    """Median rate over seeds at the largest steps; its interval reaches from the lowest to the highest 95 %
    bound of any seed.
    """
    longest = max((record["steps"] for record in part), default=-1)
    part = [record for record in part if record["steps"] == longest]
    values = {
        name: [v for v in _values(part, name) if not np.isnan(v)]
        for name in ("rate", "rate_low", "rate_high")
    }
    rate = float(np.median(values["rate"])) if values["rate"] else np.nan
    low, high = min(values["rate_low"], default=np.nan), max(values["rate_high"], default=np.nan)
    status = _refused(part) if np.isnan(rate) else ""
    return {
        "rate": rate,
        "rate_low": low,
        "rate_high": high,
        "rate_status": status,
        "gradient": word_of(low, high),
    }


def word_of(low: float, high: float) -> str:
    """The word for an interval of rates; '' where there is none."""
    return "" if np.isnan(low) or np.isnan(high) else word(low, high)


def summary_table(frame: pd.DataFrame) -> Table:
    """The summary in human units; a case that is not ok shows its status word in place of a number."""
    rows = summary(frame)
    if not len(rows):
        return Table("Summary", ("cell", "backend"), ())
    extra = varying(rows)
    steps = unique(rows["steps"])
    at = f" (T = {steps[0]})" if len(steps) == 1 else " (largest T)" if steps else ""
    tasks = [name for name in rows if name.startswith("epoch_s:") and f"{name}_status" in rows]
    note = _note(frame, rows, extra, len(tasks))
    tasks = tasks if len(tasks) <= MOST_TASKS else []
    if len(unique(rows["cell"])) > MANY and len(unique(rows["backend"])) > 1:
        wide, entries = side_by_side(rows, extra, tasks, measured)
        note = note.replace(
            "Times at ", f"Times at T {steps[0]}, " if len(steps) == 1 else "Times at the largest T, ", 1
        )
        return Table("Summary", tuple(wide), tuple(entries), note).without_empty()
    header = [
        "cell",
        "backend",
        *extra,
        "parameters",
        f"forward{at}",
        "speed-up to native",
        f"forward+backward{at}",
    ]
    header += ["speed-up to native", *[f"epoch, {name.removeprefix('epoch_s:')}" for name in tasks]]
    header += ["gradient rate (nats/step)", "gradient"]
    fields = [_fields(row, extra, tasks) for row in rows.to_dict("records")]
    return Table("Summary", tuple(header), tuple(fields), note).without_empty()


def _fields(row: dict[str, Any], extra: list[str], tasks: list[str]) -> tuple[Entry, ...]:
    fields = [Entry(row["cell"]), Entry(row["backend"] or "–"), *[Entry(_plain(row[key])) for key in extra]]
    fields += [measured(row, "parameters", "count", row["parameters_status"])]
    for direction in DIRECTIONS:
        fields += [
            measured(row, f"{direction}_s", "s", row[f"{direction}_status"]),
            measured(row, f"{direction}_speedup", "x"),
        ]
    fields += [measured(row, name, "s", row[f"{name}_status"]) for name in tasks]
    return (*fields, measured(row, "rate", "1", row["rate_status"]), Entry(row["gradient"]))


def _plain(value: Any) -> str:
    return "–" if value in ("", -1) else str(value)


def measured(row: dict[str, Any], name: str, kind: str, status: str = "") -> Entry:
    """The value with its interval, or the status of a case that has no value."""
    if status:
        return Entry(status, kind="status")
    value = row[name]
    return number(
        quantity(value, kind),
        interval(row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan), kind, value),
    )


def _note(frame: pd.DataFrame, rows: pd.DataFrame, extra: list[str], tasks: int) -> str:
    """What the numbers are, and what all rows share."""
    shared = {
        key: unique(rows[key])[0]
        for key in SETTING
        if key not in (*extra, "run") and len(unique(rows[key])) == 1
    }
    notes = [f"Times at {setting_text(shared, list(shared))}."] if shared else []
    processes = max(rows["forward_processes"].max(), rows["backward_processes"].max())
    if processes > 0:
        of = (
            f"median of the medians of {processes:.0f} processes"
            if processes > 1
            else "median of one process"
        )
        notes.append(f"Time of one run over the whole sequence: {of}.")
        notes.append(
            "Interval: range over processes."
            if processes >= FEWEST
            else "No interval: that needs 3 processes."
        )
    if rows["forward_speedup"].notna().any() or rows["backward_speedup"].notna().any():
        notes.append(
            "Speed-up: time of native over time of this backend in the same process; above 1× is faster than"
            " native."
        )
    if tasks > MOST_TASKS:
        notes.append(f"The trainings on {tasks} tasks have a section each.")
    elif tasks:
        notes.append("Epoch: training time of one epoch, median over seeds, at the sizes under Training.")
    if rows["rate"].notna().any():
        notes.append(
            "Gradient rate: slope of the log norm of dL/d(state) per step back, median over seeds; the"
            f" interval holds the 95 % interval of every seed; 'vanishes': wholly below −{MARGIN},"
            f" 'explodes': wholly above +{MARGIN}; else 'stable'."
        )
    return " ".join(notes)


def summary_text(frame: pd.DataFrame, width: int = 120) -> str:
    """The summary for a terminal, within `width` columns where possible; intervals and long names give way
    first.
    """
    table = summary_table(frame)
    if not table.rows:
        return "no results"
    short = {"parameters": "params", "gradient rate (nats/step)": "grad/step"}
    header = [short.get(name, "×native" if name.startswith("speed-up") else name) for name in table.header]
    for long, brief in (
        ("forward+backward", "fwd+bwd"),
        (", forward + backward", " both"),
        (", forward", " fwd"),
        (" (T = ", " T="),
        (" (largest T", " max T"),
        (")", ""),
    ):
        header = [name.replace(long, brief) for name in header]
    return plain(Table(table.heading, tuple(header), table.rows), width)
