"""Imports what the first pass of nearly every case needs, once, in the server that forks its processes.

Nothing is computed, so that there are no threads, no arrays and no CUDA context to inherit. What was imported
is set aside from the garbage collector: each process would go over all of it, and so copy the pages.
"""

import gc
from contextlib import suppress
from importlib import import_module

from cellbench.cells.backends import native, numba, numpy, torch  # noqa: F401

# what PyTorch's gradients, its list of dispatched operations, and Numba's products import at first use: up to
# two seconds of a process
AT_FIRST_USE = (
    "torch.fx.experimental.symbolic_shapes",
    "torch._dynamo",
    "numba.core.registry",
    "scipy.linalg",
)

for name in AT_FIRST_USE:
    with suppress(ImportError):  # not installed, or another version without it: it is imported later
        import_module(name)
with suppress(ImportError):  # Numba's compiler imports its parts too
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()

gc.collect()
gc.freeze()
