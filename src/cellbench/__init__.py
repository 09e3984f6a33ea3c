"""Benchmarks and diagnostics for recurrent cells: `cellbench.cells` computes them, `cellbench.harness` measures them."""
