"""Holds your own implementation of a cell against the float64 reference.

Outputs, states and gradients are compared by name. Where they deviate, it says in which array, at which step,
and which known difference explains it, such as another order of the gates. With --kernel a cell's own
compiled kernels are held against its equations.
"""

from __future__ import annotations

import argparse

from ._arguments import CELL_HELP, epilog, one_of, path, size, word

EXAMPLES = """\
  cellbench check my.py:MyGRU --against gru
  cellbench check model.onnx --against lstm
  cellbench check my.py:step --against elman:activation=relu --hidden-size 16 --dtype float64
  cellbench check my.py:MyCell --kernel triton"""
SIZES = ("input_size", "hidden_size", "steps", "batch", "dtype", "seed")


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = (
        "cellbench check FILE:NAME --against CELL [--weights FILE.npz] [sizes]\n"
        "       cellbench check CELL --kernel KIND [sizes]"
    )
    parser.add_argument(
        "thing",
        type=word,
        metavar="FILE:NAME",
        help="a torch module, class, object, function or tree of arrays; or a file: .onnx, .keras, .h5,"
        " .pt, .safetensors, .msgpack, .npz",
    )
    parser.add_argument("--against", type=word, metavar="CELL", help=CELL_HELP)
    parser.add_argument(
        "--kernel",
        type=one_of(("numba", "triton")),
        metavar="KIND",
        help="instead of --against, for a cell: numba or triton, whose kernels are held against its equations"
        " (triton's in its interpreter, without a GPU)",
    )
    parser.add_argument(
        "--weights", type=path, metavar="FILE.npz", help="the cell's arrays by name (default: drawn)"
    )
    parser.add_argument(
        "--input-size",
        type=size,
        metavar="I",
        help="numbers in at each step (default: 5, or as the weights have it)",
    )
    parser.add_argument(
        "--hidden-size",
        type=size,
        metavar="H",
        help="units of the state (default: 7, or as the weights have it)",
    )
    parser.add_argument(
        "--steps",
        type=size,
        metavar="T",
        help="time steps of a sequence (default: 11, doubled until 200 or a second where it is right)",
    )
    parser.add_argument("--batch", type=size, metavar="B", default=3, help="sequences at once (default: 3)")
    parser.add_argument(
        "--dtype",
        type=one_of(("float32", "float64")),
        metavar="DTYPE",
        help="float32 or float64 (default: that of the implementation)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the drawn arrays (default: 0)")
    parser.epilog = epilog(EXAMPLES, {0: "it is right", 1: "it deviates"})


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench check`; returns the exit code."""
    if (arguments.against is None) == (arguments.kernel is None):
        raise ValueError(
            "check takes --against CELL, for an implementation of yours, or --kernel KIND, for a cell"
        )
    if arguments.kernel:
        return check_kernels(arguments)
    from cellbench.cells.checking import check
    from cellbench.cells.checking.given import weights
    from cellbench.cells.foreign import guarded

    arrays = weights(arguments.weights) if arguments.weights else None
    options = {name: getattr(arguments, name) for name in SIZES}
    with guarded(arguments.thing):
        result = check(arguments.thing, arguments.against, arrays, **options)
    print(result)
    return 0 if result.ok else 1


def check_kernels(arguments: argparse.Namespace) -> int:
    """Holds the kernels of a cell against its equations; returns the exit code."""
    from cellbench.cells.checking.kernels.check import check_kernel
    from cellbench.cells.foreign import guarded

    for flag in ("weights", "dtype"):
        if getattr(arguments, flag) is not None:
            raise ValueError(f"--{flag} is of --against; --kernel draws its arrays, and tries both formats")
    with guarded(arguments.thing):
        result = check_kernel(
            arguments.thing,
            arguments.kernel,
            arguments.input_size,
            arguments.hidden_size,
            arguments.steps,
            arguments.batch,
            arguments.seed,
        )
    print(result)
    return 0 if result.ok else 1
