"""Calls what an author wrote, once: whatever goes wrong becomes an EquationError with file and line."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, MethodType
from typing import Any, NoReturn, cast

import numpy as np

from ..contract import Array, Equations, State
from ..vocabulary.primitives import FUNCTIONS
from . import layers

LARGEST_TRIED = 64  # hidden_size at which a written step is tried, where a cell does not fit smaller ones


class EquationError(ValueError):
    """A cell's equations cannot be recorded."""


def called(cell: Equations, method: Callable, arguments: list[Any]) -> tuple[Any, dict[str, Any]]:
    """The result of a method that the author wrote, and its local variables at the return.

    Raises EquationError, with the line and the vocabulary, for an error inside it.
    """
    code = code_of(method)
    variables: dict[str, Any] = {}
    try:
        with _locals_at_return(code, variables):
            result = method(*arguments)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[::-1]
        line = next((f.lineno for f in frames if f.filename == code.co_filename), 0)
        problem = _problem(error, frames[0].filename == code.co_filename)
        vectors = f", vectors ({', '.join(cell.vectors)})" if cell.vectors else ""
        raise EquationError(
            f"{code.co_filename}:{line}: {problem}. Equations may use + - * / **, numbers, gates"
            f" ({', '.join(cell.gates)}), states ({', '.join(cell.states)}){vectors}{_products(cell)} and"
            f" {', '.join(FUNCTIONS)}, mean"
        ) from error
    return result, variables


def _problem(error: Exception, of_author: bool) -> str:
    """What went wrong, in words of a cell's author: other libraries call a value of the equations a Node.

    `of_author`: the author's own line raised it.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, TypeError) or not re.search(r"\bNode\b", text):
        return f"{type(error).__name__}: {text}" if of_author else text
    if sign := re.match(r"(?:unsupported|bad) operand type.* for (?:unary )?([^:]+):", text):
        return f"the operator {sign[1]} does not apply to a value of the equations"
    if re.search(r"iterable|len\(\)|unpack", text):
        return "a value of the equations has no units to go through"
    return (
        "a function of another library, such as NumPy, torch or math, was given a value of the equations;"
        " import it from cellbench.cells"
    )


def _products(cell: Equations) -> str:
    """The products that the equations may take of a value."""
    names = [*(f"wh.{gate}" for gate in cell.inner_gates), *(f"unit.{name}" for name in cell.matrices)]
    return f", products of a value ({', '.join(names)})" if names else ""


@contextmanager
def _locals_at_return(code: CodeType, variables: dict[str, Any]) -> Iterator[None]:
    """Fills `variables` with the local variables of a function, when it returns.

    A value's name is the author's, and only the frame has it: printed kernels and LaTeX take it from there.
    Python hands a frame to nobody but a profiler or a tracer, and of these two a profiler costs no call for
    every line, and leaves a debugger alone.
    """

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            variables.update(frame.f_locals)

    outer = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        if outer is None or callable(outer):
            sys.setprofile(outer)
        else:  # cProfile's: it is an object, and setprofile takes a function
            sys.setprofile(None)
            outer.enable()


def try_step(cell: Equations) -> None:
    """Runs a written step once at the smallest sizes that fit.

    Raises EquationError unless it gives output and states in their shapes.
    """
    sizes = next(((n, n) for n in range(1, LARGEST_TRIED + 1) if cell.unfit(n, n) is None), (1, 1))
    if reason := layers.unfit(cell, *sizes):
        raise ValueError(reason)
    batch, params = 2, layers.initialise(cell, sizes, np.random.default_rng(0), "torch")
    zeros = {name: np.zeros(shape) for name, shape in cell.state_shapes(batch, sizes[1]).items()}
    arguments = [cell.effective(params), np.zeros((batch, sizes[0])), State(**zeros)]
    (output, state), _ = called(cell, cell.step, arguments)
    wanted = {name: array.shape for name, array in zeros.items()}
    if not isinstance(state, State) or {k: np.shape(v) for k, v in vars(state).items()} != wanted:
        shapes = ", ".join(f"{k} {shape}" for k, shape in wanted.items())
        fail(
            cell.step,
            f"step must return (output, State(...)) with the states {shapes}; got {state!r}",
        )
    _check_output(cell, output, (batch, cell.emitted(*sizes)))


def _check_output(cell: Equations, output: Array, shape: tuple[int, ...]) -> None:
    if np.shape(output) != shape:
        fail(
            cell.step,
            f"step's output is {np.shape(output)}; emitted(input_size, hidden_size) says {shape}",
        )


def fail(method: Callable, reason: str) -> NoReturn:
    """Raises EquationError with the place of a method that the author wrote."""
    code = code_of(method)
    raise EquationError(f"{code.co_filename}:{code.co_firstlineno}: {reason}")


def code_of(method: Callable) -> CodeType:
    """The code of a method of a cell, which says where it is written."""
    return cast(Any, cast(MethodType, method).__func__).__code__
