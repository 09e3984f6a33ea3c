"""Shows a cell: equations, shapes, counts, the backends that run it, and its compiled kernels.

All of it comes from the class, its source and its derivation.
"""

from __future__ import annotations

import argparse
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from cellbench import cells
from cellbench.cells import GatedCell
from cellbench.cells.derived.layers import unfit
from cellbench.cells.kernels import modules
from cellbench.cells.kernels.triton.resources import KERNELS as TRITON_KERNELS
from cellbench.cells.kernels.triton.resources import TARGETS, choose, missing
from cellbench.cells.kernels.unprintable import KINDS, unprintable
from cellbench.cells.programs.formats import FORMATS, NUMPY
from cellbench.cells.vocabulary.across import joins

from ._arguments import CELL_HELP, epilog, one_of, size, word
from ._table import print_facts, print_table

# the methods that a cell may write, in the order in which they are used
WRITTEN = ("effective", "project", "equations", "step", "emit")
SIZES = (32, 64)  # I and H unless they are given
NAME_WIDTH = 11
EXAMPLES = """\
  cellbench show gru
  cellbench show elman:activation=relu --input-size 3 --hidden-size 5
  cellbench show my.py:MyCell --kernel
  cellbench show lstm --kernel triton
  cellbench show lstm --resources sm_90 --dtype float16"""
