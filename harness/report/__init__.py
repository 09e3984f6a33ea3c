"""A report from results alone: one self-contained page, the same as Markdown, and its figures as SVG files.

    frame = harness.load("results/runs/NAME")
    page = report.write(frame, manifests, folder)     # folder/index.html, report.md, *.svg
    print(report.terminal.text(frame))                # the summary and the trainings for a terminal

Drawing libraries are imported when a figure is drawn, not here.
"""

from __future__ import annotations

from . import summary, terminal
from .page import write

__all__ = ["summary", "terminal", "write"]
