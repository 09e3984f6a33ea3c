"""Puts claims of the textbooks to the test on this machine, and writes a page of verdicts.

A claim is a file in harness/claims: a sentence, a measurement, and the rule that judges it. All of them take
about 8 minutes on one thread. `cellbench report` shows the verdicts beside the runs.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from cellbench.cells.foreign import guarded, patiently

from .. import claim
from ..claim import Claim, Numbers
from ..claims import _file, _page
from ..claims._file import Record, as_json, from_json
from ..claims._result import FAILED, ClaimResult, failed, judged
from ..runs.progress import Progress
from ..screen import last, one_line
from ..store import ResultsError, provenance
from ._arguments import epilog, path, word

EXAMPLES = """\
  cellbench claims
  cellbench claims gru_cost gates
  cellbench claims --resume
  cellbench claims my_claim.py:Mine --output results/my_claims"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench claims [NAME ...] [--resume] [--output DIR]"
    parser.add_argument(
        "names", nargs="*", type=word, metavar="NAME", help="a claim, or path/to/file.py:Name (default: all)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="measure what an interrupted call has left in the folder"
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
    if arguments.resume:
        if arguments.names:
            raise ValueError("--resume measures what was left; leave out the names, or leave out --resume")
        return resume(arguments.output)
    return claims(arguments.names, arguments.output)


def resume(folder: Path) -> int:
    """Measures the claims that an interrupted call has left, and writes the page; returns the exit code.

    Raises ResultsError where nothing was measured. A claim in a file of somebody's is not measured: a result
    names no code to run.
    """
    record = _file.known(folder)
    names = set(claim.names())
    if record is None:
        raise ResultsError(f"{folder} has no {_file.NAME} to go on with; leave out --resume")
    if not record.left:
        print("nothing left to measure")
        return ended(record, folder, {one.spec for one in record.results})
    if foreign := [spec for spec in record.left if spec not in names]:
        raise ResultsError(
            f"claim {one_line(foreign[0])!r} was left, whose file is run only where you name it: cellbench"
            f" claims {' '.join(map(one_line, record.left))} --output {folder}"
        )
    return claims(record.left, folder)


def claims(specs: Sequence[str], folder: Path) -> int:
    """Measures claims and writes their page; returns 1 where one could not be measured, else 0.

    Each is on the disk once it is measured, beside those of earlier calls. Raises ValueError for an unknown
    name, and for a folder that cannot be written, before anything is run.
    """
    chosen = {spec: claim.get(spec) for spec in specs or claim.names()}
    in_order = dict(sorted(chosen.items(), key=lambda item: item[1].place))
    _page.check(folder)
    before, source = _file.known(folder), provenance.origin()
    record = Record(source, before.results if before else (), left=tuple(in_order))
    _file.write(record, folder)
    try:
        for result in outcomes(in_order):
            record = kept(record, replace(result, source=source), folder)
    except KeyboardInterrupt:
        print(f"interrupted; go on with: {again(folder)}", file=sys.stderr)
        raise
    return ended(record, folder, chosen)


def ended(record: Record, folder: Path, chosen: Collection[str]) -> int:
    """Writes the page; returns 1 where one of the chosen claims could not be measured."""
    last(f"page: {_page.write(record, folder)}")
    return int(any(one.verdict == FAILED for one in record.results if one.spec in chosen))


def kept(record: Record, result: ClaimResult, folder: Path) -> Record:
    """The record with a result, on the disk. Raises ResultsError, which says what was lost."""
    more = record.with_result(result)
    try:
        _file.write(more, folder)
    except ResultsError as error:
        raise ResultsError(
            f"{error}; what was measured of {result.claim} is lost, all before it is kept; make room, then go"
            f" on with: {again(folder)}"
        ) from None
    return more


def again(folder: Path) -> str:
    """The command that measures what is left."""
    return f"cellbench claims --resume --output {shlex.quote(str(folder))}"


def outcomes(chosen: Mapping[str, Claim]) -> Iterator[ClaimResult]:
    """Measures claims, given by spec, one after the other on one thread; prints a line for each."""
    import torch
    from threadpoolctl import threadpool_limits

    threads, stdout = torch.get_num_threads(), sys.stdout  # a bar on the terminal takes sys.stdout over
    progress = Progress(sum(one.seconds for one in chosen.values()))
    torch.set_num_threads(1)
    try:
        # the kernels' products are OpenBLAS's, whose threads cost more than such small products take
        with threadpool_limits(1):
            for spec, one in chosen.items():
                result = measured(one, spec, progress)
                print(result, file=None if stdout.isatty() else stdout, flush=True)
                progress.finish(FAILED if result.verdict == FAILED else "ok", None)
                yield result
    finally:
        progress.close()
        torch.set_num_threads(threads)


def measured(one: Claim, spec: str, progress: Progress) -> ClaimResult:
    """The outcome of one claim. An exception is its reason, and the other claims go on."""
    start = perf_counter()
    numbers: Numbers = {}
    try:
        with guarded(spec), patiently(spec):
            values = one.measure(
                lambda label: progress.start(f"{one.name}: {label}", one.seconds / one.parts)
            )
        numbers = from_json(as_json(values))  # as a reader of the file will judge them
        return judged(one, spec, numbers, perf_counter() - start)
    except Exception as error:
        return failed(one, spec, numbers, perf_counter() - start, error)
