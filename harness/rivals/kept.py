"""Rivals on disk, beside the archives, found again by what they were computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from ..data.archives import folder
from ..store import atomic
from ..task import Rival


def kept(key: str, compute: Callable[[], list[Rival]]) -> list[Rival]:
    """What compute() gave for this key before, or gives now. A damaged file is computed again; the folder may
    be read-only.
    """
    path = folder() / "rivals" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, TypeError):
        return [Rival(**r) for r in json.loads(path.read_text())]
    found = compute()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, [asdict(r) for r in found], exact=True, indent=None)
    return found
