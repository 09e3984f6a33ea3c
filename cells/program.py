"""The old path of `cells.programs.backend` and `program`, for files that users wrote; kept for a release."""

from .programs.backend import Backend
from .programs.program import Forward, Gradients, Program

__all__ = ["Backend", "Forward", "Gradients", "Program"]
