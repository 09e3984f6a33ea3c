"""`cellbench claims [NAME ...]`: measures the claims of the lecture, a line for each as it ends, and writes
their page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from .. import claim
from ..claim import Claim, Numbers
from ..claims import _page
from ..claims._file import Record, as_json, from_json
from ..claims._result import FAILED, ClaimResult, failed, judged
from ..runs.progress import Progress
from ..store import make, provenance


def claims(specs: Sequence[str], folder: Path) -> int:
    """The exit code: 1 where a claim could not be measured. Raises ValueError for an unknown name, before
    anything is run.
    """
    chosen = {spec: claim.get(spec) for spec in specs or claim.names()}
    make(folder)
    source = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": provenance.fingerprint(),
        "versions": provenance.versions(),
        "git": provenance.git(),
    }
    found = outcomes(dict(sorted(chosen.items(), key=lambda item: item[1].place)))
    print(f"page: {_page.write(Record(source, tuple(found)), folder)}")
    return int(any(one.verdict == FAILED for one in found))


def outcomes(chosen: Mapping[str, Claim]) -> list[ClaimResult]:
    """Of claims by spec, one after the other, each on one thread; prints a line for each."""
    import torch
    from threadpoolctl import threadpool_limits

    before, stdout = torch.get_num_threads(), sys.stdout  # which a bar on the terminal takes over
    found: list[ClaimResult] = []
    progress = Progress(sum(one.seconds for one in chosen.values()))
    torch.set_num_threads(1)
    try:
        with threadpool_limits(
            1
        ):  # the kernels' products are OpenBLAS's, whose threads cost more than such small ones take
            for spec, one in chosen.items():
                found.append(measured(one, spec, progress))
                print(found[-1], file=None if stdout.isatty() else stdout, flush=True)
                progress.finish(FAILED if found[-1].verdict == FAILED else "ok", None)
    finally:
        progress.close()
        torch.set_num_threads(before)
    return found


def measured(one: Claim, spec: str, progress: Progress) -> ClaimResult:
    """One claim; whatever it raises is its reason, and the others go on. The numbers are what JSON gives back
    of them.
    """
    start = perf_counter()
    numbers: Numbers = {}
    try:
        found = one.measure(lambda label: progress.start(f"{one.name}: {label}", one.seconds / one.parts))
        numbers = from_json(as_json(found))
        return judged(one, spec, numbers, perf_counter() - start)
    except Exception as error:
        return failed(one, spec, numbers, perf_counter() - start, error)
