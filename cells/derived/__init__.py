"""What follows from equations: derivatives, counts, LaTeX, initial arrays, layers, affine recurrences."""
