"""Builds a class for two sizes: what each argument of its constructor means is tried, not guessed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import partial
from itertools import islice, product
from typing import Any, get_type_hints

from ..cell import GatedCell
from .words import size_role

MOST = 64  # constructions that are tried
MOST_CONFIGS = 8  # of them by one dataclass of settings
LAYERS = re.compile(r"(n|num)?_?(rnn_?)?layers?|depth|n_?stack")
DIRECTIONS = re.compile(r"(is_?)?bi(directional|_?rnn|_?lstm)?")
Attempt = tuple[tuple[Any, ...], dict[str, Any]]


def makes(given: Any) -> bool:
    """Whether it is a function that makes an object: of nothing, of sizes, or a class with some arguments."""
    if isinstance(given, partial):
        return inspect.isclass(given.func)
    if not inspect.isfunction(given):
        return False
    names = [a.name for a in inspect.signature(given).parameters.values()]
    wanted = [a.name for a in needed(parameters(given))]
    # torch calls x and the state input and hidden
    sized = all(size_role(name) and name not in ("input", "hidden") for name in wanted)
    return sized and (bool(wanted) or not names)


def parameters(cls: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments of a constructor; [] of a class written in C, which may have no signature."""
    try:
        return list(inspect.signature(cls).parameters.values())
    except ValueError:
        return []


def needed(arguments: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Those without a default."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [a for a in arguments if a.default is a.empty and a.kind not in variadic]


def attempts(cls: Callable[..., Any], cell: GatedCell, sizes: tuple[int, int]) -> Iterator[Attempt]:
    """(positional, keywords) of constructors to try, likeliest first."""
    arguments = parameters(cls)
    wanted, any_number = needed(arguments), any(a.kind == a.VAR_POSITIONAL for a in arguments)
    stack, configs = _stack(arguments, cell), _configs(cls, cell, sizes)
    if any_number and not wanted:
        yield sizes, stack
    whole = [a for a in arguments if a.default is not a.empty and _is_size(a)]
    free = [a for a in whole if size_role(a.name)]
    # those that are named as sizes, none, and all whole numbers
    options = [free] * bool(free) + [[]] + [whole] * (whole != free)
    tried: list[Attempt] = []
    for optional in options:
        given = [*wanted, *optional]
        choices = product(*(list(enumerate(configs.get(a.name) or _values(a, cell, sizes))) for a in given))
        # the likeliest value of each first, then what differs in few
        ordered = sorted(choices, key=lambda choice: sum(k for k, _ in choice))
        for choice in ordered[: MOST // len(options)]:
            values = {a.name: value for a, (_, value) in zip(given, choice, strict=True)}
            first = tuple(values.pop(a.name) for a in given if a.kind == a.POSITIONAL_ONLY)
            attempt = (first, values | {k: v for k, v in stack.items() if k not in values})
            if attempt not in tried:  # [] and `free` may give the same
                tried.append(attempt)
                yield attempt


def _configs(cls: Callable[..., Any], cell: GatedCell, sizes: tuple[int, int]) -> dict[str, list[Any]]:
    """Values of the arguments that are a dataclass of settings, filled as a constructor's arguments are."""
    try:
        kinds = get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # somebody's annotation, which need not name anything
        return {}
    found: dict[str, list[Any]] = {}
    for name, kind in kinds.items():
        if isinstance(kind, type) and is_dataclass(kind) and kind is not cls:
            found[name] = list(_filled(kind, cell, sizes))
    return found


def _filled(kind: type, cell: GatedCell, sizes: tuple[int, int]) -> Iterator[Any]:
    for positional, keywords in islice(attempts(kind, cell, sizes), MOST_CONFIGS):
        try:
            yield kind(*positional, **keywords)
        except Exception:  # its own checks refuse these
            continue


def _stack(arguments: list[inspect.Parameter], cell: GatedCell) -> dict[str, Any]:
    """The arguments that make the cell's stack, where the constructor has such."""
    found: dict[str, Any] = {}
    for a in arguments:
        name = a.name.lower()
        if cell.layers > 1 and LAYERS.fullmatch(name):
            found[a.name] = cell.layers
        if cell.bidirectional and DIRECTIONS.fullmatch(name):
            found[a.name] = True
        if cell.biases == 0 and name in ("bias", "use_bias") and a.default is not a.empty:
            found[a.name] = False
    if cell.torch_module() is not None and cell.stacked and any(a.kind == a.VAR_KEYWORD for a in arguments):
        found |= {"num_layers": cell.layers, "bidirectional": cell.bidirectional}
    return found


def _is_size(argument: inspect.Parameter) -> bool:
    whole = isinstance(argument.default, int) and not isinstance(argument.default, bool)
    return argument.default is None or whole


def _values(argument: inspect.Parameter, cell: GatedCell, sizes: tuple[int, int]) -> list[Any]:
    """What an argument may be given, likeliest first."""
    name, (inputs, units) = argument.name.lower(), sizes
    if LAYERS.fullmatch(name):
        return [cell.layers]
    if DIRECTIONS.fullmatch(name):
        return [cell.bidirectional]
    if re.search(r"batch_?first|debug|verbose|residual|train", name) or argument.annotation in (bool, "bool"):
        return [False]
    if re.fullmatch(r"(use_?)?bias(es)?", name):
        return [cell.biases > 0]
    if re.search(r"drop|zoneout", name):
        return [0.0]
    if re.search(r"head|block", name):
        return [cell.heads]
    role = size_role(argument.name)
    if role == "hidden":
        return list(dict.fromkeys([units, inputs]))
    return list(dict.fromkeys([inputs, units])) if role else list(dict.fromkeys([inputs, units, 1]))
