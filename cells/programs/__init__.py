"""A cell with its arrays, made ready and run: backend and program, stacks, ragged batches, autograd."""
