"""Puts claims of the textbooks to the test on this machine, and writes a page of verdicts.

A claim is a file in harness/claims: a sentence, a measurement, and the rule that judges it. All of them take
about 8 minutes on one thread. `cellbench report` shows the verdicts beside the runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from cellbench.cells.foreign import guarded

from .. import claim
from ..claim import Claim, Numbers
from ..claims import _page
from ..claims._file import Record, as_json, from_json
from ..claims._result import FAILED, ClaimResult, failed, judged
from ..runs.progress import Progress
from ..screen import last
from ..store import make, provenance
from ._arguments import epilog, path, word

EXAMPLES = """\
  cellbench claims
  cellbench claims gru_cost gates
  cellbench claims my_claim.py:Mine --output results/my_claims"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench claims [NAME ...] [--output DIR]"
    parser.add_argument(
        "names", nargs="*", type=word, metavar="NAME", help="a claim, or path/to/file.py:Name (default: all)"
    )
    parser.add_argument(
        "--output",
        type=path,
        default=Path("results/claims"),
        metavar="DIR",
        help="folder of the page (default: %(default)s)",
    )
    parser.epilog = epilog(EXAMPLES, {1: "a claim could not be measured"})


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench claims`; returns the exit code."""
    return claims(arguments.names, arguments.output)


def claims(specs: Sequence[str], folder: Path) -> int:
    """Measures claims and writes their page; returns 1 where one could not be measured, else 0.

    Raises ValueError for an unknown name, before anything is run.
    """
    chosen = {spec: claim.get(spec) for spec in specs or claim.names()}
    make(folder)
    source = provenance.origin()
    results = outcomes(dict(sorted(chosen.items(), key=lambda item: item[1].place)))
    last(f"page: {_page.write(Record(source, tuple(results)), folder)}")
    return int(any(result.verdict == FAILED for result in results))


def outcomes(chosen: Mapping[str, Claim]) -> list[ClaimResult]:
    """Measures claims, given by spec, one after the other on one thread; prints a line for each."""
    import torch
    from threadpoolctl import threadpool_limits

    threads, stdout = torch.get_num_threads(), sys.stdout  # a bar on the terminal takes sys.stdout over
    results: list[ClaimResult] = []
    progress = Progress(sum(one.seconds for one in chosen.values()))
    torch.set_num_threads(1)
    try:
        # the kernels' products are OpenBLAS's, whose threads cost more than such small products take
        with threadpool_limits(1):
            for spec, one in chosen.items():
                results.append(measured(one, spec, progress))
                print(results[-1], file=None if stdout.isatty() else stdout, flush=True)
                progress.finish(FAILED if results[-1].verdict == FAILED else "ok", None)
    finally:
        progress.close()
        torch.set_num_threads(threads)
    return results


def measured(one: Claim, spec: str, progress: Progress) -> ClaimResult:
    """The outcome of one claim. An exception is its reason, and the other claims go on."""
    start = perf_counter()
    numbers: Numbers = {}
    try:
        with guarded(spec):
            values = one.measure(
                lambda label: progress.start(f"{one.name}: {label}", one.seconds / one.parts)
            )
        numbers = from_json(as_json(values))  # as a reader of the file will judge them
        return judged(one, spec, numbers, perf_counter() - start)
    except Exception as error:
        return failed(one, spec, numbers, perf_counter() - start, error)
