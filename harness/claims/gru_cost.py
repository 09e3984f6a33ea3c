"""GRU against LSTM: parameters by counting, time of training by the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from cellbench import cells

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..learn.model import batches
from ..learn.training import Recipe, learner, step
from ..measure.bootstrap import interval
from ..measure.clocks import clock_of
from ..measure.timing import Timed, interleave
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import quantity
from ._trainings import Trial, drawn, maker

SIZES = ((1, 1), (6, 32), (32, 64), (128, 128), (100, 257))  # input and hidden


@dataclass(frozen=True)
class GRUCost(Claim):
    """An epoch is so many batches of 64 sequences of adding; `samples` epochs of each are timed in turn."""

    place = 6
    sentence = "A GRU has three quarters of the LSTM's parameters and trains in less time."
    how = (
        "Parameters at five sizes. Then epochs of training (forward, backward, Adam) on the adding problem"
        " with T=50, one thread, on each backend, all timed in turn in random order; the interval is a"
        " bootstrap's over the rounds' ratios."
    )
    rule = (
        "holds: 4 GRU = 3 LSTM at every size, and on every backend the interval of the time's ratio lies"
        " below 1; with a condition: the counts hold and some backend's does; else not."
    )
    caption = "Time of an epoch of training: each stroke one measurement, the point their median."
    seconds = 45.0
    backends: tuple[str, ...] = ("numpy", "numba", "torch", "native")
    batches: int = 6
    samples: int = 15
    hidden_size: int = 64

    def measure(self, tick: Tick) -> Numbers:
        tick(f"epochs on {', '.join(self.backends)}")
        counts = [
            {
                "input_size": i,
                "hidden_size": h,
                **{c: cells.get(c).parameter_count(i, h) for c in ("gru", "lstm")},
            }
            for i, h in SIZES
        ]
        items = {
            (cell, backend): self.epoch(cell, backend)
            for backend in self.backends
            for cell in ("gru", "lstm")
        }
        names = {f"{cell} on {backend}": Timed(run, lambda: None) for (cell, backend), run in items.items()}
        epochs = interleave(names, self.samples, np.random.default_rng(0), clock_of("cpu"))
        return {
            "counts": counts,
            "epoch_s": epochs,
            "ratios": {b: self.ratio(epochs, b) for b in self.backends},
        }

    def epoch(self, cell: str, backend: str) -> Callable[[], None]:
        """A function that trains on the batches once."""
        # a tenth is held out: so many sequences that the batches are full
        trial = Trial(
            f"adding:steps=50:count={64 * self.batches * 10 // 9 + 64}", cell, 0, hidden_size=self.hidden_size
        )
        data = drawn(trial.task, 0)
        one = learner(maker(trial, data, backend), data, Recipe(), trial.rate, 0)
        timed = list(islice(batches(one.data.train, 64, "cpu"), self.batches))

        def run() -> None:
            for batch in timed:
                step(one.model, one.optimiser, one.data, batch, 1.0)

        return run

    def ratio(self, epochs: dict[str, list[float]], backend: str) -> dict[str, float]:
        """The ratio of the GRU's seconds to the LSTM's, timed in the same rounds, with its interval."""
        logs = np.log(epochs[f"gru on {backend}"]) - np.log(epochs[f"lstm on {backend}"])
        log_ratio = interval([list(logs)], np.random.default_rng(0))
        return {"ratio": 1 + log_ratio.estimate, "low": 1 + log_ratio.low, "high": 1 + log_ratio.high}

    def judge(self, numbers: Numbers) -> Ruling:
        exact = all(4 * c["gru"] == 3 * c["lstm"] for c in numbers["counts"])
        ratios = numbers["ratios"]
        faster = [b for b, r in ratios.items() if r["high"] < 1]
        times = "; ".join(
            f"{b} {r['ratio']:.2f} ({r['low']:.2f} … {r['high']:.2f})" for b, r in ratios.items()
        )
        counted = (
            "3/4 of the parameters at every size" if exact else "not 3/4 of the parameters at every size"
        )
        condition = f"{counted}; time of an epoch, GRU's over LSTM's: {times}."
        return ruled(
            exact and len(faster) == len(ratios), exact and bool(faster), condition[0].upper() + condition[1:]
        )

    def table(self, numbers: Numbers) -> Table:
        rows: list[tuple[Entry, ...]] = [
            (
                Entry(f"parameters, I={c['input_size']} H={c['hidden_size']}"),
                number(f"{c['gru']:,}"),
                number(f"{c['lstm']:,}"),
                number(f"{c['gru'] / c['lstm']:.4g}"),
            )
            for c in numbers["counts"]
        ]
        for backend, r in numbers["ratios"].items():
            times = [float(np.median(numbers["epoch_s"][f"{cell} on {backend}"])) for cell in ("gru", "lstm")]
            rows.append(
                (
                    Entry(f"an epoch, {backend}"),
                    *(number(quantity(s, "s")) for s in times),
                    number(f"{r['ratio']:.3f}", f"{r['low']:.3f} … {r['high']:.3f}"),
                )
            )
        note = (
            f"T=50, B=64, H={self.hidden_size}, {self.batches} batches an epoch, {self.samples} epochs each;"
            " 95 % intervals."
        )
        return Table("", ("what", "gru", "lstm", "ratio"), tuple(rows), note)

    def draw(self, numbers: Numbers) -> Any:
        figure, ((axis,),) = drawing.grid(1, 1, 1.9, 0.2, left=1.6, widest=7.5)
        for n, values in enumerate(numbers["epoch_s"].values()):
            colour = drawing.COLOURS[n % 2]
            axis.plot(np.array(values) * 1e3, np.full(len(values), n), "|", color=colour, markersize=11)
            axis.plot(np.median(values) * 1e3, n, "o", color=colour, markersize=6)
        axis.set_yticks(range(len(numbers["epoch_s"])), list(numbers["epoch_s"]))
        axis.set(xlabel="ms an epoch", ylim=(len(numbers["epoch_s"]) - 0.4, -0.6))
        axis.set_xlim(left=0)
        return figure
