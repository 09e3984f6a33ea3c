"""claims.json: what was measured of the claims, and where; read again, figures and tables are drawn anew."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .. import claim
from ..report.table import Entry, Table
from ..screen import one_line
from ..store import ResultsError, atomic, files
from ._result import FAILED, ClaimResult, judged, reason

NAME = "claims.json"
WORDS = ("claim", "sentence", "how", "rule", "verdict", "condition")
STORED = {field.name for field in fields(ClaimResult)} - {"figure"}
LARGEST = 10**6  # of an option: what a claim draws of it must end
NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass(frozen=True)
class Record:
    """Results, and where the last ones come from, as a manifest says it: created, machine, versions, git.

    left are the claims, by spec, that the last call has not measured yet.
    """

    source: dict[str, Any]
    results: tuple[ClaimResult, ...]
    warnings: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def with_result(self, one: ClaimResult) -> Record:
        """The record with one more claim, in place of what was known of it; it is no longer left."""
        others = [other for other in self.results if other.spec != one.spec]
        results = sorted([*others, one], key=lambda r: r.place)
        return replace(self, results=tuple(results), left=tuple(s for s in self.left if s != one.spec))


def write(record: Record, folder: Path) -> None:
    """Writes the record into the folder, as NAME. Raises ResultsError where it cannot."""
    rows = [_row(one) for one in record.results]
    try:
        text = as_json(record.source | {"claims": rows, "left": list(record.left)})
        atomic.write_text(folder / NAME, text)
    except OSError as error:
        raise ResultsError(f"{folder / NAME} cannot be written: {error.strerror}") from None


def known(folder: Path) -> Record | None:
    """What was measured into the folder before, to be kept; None where nothing was.

    Raises ResultsError for a file that no record can be read from: it may be somebody's own.
    """
    path = folder / NAME
    if not os.path.lexists(path):
        return None
    if path.is_symlink():
        raise ResultsError(f"{path} is a link; nothing is written through it, so move it away")
    try:
        return read(path)
    except ResultsError as error:
        raise ResultsError(f"{error}, and would replace this one; move it away") from None


def read(path: Path) -> Record:
    """The record, with the verdicts of today's rules on the numbers of then.

    A claim that cannot be judged again stands as it was written. Raises ResultsError for a file that is
    damaged or of another layout.
    """
    try:
        content = _restored(files.parse(files.read(path)))
        rows, left = content.pop("claims"), tuple(map(str, content.pop("left", ())))
        stored = [_stored(row, content) for row in rows]
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ResultsError(
            f"{path} is damaged or of another layout ({reason(error):.80}); `cellbench claims` writes it"
        ) from None
    again = [_again(one) for one in sorted(stored, key=lambda one: one.place)]
    warnings = tuple(warning for _, warning in again if warning)
    return Record(content, tuple(one for one, _ in again), warnings, left)


def _row(one: ClaimResult) -> dict[str, Any]:
    """A result as it is stored; its table beside its numbers, for whoever has not the claim's own code."""
    row = {name: getattr(one, name) for name in sorted(STORED)}
    return row | {"table": one.table and asdict(one.table)}


def _stored(row: dict[str, Any], source: dict[str, Any]) -> ClaimResult:
    """A result, by default of the source of the whole file.

    Raises KeyError, ValueError or TypeError for another layout."""
    name, sentence, how, rule, verdict, condition = (one_line(row[k]) for k in WORDS)
    options, numbers = dict(row["options"]), dict(row["numbers"])
    spec, place, seconds = str(row.get("spec", row["claim"])), int(row["place"]), float(row["seconds"])
    words = (name, spec, place, sentence, how, rule, verdict, condition)
    table = _table(row["table"]) if row.get("table") else None
    own = dict(row.get("source") or source)
    return ClaimResult(*words, seconds, options, numbers, table=table, source=own)


def _table(stored: dict[str, Any]) -> Table:
    rows = tuple(
        tuple(Entry(one_line(e["text"]), one_line(e["detail"]), one_line(e["kind"])) for e in row)
        for row in stored["rows"]
    )
    header = tuple(map(one_line, stored["header"]))
    return Table(one_line(stored["heading"]), header, rows, one_line(stored["note"]))


def _again(stored: ClaimResult) -> tuple[ClaimResult, str]:
    """Judged and drawn anew, and a warning where that fails or the verdict is another one now.

    A claim in a file of somebody's stands as it was written: a result names no code to run.
    """
    if stored.verdict == FAILED:
        return stored, ""
    if stored.spec not in claim.names():
        return stored, (
            f"{stored.claim} has no figure, and the verdict of then: its file is not imported"
            f" for a report ({one_line(stored.spec)})"
        )
    try:
        _check_options(stored.options)
        now = judged(claim.get(stored.spec, stored.options), stored.spec, stored.numbers, stored.seconds)
    except Exception as error:  # whatever a claim's own code raises, and a claim that is no longer there
        return stored, f"{stored.claim} has no figure, and the verdict of then: {one_line(error)}"
    now = replace(now, source=stored.source)
    changed = now.verdict != stored.verdict
    return now, f"{now.claim}: {now.verdict}; by the rule of then: {stored.verdict}" if changed else ""


def _check_options(value: Any) -> None:
    """Raises ValueError for numbers so large that drawing by them would not end."""
    if isinstance(value, (int, float)) and abs(value) > LARGEST:
        raise ValueError(f"an option is {value:g}; at most {LARGEST:g} is drawn")
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_options(one)


def as_json(value: Any) -> str:
    """Numbers that are not finite become strings, for JSON has no others. Raises TypeError for objects."""
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> Any:
    """The value that `as_json` wrote, its strings of numbers that are not finite turned back into numbers."""
    return _restored(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _restored(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_restored(v) for v in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value
