"""The words of somebody's code: the names of arrays and arguments, and the text of a function.

A name may have several readings (W_h: the recurrent product, or the candidate's input weights). All names of
one implementation decide together which holds (`cover.cover`).
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from ..cell import GatedCell

SYNONYMS = {
    "h": "h a",
    "r": "r reset",
    "z": "z u update",
    "n": "n h c g new cand candidate hidden tilde hat memory",
    "i": "i in inp input",
    "f": "f forget",
    "g": "g c a u j cell cand candidate new modulation tilde memory",
    "o": "o out output",
}
SIDES = {
    "x": "x i ih xh ix ax inp input in",
    "h": "h hh hx aa rec recurrent hid hidden state",
    "xh": "xh hx ih cat concat joint combined both",
}
BIAS = ("b", "bias", "biases")
# the last word of an array that makes an answer of the state: W_hq, Wya, by
READ_OUT = re.compile(r"[wub]?[ha]?(y|q)|wya|y|out|output|logits?|pred|vocab|class(es)?")
# the sides that the letter of a matrix suggests
LETTERS = {"w": ("x", "xh"), "kernel": ("x", "xh"), "u": ("h",), "v": ("h",), "r": ("h",)}
TORCH_NAMES = {"weight_ih": "x", "weight_hh": "h", "bias_ih": "bx", "bias_hh": "bh"}
# parts of a module's name that say nothing of what it computes
UNTELLING = re.compile(
    r"\d+|lin(ear)?|fc\d*|dense|proj(ection)?|layers?|net(work)?|affine|map(ping)?|transform"
)
LONGEST_JOINED = 5  # letters of a word that may be several in one, such as Wxi; longer ones are real words

INPUT = {"x", "xt", "xs", "inp", "input", "inputs", "input_tensor", "u"}
INPUT |= {"data", "seq", "sequence", "token", "tokens"}
HIDDEN = {
    "h": {"h", "ht", "hx", "hs", "hidden", "a", "hid"},
    "c": {"c", "ct", "cx", "cs", "cell", "mem", "memory"},
}
JOINT = {"", "state", "states", "carry", "hc", "s", "hidden", "hiddens"}
ARRAYS = {"params", "p", "param", "parameters", "weights", "theta", "wts", "variables", "w_dict", "model"}
DICT_METHODS = ("get", "values", "items", "keys")
INPUT_SIZE = re.compile(
    r"(input|in|inp|embed|embedding|x|n|num)_?(size|dims?|units|features|channels|input|inputs|in|x)"
    r"|inputs?|idim|nin|nx|d_?(in|x)|i"
)
HIDDEN_SIZE = re.compile(
    r"(hidden|hid|h|out|output|state|cell|n|num|d)_?(size|dims?|units|features|hidden|out|h|a|model)"
    r"|hidden|units|nh|hdim|size|dh|h"
)
PAST = r"(prev|previous|last|old|init|initial|tm1|t1|minus1|next|state|states|t|0|1|in|vec|vector|m1)"


@dataclass(frozen=True)
class Reading:
    """What an array's name may mean.

    side: x, h, xh (both side by side), bx or bh. gates: those that are named, () where none is. certain: the
    name says the side.
    """

    side: str
    gates: tuple[str, ...]
    certain: bool = True


# a mark is (kind, value), one thing that a word may say; kind is bias, letter, side or gate
Mark = tuple[str, str]


def readings(name: str, cell: GatedCell, bias: bool | None = None) -> list[Reading]:
    """Everything that an array's name can mean, likeliest first.

    bias: whether its shape is a bias's, None where the shape is not known.
    """
    *above, tail = telling(name)
    tail = re.sub(r"_l0$", "", tail)
    if tail in TORCH_NAMES:
        return [Reading(TORCH_NAMES[tail], ())]
    found = _readings(tail, cell, bias)
    gate = _whole(above[-1], cell) if above else None
    if gate and found and not found[0].gates:
        # W of a module reset_gate is r's
        found = [replace(reading, gates=(gate,)) for reading in found if not reading.gates] + found
    return found


def telling(name: str) -> list[str]:
    """The parts of a dotted name that tell something; its last part where none does."""
    parts = name.split(".")
    return [part for part in parts if not UNTELLING.fullmatch(part.lower())] or parts[-1:]


def _whole(part: str, cell: GatedCell) -> str | None:
    """The one gate that whole words of a name say, such as reset_gate; else None."""
    said = {v for word in _split(part) if len(word) > 1 for k, v in _marks(word, cell) if k == "gate"}
    return said.pop() if len(said) == 1 else None


def _readings(tail: str, cell: GatedCell, bias: bool | None) -> list[Reading]:
    """Everything that the last part of a name can mean, likeliest first."""
    possible: dict[Reading, None] = {}
    # any combination of the words' meanings may be meant: the h of W_h is the state or a gate
    for meanings in product(*(_meanings(word, cell) for word in _split(tail))):
        marks = [mark for meaning in meanings for mark in meaning]
        possible |= dict.fromkeys(_combined(marks, bias))
    return sorted(possible, key=lambda reading: not reading.certain)


def of_read_out(name: str, cell: GatedCell) -> bool:
    """Whether a name says an array of a read-out, and no gate."""
    words = _split(telling(name)[-1])
    gated = any(reading.gates for reading in readings(name, cell))
    return bool(words) and READ_OUT.fullmatch(words[-1]) is not None and not gated


def sideless(name: str) -> str:
    """A name without the words of the sides: x2r and h2r are the same then."""
    sides = {*SIDES["x"].split(), *SIDES["h"].split()}
    words = (word for part in name.split(".") for word in [*_split(part), "."])
    return " ".join(word for word in words if word not in sides)


def _split(name: str) -> list[str]:
    """The words of a name in lower case: WxhBias has wxh and bias, lin_xz.weight has lin, xz and weight."""
    # x2h and i_to_hidden are named for what they take
    source = re.sub(r"(?i)(?<=[a-z])(2|_to_)(h|hidden|hid|gates?)(?=$|[._0-9])", "", name)
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", source)]


def _meanings(word: str, cell: GatedCell) -> list[list[Mark]]:
    """Every meaning of a word as a list of marks; [[]] where it says nothing."""
    meanings = [[mark] for mark in _marks(word, cell)]
    for k in range(1, len(word)) if len(word) <= LONGEST_JOINED else ():
        for mark in _marks(word[:k], cell):
            meanings += [[mark, *rest] for rest in _meanings(word[k:], cell) if rest]
    return meanings or [[]]


def _marks(word: str, cell: GatedCell) -> list[Mark]:
    marks = [("bias", word)] if word in BIAS else []
    marks += [("letter", word)] if word in LETTERS else []
    marks += [("side", side) for side, names in SIDES.items() if word in names.split()]
    gates = (g for g in cell.gates if word in SYNONYMS.get(g, "").split() or word == g.lower())
    return marks + [("gate", gate) for gate in gates]


def _combined(marks: list[Mark], bias: bool | None) -> list[Reading]:
    """The readings of a name with these marks; [] where they contradict each other or the shape."""
    sides = {value for kind, value in marks if kind == "side"}
    letters = [value for kind, value in marks if kind == "letter"]
    gates = tuple(value for kind, value in marks if kind == "gate")
    named_bias = any(kind == "bias" for kind, _ in marks)
    if len(sides) > 1 or len(letters) > 1 or len(set(gates)) < len(gates) or (named_bias and bias is False):
        return []
    side, letter = next(iter(sides), None), next(iter(letters), None)
    if named_bias or bias:
        if letter and not bias:
            return []
        if side is None:
            return [Reading("bx", gates), Reading("bh", gates, False)]
        return [Reading({"x": "bx", "h": "bh", "xh": "bx"}[side], gates)]
    if side:
        # U, V and R are recurrent matrices: one that is named for the input is another word
        return [] if letter and letter not in ("w", "kernel") and side != "h" else [Reading(side, gates)]
    if letter:
        return [Reading(s, gates) for s in LETTERS[letter]]
    return [Reading(s, gates, False) for s in ("x", "h", "xh")]


def role(name: str, cell: GatedCell) -> str | None:
    """An argument's role: x, a state's name, 'state' for all states, 'params' for all arrays, or None."""
    if "." in name:
        return None
    low = name.lower().strip("_")
    core = re.sub(rf"(^{PAST}_|_{PAST}(?=_|$))", "", low)
    for _ in range(2):  # h_prev_t has two words for the past
        core = re.sub(rf"(^{PAST}_|_{PAST}$)", "", core)
    core = re.sub(r"(prev|tm1|_?\d)$", "", core).strip("_")
    if low in INPUT or core in INPUT:
        return "x"
    for state in cell.states:
        # of two states, hidden may be either or both
        if core in HIDDEN.get(state, {state}) and not (core == "hidden" and len(cell.states) > 1):
            return state
    if low in JOINT or core in JOINT or core in ("prev", "previous"):
        return "state"
    return "params" if low in ARRAYS else None


def roles(names: Iterable[str], cell: GatedCell) -> dict[str, str | None]:
    """The role of each argument; U beside an x is an array, and no two arguments have one role."""
    by_name = {name: role(name, cell) for name in names}
    inputs = [name for name, meaning in by_name.items() if meaning == "x"]
    by_name |= {name: None for name in inputs if name in ("u", "U") and len(inputs) > 1}
    taken: set[str | None] = set()
    for name, meaning in by_name.items():
        by_name[name] = None if meaning in taken else meaning
        taken.add(meaning)
    return by_name


def arguments(names: Iterable[str], cell: GatedCell) -> dict[str, str | None]:
    """The role of each argument, sizes included."""
    return {name: meaning or size_role(name) for name, meaning in roles(names, cell).items()}


def size_role(name: str) -> str | None:
    """'input' or 'hidden' for an argument that is a size."""
    low = name.lower().strip("_")
    return "input" if INPUT_SIZE.fullmatch(low) else "hidden" if HIDDEN_SIZE.fullmatch(low) else None


def text(function: Callable[..., object]) -> str:
    """The function's text and docstring, as far as they can be had."""
    try:
        return inspect.getsource(function) + (inspect.getdoc(function) or "")
    except (OSError, TypeError):
        return inspect.getdoc(function) or ""


