"""An extension of griffe: docstrings are plain text, and the site shows them as such.

A paragraph in columns (a name, spaces, what it is) keeps its columns. In any other, signs that Markdown would
take for its own stand for themselves, such as the brackets of `trajectory[name][t]`.
"""

from __future__ import annotations

import re

import griffe

COLUMNS = re.compile(r"^\w[\w, .()]*? {2,}\S", re.M)


class PlainDocstrings(griffe.Extension):
    """Rewrites every docstring that is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring:
            paragraphs = re.split(r"\n\s*\n", obj.docstring.value)
            obj.docstring.value = "\n\n".join(map(plain, paragraphs))


def plain(paragraph: str) -> str:
    """The paragraph as Markdown that looks like it."""
    if paragraph.startswith("    "):  # code already
        return paragraph
    if COLUMNS.search(paragraph):
        return f"```text\n{paragraph}\n```"
    pieces = re.split(r"(`[^`]*`)", paragraph)
    return "".join(p if p.startswith("`") else re.sub(r"([\[\]<>*])", r"\\\1", p) for p in pieces)
