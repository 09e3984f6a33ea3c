"""Benchmarks and diagnostics for recurrent cells: `cells` computes them, `harness` measures them."""
