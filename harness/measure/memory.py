"""Peak memory of a piece of work: resident memory of this process on the CPU, PyTorch's allocator on CUDA."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path


def peak_bytes(work: Callable[[], object], device: str = "cpu") -> int:
    """Bytes by which `work` raised the peak above what was in use before it."""
    gc.collect()
    return _cuda_peak(work) if device == "cuda" else _resident_peak(work)


def _cuda_peak(work: Callable[[], object]) -> int:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    held = work()
    torch.cuda.synchronize()
    del held
    return torch.cuda.max_memory_allocated() - before


def _resident_peak(work: Callable[[], object]) -> int:
    _return_freed_memory()
    reset = _reset_peak()
    before = _status("VmRSS") if reset else _highest()
    held = work()
    after = _status("VmHWM") if reset else _highest()
    del held
    return max(0, after - before)


def _return_freed_memory() -> None:
    """Gives back what earlier work freed; from here on glibc maps every array of a page or more by itself.

    Otherwise the work would be served from memory that is resident already, and seem to need none.
    """
    mmap_threshold, page = -3, 4096
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, page)
        libc.malloc_trim(0)
    except (OSError, AttributeError):  # another C library: the peak is then a lower bound
        return


def _reset_peak() -> bool:
    """Sets the kernel's high-water mark of this process back to what is in use; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return _highest()


def _highest() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
