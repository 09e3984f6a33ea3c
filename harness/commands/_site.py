"""The pages of a site: the front, the trends, a report of each of the newest runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from .. import store
from ..measure.verdict import reliability
from ..regress.history import page as history
from ..regress.history.trend import Trend, table
from ..report import findings, frame, summary
from ..report.html import as_html
from ..report.page import content_of_ready, heading, minute
from ..report.section import Finding, Section
from ..report.table import Entry, Table, number
from ..screen import one_line
from ..store import provenance
from . import _site_cell

MOST_RUNS = 10  # newest ones that have a report, and that the cells' pages are made of
FRONT, TRENDS = "index.html", "history.html"
Links = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Run:
    """A run as the site shows it; `rows` are tidy."""

    manifest: dict[str, Any]
    rows: pd.DataFrame

    @cached_property
    def ready(self) -> pd.DataFrame:
        """The rows as a report prepares them."""
        return frame.prepare(self.rows)

    @cached_property
    def found(self) -> list[Finding]:
        """What the run found, in sentences."""
        return findings.findings(summary.rows_of_ready(self.ready), self.ready) if len(self.ready) else []

    @property
    def name(self) -> str:
        return str(self.manifest["run"])

    @property
    def file(self) -> str:
        return f"run-{self.name}.html"

    @property
    def created(self) -> str:
        return one_line(minute(self.manifest.get("created")) or "")


def files(folders: Sequence[Path], trends: Sequence[Trend]) -> dict[str, str]:
    """The text of every page by its name, of runs and trends. Raises ResultsError for damage."""
    manifests = sorted(
        (store.read_manifest(folder) | {"folder": folder} for folder in folders),
        key=lambda one: (str(one.get("created")), one["run"]),
    )
    newest = [Run(one, store.load(one["folder"])) for one in reversed(manifests[-MOST_RUNS:])]
    cells = _site_cell.pages([(run.manifest, run.rows, run.ready) for run in newest])
    site: Links = (("Overview", FRONT), *([("Trends", TRENDS)] if trends else []))
    pages = {run.file: _report(run, site) for run in newest}
    pages |= {one.file: _site_cell.html(one, site) for one in cells}
    if trends:
        pages[TRENDS] = history.html(trends, site=site)
    pages[FRONT] = _front(manifests, newest, cells, trends, site)
    return pages


def _report(run: Run, site: Links) -> str:
    head = heading(run.ready, [run.manifest])
    sections = content_of_ready(run.ready, [run.manifest])
    return as_html(*head, sections, reliability(), run.found, site)


def _front(
    manifests: Sequence[Mapping[str, Any]],
    newest: Sequence[Run],
    cells: Sequence[_site_cell.Page],
    trends: Sequence[Trend],
    site: Links,
) -> str:
    """What the newest run found, then where everything lies."""
    found = [replace(one, page=newest[0].file) for one in newest[0].found]
    tables = [_reports(newest), _cells(cells), *([_changes(trends)] if trends else []), _machines(manifests)]
    sections = [Section(one.heading, tables=(one,)) for one in tables if one.rows]
    lines = [f"The newest run is {newest[0].name}, of {newest[0].created}; it found:"] if found else []
    return as_html("cellbench", lines, sections, reliability(), found, site)


def _reports(newest: Sequence[Run]) -> Table:
    rows = []
    for run in newest:
        git = run.manifest.get("git")
        rows.append(
            (
                Entry(run.name, link=run.file),
                Entry(run.created),
                Entry(_machine(run.manifest)[1]),
                Entry(one_line(git.get("commit") or "–")[:12] if isinstance(git, dict) else "–"),
                Entry(frame.named(frame.unique(run.ready["label"]), 6, "cells")),
                Entry(frame.named(frame.unique(run.ready["backend"]), 6, "backends")),
                Entry(frame.named(frame.unique(run.ready["probe"]), 8, "probes")),
            )
        )
    header = ("run", "made", "machine", "commit", "cells", "backends", "probes")
    return Table("Reports", header, tuple(rows), f"The newest {MOST_RUNS} runs, the newest first.")


def _cells(cells: Sequence[_site_cell.Page]) -> Table:
    rows = tuple((Entry(one.name, link=one.file), Entry(one.about)) for one in cells)
    return Table("Cells", ("cell", "what it is"), rows)


def _changes(trends: Sequence[Trend]) -> Table:
    """The table of trends, each leading to its figure."""
    plain = table(trends)
    rows = [
        (Entry(row[0].text, link=f"{TRENDS}#figure.{history.file_name(trend.benchmark)}"), *row[1:])
        for trend, row in zip(trends, plain.rows, strict=True)
    ]
    return Table(plain.heading, plain.header, tuple(rows), plain.note)


def _machines(manifests: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each machine key: runs of two keys are never compared."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in manifests:
        groups.setdefault(_machine(one), []).append(one)
    rows = tuple(
        (Entry(name), Entry(key), *_about(runs[-1]), number(str(len(runs))), Entry(str(runs[-1]["run"])))
        for (key, name), runs in groups.items()
    )
    note = "Runs of two keys are not compared. A key holds hardware, threads and numerical libraries."
    header = ("machine", "key", "cores", "system", "runs", "newest run")
    return Table("Machines", header, rows, note).without_empty()


def _machine(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """(key, name) of the machine."""
    machine = manifest.get("machine")
    cpu = machine.get("cpu") if isinstance(machine, dict) else None
    return provenance.key_of(dict(manifest)) or "–", one_line(cpu or "unknown")


def _about(manifest: Mapping[str, Any]) -> Iterator[Entry]:
    machine = manifest.get("machine")
    machine = machine if isinstance(machine, dict) else {}
    yield from (Entry(one_line(machine.get(key) or "–")) for key in ("cores", "platform"))
