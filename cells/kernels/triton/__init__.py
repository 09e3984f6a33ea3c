"""Equations become a fused GPU kernel: the printer of Triton text, and what a compiler says of it."""
