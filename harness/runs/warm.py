"""Imports what programs of a backend need, up to their first use; nothing is computed.

So there are no threads, no arrays and no CUDA context that a forked process would inherit. What was imported
is set aside from the garbage collector, which else goes over all of it in each process, and copies its pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any

from cellbench import cells

from .. import probe
from ..case import Case
from ..measure.timing import set_aside
from ..probe import Emit

TORCH = ("torch.fx.experimental.symbolic_shapes",)  # gradients
# what is imported at first use: up to two seconds of a process
AT_FIRST_USE = {
    "numba": ("numba.core.registry", "scipy.linalg"),  # products
    "torch": TORCH,
    "native": TORCH,
}


def ready(backends: Iterable[tuple[str, str]], others: Iterable[str] = ()) -> None:
    """Imports what these backends need on these devices, (backend, device), and other modules."""
    for backend, device in backends:
        cells.backend(backend).unavailable(device)
        _import(AT_FIRST_USE.get(backend.partition(":")[0], ()))
        if backend.startswith("numba"):
            with suppress(ImportError):  # Numba's compiler imports its parts too
                from numba.core.registry import cpu_target

                cpu_target.target_context.refresh()
    _import(others)
    set_aside()


def _import(names: Iterable[str]) -> None:
    for name in names:
        with suppress(ImportError):  # not installed, or another version without it: it is imported later
            import_module(name)


def measure_together(
    emit: Emit, spec: str, options: dict[str, Any], group: list[list[Case]], process: int
) -> None:
    """Runs in the worker: the second pass of several comparisons, with all that they import there before."""
    ready(sorted({(c.backend, c.device) for comparison in group for c in comparison if c.backend}))
    probe.measure_together(emit, spec, options, group, process)
