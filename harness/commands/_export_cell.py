"""The half of `cellbench export` that is about a cell: its step as an ONNX model, the body of one Scan."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ._arguments import CELL_HELP, one_of, path, size, word

if TYPE_CHECKING:
    from cellbench.cells import GatedCell

ONLY = ("cell", "weights", "input_size", "hidden_size", "dtype")  # of a cell, and of no run


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.add_argument("--cell", type=word, metavar="CELL", help=f"with --as onnx: {CELL_HELP}")
    parser.add_argument(
        "--weights", type=path, metavar="FILE.npz", help="the cell's arrays by name (default: drawn)"
    )
    parser.add_argument("--input-size", type=size, metavar="I", help="of drawn arrays (default: 32, or H)")
    parser.add_argument("--hidden-size", type=size, metavar="H", help="of drawn arrays (default: 64)")
    parser.add_argument(
        "--dtype", type=one_of(("float32", "float64")), metavar="DTYPE", help="default: float32"
    )


def refuse(arguments: argparse.Namespace) -> None:
    """Raises ValueError for an argument of a cell beside a form of tables."""
    for name in ONLY:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of a cell; give --as onnx too")


def do(arguments: argparse.Namespace) -> int:
    """Writes the model to the file of --output; returns the exit code. Raises ValueError for bad input."""
    from cellbench import cells
    from cellbench.cells.foreign import guarded

    from ..screen import last
    from ..store import atomic

    if arguments.runs:
        raise ValueError(f"--as onnx writes a cell and no run; leave out {str(arguments.runs[0])!r}")
    if arguments.history:
        raise ValueError("--as onnx writes a cell and no history; leave out --history")
    if arguments.cell is None or arguments.output is None:
        raise ValueError("--as onnx writes a cell; give --cell CELL and --output FILE.onnx")
    file: Path = arguments.output
    if file.is_dir() or not file.parent.is_dir():
        what = f"{str(file)!r} is a folder" if file.is_dir() else f"there is no folder {str(file.parent)!r}"
        raise ValueError(f"{what}; --output names the file of --as onnx, such as cell.onnx")
    with guarded(arguments.cell), TemporaryDirectory() as folder:
        cell = cells.get(arguments.cell)
        params = _arrays(cell, arguments)
        model = Path(folder) / "cell.onnx"
        cells.to_onnx_scan(cell, params, model, arguments.dtype or "float32")
        content = model.read_bytes()
    atomic.write_bytes(file, content)
    drawn = "" if arguments.weights else ", drawn weights"
    sizes = "I {}, H {}".format(*cell.sizes(params))
    last(f"model: {file} ({cell.name}, {sizes}{drawn}, {len(content):,} bytes)")
    return 0


def _arrays(cell: GatedCell, arguments: argparse.Namespace) -> dict[str, Any]:
    """The arrays of the file, or drawn ones."""
    from cellbench.cells.checking.given import weights

    from .show import fitting

    if arguments.weights is None:
        return cell.init(*fitting(cell, arguments.input_size, arguments.hidden_size or 64), seed=0)
    for flag, given in (("input", arguments.input_size), ("hidden", arguments.hidden_size)):
        if given is not None:
            raise ValueError(f"--weights have sizes of their own; leave out --{flag}-size")
    arrays = weights(arguments.weights)
    cell.sizes(arrays)
    return arrays
