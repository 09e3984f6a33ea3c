"""Clocks, interleaving, worker processes. Knows no cell and no probe."""
