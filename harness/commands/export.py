"""Writes tables of a page, sweep or history as CSV, JSON, LaTeX or Markdown; or a cell as an ONNX model.

Each table is a file; a sweep has one of its jobs too. --history FILE writes the table of all trends.
Numbers in CSV and JSON are in SI units. LaTeX and Markdown have the texts of the page.
The model's step is the body of a Scan, for any number of steps and sequences.
"""

from __future__ import annotations

import argparse

from . import _export_cell
from ._arguments import RUNS, RUNS_HELP, epilog, one_of, path

FORMS = ("csv", "json", "md", "tex", "onnx")
EXAMPLES = """\
  cellbench export --as csv
  cellbench export results/runs/RUN --as tex --output tables
  cellbench export --history results/history/history.jsonl --as md
  cellbench export --as onnx --cell slstm --output slstm.onnx
  cellbench export --as onnx --cell my.py:MyCell --weights my.npz --output my.onnx"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = (
        "cellbench export [RUN ...] --as csv|json|md|tex [--results DIR] [--output DIR]\n"
        "       cellbench export --history FILE --as csv|json|md|tex [--output DIR]\n"
        "       cellbench export --as onnx --cell CELL --output FILE [--weights FILE.npz] [sizes]"
    )
    parser.add_argument("runs", nargs="*", default=[], type=path, metavar="RUN", help=RUNS_HELP)
    parser.add_argument(
        "--as", dest="form", required=True, type=one_of(FORMS), metavar="FORM", help=", ".join(FORMS)
    )
    parser.add_argument(
        "--results",
        type=path,
        default=RUNS,
        metavar="DIR",
        help="where the newest run is looked for, and sweeps by name (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="DIR",
        help="folder of the files (default: that of the page); of --as onnx the file",
    )
    parser.add_argument(
        "--history", type=path, metavar="FILE", help="the trends of a history, in place of the tables of runs"
    )
    _export_cell.add(parser)
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench export`; returns the exit code."""
    if arguments.form == "onnx":
        return _export_cell.do(arguments)
    _export_cell.refuse(arguments)
    from . import _export_tables

    return _export_tables.do(arguments)
