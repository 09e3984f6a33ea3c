"""The claims on a page of their own, and as the last section of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report.html import PAGE, as_html
from ..report.page import about, as_markdown, figures
from ..report.section import Section
from ..report.table import Entry, Table, number
from ..report.units import quantity
from ..screen import one_line
from ..store import ResultsError, pages, provenance
from . import _file
from ._file import Record
from ._result import ClaimResult

MARKDOWN = "claims.md"
TITLE = "The lecture's claims"
RULED = (
    "Each verdict is computed from the numbers of this run by the rule that stands with it; claims.json has"
    " all numbers."
)
FOLDED = 10  # rows of a table from which on it is folded away on the claims' own page
SAME = ("cpu", "cores", "gpu")  # in which a machine is the same


def check(folder: Path) -> None:
    """Raises ResultsError for a folder that the page cannot be written to: before anything is measured."""
    pages.check(folder, (MARKDOWN, PAGE))


def write(record: Record, folder: Path) -> Path:
    """index.html, claims.md, claims.json and a figure a claim; returns the path of index.html."""
    check(folder)
    _file.write(record, folder)
    content = [
        Section("Verdicts", tables=(summary(record.results),)),
        *(claim_section(one, FOLDED) for one in record.results),
    ]
    title, lines = f"cellbench: {TITLE[0].lower()}{TITLE[1:]}", [*heading(record), RULED]
    texts = {MARKDOWN: as_markdown(title, lines, content), PAGE: as_html(title, lines, content)}
    pages.replace(folder, "claims", figures(content) | texts)
    return folder / PAGE


def last_section(
    run: Path, manifests: Sequence[dict[str, Any]], folder: Path | None = None
) -> tuple[list[Section], list[str]]:
    """The last section of a report, and lines on it for a terminal; neither where nobody measured the claims.

    claims.json lies in the folder, or where none is given in the one called claims beside the folder that the
    run lies in. Raises ResultsError where a given folder has none.
    """
    path = (folder or run.resolve().parent.parent / "claims") / _file.NAME
    if not path.is_file():
        if folder:
            raise ResultsError(
                f"claims {str(folder)!r} has no {_file.NAME}; `cellbench claims --output DIR` writes one"
            )
        return [], []
    try:
        record = _file.read(path)
    except ResultsError as error:
        return [Section(TITLE, lines=(one_line(error),))], [str(error)]
    return [section(record, manifests, path)], [f"from {_near(path)}", *record.warnings]


def section(record: Record, manifests: Sequence[dict[str, Any]], path: Path) -> Section:
    """The report's section of claims: the verdicts, then each claim with its numbers folded away."""
    lines = (*heading(record), f"From {_near(path)}.", *_elsewhere(record, manifests), *record.warnings)
    return Section(
        TITLE,
        lines=lines,
        tables=(summary(record.results),),
        parts=tuple(claim_section(one, 0) for one in record.results),
        question="Do claims hold?",
    )


def heading(record: Record) -> list[str]:
    """When, on what machine, of what commit, how long; and the versions, as far as the record says so."""
    seconds = quantity(sum(one.seconds for one in record.results), "s")
    versions = record.source.get("versions")
    named = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else ""
    first = ", ".join(filter(None, (about(record.source), f"{seconds} on one thread")))
    lines = [f"{first}.", *([f"{one_line(named)}."] if named else [])]
    for one in record.results:
        if one.source and one.source.get("created") != record.source.get("created"):
            lines.append(f"{one.claim} was measured apart: {about(one.source)}.")
    if record.left:
        lines.append(f"Not measured yet: {one_line(', '.join(record.left))}.")
    return lines


def _near(path: Path) -> str:
    """As it is found from here, where it lies below."""
    return one_line(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _elsewhere(record: Record, manifests: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each run that was made on another machine."""
    here, lines = record.source.get("machine"), []
    for manifest in manifests:
        there = manifest.get("machine")
        if isinstance(here, dict) and isinstance(there, dict):
            differs = provenance.differences(
                *({k: machine.get(k) for k in SAME} for machine in (here, there))
            )
            if differs:
                lines.append(
                    f"Not the machine of run {one_line(manifest['run'])}: {one_line('; '.join(differs))}."
                )
    return lines


def summary(results: Sequence[ClaimResult]) -> Table:
    """A row a claim: its sentence, verdict and condition."""
    rows = tuple(
        (number(str(one.place)), Entry(one.sentence), one.entry, Entry(one.condition)) for one in results
    )
    return Table("Verdicts", ("", "claim", "verdict", "under what condition, or why"), rows)


def claim_section(one: ClaimResult, unfolded: int) -> Section:
    """A claim's sentence, verdict, method, rule and figure; its numbers, folded away beyond so many rows."""
    facts = (
        ("claim", one.sentence),
        ("verdict", f"{one.verdict}. {one.condition}"),
        ("measured", one.how),
        ("rule", one.rule),
    )
    figures = () if one.figure is None else (one.figure,)
    tables = () if one.table is None else (one.table,)
    return Section(f"{one.place} {one.claim}", figures, tables, facts=facts, unfolded=unfolded)
