"""A cache of rivals on disk, beside the archives, by what they were computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from ..data.archives import folder
from ..store import atomic, files
from ..task import Rival


def cached(key: str, compute: Callable[[], list[Rival]]) -> list[Rival]:
    """What compute() gave for this key before, or gives now.

    Where a file is damaged they are computed again; the folder may be read-only.
    """
    path = folder() / "rivals" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, TypeError):
        return [Rival(**r) for r in files.parse(files.read(path))]
    rivals = compute()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, [asdict(r) for r in rivals], exact=True, indent=None)
    return rivals
