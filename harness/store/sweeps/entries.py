"""Entries of a JSON table that are what they must be."""

from __future__ import annotations

import math
from typing import Any

from ..manifest import MOST

SCHEMA = 1  # of a manifest and of a record


def text(table: dict[str, Any], name: str) -> str:
    """The text of a name. Raises ValueError where it is none."""
    value = table.get(name)
    if not isinstance(value, str) or len(value) > MOST:
        raise ValueError(f"its {name} is {value!r:.60}, and no text")
    return value


def texts(table: dict[str, Any], name: str) -> None:
    """Raises ValueError where a name has no list of texts."""
    values = table.get(name)
    if not isinstance(values, list) or len(values) > MOST or not all(isinstance(v, str) for v in values):
        raise ValueError(f"its {name} is {values!r:.60}, and no list of texts")


def are_numbers(values: Any) -> bool:
    """Whether it is a list of finite numbers, none below 0."""
    return isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < math.inf for v in values
    )
