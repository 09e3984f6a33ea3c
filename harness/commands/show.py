"""`cellbench show CELL`: what a cell is, from its source and its derivation; nothing is looked up in a table."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import dedent, indent

from cellbench import cells
from cellbench.cells import GatedCell
from cellbench.cells.derived.layers import unfit
from cellbench.cells.kernels import fused

WRITTEN = (
    "effective",
    "project",
    "equations",
    "step",
    "emit",
)  # what a cell may write, in the order in which it is used


def show(spec: str, input_size: int | None, hidden_size: int, dtype: str) -> str:
    """All that is known of the cell. Raises ValueError for an unknown cell, or sizes that it cannot have."""
    cell = cells.get(spec)
    sizes = fitting(cell, input_size, hidden_size)
    facts = [
        ("kind", [f"{kind(cell)}; {affinity(cell)} in the state"]),
        ("options", [option(cell, f.name, f.default) for f in fields(cell)]),
        ("gates", [", ".join(cell.gates)]),
        ("states", [f"{name} {dimensions(shape)}" for name, shape in cell.state_shapes(1, sizes[1]).items()]),
        ("parameters", list(parameters(cell, *sizes))),
        ("operations", [operations(cell, *sizes)]),
        ("backends", [f"{name}: {runs(name, cell, dtype)}" for name in cells.backend_names()]),
        ("kernel", [kernel_path(cell, dtype)]),
    ]
    table = "\n".join(
        f"{name if first else '':<11} {line}" for name, lines in facts for first, line in heads(lines)
    )
    return "\n\n".join([f"{cell.name}\n{indent(documentation(cell), '  ')}", table, *sources(cell)])


def heads(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is the first."""
    return ((k == 0, line) for k, line in enumerate(lines))


def fitting(cell: GatedCell, input_size: int | None, hidden_size: int) -> tuple[int, int]:
    """(I, H): I is 32 unless given, or H where the cell needs them alike. Raises ValueError where they do not
    fit.
    """
    wanted = [input_size] if input_size else [32, hidden_size]
    fit = [i for i in wanted if unfit(cell, i, hidden_size) is None]
    if not fit:
        raise ValueError(f"{unfit(cell, wanted[0], hidden_size)}; choose --input-size and --hidden-size")
    return fit[0], hidden_size


def documentation(cell: GatedCell) -> str:
    """The class's docstring: source and deviations."""
    text = inspect.getdoc(type(cell)) or ""
    signature = text.startswith(f"{type(cell).__name__}(")  # what a dataclass without a docstring gets
    return text if text and not signature else "(no docstring)"


def kind(cell: GatedCell) -> str:
    """Which of the three kinds it is, as its class shows."""
    if cell.written_out:
        return "step written out"
    if not cell.recurrent:
        return "elementwise"
    return (
        "pointwise around two products, W_hh"
        f" {f'in {cell.heads} diagonal blocks' if cell.heads > 1 else 'full'}"
    )


def affinity(cell: GatedCell) -> str:
    if cell.affine():
        return "affine"
    return "not known to be affine" if cell.written_out else "not affine"


def option(cell: GatedCell, name: str, default: object) -> str:
    value = getattr(cell, name)
    return f"{name}={value}" + ("" if value == default else f" (default {default})")


def dimensions(shape: tuple[int, ...]) -> str:
    """The shape of a state, the batch as B."""
    return f"({', '.join(['B', *map(str, shape[1:])])})"


def parameters(cell: GatedCell, input_size: int, hidden_size: int) -> Iterator[str]:
    yield f"{cell.parameter_count(input_size, hidden_size):,} at I {input_size}, H {hidden_size}"
    for name, shape in cell.parameter_shapes(input_size, hidden_size).items():
        yield f"{name} {shape}"


def operations(cell: GatedCell, input_size: int, hidden_size: int) -> str:
    count = cell.operations(input_size, hidden_size)
    return f"{count.forward:,} FLOP forward, {count.backward:,} more backward, for each step of a sequence"


def runs(name: str, cell: GatedCell, dtype: str) -> str:
    """Whether the backend runs the cell here, else why not."""
    backend = cells.backend(name)
    if reason := backend.unsupported(cell, dtype):
        return f"unsupported, {reason}"
    reason = backend.unavailable()
    return f"unavailable, {reason}" if reason else "runs it"


def kernel_path(cell: GatedCell, dtype: str) -> str:
    if cell.written_out:
        return "none: the step is written out"
    return f"{fused.module(cell, dtype).__file__} (--kernel prints it)"


def kernel(spec: str, dtype: str) -> str:
    """Text of the cell's fused Numba kernel. Raises ValueError for a cell that has none."""
    cell = cells.get(spec)
    if cell.written_out:
        raise ValueError(f"cell {cell.name!r} writes out its step, so it has no kernel; leave out --kernel")
    return fused.text(cell, dtype)


def sources(cell: GatedCell) -> Iterator[str]:
    """The source of what the cell writes, each under its file and line."""
    for name in WRITTEN:
        function = getattr(type(cell), name)
        if function is not getattr(GatedCell, name):
            yield f"{name} ({place(function)})\n{indent(dedent(inspect.getsource(function)).rstrip(), '  ')}"


def place(function) -> str:
    """File and line, the file as short as it can be named from here."""
    path = Path(inspect.getsourcefile(function) or "")
    here = Path.cwd()
    name = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{name}:{function.__code__.co_firstlineno}"
