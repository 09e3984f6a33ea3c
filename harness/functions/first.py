"""A first call of a function, and whether the calls after it do the same work."""

from __future__ import annotations

import array
import inspect
import io
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any

from ..probe import NotOk

PLAIN = (list, dict, set, bytearray, deque, array.array)  # and what is an array: it has __array__


def first_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the function returns of these arguments, which it may change.

    Raises NotOk where no work was done yet, and where the calls that are timed would have less to do.
    """
    name = getattr(function, "__qualname__", str(function))
    given = [*args, *kwargs.values()]
    if any(map(_iterator, given)):
        raise NotOk("failed", f"{name} is given an iterator, which its first call uses up; give a list of it")
    before = _data(given)
    result = function(*args, **kwargs)
    if _iterator(result) or inspect.isawaitable(result):
        kind = type(result).__name__
        raise NotOk("failed", f"{name} returns a {kind} with its work still to come; give one that runs it")
    left = _data(given)
    if left and all(left[k] != before.get(k) for k in left):
        function(*args, **kwargs)
        if _data(given) == left and not _only_written(function, args, kwargs, left):  # a list sorted in place
            raise NotOk(
                "failed",
                f"{name} changes its arguments, and its second call finds the work done; have it take a copy",
            )
    return result


def _only_written(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], left: dict[int, bytes]
) -> bool:
    """Whether a call leaves the same in its arguments whatever they hold, such as arrays for results."""
    try:
        given = [
            _other(pickle.loads(left[k])) if k in left else value
            for k, value in enumerate([*args, *kwargs.values()])
        ]
        function(*given[: len(args)], **dict(zip(kwargs, given[len(args) :], strict=True)))
    except Exception:  # of other numbers, or of what is no number, a function may do anything
        return False
    return _data(given) == left


def _other(value: Any) -> Any:
    """Other numbers of the same kind."""
    return [2 * v + 1 for v in value] if isinstance(value, list) else 2 * value + 1


def _iterator(value: Any) -> bool:
    return isinstance(value, Iterator) and not isinstance(value, io.IOBase)


def _data(given: list[Any]) -> dict[int, bytes]:
    """The arguments that are plain data, pickled, by their places; none where an object is among them."""
    held = {}
    for place, value in enumerate(given):
        if isinstance(value, int | float | complex | str | bytes | NoneType):
            continue
        if not (isinstance(value, PLAIN) or hasattr(value, "__array__")):
            return {}
        try:
            held[place] = pickle.dumps(value)
        except Exception:  # whatever an object's own __reduce__ raises
            return {}
    return held
