"""The page and its Markdown twin, from the same sections in the same order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..screen import counted, one_line
from ..store import pages
from . import swept, titles
from .drawing.panels import Figure
from .environment import command, configuration, environment
from .findings import by_question, findings, note
from .frame import left_out, named, prepare, unique
from .html import PAGE, as_pages
from .overview import table_of_rows
from .refused import refused
from .rows import behind
from .section import Finding, Section
from .sections import Shown, of_page
from .strange import shown
from .summary import Row, rows_of_ready
from .table import escaped, markdown

MARKDOWN = "report.md"
MOST_RUNS = 6


def write(
    frame: pd.DataFrame,
    manifests: list[dict[str, Any]],
    folder: Path,
    foot: str = "",
    last: Sequence[Section] = (),
    probes: Iterable[Shown] = (),
    tables: Iterable[Path] = (),
) -> Path:
    """Writes index.html, report.md and the figures as .svg into folder; returns the path of index.html.

    Where index.html would be larger than 3 MB, it leads to a page a question, which lies beside it.
    Raises ResultsError for a folder that holds somebody's own files of these names.

    frame is tidy, one observation a row, as `harness.load` returns it; manifests are the dicts of
    manifest.json, one a run. foot stands under both; last: sections that come after those of the runs.
    probes: those from outside this package whose own sections are to be shown; others get a plain table.
    tables: the runs' Parquet files, which the page links to where they lie near.
    """
    folder = Path(folder)
    pages.check(folder, (MARKDOWN, PAGE))
    with shown("a run"):
        ready = swept.with_machines(prepare(frame), manifests)
        head = heading(ready, manifests)
        rows = rows_of_ready(ready) if len(ready) else []
        found = findings(rows, ready) if len(ready) else []
        content = [s for s in sections(rows, ready, manifests, probes) if not s.empty]
    content += [s for s in [behind(tables, folder)] if not s.empty]
    content += last
    texts = {MARKDOWN: as_markdown(*head, content, foot, found), **as_pages(*head, content, foot, found)}
    pages.replace(folder, "report", figures(content) | texts)
    return folder / PAGE


def content(frame: pd.DataFrame, manifests: list[dict[str, Any]]) -> list[Section]:
    """The sections of a page of these results."""
    with shown("a run"):
        return content_of_ready(prepare(frame), manifests)


def content_of_ready(ready: pd.DataFrame, manifests: list[dict[str, Any]]) -> list[Section]:
    """The same of a frame that is prepared already."""
    with shown("a run"):
        rows = rows_of_ready(ready) if len(ready) else []
        return [s for s in sections(rows, ready, manifests, ()) if not s.empty]


def heading(ready: pd.DataFrame, manifests: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """The title, and a few lines about what was run and what of it has no result."""
    runs = unique(
        [*ready["run"], *[one_line(manifest["run"]) for manifest in manifests if manifest.get("run")]]
    )
    title = titles.title(unique(ready["label"]), unique(ready["backend"]), manifests)
    lines = [f"Run {named(runs, MOST_RUNS)}."] if runs else []
    lines += [line for line in dict.fromkeys(map(about, manifests)) if line][:6]
    if not len(ready):
        return title, [*lines, "There are no results: no case has been measured."]
    if matches := unique(ready["match"]):
        equal = "; ".join(matches[:6]) + (" …" if len(matches) > 6 else "")
        lines.append(
            f"Each cell has the hidden size that comes closest to the budget of the first one: {equal}."
        )
    lines += left_out(ready)
    return title, lines


def about(manifest: dict[str, Any]) -> str:
    """'2026-01-01, AMD EPYC, commit 1a2b3c (with uncommitted changes)' as far as the manifest says so."""
    machine, git = manifest.get("machine"), manifest.get("git")
    machine, git = machine if isinstance(machine, dict) else {}, git if isinstance(git, dict) else {}
    known = (minute(manifest.get("created")), machine.get("cpu"), machine.get("gpu"))
    words = [one_line(value) for value in known if isinstance(value, str) and value]
    if git.get("commit"):
        dirty = " with uncommitted changes" if git.get("dirty") else ""
        words.append(f"commit {one_line(git['commit'])[:12]}{dirty}")
    return ", ".join(words)


def minute(created: Any) -> Any:
    """'2026-01-01 12:30 UTC' of a time as a manifest has it; anything else as it is."""
    text = created if isinstance(created, str) else ""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*\+00:00", text)
    return f"{found[1]} {found[2]} UTC" if found else created


def figures(content: Iterable[Section]) -> dict[str, str]:
    """The SVG of every figure, by the name of its file."""
    return {f"{figure.name}.svg": figure.svg for figure in _figures(content)}


def drawn(frame: pd.DataFrame) -> dict[str, Figure]:
    """The figures of a page by name; frame is tidy, as `harness.load` returns it."""
    return {figure.name: figure for figure in _figures(of_page(prepare(frame)))}


def _figures(content: Iterable[Section]) -> Iterator[Figure]:
    for section in content:
        yield from section.figures
        yield from _figures(section.parts)


def sections(
    rows: list[Row], ready: pd.DataFrame, manifests: list[dict[str, Any]], probes: Iterable[Shown] = ()
) -> Iterator[Section]:
    """Everything on the page in its order; what has no data is left out."""
    if len(ready):
        summary = table_of_rows(rows)
        if len(summary.header) > 2:  # of trainings or a probe from elsewhere alone it has nothing but names
            yield Section("Summary", tables=(summary,))
        yield swept.section(ready, manifests)
    yield from of_page(ready, probes)
    without = refused(ready)
    yield Section(without.heading, tables=(without,))
    machine, settings = environment(manifests), configuration(manifests)
    yield Section(machine.heading, tables=(machine,))
    yield Section(settings.heading, tables=(settings,), unfolded=0)
    commands = dict.fromkeys(line for manifest in manifests for line in command(manifest))
    yield Section("How to reproduce", commands=tuple(commands))


def as_markdown(
    title: str, lines: list[str], content: list[Section], foot: str = "", found: Sequence[Finding] = ()
) -> str:
    """The same as GitHub Markdown; figures are the .svg files beside it."""
    blocks = [f"# {escaped(title)}", *[escaped(line) for line in lines]]
    blocks += ["\n".join(_listed(question, some)) for question, some in by_question(found)]
    blocks += [note(found)] if found else []
    for section in content:
        blocks += _blocks(section, "##")
    blocks += ["---", escaped(foot)] if foot else []
    return "\n\n".join(block for block in blocks if block) + "\n"


def _listed(question: str, found: Sequence[Finding]) -> Iterator[str]:
    """The sentences of a question as a list below it."""
    if question:
        yield f"**{question}**\n"
    yield from (f"- {escaped(one.text)} [Shown here](#{one.anchor})." for one in found)


def _blocks(section: Section, level: str) -> Iterator[str]:
    yield f"{level} {escaped(section.heading)}"
    yield from map(escaped, section.lines)
    yield "\n".join(f"- **{escaped(word)}**: {escaped(text)}" for word, text in section.facts)
    for figure in section.figures:
        yield from (f"![{escaped(figure.heading)}]({figure.name}.svg)", escaped(figure.caption))
    for table in section.tables:
        folded = len(table.rows) > section.unfolded
        yield (f"<details><summary>{counted(len(table.rows), 'row')}</summary>" if folded else "")
        yield from (markdown(table), escaped(table.note), "</details>" if folded else "")
    yield from map(_fenced, section.commands)
    for one in section.parts:
        yield from _blocks(one, f"{level}#")


def _fenced(command: str) -> str:
    """Indented code: unlike a fence, no content of one line can end it."""
    return f"    {command}"
