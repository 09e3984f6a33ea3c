"""Somebody's torch module as a cell: it has no equations, torch runs it, and a float64 copy judges it."""
