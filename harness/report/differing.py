"""Options of a probe in which runs differ, as columns: a result of one value is never taken for another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..screen import one_line
from .frame import OPTION, unique
from .table import Column, Entry, Table, table_of

MOST_ROWS = 200  # of a table


def options_of(manifests: Sequence[dict[str, Any]], probe: str) -> dict[str, dict[str, Any]]:
    """The options of a probe of which the runs have different values: a value for each run, by its name.

    None where a run does not say its options, as one that was imported.
    """
    tables = {str(manifest.get("run")): _table(manifest, probe) for manifest in manifests}
    first = next(iter(tables.values()), {})
    shared = [name for name in first if all(name in table for table in tables.values())]
    found = {
        f"{OPTION}{probe}.{name}": {run: table[name] for run, table in tables.items()} for name in shared
    }
    return {key: by for key, by in found.items() if len({repr(value) for value in by.values()}) > 1}


def with_options(rows: pd.DataFrame, probe: str, manifests: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows of a probe with a column for each option in which their runs differ, and that no column has yet.

    Of numbers above 0 it is one of floats, which can be an axis; else of texts.
    """
    mine = [m for m in manifests if str(m.get("run")) in set(unique(rows["run"]))]
    for key, values in options_of(mine, probe).items():
        if not _known(rows, values):
            numbers = all(_is_positive(value) for value in values.values())
            shown = {run: float(v) if numbers else text(v) for run, v in values.items()}
            rows = rows.assign(**{key: rows["run"].map(shown)})
    return rows


def table(ready: pd.DataFrame, manifests: Sequence[dict[str, Any]]) -> Table | None:
    """A row a run, with the options of probes and the seeds in which they differ; None without any."""
    known = {key: by for probe in unique(ready["probe"]) for key, by in options_of(manifests, probe).items()}
    seeds = {str(manifest.get("run")): _config(manifest).get("seeds") for manifest in manifests}
    if len({repr(value) for value in seeds.values()}) > 1 and None not in seeds.values():
        known["seeds"] = seeds
    if not known:
        return None
    columns = [Column("run", Entry), *(_column(key, values) for key, values in known.items())]
    runs = [one_line(str(manifest.get("run"))) for manifest in manifests]
    more = f"The first {MOST_ROWS} of {len(runs):,}." if len(runs) > MOST_ROWS else ""
    return table_of("What the runs differ in", columns, runs[:MOST_ROWS], more)


def _column(key: str, values: dict[str, Any]) -> Column[str]:
    return Column(key, lambda run: Entry(text(values.get(run))))


def text(value: Any) -> str:
    """An option's value as it is typed, without brackets."""
    if isinstance(value, list):
        return ", ".join(map(text, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else one_line(str(value)) or "none"


def _table(manifest: dict[str, Any], probe: str) -> dict[str, Any]:
    """A probe's options as a run's configuration has them; a list of one number is that number."""
    probes = _config(manifest).get("probe")
    found = probes.get(probe) if isinstance(probes, dict) else None
    table = found if isinstance(found, dict) else {}
    return {str(k): v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in table.items()}


def _config(manifest: dict[str, Any]) -> dict[str, Any]:
    config = manifest.get("config")
    return config if isinstance(config, dict) else {}


def _known(rows: pd.DataFrame, values: dict[str, Any]) -> bool:
    """Whether a column has these values already, as that of B has a batch."""
    there = [key for key in ("backend", "batch", "hidden_size", "steps", "variant") if key in rows]
    by_run = {
        key: rows.groupby("run", sort=False)[key].agg(lambda one: {*map(str, unique(one))}) for key in there
    }
    wanted = {run: {*map(str, v if isinstance(v, list) else [v])} for run, v in values.items()}
    return any(dict(sets) == wanted for sets in by_run.values())


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
