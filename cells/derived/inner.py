"""The products inside a step that a cell states: matrices and biases by name, and what is refused."""

from __future__ import annotations

from ..contract import Equations
from .trial import fail

TAKEN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_out", "bias_out")


def bias_of(gate: str) -> str:
    """The vector that an inner gate's product has as its bias."""
    return f"bias_hh_{gate}"


def inner_biases(cell: Equations) -> tuple[str, ...]:
    """Those of the inner gates, where the cell has bias_hh."""
    return tuple(map(bias_of, cell.inner_gates)) if cell.biases == 2 else ()


def inner_names(cell: Equations) -> tuple[str, ...]:
    """The matrices that a step may multiply its own values by."""
    return (*(f"wh_{gate}" for gate in cell.inner_gates), *cell.matrices)


def check_inner(cell: Equations) -> None:
    """Raises EquationError for inner gates or matrices that the cell cannot have."""
    for what in ("inner_gates", "matrices"):
        names = getattr(cell, what)
        if names != () and not are_names(names):
            fail(cell.equations, f"{what} is {names!r}; it must be a tuple of names such as ('n',)")
    for gate in cell.inner_gates:
        if gate not in cell.recurrent:
            fail(
                cell.equations,
                f"inner_gates has {gate!r}, which has no recurrent product; those with one are"
                f" {', '.join(cell.recurrent) or 'none'}",
            )
    if cell.inner_gates and len(cell.fed_back) > 1:
        fail(
            cell.equations,
            f"inner_gates is {cell.inner_gates!r} and recurrent_states has {len(cell.fed_back)} states; a"
            " value of the step has the width of one: state a matrix in `matrices` instead",
        )
    if twice := set(cell.matrices) & set(cell.vectors):
        fail(cell.equations, f"{twice.pop()!r} is in vectors and in matrices; it can be one of them")
    if taken := set(cell.matrices) & {*TAKEN, *(f"wh_{gate}" for gate in cell.inner_gates)}:
        fail(cell.equations, f"matrices has {taken.pop()!r}, which every cell may have; choose another name")


def are_names(names: object) -> bool:
    """Whether it is a tuple of names, at least one."""
    return (
        isinstance(names, tuple)
        and len(names) > 0
        and all(isinstance(n, str) and n.isidentifier() for n in names)
    )
