"""What the verdict's own error rates were measured to be: the line of the committed study, for the foot of
reports.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).with_name("reliability.json")


def line() -> str:
    """One line of figures and where they were measured; empty where no study is stored."""
    try:
        return json.loads(FILE.read_text(encoding="utf8"))["line"]
    except FileNotFoundError:
        return ""
