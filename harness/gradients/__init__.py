"""Diagnostics of the gradient through time, on arrays, without Hydra."""

from .decay import Rate, log_norms, rate, word
from .norm import total_norm

__all__ = ["Rate", "log_norms", "rate", "total_norm", "word"]
