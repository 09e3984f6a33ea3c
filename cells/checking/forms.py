"""Forms of a function: what people write where the equations of a cell have sigmoid, tanh, relu or another.

A form may differ in several things at once: another function, a constant inside, 1 minus it or minus it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import torch

Function = Callable[[Any], Any]
BASES: dict[str, Function] = {
    "sigmoid": torch.special.expit,
    "tanh": torch.tanh,
    "hard sigmoid (0.2 a + 0.5)": lambda a: (0.2 * a + 0.5).clamp(0, 1),
    "hard sigmoid (a / 6 + 0.5)": lambda a: (a / 6 + 0.5).clamp(0, 1),
    "hard tanh": lambda a: a.clamp(-1, 1),
    "relu": lambda a: a.clamp(min=0),
    "softsign": torch.nn.functional.softsign,
    "exp": torch.exp,
    "logsigmoid": torch.nn.functional.logsigmoid,
    "softplus": torch.nn.functional.softplus,
}
# what is written in place of each function; leaving it out always is
OTHERS = {
    "sigmoid": ("tanh", "hard sigmoid (0.2 a + 0.5)", "hard sigmoid (a / 6 + 0.5)", "relu"),
    "tanh": ("sigmoid", "relu", "hard tanh", "softsign"),
    "relu": ("tanh", "sigmoid", "softplus"),
    "exp": ("softplus", "sigmoid"),
    "logsigmoid": ("sigmoid",),
}
CONSTANTS = {"sigmoid": (1.0, -1.0)}  # added inside


@dataclass(frozen=True)
class Form:
    """One form: the differences, and for each the change that undoes it; {0} stands for what is computed.

    No difference means the function as the cell has it.
    """

    differences: tuple[str, ...]
    mends: tuple[str, ...]
    compute: Function


@cache
def forms(function: str) -> tuple[Form, ...]:
    """Every form of a function, as the cell has it first, those with fewest differences next."""
    every = product(_bases(function), _constants(function), _signs(function))
    made = (
        Form(
            (*base.differences, *inside.differences, *sign.differences),
            (*base.mends, *inside.mends, *sign.mends),
            _joined(base.compute, inside.compute, sign.compute),
        )
        for base, inside, sign in every
    )
    return tuple(sorted(made, key=lambda form: len(form.differences)))


def _bases(function: str) -> list[Form]:
    """The function, others in its place, and none."""
    put = f"put {{0}} through {function}"
    bases = [Form((), (), BASES[function])]
    bases += [
        Form((f"{other} where {{0}} has {function}",), (f"use {function} for {{0}}",), BASES[other])
        for other in OTHERS[function]
    ]
    return [*bases, Form((f"the {function} of {{0}} left out",), (put,), lambda a: a)]


def _constants(function: str) -> list[Form]:
    """Nothing added inside the function, or a constant."""
    same = Form((), (), lambda a: a)
    return [same, *(_constant(function, value) for value in CONSTANTS.get(function, ()))]


def _constant(function: str, value: float) -> Form:
    verb, size = ("added", value) if value > 0 else ("subtracted", -value)
    also = " (a forget bias of 1)" if value == 1 else ""
    differs = f"{size:g} {verb} inside the {function} of {{0}}{also}"
    return Form(
        (differs,), (f"take the {size:g} out of {{0}}, or put it into its bias",), lambda a: a + value
    )


def _signs(function: str) -> list[Form]:
    """As it is; 1 minus it, of a gate; minus it, of what is written into a state."""
    same = Form((), (), lambda y: y)
    if function == "sigmoid":
        return [same, Form(("{0} and 1 - {0} exchanged",), ("exchange {0} and 1 - {0}",), lambda y: 1 - y)]
    if function == "tanh":
        return [same, Form(("minus {0} where it has {0}",), ("change the sign of {0}",), lambda y: -y)]
    return [same]


def _joined(base: Function, inside: Function, sign: Function) -> Function:
    return lambda a: sign(base(inside(a)))
