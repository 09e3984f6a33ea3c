"""What follows from a cell's equations: derivatives, counts, LaTeX, initial arrays, layers, affine
recurrences.
"""