RESOURCES = ("registers", "spilled_bytes", "shared_bytes", "barriers", "instructions")
RESOURCE_DTYPES = ("float32", "bfloat16")  # unless one is given
BATCH = 16  # sequences, of which the form depends
STEPS = 4  # of the call in which a torch module is counted


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = (
        "cellbench show CELL [--input-size I] [--hidden-size H] [--dtype DTYPE]"
        " [--kernel [KIND]] [--resources TARGET]"
    )
    parser.add_argument("cell", type=word, metavar="CELL", help=CELL_HELP)
    parser.add_argument(
        "--input-size",
        type=size,
        metavar="I",
        help=f"numbers in at each step (default: {SIZES[0]}, or H where the cell needs them alike)",
    )
    parser.add_argument(
        "--hidden-size",
        type=size,
        metavar="H",
        default=SIZES[1],
        help=f"units of the state (default: {SIZES[1]})",
    )
    parser.add_argument(
        "--dtype",
        type=one_of(tuple(FORMATS)),
        metavar="DTYPE",
        help=f"of the kernel, {' or '.join(NUMPY)} (default: float32); with --resources a format of triton's"
        f" (default: {' and '.join(RESOURCE_DTYPES)})",
    )
    parser.add_argument(
        "--kernel",
        nargs="?",
        const="numba",
        type=one_of(KINDS),
        metavar="KIND",
        help="print the text of its fused kernel, numba or triton (default: numba), nothing else",
    )
    parser.add_argument(
        "--resources",
        type=one_of(tuple(TARGETS)),
        metavar="TARGET",
        help="print what its kernels of triton take of such a GPU, as the compiler says, and not their"
        f" text; no GPU is needed ({', '.join(TARGETS)})",
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench show`; returns the exit code."""
    dtype = arguments.dtype or NUMPY[0]
    if arguments.resources:
        if arguments.kernel == "numba":
            raise ValueError("--resources is of a GPU's kernels; leave out --kernel, or give --kernel triton")
        dtypes = (arguments.dtype,) if arguments.dtype else RESOURCE_DTYPES
        resources(arguments.cell, arguments.input_size, arguments.hidden_size, arguments.resources, dtypes)
    elif dtype not in NUMPY:
        raise ValueError(f"--dtype {dtype} needs --resources TARGET; without it there are {', '.join(NUMPY)}")
    elif arguments.kernel:
        print(kernel(arguments.cell, dtype, arguments.kernel), end="")
    else:
        show(arguments.cell, arguments.input_size, arguments.hidden_size, dtype)
    return 0


def show(spec: str, input_size: int | None, hidden_size: int, dtype: str) -> None:
    """Prints all that is known of a cell.

    Raises ValueError for an unknown cell, or sizes that it cannot have.
    """
    cell = cells.get(spec)
    sizes = fitting(cell, input_size, hidden_size)
    facts = [
        ("kind", [f"{kind(cell)}; {affinity(cell)} in the state"]),
        ("options", options(cell)),
        ("gates", [", ".join(cell.gates) or "none that are known"]),
        ("states", states(cell, sizes[1])),
        ("parameters", list(parameters(cell, *sizes))),
        ("operations", [operations(cell, *sizes)]),
        ("backends", [f"{name}: {runs(name, cell, dtype)}" for name in cells.backend_names()]),
        ("kernel", [kernel_path(cell, dtype)]),
    ]
    print(f"{cell.name}\n{indent(documentation(cell), '  ')}\n")
    print_facts(facts, NAME_WIDTH)
    if cell.library == "torch":
        print(f"\nsubmodules\n{indent(submodules(cell, *sizes), '  ')}")
    for text in sources(cell):
        print(f"\n{text}")


def fitting(cell: GatedCell, input_size: int | None, hidden_size: int) -> tuple[int, int]:
    """(I, H): I is 32 unless given, or H where the cell needs them alike.

    Raises ValueError where the cell cannot have them.
    """
    wanted = [input_size] if input_size else [SIZES[0], hidden_size]
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
    if cell.library:
        return f"a {cell.library} module, without equations"
    if cell.written_out:
        return "step written out"
    inside = " and more inside the step" if cell.derivation().products else ""
    means = " and means over the units" if joins(cell.derivation().results, "mean") else ""
    if not (cell.recurrent or inside):
        return f"elementwise{means}"
    return (
        f"pointwise around two products{inside}{means}, W_hh"
        f" {f'in {cell.heads} diagonal blocks' if cell.heads > 1 else 'full'}"
    )


def affinity(cell: GatedCell) -> str:
    """Whether the new state is affine in the old one, as the graph of the equations shows."""
    if cell.affine():
        return "affine"
    return "not known to be affine" if cell.written_out else "not affine"


def options(cell: Any) -> list[str]:
    """The options; of a torch module the arguments of its constructor beside the two sizes."""
    taken = [f for f in fields(cell) if not cell.library or f.name in cell.arguments]
    return [option(cell, f.name, f.default) for f in taken] or ["none"]


def states(cell: GatedCell, hidden_size: int) -> list[str]:
    """The states with their shapes, the batch as B."""
    found = []
    for name, shape in cell.state_shapes(1, hidden_size).items():
        axes = list(map(str, shape))
        axes[1 if cell.stacked else 0] = "B"
        found.append(f"{name} ({', '.join(axes)})")
    return found or ["none"]


def option(cell: GatedCell, name: str, default: object) -> str:
    """The value of an option, and its default where that is another."""
    value = getattr(cell, name)
    return f"{name}={value}" + ("" if value == default else f" (default {default})")


def parameters(cell: GatedCell, input_size: int, hidden_size: int) -> Iterator[str]:
    """The count, then the arrays with their shapes."""
    yield f"{cell.parameter_count(input_size, hidden_size):,} at I {input_size}, H {hidden_size}"
    for name, shape in cell.parameter_shapes(input_size, hidden_size).items():
        yield f"{name} {shape}"


def operations(cell: GatedCell, input_size: int, hidden_size: int) -> str:
    """FLOP of a step, forward and backward."""
    count = cell.operations(input_size, hidden_size)
    return f"{count.forward:,} FLOP forward, {count.backward:,} more backward, for each step of a sequence"


def submodules(cell: Any, input_size: int, hidden_size: int) -> str:
    """The table of a torch module, of a call with zeros; or why it cannot be counted."""
    import torch

    module, form, calls = cell.build(input_size, hidden_size), cell.form, []

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return module(*arguments)

    states = [torch.zeros(shape) for shape in cell.state_shapes(1, hidden_size).values()]
    try:
        with torch.no_grad():
            form.call(call, torch.zeros(STEPS, 1, input_size), states)
        return str(cells.summary(module, *calls[0], batch_axis=0 if form.batch_first else 1))
    except ValueError as error:
        return str(error)


def runs(name: str, cell: GatedCell, dtype: str) -> str:
    """Whether the backend runs the cell here, else why not."""
    backend = cells.backend(name)
    if reason := backend.unsupported(cell, dtype):
        return f"unsupported, {reason}"
    reason = backend.unavailable()
    return f"unavailable, {reason}" if reason else "runs it"


def kernel_path(cell: GatedCell, dtype: str) -> str:
    """The file of the cell's fused Numba kernel, which is written if it is not there."""
    if reason := unprintable(cell, "numba"):
        return f"none: {reason}"
    from cellbench.cells.kernels import printed  # which imports Numba

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the line says it too
        file = printed.module(cell, dtype).__file__
    return f"{modules.unwritable() or file} (--kernel prints it)"


def kernel(spec: str, dtype: str, kind: str) -> str:
    """Text of the cell's fused kernels. Raises ValueError for a cell that has none."""
    from cellbench.cells.kernels import printed
    from cellbench.cells.kernels.triton import printer

    return (printer if kind == "triton" else printed).text(printable(spec, kind), dtype)


def printable(spec: str, kind: str) -> GatedCell:
    """The cell. Raises ValueError where it has no kernel of this kind."""
    cell = cells.get(spec)
    if reason := unprintable(cell, kind):
        raise ValueError(f"{reason}; leave out --kernel and --resources")
    return cell


def resources(
    spec: str, input_size: int | None, hidden_size: int, target: str, dtypes: tuple[str, ...]
) -> None:
    """Prints what the cell's Triton kernels take of a GPU, a format and kernel a row.

    Raises ValueError for a cell or a format that has none, and where Triton is not installed.
    """
    cell = printable(spec, "triton")
    there = cells.backend("triton").dtypes
    if unknown := set(dtypes) - set(there):
        raise ValueError(f"triton's kernels have no dtype {min(unknown)}; they have {', '.join(there)}")
    if reason := missing():
        raise ValueError(reason)
    _, hidden = fitting(cell, input_size, hidden_size)
    rows = []
    for dtype in dtypes:
        chosen = choose(cell, cell.units(hidden), BATCH, dtype, target)
        for kernel in TRITON_KERNELS if chosen.form else ():
            taken = chosen.kernels[kernel]
            rows.append(
                [dtype, kernel, *(f"{getattr(taken, name):,}" for name in RESOURCES), str(chosen.form)]
            )
        rows += [[dtype, "none", *[""] * len(RESOURCES), f"{f}: {why}"] for f, why in chosen.refused.items()]
    print_table(["dtype", "kernel", *RESOURCES, "form"], rows, RESOURCES)
    print(f"{cell.name} on {target} at H {hidden}, B {BATCH}; barriers and instructions are those of a step.")


def sources(cell: Any) -> Iterator[str]:
    """The source of each method that the cell writes, or of a module's forward, under its file and line."""
    if cell.library:
        yield source("forward", cell.module_class.forward)
        return
    for name in WRITTEN:
        function = getattr(type(cell), name)
        if function is not getattr(GatedCell, name) and (name != "step" or cell.written_out):
            yield source(name, function)


def source(name: str, function: Callable[..., Any]) -> str:
    """The text of a function, under its file and line."""
    return f"{name} ({place(function)})\n{indent(dedent(inspect.getsource(function)).rstrip(), '  ')}"


def place(function: Callable[..., Any]) -> str:
    """File and line, the file as short as it can be named from here."""
    path = Path(inspect.getsourcefile(function) or "")
    here = Path.cwd()
    name = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{name}:{function.__code__.co_firstlineno}"
