"""Cells on a CUDA device, in one command; and a walk through all of it without one."""
