"""The old path of `cells.vocabulary.matrices`, for files that users wrote; kept for a release."""

from .vocabulary.matrices import blocks, by_head, concatenate, constant, expm, linear, skew

__all__ = ["blocks", "by_head", "concatenate", "constant", "expm", "linear", "skew"]
