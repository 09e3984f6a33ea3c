"""The page and its Markdown twin, from the same sections in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..store import make
from . import details, gradient_tables, training_overview, trainings
from .drawing.panels import Figure
from .frame import of_probe, prepare, printable, unique
from .standings import trained_tasks
from .summary import summary_table
from .table import Table, escaped, markdown

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it: lines, facts (a word and a text), figures, tables, lines to copy,
    parts.

    Tables of more than `unfolded` rows are folded away on the page.
    """

    heading: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    parts: tuple[Section, ...] = ()
    unfolded: int = 60

    @property
    def anchor(self) -> str:
        return self.heading.lower().replace(" ", "-")


def write(
    frame: pd.DataFrame, manifests: list[dict], folder: Path, foot: str = "", last: Sequence[Section] = ()
) -> Path:
    """Writes index.html, report.md and the figures as .svg into folder, and a foot under both; returns the
    path of index.html.

    last: sections that come after those of the runs.

    frame is tidy, one observation a row, as `harness.load` returns it; manifests are the dicts of
    manifest.json, one a run.
    """
    from . import sections as figures

    folder = Path(folder)
    make(folder)
    ready = prepare(frame)
    drawn = figures.figures(ready)
    head = heading(ready, manifests)
    content = [*sections(frame, ready, manifests, drawn), *last]
    save_figures(
        content, folder, (*(f"{name}.svg" for name in figures.NAMES), figures.ONE_A_TASK, figures.CLAIMS)
    )
    (folder / "report.md").write_text(as_markdown(*head, content, foot), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(as_html(*head, content, foot), encoding="utf-8")
    return page


def heading(ready: pd.DataFrame, manifests: list[dict]) -> tuple[str, list[str]]:
    """The title, and a few lines about what was run and what of it has no result."""
    runs = unique(
        [*ready["run"], *[printable(manifest["run"]) for manifest in manifests if manifest.get("run")]]
    )
    title = (
        f"cellbench: {', '.join(runs[:6])}{f' and {len(runs) - 6} more' if len(runs) > 6 else ''}"
        if runs
        else "cellbench"
    )
    lines = [line for line in dict.fromkeys(map(about, manifests)) if line][:6]
    if not len(ready):
        return title, [*lines, "There are no results: no case has been measured."]
    if matches := unique(ready["match"]):
        equal = "; ".join(matches[:6]) + (" …" if len(matches) > 6 else "")
        lines.append(
            f"Each cell has the hidden size that comes closest to the budget of the first one: {equal}."
        )
    refused = ready[ready["status"] != "ok"]
    counts = Counter(refused.loc[(refused["case"] == "") | ~refused.duplicated(["run", "case"]), "status"])
    if counts:
        what = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        total = sum(counts.values())
        lines.append(
            f"{total} case{'s have' if total > 1 else ' has'} no result: {what}; the reasons are below."
        )
    return title, lines


def about(manifest: dict) -> str:
    """'2026-01-01, AMD EPYC, commit 1a2b3c (with uncommitted changes)' as far as the manifest says so."""
    machine, git = manifest.get("machine"), manifest.get("git")
    machine, git = machine if isinstance(machine, dict) else {}, git if isinstance(git, dict) else {}
    known = (manifest.get("created"), machine.get("cpu"), machine.get("gpu"))
    said = [printable(value) for value in known if isinstance(value, str) and value]
    if git.get("commit"):
        said.append(
            f"commit {printable(git['commit'])[:12]}{' with uncommitted changes' if git.get('dirty') else ''}"
        )
    return ", ".join(said)


def save_figures(content: Iterable[Section], folder: Path, earlier: Iterable[str]) -> None:
    """The figures as .svg; files that are called as an earlier page's were go, which may have had more to
    draw.
    """
    for old in [file for pattern in earlier for file in folder.glob(pattern)]:
        old.unlink(missing_ok=True)
    for figure in _figures(content):
        (folder / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")


def _figures(content: Iterable[Section]) -> Iterator[Figure]:
    for section in content:
        yield from section.figures
        yield from _figures(section.parts)


def sections(
    frame: pd.DataFrame, ready: pd.DataFrame, manifests: list[dict], drawn: list
) -> Iterator[Section]:
    """Everything on the page in its order; what has no data is left out."""
    if len(ready):
        summary = summary_table(frame)
        if len(summary.header) > 2 or not trained_tasks(ready):  # of trainings alone it has nothing but names
            yield Section("Summary", tables=(summary,))
        if (overview := training_overview.overview(ready)).rows:
            yield Section(overview.heading, tables=(overview,))
    beside = _beside(ready)
    for figure in drawn:
        yield Section(figure.heading, figures=(figure,), tables=beside.pop(figure.heading, ()))
    for heading, tables in beside.items():
        yield Section(heading, tables=tables)
    behind = _tables(ready, {figure.name for figure in drawn})
    for table in (*behind, details.environment(manifests), details.configuration(manifests)):
        if table.rows:
            yield Section(table.heading, tables=(table,))
    commands = tuple(dict.fromkeys(line for manifest in manifests for line in _command(manifest)))
    if commands:
        yield Section("How to reproduce", commands=commands)


def _beside(ready: pd.DataFrame) -> dict[str, tuple[Table, ...]]:
    """By heading: tables that belong to a figure, and have a section alone where it has nothing to draw."""
    found: dict[str, tuple[Table, ...]] = (
        {"Gradient clipping": (details.clipping(ready),)} if len(of_probe(ready, "clipping")) else {}
    )
    for task in trained_tasks(ready):
        table = trainings.table(ready, task)
        found[table.heading] = (table,)
    return found


def _tables(ready: pd.DataFrame, drawn: set[str]) -> Iterator[Table]:
    for probe in ("parameters", "throughput"):
        if len(of_probe(ready, probe)):
            table = getattr(details, probe)(ready)
            suffix = " in detail" if probe in drawn else ""
            yield Table(table.heading + suffix, table.header, table.rows, table.note)
    yield trainings.evidence(ready)
    yield from gradient_tables.tables(ready)
    yield details.not_ok(ready)


def _command(manifest: dict) -> list[str]:
    """The exact command line of a run; a list is quoted as a shell would need it."""
    import shlex

    command = manifest.get("command")
    if not command:
        return []
    return [shlex.join(map(printable, command)) if isinstance(command, list | tuple) else printable(command)]


def as_html(title: str, lines: list[str], content: list[Section], foot: str = "") -> str:
    """One self-contained page. Every name, label and reason is escaped; only the SVG of our own figures is
    not.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    jinja = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    jinja.trim_blocks = jinja.lstrip_blocks = True
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    template = jinja.get_template("template.html")
    return template.render(title=title, lines=lines, sections=content, foot=foot, style=style, svg=Markup)


def as_markdown(title: str, lines: list[str], content: list[Section], foot: str = "") -> str:
    """The same as GitHub Markdown; figures are the .svg files beside it."""
    blocks = [f"# {escaped(title)}", *[escaped(line) for line in lines]]
    for section in content:
        blocks += _blocks(section, "##")
    blocks += ["---", escaped(foot)] if foot else []
    return "\n\n".join(block for block in blocks if block) + "\n"


def _blocks(section: Section, level: str) -> Iterator[str]:
    yield f"{level} {escaped(section.heading)}"
    yield from map(escaped, section.lines)
    yield "\n".join(f"- **{escaped(word)}**: {escaped(text)}" for word, text in section.facts)
    for figure in section.figures:
        yield from (f"![{escaped(figure.heading)}]({figure.name}.svg)", escaped(figure.caption))
    for table in section.tables:
        folded = len(table.rows) > section.unfolded
        yield f"<details><summary>{len(table.rows)} rows</summary>" if folded else ""
        yield from (markdown(table), escaped(table.note), "</details>" if folded else "")
    yield from map(_fenced, section.commands)
    for one in section.parts:
        yield from _blocks(one, f"{level}#")


def _fenced(command: str) -> str:
    """Indented code: unlike a fence, no content of one line can end it."""
    return f"    {command}"
