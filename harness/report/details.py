"""The tables behind the summary: sizes, every timing, clipping, what did not run, and the environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from .frame import (
    DIRECTIONS,
    NAMES,
    SETTING,
    estimates,
    of_metric,
    of_probe,
    printable,
    setting_text,
    unique,
    varying,
)
from .summary import measured
from .table import Entry, Table, number
from .units import digits, exact, interval, quantity

RATES = {
    "steps_per_s": "steps/s",
    "sequences_per_s": "sequences/s",
    "flop_per_s": "GFLOP/s",
    "useful_tokens_per_s": "useful tokens/s",
    "useful_tokens": "useful tokens",
    "padded_tokens": "padded tokens",
}
KINDS = {
    "seconds": "s",
    "flop_per_s": "flop/s",
    "ratio_to_native": "x",
    "first_call_s": "s",
    "peak_bytes": "B",
}
MOST_ARRAYS = 6  # that have a column each
EXIT_1 = ("wrong", "failed", "crashed", "timed_out", "out_of_memory")


def parameters(frame: pd.DataFrame) -> Table:
    """Counts by array and operations per cell and size."""
    part = of_probe(frame, "parameters")
    sizes = varying(part, ("run", "input_size", "match", "hidden_size"))
    arrays = [name for name in unique(part["metric"]) if name.startswith("parameters.")]
    columns = arrays if len(arrays) <= MOST_ARRAYS else []
    header = [
        "cell",
        *sizes,
        "parameters",
        *[name.removeprefix("parameters.") for name in columns],
        "memory",
        "state",
    ]
    header += [
        "forward FLOP",
        "backward FLOP",
        "affine in the state",
        *([] if columns == arrays else ["arrays"]),
    ]
    rows = []
    for values, found in _cases(part, ["label", *sizes]):
        fields = [number(exact(found.get(name, np.nan))) for name in ("parameters", *columns)]
        fields += [number(quantity(found.get("parameter_bytes", np.nan), "B"))]
        fields += [
            number(exact(found.get(name, np.nan))) for name in ("state_size", "forward_flop", "backward_flop")
        ]
        fields += [Entry({0.0: "no", 1.0: "yes"}.get(found.get("affine", np.nan), "–"))]
        if columns != arrays:
            own = [
                f"{name.removeprefix('parameters.')}\u00a0{exact(found[name])}"
                for name in arrays
                if name in found
            ]
            fields += [Entry(", ".join(own))]
        rows.append((*map(_text, values), *fields))
    shared = _shared(part, ("input_size", "hidden_size", "match"))
    note = (
        f"{shared}FLOP per step and sequence: 2 per multiply-add in products, 1 per elementwise primitive. "
        "State: numbers carried per sequence."
    )
    return Table("Parameters and operations", tuple(header), tuple(rows), note).without_empty()


def _cases(part: pd.DataFrame, keys: list[str]) -> Iterable[tuple[tuple, dict[str, float]]]:
    """By keys, in order of appearance: the median value of each metric."""
    for values, rows in part.groupby(keys, sort=False):
        yield values, rows.groupby("metric", sort=False)["value"].median().to_dict()


def _text(value: Any) -> Entry:
    return Entry("–" if value in ("", -1) else str(value))


def _shared(part: pd.DataFrame, keys: Iterable[str]) -> str:
    """'All at H 128, float32. ' for the settings that have one value."""
    single = {key: unique(part[key])[0] for key in keys if len(unique(part[key])) == 1}
    return f"All at {setting_text(single, list(single))}. " if single else ""


def throughput(frame: pd.DataFrame) -> Table:
    """Every workload, backend and direction that was timed."""
    part = of_probe(frame, "throughput")
    extra = varying(part)
    keys = ["label", "backend", *SETTING, "steps", "direction"]
    found: dict[tuple, dict[str, dict]] = {}
    for row in estimates(part, keys, "process").to_dict("records"):
        found.setdefault(tuple(row[key] for key in keys), {})[row["metric"]] = row
    ran = part.groupby(keys, sort=False)["implementation"].agg(lambda names: ", ".join(unique(names)))
    header = [
        "cell",
        "backend",
        "ran",
        *extra,
        "T",
        "direction",
        "time",
        *RATES.values(),
        "speed-up",
        "first call",
    ]
    header += ["peak memory", "error", "tolerance", "processes"]
    rows = [
        _timing(dict(zip(keys, case, strict=True)), metrics, ran.get(case, ""), extra)
        for case, metrics in found.items()
    ]
    note = (
        f"{_shared(part, [key for key in SETTING if key != 'run'])}Median of the medians of the processes;"
        " interval: range over processes, from 3 on. Ran: the library that really did the work. Error:"
        " relative, against the float64 reference."
    )
    return Table("Throughput", tuple(header), tuple(rows), note).without_empty()


def _timing(case: dict[str, Any], metrics: dict[str, dict], ran: str, extra: list[str]) -> tuple[Entry, ...]:
    def entry(metric: str, spread: bool = True) -> Entry:
        row, kind = metrics.get(metric, {"median": np.nan}), KINDS.get(metric, "count")
        return measured(row if spread else {"median": row["median"]}, "median", kind)

    def error(metric: str) -> Entry:
        value = metrics.get(metric, {"median": np.nan})["median"]
        return number("–" if np.isnan(value) else f"{value:.1e}")

    for row in metrics.values():
        row |= {"median_low": row["low"], "median_high": row["high"]}
    fields = [Entry(case["label"]), Entry(case["backend"]), Entry(ran), *[_text(case[key]) for key in extra]]
    fields += [number(_text(case["steps"]).text), Entry(DIRECTIONS.get(case["direction"], case["direction"]))]
    fields += [entry("seconds"), *[entry(metric) for metric in RATES], entry("ratio_to_native")]
    fields += [
        entry("first_call_s", False),
        entry("peak_bytes", False),
        error("check_error"),
        error("check_tolerance"),
    ]
    return (*fields, number(exact(metrics.get("seconds", {"units": np.nan})["units"])))


def _over_seeds(values: pd.Series, kind: str, unit: str = "") -> Entry:
    """Median over seeds and, where seeds differ, their range; a NaN loss stays NaN instead of vanishing from
    the median.
    """
    if not len(values):
        return number("–")
    if values.isna().any():
        return number("NaN" if values.isna().all() else f"NaN in {values.isna().sum()} of {len(values)}")
    middle, low, high = values.median(), values.min(), values.max()
    text = quantity(middle, kind) + (f" {unit}" if unit else "")
    return number(text, interval(low, high, kind, middle) if high > low else "")


def clipping(frame: pd.DataFrame) -> Table:
    """What clipping did, by threshold: fractions and counts are medians over seeds."""
    part = of_probe(frame, "clipping")
    extra = varying(part, ("task", *SETTING))
    header = [
        "cell",
        "backend",
        *extra,
        "clipping",
        "seeds",
        "steps clipped",
        "loss spikes",
        "non-finite steps",
        "error rate",
        "solved",
    ]
    rows = []
    for values, here in part.groupby(["label", "backend", *extra, "variant"], sort=False):
        solved, at = of_metric(here, "solved")["value"], of_metric(here, "solved_step")["value"].dropna()
        fields = [
            number(str(here["seed"].nunique())),
            _over_seeds(of_metric(here, "clipped_fraction")["value"], "%"),
        ]
        fields += [
            _over_seeds(of_metric(here, name)["value"], "count") for name in ("spikes", "nonfinite_steps")
        ]
        fields += [_over_seeds(of_metric(here, "error_rate")["value"], "%")]
        step = f"median step {at.median():.0f}" if len(at) else ""
        count = f"{solved.sum():.0f} of {len(solved)}" if len(solved) else "–"
        rows.append((*map(_text, values), *fields, number(count, step)))
    note = (
        f"{_shared(part, ('task', 'device', 'dtype', 'steps', 'batch', 'hidden_size'))}Median over seeds;"
        " below it their range."
    )
    return Table("Clipping", tuple(header), tuple(rows), note).without_empty()


def not_ok(frame: pd.DataFrame) -> Table:
    """Every case without a result, with its reason, errors first; cases with one reason share a row,
    whichever cell it names.
    """
    part = frame[frame["status"] != "ok"]
    part = part.assign(
        rank=[0 if status in EXIT_1 else 1 for status in part["status"]],
        why=[_of_any_cell(reason, cell) for reason, cell in zip(part["reason"], part["cell"], strict=True)],
    ).sort_values("rank", kind="stable")
    spread = varying(part, ("variant", "task", "direction", "steps", *SETTING, "seed"))
    header = ("probe", "cell", "backend", "where", "status", "reason", "cases")
    rows = []
    for (status, why), here in part.groupby(["status", "why"], sort=False):
        probes, labels, backends = (", ".join(unique(here[key])) for key in ("probe", "label", "backend"))
        where = "; ".join(text for text in (_spread(here, key) for key in spread) if text)
        reason = why if len(unique(here["reason"])) > 1 else here["reason"].iloc[0]
        said = (
            Entry(where),
            Entry(status, kind="status"),
            Entry(reason),
            number(str(len(unique(here["case"])) or len(here))),
        )
        rows.append((_text(probes), _text(labels), _text(backends), *said))
    return Table("Cases without a result", header, tuple(rows)).without_empty()


def _of_any_cell(reason: str, cell: str) -> str:
    """The reason without the cell's name, where it is quoted: of another cell it may read the same."""
    return reason.replace(f"cell {cell!r}", "the cell") if cell else reason


