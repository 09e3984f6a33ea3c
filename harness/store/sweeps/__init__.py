"""A sweep on disk: what was asked of it, and a record of each job.

It is a folder below the folder of its runs. `sweep.json` is there before a job is, and stays as it is.
`launches.json` says how jobs were launched. The record of a job is written whole by that job alone, which
holds a lock while it works: a record that says `running` and whose lock nobody holds is that of a job that
was lost. `trials` has what a search that prunes goes by.
"""

from __future__ import annotations

from .manifest import BASIC, MOST_JOBS, PURPOSE, Job
from .record import AGAIN, LOG, Record
from .standing import LAUNCH
from .sweep import FOLDER, MANIFEST, Sweep, create, digest, is_sweep, named, read, sweeps

__all__ = [
    "AGAIN",
    "BASIC",
    "FOLDER",
    "LAUNCH",
    "LOG",
    "MANIFEST",
    "MOST_JOBS",
    "PURPOSE",
    "Job",
    "Record",
    "Sweep",
    "create",
    "digest",
    "is_sweep",
    "named",
    "read",
    "sweeps",
]
