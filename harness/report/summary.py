"""The summary as data: for each cell and backend its cost, and how far back its gradient reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..gradients.rate import word
from .fitting import fitting, matching, records
from .frame import (
    DIRECTIONS,
    SETTING,
    estimates,
    mappings,
    of_metric,
    of_probe,
    prepare,
    unique,
    varying,
)
from .measured import Measured
from .needed import needed

CASE = ("label", "backend", *SETTING)  # a row of the summary is about one of these
METRICS = (
    "seconds",
    "ratio_to_native",
    "parameters",
    "epoch_s",
    "rate",
    "rate_low",
    "rate_high",
)  # all it reads
TEXTS = ("run", "device", "dtype", "match")  # settings whose null is "" and not -1


@dataclass(frozen=True)
class Row:
    """What is known of a cell on a backend at one setting; times at the run's largest steps."""

    cell: str
    backend: str
    setting: dict[str, Any]  # by the names of SETTING, and `machine` where the frame has it
    steps: int
    parameters: Measured
    times: dict[str, Measured]  # seconds, by direction
    speedups: dict[str, Measured]  # to native, by direction
    epochs: dict[str, Measured]  # seconds, by task
    rate: Measured  # nats a step

    @property
    def gradient(self) -> str:
        return word_of(self.rate.low, self.rate.high)

    def columns(self) -> dict[str, Any]:
        """The same as columns of a frame."""
        out = {"cell": self.cell, "backend": self.backend, **self.setting, "steps": self.steps}
        out |= {"parameters": self.parameters.value, "parameters_status": self.parameters.status}
        for direction, seconds in self.times.items():
            out |= _named(f"{direction}_s", seconds)
            out |= _named(f"{direction}_speedup", self.speedups[direction])
            out |= {f"{direction}_status": seconds.status, f"{direction}_processes": seconds.count}
        for task, seconds in self.epochs.items():
            name = f"epoch_s:{task}"
            out |= _named(name, seconds) | {f"{name}_status": seconds.status}
        return out | _named("rate", self.rate) | {"rate_status": self.rate.status, "gradient": self.gradient}


