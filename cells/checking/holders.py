"""Objects of somebody's class that hold the states of a step: a dataclass or a named tuple."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints


def names(kind: Any) -> list[str]:
    """The fields of a dataclass or a named tuple, or of an object of one; [] of all else."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind) if field.init]
    return list(getattr(kind, "_fields", ()))


def annotated(function: Callable[..., Any], argument: str, count: int) -> Any:
    """The class with so many fields that the annotation of an argument names; None where there is none."""
    try:
        kind = get_type_hints(inspect.unwrap(function)).get(argument)
    except Exception:  # somebody's annotation, which need not name anything
        return None
    kinds = [kind, *get_args(kind)]
    return next((k for k in kinds if isinstance(k, type) and len(names(k)) == count), None)


def order(held: Sequence[str], states: Sequence[str]) -> list[str]:
    """The state in each field: by its first letter, as in hidden and cell, else in their order."""
    by_letter = [next((s for s in states if s[0] == name[0].lower()), "") for name in held]
    return by_letter if sorted(by_letter) == sorted(states) else list(states)
