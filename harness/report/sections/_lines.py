"""Words of curves: what those of one cell are called where it has several, and what they are a mean of."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..drawing.panels import counted
from ..frame import varying


def with_lines(rows: pd.DataFrame, keys: Sequence[str] = ("variant",)) -> pd.DataFrame:
    """With a column `line`: the values of those keys that vary, 'orthogonal(1.2), numba float32', else ''."""
    shown = varying(rows, keys)
    texts = [
        ", ".join(str(v).removeprefix("scheme=") for v in values if v not in ("", -1))
        for values in rows[shown].to_numpy()
    ]
    return rows.assign(line=texts if shown else "")


def mean_over(rows: pd.DataFrame, what: str = "Mean") -> str:
    """'Mean over 3 seeds; band: their 10 to 90 % quantiles.'"""
    seeds = rows["seed"].nunique()
    band = "; band: their 10 to 90 % quantiles" if seeds > 1 else ""
    return f"{what} over {counted(seeds, 'seed')}{band}."
