"""The progress of a run below a notebook's cell: a bar while it goes on, one line when it has ended.

It is an output that is written anew, which every front end of Jupyter has; rich's own bar needs ipywidgets.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any

PAUSE_S = 0.2  # between two drawings: each is a message to the browser


class NotebookBar:
    """What `Progress` needs of a bar. display is IPython's function of that name."""

    def __init__(
        self, display: Callable[..., Any], total: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.clock, self.drawn_s = total, clock, -PAUSE_S
        self.output = display(_text(""), raw=True, display_id=True)

    def update(self, task: int, completed: float, description: str) -> None:
        """Draws the share that is done, unless it was drawn a moment ago. task: as rich counts them."""
        if self.clock() - self.drawn_s < PAUSE_S:
            return
        self.drawn_s = self.clock()
        share = min(completed / self.total, 1.0) if self.total else 1.0
        words = f"{share:.0%}  {description}"
        bar = f'<progress value="{share:.3f}" style="width: 16em"></progress> {html.escape(words)}'
        self.output.update({**_text(words), "text/html": bar}, raw=True)

    def stop(self) -> None:
        """Takes the bar away."""
        self.end("")

    def end(self, line: str) -> None:
        """Puts a line in the bar's place."""
        self.output.update(_text(line), raw=True)


def notebook_display() -> Callable[..., Any] | None:
    """IPython's `display` where this process is the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython else None
    if not hasattr(shell, "kernel"):
        return None  # a plain script, or IPython on a terminal, which has its own bar
    from IPython.display import display

    return display


def _text(line: str) -> dict[str, str]:
    return {"text/plain": line}
