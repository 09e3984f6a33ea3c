"""The old path of `cells.vocabulary.primitives`, for files that users wrote; kept for a release."""

from .vocabulary.primitives import *  # noqa: F403
