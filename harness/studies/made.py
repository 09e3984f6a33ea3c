"""How a study's page was made, in a sentence that stands on it."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ..store import provenance


def made(command: str) -> str:
    """The command, the commit, the processor, the day, and the load of the last minute."""
    git, cpu = provenance.git(), provenance.fingerprint().get("cpu", "a machine of unknown kind")
    changed = " with uncommitted changes" if git.get("dirty") else ""
    code = f"commit {git['commit'][:12]}{changed}" if git.get("commit") else "an installed package"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Made by `{command}` with {code} on {cpu}, {datetime.now(UTC):%Y-%m-%d}{load}."
