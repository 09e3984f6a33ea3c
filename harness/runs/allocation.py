"""Where a job of a sweep runs: its machine, its scheduler's number, and its share of the machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..measure.cgroups import OWN, ROOT, folders
from ..measure.conditions import allowed

MIB = 1 << 20
CORES = ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK")
UNLIMITED = 1 << 60  # bytes at which a limit of memory is none


def allocation() -> dict[str, Any]:
    """The entries of a job's record that say where it runs."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "scheduler": scheduler(os.environ),
        "cores": cores(os.environ),
        "memory_bytes": memory_bytes(os.environ),
    }


def scheduler(variables: Any) -> str | None:
    """The scheduler's name and number of this job, such as `slurm 17_3`."""
    if variables.get("SUBMITIT_EXECUTOR") == "local":  # perhaps inside of somebody's allocation
        return f"local {variables.get('SUBMITIT_LOCAL_JOB_ID', '')}".strip()
    if ray := variables.get("RAY_JOB_ID"):
        return f"ray {ray}"
    if array := variables.get("SLURM_ARRAY_JOB_ID"):
        return f"slurm {array}_{variables.get('SLURM_ARRAY_TASK_ID', '')}"
    if job := variables.get("SLURM_JOB_ID"):
        return f"slurm {job}"
    return None


def cores(variables: Any) -> int:
    """How many cores this job may use; without binding, the scheduler's word is less than the affinity."""
    given = [int(text) for name in CORES if (text := variables.get(name, "")).isdecimal()]
    return min(n for n in (allowed(), *given) if n)


def memory_bytes(variables: Any, cgroups: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes that this job may use; None where nothing less than the machine's is set."""
    if (per_node := variables.get("SLURM_MEM_PER_NODE", "")).isdecimal():
        return int(per_node) * MIB or None  # Slurm's 0 is all of the node
    per_core = variables.get("SLURM_MEM_PER_CPU", "")
    on_node = variables.get("SLURM_CPUS_ON_NODE", "")
    if per_core.isdecimal() and on_node.isdecimal():
        return int(per_core) * int(on_node) * MIB or None
    limits = [limit for file in _limits(cgroups, own) if (limit := _limit(file)) is not None]
    return min(limits, default=None)


def _limits(cgroups: Path, own: Path) -> Iterator[Path]:
    """The files that may limit the memory of this process: of its own cgroup, and of those above it."""
    version_2 = (folder / "memory.max" for folder in folders(cgroups, own))
    version_1 = folders(cgroups / "memory", own, "memory")
    yield from (*version_2, *(folder / "memory.limit_in_bytes" for folder in version_1))


def _limit(file: Path) -> int | None:
    """Bytes; None for a file that is not there, and for one that sets no limit."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) < UNLIMITED else None
