"""What the curves of one cell are called where it has several."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..frame import varying


def with_lines(part: pd.DataFrame, keys: Sequence[str] = ("variant",)) -> pd.DataFrame:
    """With a column `line`: the values of those keys that vary, 'orthogonal(1.2), numba float32', else ''."""
    shown = varying(part, keys)
    texts = [
        ", ".join(str(v).removeprefix("scheme=") for v in values if v not in ("", -1))
        for values in part[shown].to_numpy()
    ]
    return part.assign(line=texts if shown else "")
