"""A cell's printed kernels held against its own equations, array by array, without a GPU.

`check` computes a `problem` with the kernels and with the float64 reference. Triton's kernels run in Triton's
interpreter (`interpreted`), where every access to `memory` is watched.
"""
