"""How long one step takes where steps come one by one: a row for each backend of a cell."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ..frame import measured
from ..section import Colours, Section
from ._plain import plain_section

ORDER = 14
QUESTION = "Fast?"
MAIN = "step_median_s"


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    if len(rows):
        yield plain_section("latency", rows)
