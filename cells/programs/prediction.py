"""What a backend says of its time before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """Seconds of a run, NaN where there are none; `says` names the device and the bound, or why not."""

    seconds: float
    says: str

    @property
    def line(self) -> str:
        """What stands beside the number: 'predicted_s is of an H100, bound by issue'."""
        return f"predicted_s is {'null: ' if math.isnan(self.seconds) else ''}{self.says}"
