"""Ways to compute a cell, one file each."""
