"""A block, one line of cases.jsonl: to and from text, checked on the way.

A block is a case's definition, status and series of values.
"""

from __future__ import annotations

import json
from array import array
from typing import Any

TEXTS = ("probe", "cell", "options", "variant", "backend", "device", "dtype", "match", "direction", "task")
WHOLES = ("threads", "steps", "batch", "input_size", "hidden_size", "seed")
TEXT = (str, type(None))
MOST = 2**61  # of a whole number, below what stands for null in a column
KINDS: dict[str, Any] = {
    "case": str,
    "attempt": int,
    "done": bool,
    "status": str,
    "reason": TEXT,
    "implementation": TEXT,
    "definition": dict,
    "series": list,
}
# types of a block's entries; any other are looked at one by one
USUAL = {(str, int, bool, str, reason, name, dict, list) for reason in TEXT for name in TEXT}


class BlockError(ValueError):
    """A block is not what a block must be; the message says where."""


def encode(block: dict[str, Any]) -> bytes:
    """The line of a block. Raises BlockError for one that could not be read again."""
    try:
        line = (json.dumps(block) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise BlockError(f"a series cannot be written: {error}") from None
    decode(line)
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The block of a line, its values as arrays of float. Raises BlockError."""
    try:
        # of bytes it would look for the encoding first
        block = json.loads(line.decode("utf8", "surrogatepass") if line.startswith(b"{") else line)
    except (ValueError, RecursionError):
        raise BlockError("it is no JSON") from None
    if not isinstance(block, dict) or not block.keys() >= KINDS.keys():
        raise BlockError(f"a block has the keys {', '.join(sorted(KINDS))}")
    if tuple(map(type, map(block.get, KINDS))) not in USUAL:
        for name, kinds in KINDS.items():
            if not isinstance(block[name], kinds):
                raise BlockError(f"{name} is {block[name]!r:.60}")
    if not _fits(block["attempt"]):
        raise BlockError(f"attempt is {block['attempt']!r:.60}")
    _check_definition(block["definition"])
    for series in block["series"]:
        _check_series(series)
    return block


def _check_definition(definition: dict[str, Any]) -> None:
    if not isinstance(definition.get("probe"), str):
        raise BlockError("the definition names no probe")
    for name in TEXTS:
        if not isinstance(definition.get(name), TEXT):
            raise BlockError(f"{name} of the definition is {definition[name]!r:.60}")
    for name in WHOLES:
        if not _fits(definition.get(name)):
            raise BlockError(f"{name} of the definition is {definition[name]!r:.60}")


def _fits(value: Any) -> bool:
    """Whether it is a whole number within bounds, or null."""
    return value is None or (isinstance(value, int) and -MOST <= value <= MOST)


def _check_series(series: Any) -> None:
    """Also turns its values into an array."""
    try:
        metric, unit, lag = series["metric"], series["unit"], series.get("lag")
        values = array("d", series["values"])
        process, sample = series.get("process"), series.get("sample")
        counts = _fits(process) and _fits(sample)
        if lag is not None:
            lags = array("q", lag)
            counts &= len(lags) == len(values) and all(_fits(f(lags, default=0)) for f in (min, max))
    except (KeyError, TypeError, AttributeError, OverflowError):
        raise BlockError(f"a series has metric, unit and numbers as values; this is {series!r:.80}") from None
    if not (isinstance(metric, str) and isinstance(unit, str) and counts):
        raise BlockError(
            "a series has a lag for each value, and process and sample as whole numbers; this is"
            f" {series!r:.80}"
        )
    series["values"] = values