def _spread(here: pd.DataFrame, key: str) -> str:
    """'T 64, 256' or 'forward': the values of one setting among these cases."""
    values = unique(here[key])
    name = {**NAMES, "direction": "", "seed": "seed"}.get(key, "")
    return (name and f"{name} ") + ", ".join(DIRECTIONS.get(v, str(v)) for v in values) if values else ""


def environment(manifests: list[dict]) -> Table:
    """Whatever the manifests say besides command and configuration, a column for each run."""
    kept = [{k: v for k, v in manifest.items() if k not in ("command", "config")} for manifest in manifests]
    return _side_by_side("Environment", kept, manifests)


def configuration(manifests: list[dict]) -> Table:
    """The resolved configuration of each run."""
    return _side_by_side("Configuration", [manifest.get("config") or {} for manifest in manifests], manifests)


def _side_by_side(heading: str, trees: list[dict], manifests: list[dict]) -> Table:
    flat = [dict(_leaves(tree)) for tree in trees]
    names = list(dict.fromkeys(name for leaves in flat for name in leaves))
    header = [_run(manifest, i) for i, manifest in enumerate(manifests)]
    rows = tuple((Entry(name), *[Entry(leaves.get(name, "–")) for leaves in flat]) for name in names)
    return Table(heading, ("", *header), rows)


def _run(manifest: dict, index: int) -> str:
    return printable(manifest.get("run") or f"run {index + 1}")


def _leaves(tree: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """('git.commit', '1a2b') for every leaf of a nested dict; a list of plain values is one leaf."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{printable(name)}" if path else printable(name))
    elif isinstance(tree, list | tuple) and any(isinstance(value, dict) for value in tree):
        for i, value in enumerate(tree):
            yield from _leaves(value, f"{path}[{i}]")
    elif isinstance(tree, list | tuple):
        yield path, ", ".join(map(_said, tree)) or "none"
    else:
        yield path, _size(path, tree)


def _said(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else printable(value)


def _size(path: str, value: Any) -> str:
    """A leaf as text; bytes also in the unit that a person reads."""
    if path.endswith("_bytes") and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f} ({quantity(float(value), 'B')})"
    return _said(value) if not isinstance(value, float) else digits(value)
