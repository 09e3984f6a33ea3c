"""Kernels of steps that are spread over programs, as one function of torch's autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .recurrence import Arrays, Recurrence
from .spread_forward import written as always_written


class SpreadRecurrence(Recurrence):
    """A cell's spread kernels; with `stepwise` every step is a launch.

    What goes from one launch to the next is float32 also where other arrays are narrower. It lies in two
    rows, used in turn: a program reads one while it writes the other.
    """

    def __init__(self, *arguments: Any, stepwise: bool, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.stepwise = stepwise

    def needed(self, state: str) -> bool:
        return state in always_written(self.cell, self.source, self.keeping)

    def start_forward(self, read: Arrays, written: Arrays, first: Arrays, steps: int, batch: int) -> None:
        like = next(iter(written.values()))
        rows = self.carried(first)
        for s, state in first.items():
            if self.needed(s):
                written[f"all_{s}"][0].copy_(state)
        given = read | written | {f"carried_{s}": row for s, row in rows.items()}
        count = self.start(self.module.forward, given, steps, batch, KEEPING=self.keeping)
        for s, row in rows.items():
            written[f"last_{s}"] = row[count % 2].to(like.dtype)

    def start_backward(
        self, read: Arrays, written: Arrays, d_last: Sequence[Tensor], steps: int, batch: int
    ) -> None:
        cell = self.cell
        rows = self.carried(dict(zip(cell.states, d_last, strict=True)))
        given = read | written | {f"carried_d_{s}": row for s, row in rows.items()}
        options = {"TRACING": self.tracing}
        apart = self.stepwise and bool(cell.recurrent)  # the first step's products are a launch too
        count = self.start(self.module.backward, given, steps, batch, ENDING=not apart, **options)
        if apart:
            numbers = {"steps": 0, "batch": batch, "begin": steps, "total": steps}
            self.launch(self.module.backward, given, numbers, ENDING=True, **options)
            count += 1
        for s, row in rows.items():
            written[f"d_first_{s}"] = row[count % 2].to(d_last[0].dtype)
            if self.tracing:
                written[f"all_d_{s}"][0] = written[f"d_first_{s}"]

    def start(self, kernel: Any, arrays: Arrays, steps: int, batch: int, **constants: bool) -> int:
        """Launches the kernel over all steps; the number of launches."""
        at_once = 1 if self.stepwise else steps
        if not self.stepwise and self.cell.recurrent:
            like = next(iter(arrays.values()))
            counters = self.blocks * self.cell.heads * steps
            arrays = arrays | {"arrived": torch.zeros(counters, dtype=torch.int32, device=like.device)}
        numbers = {"steps": at_once, "batch": batch, "total": steps}
        each = [numbers | {"begin": begin} for begin in range(0, steps, at_once)]
        self.launch(kernel, arrays, *each, **constants)
        return steps // at_once

    def sums(self, steps: int) -> int:
        return self.blocks * (steps + bool(self.cell.recurrent) if self.stepwise else 1)

    def carried(self, states: Arrays) -> Arrays:
        """Two rows (2, B, units) for each state, the first of them filled."""
        found = {}
        for s, state in states.items():
            wide = torch.promote_types(state.dtype, torch.float32)
            found[s] = self.empty(state, 2, *state.shape, dtype=wide)
            found[s][0].copy_(state)
        return found


class ScannedRecurrence(SpreadRecurrence):
    """A forward of several steps at once, and a backward that goes through them as a resident one does."""

    start_backward = Recurrence.start_backward
    sums = Recurrence.sums
