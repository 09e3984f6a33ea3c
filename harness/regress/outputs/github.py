"""GitHub's annotations: workflow commands on standard output that a pull request shows."""

import os
from collections.abc import Mapping

from ...measure.verdict import Verdict
from ..benchmarks import Comparison
from .decision import Code, code_of, exit_code, headline
from .words import cells_of

LEVELS = {Code.FINE: "notice", Code.FAILURE: "error", Code.CANNOT_TELL: "warning"}


def annotations(comparison: Comparison, environment: Mapping[str, str] | None = None) -> str:
    """One command a line: the headline, then what is not fine. "" outside GitHub Actions.

    GitHub shows ten of a level.
    """
    if (os.environ if environment is None else environment).get("GITHUB_ACTIONS") != "true":
        return ""
    told = [j for j in comparison.judgements if code_of(j) is not Code.FINE or j.verdict is Verdict.FASTER]
    lines = [_line(LEVELS[Code(exit_code(comparison))], comparison.title, headline(comparison))]
    lines += [_line("error", "missing", line) for line in comparison.missing]
    lines += [_line("error", f"exact: {f.name}", f"{f.a} -> {f.b}") for f in comparison.facts if f.gated]
    for j in sorted(told, key=lambda j: (Code.FAILURE, Code.CANNOT_TELL, Code.FINE).index(code_of(j))):
        effect = " ".join(cells_of(j)[1:3]) + ": " if j.effect else ""
        command = comparison.commands.get(j.name)
        message = f"{effect}{j.reason}" + (f"\n{command}" if command else "")
        lines.append(_line(LEVELS[code_of(j)], f"{j.verdict} {j.name}", message))
    lines += [_line("notice", "note", note) for note in comparison.notes]
    return "\n".join(lines)


def _line(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
