"""A value as Python's text, from which another process makes an equal one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LONGEST = 1_000_000  # characters: of a longer text Python makes code for seconds, in each process
DEEPEST = 20  # lists in lists; one that holds itself has no end
PLAIN = (bool, int, str, bytes, type(None), range)
BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), set: ("{", "}"), tuple: ("(", ")")}
KINDS = "biuf"  # of NumPy's arrays: truth values and numbers


def literal(name: str, value: Any) -> str:
    """Lines that give the name a value equal to this one, and of its type.

    Takes plain values, tuples, lists, sets and dicts of them, and NumPy's numbers and arrays. Raises
    ValueError for any other, with words that say what is in the way: 'a Generator, ...'.
    """
    text = f"{name} = {_text(value, 0)}"
    if len(text) > LONGEST:
        raise ValueError(f"a {type(value).__name__}, which is too large to write down")
    return f"import numpy\n{text}" if "numpy." in text else text


def _text(value: Any, depth: int) -> str:
    kind = type(value)  # a subclass has a text of its own, which may be no Python
    if depth > DEEPEST:
        raise ValueError(f"a {kind.__name__}, which is nested too deep to write down")
    if kind is float and not math.isfinite(value):
        return f'float("{value}")'
    if kind in PLAIN or kind is float or (kind is set and not value):  # {} is a dict
        return repr(value)
    if kind is dict:
        return f"{{{', '.join(f'{_text(k, depth + 1)}: {_text(v, depth + 1)}' for k, v in value.items())}}}"
    if kind in BRACKETS:
        first, last = BRACKETS[kind]
        comma = "," if kind is tuple and len(value) == 1 else ""
        return f"{first}{', '.join(_text(one, depth + 1) for one in value)}{comma}{last}"
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in KINDS and value.size <= LONGEST:
        return _of_numpy(value, depth)
    raise ValueError(f"a {kind.__name__}, which has no text in Python")


def _of_numpy(value: np.generic | np.ndarray, depth: int) -> str:
    if type(value) not in (np.ndarray, value.dtype.type) or value.dtype.itemsize > 8:
        raise ValueError(f"a {type(value).__name__} of {value.dtype}, which has no text in Python")
    if isinstance(value, np.generic):
        return f"numpy.{value.dtype.type.__name__}({_text(value.item(), depth)})"
    array = f'numpy.array({_text(value.ravel().tolist(), depth)}, "{value.dtype}")'
    return f"{array}.reshape({value.shape})"
