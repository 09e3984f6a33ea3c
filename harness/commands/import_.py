"""Takes over results of pytest-benchmark, pyperf, hyperfine or asv as runs.

`pytest --benchmark-json=FILE`, `pyperf ... -o FILE`, `hyperfine --export-json FILE` and `asv run` write them.
A folder stands for all results in it, of many machines and commits: each file becomes a run. `report`,
`history` and `compare` (with other imported runs) take the runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from .. import formats, store
from ..formats._brought import Brought
from ..screen import counted, last
from ._arguments import RUNS, epilog, path

MOST_FILES = 10_000
EXAMPLES = """\
  cellbench import benchmarks.json
  cellbench import .benchmarks
  cellbench import asv/results --results results/imported"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench import FILE|DIR [--results DIR]"
    parser.add_argument("file", type=path, metavar="FILE|DIR", help="a file of results, or a folder of them")
    parser.add_argument(
        "--results",
        type=path,
        default=RUNS,
        metavar="DIR",
        help="the folder that the runs' folders are made in (default: %(default)s)",
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench import`; returns the exit code."""
    before = _before(arguments.results)
    if not arguments.file.is_dir():
        brought = formats.read(arguments.file)
        _say_odd(arguments.file, brought)
        if run := before.get(_digest(arguments.file)):
            last(f"run: {run}, of before: the same file was imported already")
        else:
            last(f"run: {_written(brought, arguments.file, arguments.results)}")
        return 0
    # all are read before the first is written, so that a damaged one leaves nothing half done
    found = list(_of_folder(arguments.file))
    if not found:
        raise store.ResultsError(f"{arguments.file} has no results of {', '.join(formats.names())}")
    new = []
    for file, brought in found:
        _say_odd(file, brought)
        if run := before.get(_digest(file)):
            print(f"{file}: left out: imported already, as {run}")
        else:
            new.append(brought)
            print(f"{file}: {_written(brought, file, arguments.results)}")
    machines = {json.dumps(brought.key, sort_keys=True) for brought in new}
    last(f"runs: {len(new)}, of {counted(len(machines), 'machine')}, in {arguments.results}")
    return 0


def import_benchmarks(file: Path, results: Path) -> Path:
    """Writes a run with one case a benchmark; returns its folder. Raises ResultsError for any other file."""
    return _written(formats.read(file), file, results)


def _before(results: Path) -> dict[str, Path]:
    """The runs that were imported into a folder, by the digest of their file."""
    manifests = ((run, store.read_manifest(run)) for run in store.visible(results) if store.is_run(run))
    return {digest: run for run, manifest in manifests if (digest := manifest.get("file_sha256"))}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _of_folder(folder: Path) -> Iterator[tuple[Path, Brought]]:
    """The results below a folder.

    Other JSON is passed over, such as asv's list of its benchmarks; a file without benchmarks is named.
    """
    files = sorted(f for ending in ("*.json", "*.json.gz") for f in folder.rglob(ending) if f.is_file())
    if len(files) > MOST_FILES:
        raise store.ResultsError(f"{folder} has {len(files):,} files; at most {MOST_FILES:,} are read")
    for file in files:
        try:
            yield file, formats.read(file)
        except formats.OtherJson:
            continue
        except formats.NothingTimed as error:
            print(f"left out: {error}")


def _say_odd(file: Path, brought: Brought) -> None:
    """Prints what is left out of a file, and which of its times are strange."""
    for line in brought.left_out:
        print(f"{file}: left out: {line}")
    for one in brought.benchmarks:
        if one.times and one.reason:
            print(f"{file}: {one.name}: {one.reason}")


def _written(brought: Brought, file: Path, results: Path) -> Path:
    """The folder of the run that holds what a file brought."""
    command = f"cellbench import {shlex.quote(file.name)}"
    with store.whole(results, brought.manifest(command) | {"file_sha256": _digest(file)}) as writer:
        for one in brought.benchmarks:
            definition = one.definition
            case = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:12]
            writer.append(
                case,
                definition,
                "ok" if one.times else "failed",
                series=one.series,
                implementation=one.implementation,
                reason=one.reason,
                done=True,
            )
    return writer.folder