def _named(name: str, one: Measured) -> dict[str, float]:
    return {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell x backend (and for each setting that varies), SI units.

    Columns: cell, backend, the settings, steps, parameters; {forward,backward}_{s,speedup}[_low,_high],
    _status, _processes; epoch_s:TASK[_low,_high,_status]; rate, rate_low, rate_high (nats/step), gradient.
    Throughput is that at each run's largest steps. NaN or '' where there is nothing; a status is '' for a
    measured case. Medians over processes; the interval is the range over at least 3 processes (else NaN).
    """
    return pd.DataFrame([row.columns() for row in rows_of(frame)])


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The same as rows; those of one cell follow each other."""
    return rows_of_ready(prepare(needed(frame, METRICS)))


def rows_of_ready(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame that is prepared."""
    cases = _cases(frame)
    varied = varying(pd.DataFrame(cases, columns=list(SETTING)))
    if any(case["match"] for case in cases):
        varied = [key for key in varied if key != "hidden_size"]  # it varies by cell, within one comparison
    speed, training = _throughput(frame), _training(frame)
    wanted = frame["metric"].isin(["parameters", "rate", "rate_low", "rate_high"])
    brief = frame[wanted | (frame["status"] != "ok")]
    decay = records(_first_way(of_probe(brief, "gradient_decay", None)))
    sizes = records(of_probe(brief, "parameters", None))
    tasks = unique(of_probe(frame, "training", None)["task"])
    machines = _machines(frame)
    rows = []
    for case in cases:
        timed = speed.get(tuple(case[key] for key in CASE), [])
        row = Row(
            cell=case["label"],
            backend=case["backend"],
            setting={key: case[key] for key in SETTING} | machines.get(case["run"], {}),
            steps=case["steps"],
            parameters=_parameters(fitting(sizes, case, varied)),
            times={direction: _time(timed, direction) for direction in DIRECTIONS},
            speedups={direction: _speedup(timed, direction) for direction in DIRECTIONS},
            epochs={task: _epoch(training[training["task"] == task], case, varied) for task in tasks},
            rate=_rate(fitting(decay, case, varied)),
        )
        rows.append(row)
    return rows


def _machines(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """{'machine': its name} by run; empty where the frame does not say."""
    if "machine" not in frame:
        return {}
    pairs = frame[["run", "machine"]].drop_duplicates().itertuples(index=False, name=None)
    return {run: {"machine": machine} for run, machine in pairs}


def _cases(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """CASE and steps by column: first each that was timed, then those that only other probes know."""
    timed = of_probe(frame, "throughput", None)
    timed = timed[timed["label"] != ""]  # a file from elsewhere may have times of no cell
    steps = timed.groupby("run")["steps"].max()
    cases = timed[list(CASE)].drop_duplicates().itertuples(index=False, name=None)
    rows = [dict(zip(CASE, values, strict=True)) for values in cases]
    for row in rows:
        row["steps"] = steps[row["run"]]
    seen = {(row["label"], row["backend"]) for row in rows}
    others = frame[(frame["backend"] != "") & (frame["label"] != "") & (frame["probe"] != "gradient_decay")]
    for pair in others[["label", "backend"]].drop_duplicates().itertuples(index=False, name=None):
        if pair not in seen:
            rows += _rows_without_times(others, *pair)
    cells = {row["label"] for row in rows}
    rest = frame[~frame["label"].isin(list(cells))]
    rows += [row for name in unique(rest["label"]) for row in _rows_of_sizes(rest[rest["label"] == name])]
    order = {name: i for i, name in enumerate(unique(frame["label"]))}
    return sorted(rows, key=lambda row: order[row["label"]])


def _first_way(decay: pd.DataFrame) -> pd.DataFrame:
    """Of several initialisations and backends the first alone; the figure has them all."""
    # two of them have two rates, whose mean would be the rate of neither
    for key in ("variant", "backend"):
        measured = decay.loc[decay["status"] == "ok", key]
        if len(measured):
            decay = decay[decay[key] == measured.iloc[0]]
    return decay


def _rows_of_sizes(mine: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a cell that no backend has run: one for each of its settings, as a sweep has them."""
    name = mine["label"].iloc[0]
    for probe in ("parameters", "gradient_decay"):
        settings = mine.loc[mine["probe"] == probe, list(SETTING)].drop_duplicates()
        if len(settings) > 1:
            values = settings.itertuples(index=False, name=None)
            return [
                {"label": name, "backend": "", **dict(zip(SETTING, one, strict=True)), "steps": -1}
                for one in values
            ]
    return [_row_without_times(mine, name, "")]


def _rows_without_times(frame: pd.DataFrame, name: str, backend: str) -> list[dict[str, Any]]:
    """A row, or one for each run where they trained other cases of a seed, such as of another batch."""
    mine = frame[(frame["label"] == name) & (frame["backend"] == backend) & (frame["probe"] == "training")]
    if not len(mine) or mine.groupby(["task", "seed"])["case"].nunique().max() < 2:
        return [_row_without_times(frame, name, backend)]
    runs = [_row_without_times(frame[frame["run"] == run], name, backend) for run in unique(mine["run"])]
    return runs if len(runs) > 1 else [_row_without_times(frame, name, backend)]


def _row_without_times(frame: pd.DataFrame, name: str, backend: str) -> dict[str, Any]:
    mine = frame[(frame["label"] == name) & (frame["backend"] == backend)]
    settings = {key: unique(mine[key]) for key in SETTING}
    nulls = {key: "" if key in TEXTS else -1 for key in SETTING}
    known = {key: values[0] if len(values) == 1 else nulls[key] for key, values in settings.items()}
    return {"label": name, "backend": backend, **known, "steps": -1}


def _throughput(frame: pd.DataFrame) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """By CASE: estimates of time and speed-up at each run's largest steps.

    A case that is not ok has the metric '' and its status.
    """
    rows = of_probe(frame, "throughput", None)
    rows = rows[rows["steps"] == rows.groupby("run")["steps"].transform("max")]
    keys = [*CASE, "direction", "status"]
    ok = rows["status"] == "ok"
    timed = estimates(of_metric(rows[ok], "seconds", "ratio_to_native"), keys, "process")
    refused = rows.loc[~ok, keys].drop_duplicates().assign(metric="")
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in [*mappings(timed), *mappings(refused)]:
        found.setdefault(tuple(record[key] for key in CASE), []).append(record)
    return found


def _time(timed: list[dict[str, Any]], direction: str) -> Measured:
    """Seconds of one direction, or the status of a case that has none."""
    return _estimate(timed, direction, "seconds", _refused(_in(timed, direction)))


def _speedup(timed: list[dict[str, Any]], direction: str) -> Measured:
    return _estimate(timed, direction, "ratio_to_native")


def _in(timed: list[dict[str, Any]], direction: str) -> list[dict[str, Any]]:
    """Those of a direction; one that failed before it had a direction counts for both."""
    return [record for record in timed if record["direction"] in (direction, "")]


def _estimate(timed: list[dict[str, Any]], direction: str, metric: str, status: str = "") -> Measured:
    for record in _in(timed, direction):
        if record["metric"] == metric:
            return Measured(record["median"], record["low"], record["high"], status, int(record["units"]))
    return Measured(status=status)


def _status(part: pd.DataFrame) -> str:
    """The first status that is not ok, '' if there is none."""
    refused = part.loc[part["status"] != "ok", "status"]
    return refused.iloc[0] if len(refused) else ""


def _parameters(records: list[dict[str, Any]]) -> Measured:
    """Parameter count, NaN if unknown or if the sizes do not single one out."""
    counts = set(_values(records, "parameters"))
    count = counts.pop() if len(counts) == 1 else np.nan
    return Measured(count, status="" if _values(records, "parameters") else _refused(records))


def _values(records: list[dict[str, Any]], metric: str) -> list[float]:
    return [record["value"] for record in records if record["metric"] == metric]


def _refused(records: list[dict[str, Any]]) -> str:
    """The first status that is not ok, '' if there is none."""
    return next((record["status"] for record in records if record["status"] != "ok"), "")


def _training(frame: pd.DataFrame) -> pd.DataFrame:
    part = of_probe(frame, "training", None)
    return part[(part["metric"] == "epoch_s") | (part["status"] != "ok")]


def _epoch(rows: pd.DataFrame, case: dict[str, Any], varied: list[str]) -> Measured:
    """Median seconds of an epoch over the medians of the seeds, and the range over them."""
    settings = ("run", "device", "dtype", "threads", "hidden_size")
    rows = matching(rows[rows["backend"] == case["backend"]], case, varied, settings)
    seconds = of_metric(rows[rows["status"] == "ok"], "epoch_s")
    if not len(seconds):
        return Measured(status=_status(rows))
    one = estimates(seconds, ["label"], "seed").to_dict("records")[0]
    return Measured(one["median"], one["low"], one["high"], count=int(one["units"]))


def _rate(records: list[dict[str, Any]]) -> Measured:
    """Median over seeds at the largest steps, from the lowest to the highest 95 % bound of any seed."""
    longest = max((record["steps"] for record in records), default=-1)
    records = [record for record in records if record["steps"] == longest]
    rates, lows, highs = (
        [v for v in _values(records, name) if not np.isnan(v)] for name in ("rate", "rate_low", "rate_high")
    )
    rate = float(np.median(rates)) if rates else np.nan
    low, high = min(lows, default=np.nan), max(highs, default=np.nan)
    return Measured(rate, low, high, "" if rates else _refused(records), len(rates))


def word_of(low: float, high: float) -> str:
    """The word for an interval of rates; '' where there is none."""
    return "" if np.isnan(low) or np.isnan(high) else word(low, high)
