"""Imports what the first pass of nearly every case needs, once, in the server that forks its processes."""

from . import warm

OF_OPTIMISERS = "torch._dynamo"  # two seconds, which a process that times programs does without

warm.ready(((name, "cpu") for name in ("numpy", "numba", "torch", "native")), (OF_OPTIMISERS,))