def uses_torch(function: Callable[..., object]) -> bool:
    """Whether the function, or one of its module that it calls, names torch or something of it."""
    seen, waiting = set(), [inspect.unwrap(function)]
    while waiting:
        current = waiting.pop()
        code = getattr(current, "__code__", None)
        if code is None or code in seen:
            continue
        seen.add(code)
        for value in (getattr(current, "__globals__", {}).get(name) for name in code.co_names):
            home = getattr(value, "__name__" if inspect.ismodule(value) else "__module__", "")
            if str(home).split(".")[0] == "torch":
                return True
            if inspect.isfunction(value):
                waiting.append(value)
    return False


def array_arguments(function: Callable[..., object], cell: GatedCell) -> tuple[list[str], str | None]:
    """Names of the arrays that a function takes, and of the argument whose entries they are, or None."""
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    by_name = roles(parameters, cell)
    collection = next((name for name, meaning in by_name.items() if meaning == "params"), None)
    if collection is not None:
        return entries(function, collection), collection
    arrays = [
        name
        for name, p in parameters.items()
        if by_name[name] is None and p.default is p.empty and not size_role(name)
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return arrays, None


def entries(function: Callable[..., object], argument: str) -> list[str]:
    """The keys that a function takes from an argument: p["W"], p.W, p.get("W"), or names for all of p."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    keys: dict[str, None] = {}
    for node in ast.walk(tree):
        keys |= dict.fromkeys(_keys(node, argument, tree))
    return list(keys)


def _keys(node: ast.AST, argument: str, tree: ast.AST) -> Iterator[str]:
    """The keys that one node of a function's syntax takes from the argument."""
    match node:
        case ast.Subscript(value, ast.Constant(key)) if _is(value, argument):
            yield str(key)
        case ast.Subscript(value, ast.JoinedStr() as key) if _is(value, argument):
            yield from _formatted(key, tree)
        case ast.Attribute(value, key) if _is(value, argument) and key not in DICT_METHODS:
            yield key
        case ast.Call(ast.Attribute(value), [ast.Constant(key), *_]) if _is(value, argument):
            yield str(key)
        case ast.Assign(targets, value) if _is(value, argument) or _is_method(value, argument):
            names = (t for target in targets if isinstance(target, ast.Tuple) for t in target.elts)
            yield from (name.id for name in names if isinstance(name, ast.Name))
        case ast.Assign(_, ast.GeneratorExp(elt, [loop, *_]) | ast.ListComp(elt, [loop, *_])):
            # (p[k] for k in ("W", "U"))
            if isinstance(elt, ast.Subscript) and _is(elt.value, argument):
                keys = loop.iter.elts if isinstance(loop.iter, ast.Tuple | ast.List) else []
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))


def _formatted(key: ast.JoinedStr, tree: ast.AST) -> list[str]:
    """Keys of f"W_{g}", for each short text in the function: what g may be."""
    literal = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    values = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in literal
        if len(node.value) <= 6
    ]
    letters = "".join(values)  # for g in "ifgo"
    return [
        "".join(str(p.value) if isinstance(p, ast.Constant) else value for p in key.values)
        for value in dict.fromkeys((*values, *letters))
    ]


def _is(node: ast.expr, name: str) -> bool:
    """Whether an expression is the name, or that attribute of self."""
    match node:
        case ast.Name(found) | ast.Attribute(ast.Name("self"), found):
            return found == name
    return False


def _is_method(node: ast.expr, name: str) -> bool:
    """Whether an expression calls a method of the name: p.values()."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is(node.func.value, name)
