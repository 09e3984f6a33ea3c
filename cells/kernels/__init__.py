"""Equations become compiled code: a cell's lines printed into readable modules, and what those modules share."""
