"""Results of other tools, one file a format, found by its name: read as data, checked, and never run.

A format is a file with `is_one(content)` and `brought(content, file)`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import zlib
from pathlib import Path
from typing import Any

from .. import store
from ..store import files
from ._brought import Brought

MOST = 1 << 28  # bytes of a file
PICKLES = (b"\x80", b"PK\x03\x04")  # of pickle, and of torch.save
GZIP = b"\x1f\x8b"
PICKLED = (
    "a pickle, as torch.utils.benchmark's are, and reading one can run code; write its times as JSON:"
    ' {"results": [{"command": NAME, "times": [SECONDS, ...]}]}'
)


NEXT = "`cellbench import --help` names the commands that write them"


class OtherJson(store.ResultsError):
    """A file of JSON that is of no format."""


class NothingTimed(store.ResultsError):
    """A file of a format, without any benchmark."""


def names() -> list[str]:
    """The formats, as their tools are called."""
    files = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return sorted(name.replace("_", "-") for name in files)


def read(file: Path) -> Brought:
    """What a file brings in. Raises ResultsError, one line, for one that is of no format, or damaged."""
    known = f"results of {', '.join(names())}"
    try:
        text = files.read(file, MOST)
        if text.startswith(PICKLES):
            raise store.ResultsError(f"{file} is {PICKLED}")
        text = _unpacked(text) if text.startswith(GZIP) else text
        if not text.strip():
            raise store.ResultsError(f"{file} is empty; import takes {known}; {NEXT}")
        content = files.parse(text)
    except OSError as error:
        raise store.ResultsError(f"{file} cannot be read: {error.strerror}") from None
    except store.ResultsError:
        raise
    except (ValueError, zlib.error) as error:
        raise store.ResultsError(f"{file} is not JSON, as {known} are: {_fault(error)}; {NEXT}") from None
    for name in names():
        format_ = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        if isinstance(content, dict) and format_.is_one(content):
            return _brought(format_, name, content, file)
    raise OtherJson(f"{file} is JSON, but none of {known}; {NEXT}")


def _fault(error: Exception) -> str:
    """What is wrong with a text that is no JSON; the reader's own words name no next step."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno} cannot be read"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    return "its compression is damaged" if isinstance(error, zlib.error) else str(error)


def _brought(format_: Any, name: str, content: dict[str, Any], file: Path) -> Brought:
    try:
        result: Brought = format_.brought(content, file)
    except store.ResultsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise store.ResultsError(f"{file} is damaged: it is not what {name} writes") from None
    if not result.benchmarks:
        raise NothingTimed(
            f"{file} is of {name}, and holds no benchmark that was timed; nothing was imported: let {name}"
            " time one, and import what it writes then"
        )
    if twice := result.twice():
        raise store.ResultsError(
            f"{file} has {twice!r} more than once, so that one would be taken for the other"
        )
    return result


def _unpacked(text: bytes) -> bytes:
    """The text of a gzip file. Raises ValueError for one that is longer than any file may be."""
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    whole = unpacking.decompress(text, MOST)
    if unpacking.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {MOST >> 20} MB")
    return whole
