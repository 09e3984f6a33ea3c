"""Results on disk: a run is one folder with one writer, read as a tidy frame.

The folder holds manifest.json, cases.jsonl, and cases.parquet once the run has ended. A line of cases.jsonl
is a block: one case's definition, status, and series of values. It is appended with one write and fsync, so
that a kill at any instant loses at most the block in hand. Numbers are SI; NaN and Infinity are written as
such. The table is made of the blocks, for other tools and for handing on; it is read where it stands alone.
"""

from __future__ import annotations

from . import pages
from .block import BlockError
from .files import ResultsError
from .packed import exists
from .reader import (
    BLOCKS,
    MANIFEST,
    SCHEMA,
    TABLE,
    is_run,
    load,
    read_blocks,
    read_manifest,
    runs,
    visible,
)
from .status import ENDED, ERRORS, FINE, STATUSES
from .tidy import COLUMNS, DEFINITION, LARGEST, WHOLE
from .writer import RunWriter, create, make, reopen, whole

__all__ = [
    "BLOCKS",
    "COLUMNS",
    "DEFINITION",
    "ENDED",
    "ERRORS",
    "FINE",
    "LARGEST",
    "MANIFEST",
    "SCHEMA",
    "STATUSES",
    "TABLE",
    "WHOLE",
    "BlockError",
    "ResultsError",
    "RunWriter",
    "create",
    "exists",
    "is_run",
    "load",
    "make",
    "pages",
    "read_blocks",
    "read_manifest",
    "reopen",
    "runs",
    "visible",
    "whole",
]
