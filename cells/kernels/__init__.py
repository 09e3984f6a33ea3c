"""Equations become compiled code: cells' lines printed into readable modules, and what these share."""
