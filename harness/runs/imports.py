"""Imports what the first pass of nearly every case needs, once, in the server that forks its processes."""

from . import warm

warm.ready((name, "cpu") for name in ("numpy", "numba", "torch", "native"))
