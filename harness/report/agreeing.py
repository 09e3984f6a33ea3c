"""Whether what was timed computes what the float64 reference does, in a sentence at the top of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from .frame import of_metric, of_probe, unique
from .refused import refused
from .section import Finding, anchor_of
from .sections import throughput
from .units import digits

MOST_NAMED = 4  # of programs that are wrong


def agreeing(ready: pd.DataFrame) -> Iterator[Finding]:
    """How many programs were held against the reference, how near they came, and which ones are wrong."""
    rows = of_probe(ready, "throughput", None)
    wrong = rows[rows["status"] == "wrong"]
    names = unique(wrong["label"] + " on " + wrong["backend"])
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        text = f"Not right, and so not timed: {', '.join(names[:MOST_NAMED])}{more}."
        yield Finding(text, anchor_of(refused(ready).heading))
    shares = _shares(rows[rows["status"] == "ok"])
    if len(shares):
        each = f"Each of {len(shares)} timed programs" if len(shares) > 1 else "The timed program"
        text = f"{each} is right: its error is at most {digits(100 * shares.max())} % of what is allowed."
        yield Finding(text, anchor_of(throughput.HEADING))


def _shares(rows: pd.DataFrame) -> pd.Series:
    """By case, its largest error over what is allowed."""
    by = ["run", "case"]
    error, allowed = (
        of_metric(rows, name).groupby(by)["value"].max() for name in ("check_error", "check_tolerance")
    )
    return (error / allowed).dropna()
