"""What the names in somebody's code say: of an array, its product and gates; of an argument, input, state,
arrays or a size.

A name may have several readings (W_h: the recurrent product, or the candidate's input weights); which holds,
all names of one implementation decide together (`layouts.cover`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from ..cell import GatedCell

SYNONYMS = {
    "r": "r reset",
    "z": "z u update",
    "n": "n h c g new cand candidate hidden tilde hat memory",
    "i": "i in inp input",
    "f": "f forget",
    "g": "g c a u j cell cand candidate new modulation tilde memory",
    "o": "o out output",
}
SIDES = {
    "x": "x i ih xh ix inp input in",
    "h": "h hh hx rec recurrent hid hidden state",
    "xh": "xh hx ih cat concat joint combined both",
}
BIAS = ("b", "bias", "biases")
LETTERS = {
    "w": ("x", "xh"),
    "kernel": ("x", "xh"),
    "u": ("h",),
    "v": ("h",),
    "r": ("h",),
}  # what the letter of a matrix suggests


@dataclass(frozen=True)
class Reading:
    """side is x, h, xh (both side by side), bx or bh; gates those that are named, () where none is; certain
    where it is said.
    """

    side: str
    gates: tuple[str, ...]
    certain: bool = True


def readings(name: str, cell: GatedCell, bias: bool | None = None) -> list[Reading]:
    """Everything an array's name can mean, likeliest first. bias says what the shape shows, None where there
    is none yet.
    """
    exact = {"weight_ih": "x", "weight_hh": "h", "bias_ih": "bx", "bias_hh": "bh"}
    tail = re.sub(r"_l0$", "", name.rpartition(".")[2])
    if tail in exact:
        return [Reading(exact[tail], ())]
    found: dict[Reading, None] = {}
    for marks in product(*(_meanings(token, cell) for token in _tokens(name))):
        for reading in _combined([m for part in marks for m in part], bias):
            found[reading] = None
    return sorted(found, key=lambda r: not r.certain)


def _tokens(name: str) -> list[str]:
    """The words of a name, in lower case: lin_xz.weight has lin, xz, weight; WxhBias has wxh, bias; x2h has
    x.
    """
    text = re.sub(r"(?i)(?<=[a-z])(2|_to_)(h|hidden|hid|gates?)(?=$|[._0-9])", "", name)
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)
    return [p.lower() for p in parts]


def _meanings(token: str, cell: GatedCell) -> list[list[tuple[str, str]]]:
    """Each a list of marks (kind, value): kind is bias, letter, side or gate. [[]] where the word says
    nothing.
    """
    found = [[mark] for mark in _marks(token, cell)]
    if len(token) <= 5:
        for k in range(1, len(token)):
            for mark in _marks(token[:k], cell):
                found += [[mark, *rest] for rest in _meanings(token[k:], cell) if rest]
    return found or [[]]


def _marks(token: str, cell: GatedCell) -> list[tuple[str, str]]:
    marks = [("bias", token)] if token in BIAS else []
    marks += [("letter", token)] if token in LETTERS else []
    marks += [("side", side) for side, words in SIDES.items() if token in words.split()]
    return marks + [
        ("gate", g) for g in cell.gates if token in SYNONYMS.get(g, "").split() or token == g.lower()
    ]


def _combined(marks: list[tuple[str, str]], bias: bool | None) -> list[Reading]:
    sides = {value for kind, value in marks if kind == "side"}
    letters = [value for kind, value in marks if kind == "letter"]
    gates = tuple(value for kind, value in marks if kind == "gate")
    said = any(kind == "bias" for kind, _ in marks)
    if (
        len(sides) > 1
        or len(letters) > 1
        or len(set(gates)) < len(gates)
        or (bias is not None and said and not bias)
    ):
        return []
    side = next(iter(sides), None)
    if said or bias:
        if letters and not bias:
            return []
        known = {"x": "bx", "h": "bh", "xh": "bx"}
        return [Reading(known[side], gates)] if side else [Reading("bx", gates), Reading("bh", gates, False)]
    if side:
        if letters and letters[0] not in ("w", "kernel") and side != "h":
            return []
        return [Reading(side, gates)]
    if letters:
        return [Reading(s, gates) for s in LETTERS[letters[0]]]
    return [Reading(s, gates, False) for s in ("x", "h", "xh")]


INPUT = {
    "x",
    "xt",
    "xs",
    "inp",
    "input",
    "inputs",
    "u",
    "data",
    "seq",
    "sequence",
    "token",
    "tokens",
    "input_tensor",
}
HIDDEN = {
    "h": {"h", "ht", "hx", "hs", "hidden", "a", "hid"},
    "c": {"c", "ct", "cx", "cs", "cell", "mem", "memory"},
}
JOINT = {"", "state", "states", "carry", "hc", "s", "hidden", "hiddens"}
ARRAYS = {"params", "p", "param", "parameters", "weights", "theta", "wts", "variables", "w_dict", "model"}
FIRST = re.compile(
    "(input|in|inp|embed|embedding|x|n|num)_?(size|dims?|units|features|channels|input|inputs|in|x)|inputs?|idim|nin|nx|d_?(in|x)|i"
)
SECOND = re.compile(
    "(hidden|hid|h|out|output|state|cell|n|num|d)_?(size|dims?|units|features|hidden|out|h|a|model)|hidden|units|nh|hdim|size|dh|h"
)
PAST = r"(prev|previous|last|old|init|initial|tm1|t1|minus1|next|state|states|t|0|1|in|vec|vector|m1)"


def role(name: str, cell: GatedCell) -> str | None:
    """x, the name of a state, 'state' for all of them, 'params' for a collection of arrays, or None: perhaps
    an array.
    """
    if "." in name:
        return None
    low = name.lower().strip("_")
    core = re.sub(rf"(^{PAST}_|_{PAST}(?=_|$))", "", low)
    for _ in range(2):
        core = re.sub(rf"(^{PAST}_|_{PAST}$)", "", core)
    core = re.sub(r"(prev|tm1|_?\d)$", "", core).strip("_")
    if low in INPUT or core in INPUT:
        return "x"
    for state in cell.states:
        if core in HIDDEN.get(state, {state}) and not (core == "hidden" and len(cell.states) > 1):
            return state
    if low in JOINT or core in JOINT or core in ("prev", "previous"):
        return "state"
    return "params" if low in ARRAYS else None


def roles(names: Iterable[str], cell: GatedCell) -> dict[str, str | None]:
    """The role of each argument; U beside an x is an array, and what has a role already has no second one."""
    found = {name: role(name, cell) for name in names}
    inputs = [name for name, r in found.items() if r == "x"]
    found |= {name: None for name in inputs if name in ("u", "U") and len(inputs) > 1}
    taken: set[str] = set()
    for name, what in found.items():
        found[name] = None if what in taken else what
        taken.add(what or "")
    return found


def size_role(name: str) -> str | None:
    """'input' or 'hidden' for the argument of a constructor that is a size."""
    low = name.lower().strip("_")
    return "input" if FIRST.fullmatch(low) else "hidden" if SECOND.fullmatch(low) else None
