"""The tidy frame made ready for grouping: labels, plain nulls, estimates over processes or seeds.

After `prepare` a null is "" in a text column and -1 in a whole-number column, so that every column can be a
key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellbench.cells import find

from ..screen import one_line
from ..store.tidy import LARGEST

TEXT = (
    "run",
    "case",
    "probe",
    "cell",
    "options",
    "variant",
    "backend",
    "implementation",
    "device",
    "dtype",
    "match",
    "direction",
    "task",
    "metric",
    "unit",
    "status",
    "reason",
)
WHOLE = ("threads", "steps", "batch", "input_size", "hidden_size", "seed", "process", "sample")
# what may vary besides steps
SETTING = ("run", "device", "dtype", "threads", "batch", "input_size", "match", "hidden_size")
# what is compared apart: cells that were matched have hidden sizes of their own in one panel
PANEL = (*SETTING[:-1], "size")
PROGRAM = ("label", "backend")  # what is run
BY_PATH = ("task", "backend")  # columns that name a member as it was given, by its file too
NAMES = {
    "steps": "T",
    "batch": "B",
    "input_size": "I",
    "hidden_size": "H",
    "size": "H",
    "match": "equal",
    "direction": "direction",
    "threads": "threads",
}
OPTION = "probe."  # begins the column of an option of a probe
DIRECTIONS = {"forward": "forward", "backward": "forward+backward"}
FEWEST = 3  # processes from which on their range is shown as an interval


def label(cell: str, options: str = "") -> str:
    """What a cell is called in every table and figure: 'elman', 'elman:activation=relu'."""
    return f"{cell}:{options}" if options else cell


def prepare(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with every column of the schema, nulls as "" or -1, and the columns `label` and `size`.

    A status that is null is 'ok'. `label` is the cell with its options. Rows are ordered by probe and cell.
    `size` is the hidden size, or null where it was chosen to match a budget. A value that is infinite, or
    beyond LARGEST, is null: `left_out` names them.
    """
    count = len(frame)
    columns = {name: _text(frame[name]) if name in frame else _same("", count) for name in TEXT}
    for name in WHOLE:
        columns[name] = whole(frame[name]) if name in frame else np.full(count, -1)
    for name in ("value", "lag"):
        columns[name] = number(frame[name]) if name in frame else np.full(count, np.nan)
    columns["value"], beyond = within(columns["value"], columns["unit"])
    for name in BY_PATH:
        columns[name] = _shortened(columns[name])
    columns["size"] = np.where(columns["match"] == "", columns["hidden_size"], -1)
    columns["label"] = _labels(columns["cell"], columns["options"])
    ready = pd.DataFrame(columns, copy=False)  # a copy would lay columns of a million rows side by side
    ready["status"] = ready["status"].replace("", "ok")
    metrics = [*dict.fromkeys(ready["metric"][beyond])]
    ready = _in_order(ready)
    ready.attrs["left_out"] = _left_out(int(beyond.sum()), metrics)
    return ready


