"""Where a job of a sweep runs: its machine, its scheduler's number, and its share of the machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

MIB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # bytes at which a limit of memory is none


def allocation() -> dict[str, Any]:
    """The entries of a job's record that say where it runs."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "scheduler": scheduler(os.environ),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
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


def memory_bytes(variables: Any, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that this job may use; None where nothing less than the machine's is set."""
    if (per_node := variables.get("SLURM_MEM_PER_NODE", "")).isdecimal():
        return int(per_node) * MIB or None  # Slurm's 0 is all of the node
    per_core = variables.get("SLURM_MEM_PER_CPU", "")
    cores = variables.get("SLURM_CPUS_ON_NODE", "")
    if per_core.isdecimal() and cores.isdecimal():
        return int(per_core) * int(cores) * MIB or None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroups 2 and 1
        try:
            text = (cgroups / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() and int(text) < UNLIMITED else None
    return None
