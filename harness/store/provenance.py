"""Where a result comes from: machine, versions, git commit; and the key of results that may be compared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from ..screen import one_line
from . import code

PACKAGES = ("cellbench", "numpy", "scipy", "numba", "llvmlite", "torch", "pandas", "hydra-core")
# the packages by which torch's wheels bring cuDNN
CUDNN = ("nvidia-cudnn-cu11", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cudnn")
# instruction sets that kernels are compiled for, as Linux names them (x86, then Arm)
ISA = (
    "sse4_2",
    "f16c",
    "fma",
    "avx",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "neon",
    "asimd",
    "asimdhp",
    "asimddp",
    "sve",
    "sve2",
    "bf16",
    "i8mm",
    "sme",
)


def manifest(command: str, config: dict[str, Any], threads: int) -> dict[str, Any]:
    """The manifest of a run that begins now: what was asked, and where its results come from."""
    described = {"command": command, "config": config, **origin(), "machine_key": key(threads)}
    return described | {"code": code.digests(config)}


def origin() -> dict[str, Any]:
    """The part of a manifest that says when, where and with what a result was made."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git(),
        "versions": versions(),
        "machine": fingerprint(),
        "code": code.digests(),
    }


def fingerprint() -> dict[str, Any]:
    """CPU, cores, memory, platform, GPU where there is one, and the load right now."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": memory_bytes()[0],
        "platform": platform.platform(),
        "python": python(),
        "gpu": _gpu(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def memory_bytes() -> tuple[int, int]:
    """(all, available) of this machine; the free pages where there is no /proc to tell what can be freed."""
    try:
        memory = psutil.virtual_memory()
        return memory.total, memory.available
    except OSError:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")


def versions() -> dict[str, str]:
    """Installed versions of the packages that figures depend on."""
    return {name: _version(name) or "not installed" for name in PACKAGES}


def python() -> str:
    """Python's version."""
    return platform.python_version()


def maker() -> str:
    """A digest of the package's code, and of the versions that figures depend on."""
    made_with = json.dumps([code.digests(), versions(), python()], sort_keys=True)
    return hashlib.sha256(made_with.encode()).hexdigest()


def key(threads: int) -> dict[str, Any]:
    """The machine key: hardware, and the libraries that decide its speed.

    Two results must have it in common for their times to be compared. It has
    nothing that changes from hour to hour: no clock reading, load, memory in use, date or kernel build.
    torch is not imported.
    """
    cpu = _cpu_fields()
    model = [
        f"{name} {cpu[name]}"
        for name in ("cpu family", "model", "CPU implementer", "CPU part")
        if name in cpu
    ]
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    cudnn = next(filter(None, map(_version, CUDNN)), None)
    return {
        "cpu": ", ".join([_cpu(), *model]),
        "cores": os.cpu_count(),
        "isa": [name for name in ISA if name in flags],
        "gpu": _gpu(),
        "torch": _torch_built_with("__version__"),  # with +cpu or +cu130, which metadata may lack
        "cuda": _torch_built_with("cuda"),
        "cudnn": cudnn,
        "threads": threads,
    }


def key_of(manifest: dict[str, Any]) -> str | None:
    """The hash of a run's machine key, twelve hexadecimal digits.

    None for a run that has no key; such a run is nobody's baseline.
    """
    machine = manifest.get("machine_key")
    if not isinstance(machine, dict) or not machine:
        return None
    return hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:12]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two machine keys differ, one line each: 'torch: 2.12.1 and 2.13.0'."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [f"{name}: {_as_text(one.get(name))} and {_as_text(other.get(name))}" for name in names]


def git() -> dict[str, Any]:
    """Commit of the package's checkout, and whether its code was changed since; empty outside a checkout."""
    file = Path(__file__).resolve()
    folder = file.parents[2]
    if _run("git", "-C", str(folder), "ls-files", "--error-unmatch", str(file)) is None:
        return {}  # an installed package, inside somebody's repository perhaps
    changed = _run("git", "-C", str(folder), "status", "--porcelain", "--", "cells", "harness", "conf")
    return {"commit": _run("git", "-C", str(folder), "rev-parse", "HEAD"), "dirty": bool(changed)}


def machine_name(manifest: dict[str, Any]) -> str:
    """The processor of a run, and letters of its machine's key: two machines may have one processor.

    The key is without the threads, which a row has beside it.
    """
    machine, key = manifest.get("machine"), manifest.get("machine_key")
    cpu = machine.get("cpu") if isinstance(machine, dict) else None
    hardware = {k: v for k, v in key.items() if k != "threads"} if isinstance(key, dict) else key
    letters = key_of({"machine_key": hardware}) or ""
    return one_line(f"{cpu or 'a machine'} {letters[:4]}").strip()


def _as_text(value: Any) -> str:
    return "none" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cpu() -> str:
    return _cpu_fields().get("model name") or platform.processor() or platform.machine()


@lru_cache
def _cpu_fields(file: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """The first processor of /proc/cpuinfo by name; empty on another system than Linux."""
    try:
        first = file.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = [line.partition(":") for line in first.splitlines()]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_built_with(name: str) -> str | None:
    """A constant of torch/version.py, read as text: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if not spec or not spec.origin:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return None
    constant = re.search(rf"^{name}\b[^=\n]*= *'([^'\n]*)'", text, re.MULTILINE)
    return constant[1] if constant else None


@lru_cache
def _gpu() -> str | None:
    return _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def _run(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
