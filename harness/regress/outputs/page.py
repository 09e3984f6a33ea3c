"""The Markdown for a job summary: headline, table, what is missing or differs, details."""

from __future__ import annotations

import re

from ...measure.verdict import Verdict
from ..benchmarks import Comparison
from .decision import Code, code_of, exit_code, headline
from .words import HEADER, cells_of, warnings_of

MARKS = {Code.FINE: "✅", Code.FAILURE: "❌", Code.CANNOT_TELL: "⚠️"}


def markdown(comparison: Comparison) -> str:
    """A page of GitHub's Markdown. Whatever was given is shown as it is: nothing in it is read as markup."""
    parts = [
        f"## {MARKS[Code(exit_code(comparison))]} {escaped(headline(comparison))}",
        f"{escaped(comparison.title)}. A is {escaped(comparison.a)}, B is {escaped(comparison.b)};"
        " + is more time in B.",
        _table(comparison),
        _reasons(comparison),
        _listed("Missing", comparison.missing),
        _facts(comparison),
        _listed("Warnings", warnings_of(comparison)),
        _listed("Notes", comparison.notes),
        _commands(comparison),
        f"<sub>{escaped(comparison.study)}</sub>" if comparison.study else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(comparison: Comparison) -> str:
    rows = [
        [escaped(c) for c in cells_of(j)[:-1]] + [f"{MARKS[code_of(j)]} {j.verdict}"]
        for j in comparison.judgements
    ]
    return _grid(HEADER, rows, ["---", "---:", "---:", "---:", "---"]) if rows else ""


def _facts(comparison: Comparison) -> str:
    rows = [
        [*map(escaped, (f.name, f.a, f.b)), MARKS[Code.FAILURE] if f.gated else "information"]
        for f in comparison.facts
    ]
    return _grid(("exactly different", "A", "B", ""), rows, ["---", "---:", "---:", "---"]) if rows else ""


def _grid(header: tuple[str, ...], rows: list[list[str]], edges: list[str]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in ([*header], edges, *rows))


def _reasons(comparison: Comparison) -> str:
    told = [j for j in comparison.judgements if j.verdict is not Verdict.SAME]
    return "\n".join(f"- **{escaped(j.name)}**: {escaped(j.reason)}" for j in told)


def _listed(heading: str, lines: tuple[str, ...] | list[str]) -> str:
    return "\n".join([f"**{heading}**", "", *(f"- {escaped(line)}" for line in lines)]) if lines else ""


def _commands(comparison: Comparison) -> str:
    """The command of each benchmark, folded.

    The fence of their block is longer than any run of backticks within.
    """
    if not comparison.commands:
        return ""
    body = "\n".join(
        f"# {' '.join(name.split())}\n{command}" for name, command in comparison.commands.items()
    )
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"<details><summary>Measure again</summary>\n\n{fence}sh\n{body}\n{fence}\n\n</details>"


def escaped(text: str) -> str:
    """The text on one line, with everything that Markdown or HTML would read as markup made plain."""
    from ...report.table import escaped

    return escaped(" ".join(text.split()))
