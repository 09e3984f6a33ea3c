"""Above 1 explodes, below 1 vanishes: true of a linear network with one gain, and of little else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.derived.init import random_orthogonal

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..gradients import LagProfile, lag_profile
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits, quantity

EXACT = 1e-6  # nats a step
FALSE, MARGIN = 2.0, 0.01  # a growth, and a decay in nats a step, that count against the claim


@dataclass(frozen=True)
class RecurrentWeight(Claim):
    """Linear networks of 1 and of `size` units with these gains, and the exceptions, over so many lags."""

    place = 1
    sentence = "A recurrent weight above 1 makes the gradient explode, one below 1 makes it vanish."
    how = (
        "lag_profile of linear cells whose recurrent matrix is the gain times 1 (one unit) or times an"
        " orthogonal matrix: the rate against ln gain. Then of two matrices of spectral radius below 1 that"
        " are not normal, and of tanh cells with gain above 1 whose units saturate."
    )
    rule = (
        "holds: every linear rate is ln gain within 1e-6, and no exception is found; with a condition: the"
        " rates are right, and a matrix of radius below 1 grows twofold first or a gain above 1 vanishes"
        " (below −0.01 nats a step); else not."
    )
    caption = (
        "Left: the rate of linear cells by gain; the line is ln gain. Right: networks that the rule does not"
        " foresee, the gradient's norm by lag."
    )
    seconds = 4.0
    gains: tuple[float, ...] = (0.8, 0.9, 0.95, 1.05, 1.1, 1.2)
    size: int = 32
    lags: int = 100

    def measure(self, tick: Tick) -> Numbers:
        tick("linear, non-normal and saturated networks")
        linear = [self.linear(size, gain) for size in (1, self.size) for gain in self.gains]
        exceptions = [
            self.jordan(),
            self.held(),
            *(self.latched(w) for w in (1.5, 2.0, 3.0)),
            self.driven(2.0),
        ]
        return {"linear": linear, "exceptions": exceptions}

    def linear(self, size: int, gain: float) -> Numbers:
        """The rate of a linear network of that gain, beside ln gain."""
        weight = gain * random_orthogonal(size, np.random.default_rng(0)) if size > 1 else np.array([[gain]])
        rate = profile("identity", weight, self.lags).rate.value
        return {"size": size, "gain": gain, "rate": float(rate), "log_gain": float(np.log(gain))}

    def jordan(self) -> Numbers:
        """Both eigenvalues 0.9, and k 0.9^(k-1) of what couples them."""
        block = np.array([[0.9, 1.0], [0.0, 0.9]])
        gradient = profile("identity", block, self.lags, d_output=np.array([[1.0, 0.0]]))
        return described("Jordan block of 0.9, linear", "non-normal", 0.9, gradient)

    def held(self) -> Numbers:
        """Both eigenvalues of W are 0; with one unit held where tanh' is 0.3, J = diag(1, 0.3) W has 1.4."""
        weight, slope = np.array([[2.0, -2.0], [2.0, -2.0]]), 0.3
        h = np.array([0.0, np.sqrt(1 - slope)])
        bias = np.arctanh(h) - weight @ h
        # 30 lags: further, rounding leaves the unstable point
        gradient = profile("tanh", weight, 30, bias, h[None], np.array([[1.0, 0.0]]))
        return described("tanh, W² = 0, one unit at slope 0.3", "non-normal", 0.0, gradient)

    def latched(self, w: float) -> Numbers:
        """One tanh unit at its fixed point h = tanh(w h)."""
        h = 1.0
        for _ in range(200):
            h = np.tanh(w * h)
        gradient = profile("tanh", np.array([[w]]), self.lags, state=np.array([[h]]))
        return described(f"one tanh unit, weight {w:g}, at rest", "saturated", w, gradient)

    def driven(self, gain: float) -> Numbers:
        """Orthogonal weights and strong inputs."""
        rng = np.random.default_rng(0)
        x = 2 * rng.standard_normal((self.lags, 1, self.size))
        gradient = profile("tanh", gain * random_orthogonal(self.size, rng), self.lags, x=x)
        return described(
            f"{self.size} tanh units, orthogonal times {gain:g}, driven", "saturated", gain, gradient
        )

    def judge(self, numbers: Numbers) -> Ruling:
        right = all(abs(one["rate"] - one["log_gain"]) <= EXACT for one in numbers["linear"])
        grow = [
            e
            for e in numbers["exceptions"]
            if e["kind"] == "non-normal" and e["weight"] < 1 and e["peak"] >= FALSE
        ]
        fade = [
            e
            for e in numbers["exceptions"]
            if e["kind"] == "saturated" and e["weight"] > 1 and e["rate"] < -MARGIN
        ]
        worst = max(abs(one["rate"] - one["log_gain"]) for one in numbers["linear"])
        condition = f"the rate of a linear network with one gain is ln gain within {digits(worst)}"
        if grow:
            most = max(grow, key=lambda e: e["peak"])
            grown = f"the gradient grows {quantity(most['peak'], 'count')}-fold by lag {most['peak_lag']}"
            condition += f"; with a spectral radius of {most['weight']:g} {grown} ({most['name']})"
        if fade:
            least = min(fade, key=lambda e: e["rate"])
            condition += (
                f"; with a gain of {least['weight']:g} it falls by {digits(-least['rate'])} nats a step"
                f" ({least['name']})"
            )
        return ruled(right and not grow and not fade, right, f"{condition[0].upper()}{condition[1:]}.")

    def table(self, numbers: Numbers) -> Table:
        rows = [
            (
                Entry("linear, one unit" if o["size"] == 1 else f"linear, orthogonal, {o['size']} units"),
                number(f"{o['gain']:g}"),
                number(digits(o["rate"])),
                number(digits(o["log_gain"])),
                number("–"),
            )
            for o in numbers["linear"]
        ]
        rows += [
            (
                Entry(e["name"]),
                number(f"{e['weight']:g}"),
                number(digits(e["rate"])),
                number("–"),
                (
                    number(quantity(e["peak"], "count"), f"lag {e['peak_lag']}")
                    if e["peak_lag"]
                    else number("none")
                ),
            )
            for e in numbers["exceptions"]
        ]
        header = ("network", "gain or radius", "rate, nats a step", "ln gain", "largest growth")
        return Table("", header, tuple(rows))

    def draw(self, numbers: Numbers) -> Any:
        figure, ((left, right),) = drawing.grid(
            1, 2, 2.7, drawing.legend_room([e["name"] for e in numbers["exceptions"]]), gap=0.8
        )
        x = np.linspace(min(self.gains), max(self.gains), 50)
        left.plot(x, np.log(x), color="#999999", linewidth=1)
        for n, size in enumerate((1, self.size)):
            points = [o for o in numbers["linear"] if o["size"] == size]
            left.plot(
                [o["gain"] for o in points],
                [o["rate"] for o in points],
                "o+"[n],
                color=drawing.COLOURS[n],
                markersize=9 - 3 * n,
            )
        left.set(xlabel="gain", ylabel="rate, nats a step")
        marks = {
            "one unit": drawing.line(drawing.COLOURS[0], "", "o"),
            f"{self.size} units": drawing.line(drawing.COLOURS[1], "", "+"),
        }
        left.legend(list(marks.values()), list(marks), loc="upper left")
        lines = {}
        for n, e in enumerate(numbers["exceptions"]):
            colour = drawing.COLOURS[n]
            right.plot(np.array(e["log10_transport"]), color=colour)
            lines[e["name"]] = drawing.line(colour)
        right.set(xlabel="lag", ylabel="log₁₀ of the gradient's norm", ylim=(-12, 6))
        drawing.legend(right, lines)
        return figure


def profile(
    activation: str,
    weight: np.ndarray,
    lags: int,
    bias: np.ndarray | None = None,
    state: np.ndarray | None = None,
    d_output: np.ndarray | None = None,
    x: np.ndarray | None = None,
) -> LagProfile:
    """The lag profile of a cell h' = f(W h + b + x)."""
    size, biases = len(weight), int(bias is not None)
    cell = cells.get(f"elman:activation={activation}:biases={biases}")
    x = np.zeros((lags, 1, size)) if x is None else x
    params = {"weight_ih": np.eye(size), "weight_hh": weight} | ({"bias_ih": bias} if biases else {})
    return lag_profile(cell, params, x, state=None if state is None else {"h": state}, d_output=d_output)


def described(name: str, kind: str, weight: float, gradient: LagProfile) -> Numbers:
    """The numbers of one exception; the first lag counts as 1."""
    logs = gradient.log_norm[:, 0] - gradient.log_norm[0, 0]
    peak = int(np.argmax(logs))
    return {
        "name": name,
        "kind": kind,
        "weight": weight,
        "rate": float(gradient.rate.value),
        "peak": float(np.exp(logs[peak])),
        "peak_lag": peak,
        "log10_transport": [float(v) for v in logs / np.log(10)],
    }
