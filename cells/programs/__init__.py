"""A cell with its arrays, made ready and run: the contracts of backend and program, stacks, ragged batches,
autograd.
"""
