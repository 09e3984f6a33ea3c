"""claims.json: what was measured of the claims, and where; read again, figures and tables are drawn anew."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .. import claim
from ..report.frame import printable
from ..store import ResultsError, atomic
from ._result import FAILED, ClaimResult, judged, reason

NAME = "claims.json"
WORDS = ("claim", "sentence", "how", "rule", "verdict", "condition")
STORED = {field.name for field in fields(ClaimResult)} - {"figure", "table"}
NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass(frozen=True)
class Record:
    """Results, and where they come from, as a manifest says it: created, machine, versions, git."""

    source: dict[str, Any]
    results: tuple[ClaimResult, ...]
    warnings: tuple[str, ...] = ()


def write(record: Record, folder: Path) -> None:
    """Writes the record into the folder, as NAME."""
    rows = [{name: getattr(one, name) for name in sorted(STORED)} for one in record.results]
    atomic.write_text(folder / NAME, as_json(record.source | {"claims": rows}))


def read(path: Path) -> Record:
    """The record, with the verdicts of today's rules on the numbers of then.

    A claim that cannot be judged again stands as it was written. Raises ResultsError for a file that is
    damaged or of another layout.
    """
    try:
        content = from_json(path.read_text(encoding="utf-8"))
        stored = [_stored(row) for row in content.pop("claims")]
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ResultsError(
            f"{path} is damaged or of another layout ({reason(error):.80}); `cellbench claims` writes it"
        ) from None
    again = [_again(one) for one in sorted(stored, key=lambda one: one.place)]
    return Record(content, tuple(one for one, _ in again), tuple(warning for _, warning in again if warning))


def _stored(row: dict[str, Any]) -> ClaimResult:
    """Raises KeyError, ValueError or TypeError for another layout."""
    name, sentence, how, rule, verdict, condition = (printable(row[k]) for k in WORDS)
    options, numbers = dict(row["options"]), dict(row["numbers"])
    spec, place, seconds = str(row.get("spec", row["claim"])), int(row["place"]), float(row["seconds"])
    return ClaimResult(name, spec, place, sentence, how, rule, verdict, condition, seconds, options, numbers)


def _again(stored: ClaimResult) -> tuple[ClaimResult, str]:
    """Judged and drawn anew, and a warning where that fails or the verdict is another one now."""
    if stored.verdict == FAILED:
        return stored, ""
    try:
        now = judged(claim.get(stored.spec, stored.options), stored.spec, stored.numbers, stored.seconds)
    except Exception as error:  # whatever a claim's own code raises, and a claim that is no longer there
        return stored, f"{stored.claim} has no figure, and the verdict of then: {printable(error)}"
    changed = now.verdict != stored.verdict
    return now, f"{now.claim}: {now.verdict}; by the rule of then: {stored.verdict}" if changed else ""


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
