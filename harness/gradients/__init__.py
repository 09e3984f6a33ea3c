"""Diagnostics of the gradient through time, on arrays, without Hydra."""

from .clipping import clip_by_norm, total_norm
from .decay import Rate, log_norms, rate, word

__all__ = ["Rate", "clip_by_norm", "log_norms", "rate", "total_norm", "word"]
