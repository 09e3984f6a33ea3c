"""Gradients beside somebody's training loop: norms, clipping and a record of every update."""
