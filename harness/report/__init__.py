"""A report from results alone: one self-contained page, the same as Markdown, and its figures as SVG files.

    frame = harness.load("results/runs/NAME")
    page = report.write(frame, manifests, folder)     # folder/index.html, report.md, *.svg
    print(report.terminal.text(frame))                # the summary and the trainings for a terminal

Drawing libraries are imported when a figure is drawn, not here. What a probe's own section is made of (see
`harness.probe.Probe`) is Section, Figure, Table, Entry and number.
"""

from __future__ import annotations

from . import summary, terminal
from .drawing.panels import Figure
from .page import write
from .section import Colours, Section
from .table import Entry, Table, number

__all__ = ["Colours", "Entry", "Figure", "Section", "Table", "number", "summary", "terminal", "write"]
