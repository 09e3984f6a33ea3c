"""Gradients of a cell's equations over time, computed on arrays: reach, products, exponents, saturation."""
