"""What a notebook shows of a result. Whatever a name holds is shown as it is: nothing is read as markup."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

ROWS = 8  # of the frame that are shown
SIZE = 6.4, 3.6  # inches of the figure


def html(result: Any, facts: Mapping[str, Any]) -> str:
    """Of a Displayed: the class, what it says of itself, its single values, its figure, its first rows."""
    kind = type(result)
    own = escape(str(result)) if kind.__str__ is not object.__str__ else ""
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(_shown(v))}</td></tr>" for k, v in facts.items())
    frame = result.to_frame()
    more = f"<p>{len(frame)} rows; <code>.to_frame()</code> has all</p>" if len(frame) > ROWS else ""
    parts = [
        f"<b>{escape(kind.__name__)}</b>",
        f"<pre>{own}</pre>" if own else "",
        f"<table>{rows}</table>" if rows else "",
        _image(result),
        frame.head(ROWS).to_html(index=False, border=0) + more if len(frame) > 1 else "",
    ]
    return f"<div>{''.join(parts)}</div>"


def _image(result: Any) -> str:
    """The figure as an image, so that it shares no name with another figure of the notebook."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    result.plot(figure.subplots())
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    source = base64.b64encode(drawn.getvalue()).decode()
    return f'<img alt="{escape(repr(result))}" src="data:image/svg+xml;base64,{source}">'


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
