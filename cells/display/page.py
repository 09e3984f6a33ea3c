"""What a notebook shows of a result. Whatever a name holds is shown as it is: nothing is read as markup."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

ROWS = 8  # of the frame that are shown
FACTS = 32  # single values that are shown
SIZE = 6.4, 3.6  # inches of the figure


def html(result: Any, facts: Mapping[str, Any]) -> str:
    """Of a Displayed: the class, what it says of itself, its single values, its figure, its first rows."""
    kind = type(result)
    own = escape(str(result)) if kind.__str__ is not object.__str__ else ""
    known = {name: value for name, value in facts.items() if value != ""}  # a list without entries
    first = list(known.items())[:FACTS]
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(_shown(v))}</td></tr>" for k, v in first)
    rows += f"<tr><th></th><td>and {len(known) - FACTS} more</td></tr>" if len(known) > FACTS else ""
    frame = result.to_frame()
    more = f"<p>{len(frame)} rows; <code>.to_frame()</code> has all</p>" if len(frame) > ROWS else ""
    parts = [
        f"<b>{escape(kind.__name__)}</b>",
        f'<pre style="white-space: pre-wrap">{own}</pre>' if own else "",
        f"<table>{rows}</table>" if rows else "",
        _image(result),
        frame.head(ROWS).to_html(index=False, border=0) + more if len(frame) > 1 else "",
    ]
    return f"<div>{''.join(parts)}</div>"


def _image(result: Any) -> str:
    """The figure as an image, which shares no name with another figure; '' where it has the text alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    if not result.plot(figure.subplots()).axison:
        return ""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    source = base64.b64encode(drawn.getvalue()).decode()
    return (
        f'<img style="display: block" alt="{escape(repr(result))}" src="data:image/svg+xml;base64,{source}">'
    )


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
