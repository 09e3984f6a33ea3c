"""Gates as valves for the gradient: what the keep gate lets through, against how fast the gradient decays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench import cells

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..gradients import gates, lag_profile
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits

EXACT, CLOSE, ALONG = 1e-6, 0.1, 0.9  # nats a step, nats a step, a correlation
AROUND = ": the recurrent weights are a path of their own around a closed gate"


@dataclass(frozen=True)
class GateValves(Claim):
    """LSTM and GRU with the keep gate's bias pinned, alone and with weights as torch draws them."""

    place = 5
    sentence = "Gates act as valves for the gradient: an open one lets it through, a closed one stops it."
    how = (
        "The keep gate's bias (f of the LSTM, z of the GRU) is pinned from −2 to 6. The mean of ln of the"
        " gate's value along standard normal inputs (gates) against the rate of the lag profile, nats a step:"
        " once with no other path (weights 0), once with torch's weights, H=32."
    )
    rule = (
        "holds: alone the two agree within 1e-6; with weights they correlate above 0.9 and agree within 0.1"
        " everywhere; with a condition: all but the last; else not."
    )
    caption = (
        "Rate of the gradient by the mean ln of the keep gate, a point a network: open at the right, closed"
        " at the left. On the line the gate alone decides."
    )
    seconds = 12.0
    biases: tuple[float, ...] = (-2, -1, 0, 1, 2, 3, 4, 5, 6)
    seeds: int = 3
    steps: int = 300
    hidden_size: int = 32

    @property
    def parts(self) -> int:
        return 2

    def measure(self, tick: Tick) -> Numbers:
        points = []
        for name in ("lstm", "gru"):
            tick(name)
            for bias in self.biases:
                points += [
                    self.point(name, bias, seed, alone)
                    for alone in (True, False)
                    for seed in range(self.seeds)
                ]
        return {"points": points, "correlation": {c: correlation(points, c) for c in ("lstm", "gru")}}

    def point(self, name: str, bias: float, seed: int, alone: bool) -> Numbers:
        """A network's mean ln of the keep gate beside the rate of its gradient; alone: with weights of 0."""
        cell = cells.get(name)
        params = cell.init(4, self.hidden_size, seed, f"forget_bias({bias})")
        if alone:
            params |= {k: np.zeros_like(v) for k, v in params.items() if k.startswith("weight")}
        x = np.random.default_rng(seed).standard_normal((self.steps, 4, 4))
        keep = float(np.mean(gates(cell, params, x).log_keep))
        return {
            "cell": name,
            "bias": bias,
            "seed": seed,
            "alone": alone,
            "log_keep": keep,
            "rate": float(lag_profile(cell, params, x).rate.value),
        }

    def judge(self, numbers: Numbers) -> Ruling:
        apart = {
            alone: max(abs(p["rate"] - p["log_keep"]) for p in numbers["points"] if p["alone"] is alone)
            for alone in (True, False)
        }
        weakest = min(numbers["correlation"].values())
        worst = max(
            (p for p in numbers["points"] if not p["alone"]), key=lambda p: abs(p["rate"] - p["log_keep"])
        )
        around = AROUND if apart[False] > CLOSE and worst["rate"] > worst["log_keep"] else ""
        condition = (
            f"With no other path the rate is the gate's mean logarithm within {digits(apart[True])}; with"
            f" torch's weights the two correlate by {weakest:.3f} or more, and differ most, by"
            f" {digits(apart[False])} nats a step, at a bias of {signed(worst['bias'])} ({worst['cell']}:"
            f" gate {digits(worst['log_keep'])}, gradient {digits(worst['rate'])}){around}."
        )
        valve = apart[True] <= EXACT and weakest > ALONG
        return ruled(valve and apart[False] <= CLOSE, valve, condition)

    def table(self, numbers: Numbers) -> Table:
        rows = []
        for cell in ("lstm", "gru"):
            for bias in self.biases:
                alone, free = (
                    [p for p in numbers["points"] if (p["cell"], p["bias"], p["alone"]) == (cell, bias, a)]
                    for a in (True, False)
                )
                values = [
                    np.mean([p[k] for p in some]) for some in (alone, free) for k in ("log_keep", "rate")
                ]
                rows.append((Entry(cell), number(signed(bias)), *(number(digits(float(v))) for v in values)))
        header = (
            "cell",
            "bias",
            "ln gate, alone",
            "rate, alone",
            "ln gate, with weights",
            "rate, with weights",
        )
        return Table("", header, tuple(rows), f"Means over {self.seeds} seeds, nats a step.")

    def draw(self, numbers: Numbers) -> Any:
        figure, ((axis,),) = drawing.grid(1, 1, 3.0, 2.2, widest=5.0)
        lines = {}
        for n, cell in enumerate(("lstm", "gru")):
            for alone, marker in ((True, "+x"[n]), (False, "o")):
                some = [p for p in numbers["points"] if p["cell"] == cell and p["alone"] is alone]
                x, y = ([p[k] for p in some] for k in ("log_keep", "rate"))
                axis.plot(x, y, marker, color=drawing.COLOURS[n], markersize=5, alpha=0.8)
                lines[f"{cell}, {'alone' if alone else 'with weights'}"] = drawing.line(
                    drawing.COLOURS[n], "", marker
                )
        axis.axline((0, 0), slope=1, color="#999999", linewidth=0.8)
        axis.set(xlabel="mean ln of the keep gate", ylabel="rate of the gradient, nats a step")
        drawing.legend(axis, lines)
        return figure


def signed(bias: float) -> str:
    """With a minus sign, not a hyphen."""
    return f"{bias:g}".replace("-", "−")


def correlation(points: list[Numbers], cell: str) -> float:
    """Pearson's, over biases and seeds, with weights."""
    some = [p for p in points if p["cell"] == cell and not p["alone"]]
    return float(np.corrcoef([p["log_keep"] for p in some], [p["rate"] for p in some])[0, 1])
