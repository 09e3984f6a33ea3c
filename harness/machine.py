"""What a result must say of where it comes from: machine, versions, git commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("cellbench", "numpy", "scipy", "numba", "llvmlite", "torch", "pandas", "hydra-core")


def fingerprint() -> dict[str, Any]:
    """CPU, cores, memory, platform, GPU where there is one, and the load right now."""
    return {
        "cpu": _cpu(), "cores": os.cpu_count(), "memory_bytes": psutil.virtual_memory().total, "platform": platform.platform(),
        "python": platform.python_version(), "gpu": _gpu(), "load_1min": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Installed versions of the packages that figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git(folder: Path) -> dict[str, Any]:
    """Commit of the checkout that the package lies in, and whether its code was changed since; empty outside one."""
    if _run("git", "-C", str(folder), "ls-files", "--error-unmatch", __file__) is None:
        return {}  # an installed package, inside somebody's repository perhaps
    changed = _run("git", "-C", str(folder.parent), "status", "--porcelain", "--", "cells", "harness", "conf")
    return {"commit": _run("git", "-C", str(folder), "rev-parse", "HEAD"), "dirty": bool(changed)}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu() -> str | None:
    return _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def _run(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
