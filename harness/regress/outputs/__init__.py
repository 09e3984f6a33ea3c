"""The outputs of a comparison: text, files for a CI, annotations, the exit code."""

from .columns import text
from .decision import exit_code, headline
from .files import check, write
from .github import annotations
from .junit import junit
from .page import markdown
from .record import record

__all__ = ["annotations", "check", "exit_code", "headline", "junit", "markdown", "record", "text", "write"]