def within(values: np.ndarray, units: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The values, NaN for those that are infinite or beyond LARGEST, and which those are.

    A log is infinite where what it is of is 0, and stays. What is as near to 0 as LARGEST is far is 0.
    """
    codes, names = pd.factorize(units)
    of_logs = np.array([str(name).startswith("nats") for name in names], bool)[codes]
    beyond = (np.abs(values) > LARGEST) & ~(of_logs & np.isinf(values))
    kept = np.where(beyond, np.nan, values)
    return np.where(np.abs(kept) < 1 / LARGEST, 0.0, kept), beyond


def left_out(ready: pd.DataFrame) -> list[str]:
    """The line about values that a prepared frame leaves out, if there are any."""
    return [line for line in (ready.attrs.get("left_out", ""),) if line]


def _left_out(count: int, metrics: list[str]) -> str:
    if not count:
        return ""
    more = f" and {len(metrics) - 3} metrics more" if len(metrics) > 3 else ""
    values = "1 value is" if count == 1 else f"{count:,} values are"
    return f"{values} infinite or beyond {LARGEST:g}, and left out: {', '.join(metrics[:3])}{more}."


def without_result(ready: pd.DataFrame) -> str:
    """'7 cases have no result: 6 unsupported, 1 wrong' of a prepared frame; '' where each has one."""
    refused = ready[ready["status"] != "ok"]
    counts = Counter(refused.loc[(refused["case"] == "") | ~refused.duplicated(["run", "case"]), "status"])
    what = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    total = sum(counts.values())
    return f"{total} case{'s have' if total > 1 else ' has'} no result: {what}" if total else ""


def _in_order(ready: pd.DataFrame) -> pd.DataFrame:
    """The probes, and the cells of each, in the order in which they first appear.

    Cases that are measured side by side, and those of a second pass, are stored as they end.
    """
    labels, names = pd.factorize(ready["label"])
    place = pd.factorize(ready["probe"])[0] * max(len(names), 1) + labels
    if (np.diff(place) >= 0).all():
        return ready
    return ready.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def _text(column: pd.Series) -> pd.Series:
    """Every different text is cleaned once: a column has few of them, and maybe a million rows."""
    codes, values = pd.factorize(column)
    return _objects([*map(one_line, values), ""], codes)  # null has the code -1, which is the last


def _shortened(column: pd.Series) -> pd.Series:
    """Members that were given by path by their class's name; two that would be called alike keep the path."""
    codes, values = pd.factorize(column)
    short = [find.short_name(value) for value in values]
    return _objects(
        [own if short.count(own) == 1 else value for own, value in zip(short, values, strict=True)], codes
    )


def _labels(cells: pd.Series, options: pd.Series) -> pd.Series:
    codes, names = pd.factorize(cells)
    others, texts = pd.factorize(options)
    pairs, places = np.unique(codes * (len(texts) + 1) + others, return_inverse=True)
    return _objects([label(names[p // (len(texts) + 1)], texts[p % (len(texts) + 1)]) for p in pairs], places)


def _same(text: str, count: int) -> pd.Series:
    return _objects([text], np.zeros(count, int))


def _objects(values: list[str], index: np.ndarray) -> pd.Series:
    """A column of plain strings: pandas' own kind takes longer to group by and to go through."""
    return pd.Series(np.array(values, object)[index], dtype=object)


def number(column: pd.Series) -> np.ndarray:
    """Numbers, NaN for null and for what is none."""
    return pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)


def whole(column: pd.Series) -> np.ndarray:
    """Whole numbers, -1 for null."""
    return pd.to_numeric(column, errors="coerce").fillna(-1).to_numpy(int)


def of_probe(frame: pd.DataFrame, probe: str, ok: bool | None = True) -> pd.DataFrame:
    """Rows of one probe: the measured ones, the not-ok ones (ok=False), or both (ok=None)."""
    chosen = frame["probe"] == probe
    if ok is not None:
        chosen &= (frame["status"] == "ok") == ok
    return frame[chosen]


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of cases with a result."""
    return frame[frame["status"] == "ok"]


def of_metric(frame: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    return frame[frame["metric"].isin(metrics)]


def sized(name: str, row: Any) -> str:
    """The cell's name, with its hidden size where that was chosen for it.

    row is a mapping with match and hidden_size.
    """
    return f"{name} (H {row['hidden_size']})" if row["match"] else name


def unique(values: Iterable[Any]) -> list[Any]:
    """The values once each, in the order in which they first appear, nulls left out."""
    return [
        v
        for v in (values.unique() if isinstance(values, pd.Series) else dict.fromkeys(values))
        if v not in ("", -1)
    ]


def varying(frame: pd.DataFrame, keys: Sequence[str] = SETTING) -> list[str]:
    """The keys that take more than one value."""
    return [key for key in keys if len(unique(frame[key])) > 1]


def telling(
    frame: pd.DataFrame, keys: Sequence[str] = SETTING, beside: Sequence[str] = ("label",)
) -> list[str]:
    """The keys that vary, without the run where the others tell its rows from those of other runs.

    beside: columns that stand beside the keys in each row. Runs of several machines are always told: the
    column `machine` names them, if it is there.
    """
    varied = varying(frame, keys)
    others = [key for key in varied if key != "run"]
    if "run" not in varied or ("machine" in frame and len(unique(frame["machine"])) > 1):
        return varied
    alike = frame.groupby([*beside, *others], sort=False)["run"].nunique().max() > 1
    return varied if alike else others


def setting_text(row: Any, keys: Sequence[str]) -> str:
    """'H 128, float32' for a row (mapping by key); a null is left out."""
    return ", ".join(_setting(key, row[key]) for key in keys if row[key] not in ("", -1))


def tally(leaders: Iterable[tuple[str, bool]]) -> str:
    """'gru in 3 (2 of them sure), lstm in 1 (0 of them sure)', of who leads each time and whether surely."""
    each = list(leaders)
    sure = Counter(name for name, is_sure in each if is_sure)
    often = Counter(name for name, _ in each).most_common()
    return ", ".join(f"{name} in {count} ({sure[name]} of them sure)" for name, count in often)


def named(names: list[str], most: int, what: str = "") -> str:
    """'a, b and c'; of more than `most`, '12 cells', or the first and how many follow where what is ''."""
    if len(names) > most:
        return f"{len(names)} {what}" if what else f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def shared_settings(rows: pd.DataFrame, keys: Iterable[str]) -> str:
    """'All at H 128, float32. ' for the settings that have one value."""
    single = {key: unique(rows[key])[0] for key in keys if len(unique(rows[key])) == 1}
    return f"All at {setting_text(single, list(single))}. " if single else ""


def _setting(key: str, value: Any) -> str:
    if key == "direction":
        return DIRECTIONS.get(value, value)
    if key == "threads":
        return f"{value} thread{'s' if value != 1 else ''}"
    if key.startswith(OPTION):
        shown = f"{value:g}" if isinstance(value, float) else value
        return f"{key.rpartition('.')[2]} {shown}"
    return f"{NAMES[key]} {value}" if key in NAMES else str(value)


def mappings(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as a mapping by column; pandas' to_dict takes three times as long for its own text."""
    names = list(rows.columns)
    columns = [rows[name].astype(object).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def estimates(rows: pd.DataFrame, keys: Sequence[str], unit: str, fewest: int = FEWEST) -> pd.DataFrame:
    """The median over units of each unit's median, by keys and metric; low and high are their range.

    unit is 'process' or 'seed'; low and high are NaN for fewer than `fewest`. Columns: keys, metric, median,
    low, high, units.
    """
    columns = list(dict.fromkeys([*keys, "metric"]))
    each = rows.groupby([*columns, unit], sort=False)["value"].median()
    over = each.groupby(level=list(range(len(columns))), sort=False)
    result = over.agg(median="median", low="min", high="max", units="count").reset_index()
    result.loc[result["units"] < fewest, ["low", "high"]] = np.nan
    return result
