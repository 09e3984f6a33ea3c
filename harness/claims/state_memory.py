"""The state as a compression of the past: how much of the input at lag k a linear probe reads out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench import cells

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..extras import requires
from ..gradients.cell.path import states_of
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits
from ._contest import CONTEST
from ._trainings import Trial, trained

READABLE = 0.5  # R2 of the last input from which on it counts as kept
GONE = 0.1  # R2 of the farthest input below which it counts as forgotten
WASHED = 100  # first steps, in which the state still feels its start


@dataclass(frozen=True)
class StateMemory(Claim):
    """Cells as drawn, and trained on adding; driven by `streams` of `steps` inputs of its kind."""

    place = 9
    sentence = "The state is a compression of the past."
    how = (
        "The joint state of cells with H=32, untrained and trained on adding (T=20), driven by independent"
        " inputs of its kind (a uniform number, and a marker at one step in ten). A ridge regression reads"
        " the input at lag k out of the state: R² on streams it has not seen, by k. The sum over lags and"
        " inputs, the memory capacity, cannot exceed the number of state variables (Jaeger 2002)."
    )
    rule = (
        "holds: every capacity is at most the size of the state, the input of the step itself is readable (R²"
        " of the number at lag 0 at least 0.5) and that at the farthest lag is gone (below 0.1) in every"
        " network; with a condition: the bound holds and some but not all networks do so; else not."
    )
    caption = (
        "R² of the input so many steps before, read out of the state: of the number left, of the marker"
        " right."
    )
    seconds = 20.0
    models: tuple[str, ...] = ("elman", "gru", "lstm")
    lags: int = 60
    streams: int = 16
    steps: int = 600
    task: str = "adding:steps=20:count=4800"
    epochs: int = CONTEST["adding:steps=20:count=4800"]  # so that the training is shared with other claims
    hidden_size: int = 32

    @property
    def parts(self) -> int:
        return 2 * len(self.models)

    def measure(self, tick: Tick) -> Numbers:
        requires("sklearn", f"claim {self.name!r} reads inputs out of states with")
        networks = []
        for name in self.models:
            tick(f"{name} untrained")
            networks.append(self.read(name, "untrained", cells.get(name).init(2, self.hidden_size, 0)))
            tick(f"{name} trained")
            one = trained(Trial(self.task, name, 0, hidden_size=self.hidden_size, epochs=self.epochs))
            params = {k: v.detach().numpy().astype(float) for k, v in one.recurrent.cell.items()}
            networks.append(self.read(name, "trained", params) | {"loss": one.loss})
        return {"networks": networks}

    def read(self, name: str, kind: str, params: dict[str, np.ndarray]) -> Numbers:
        """R2 by lag of the number and of the marker, and their sums."""
        rng = np.random.default_rng(1)
        shape = (self.steps, self.streams)
        x = np.stack([rng.uniform(size=shape), rng.random(shape) < 0.1], axis=-1).astype(float)
        path = states_of(cells.get(name), params, x, None)
        state = np.concatenate([s[1:] for s in path], axis=-1)
        scores = [readable(state, x[:, :, channel], self.lags) for channel in (0, 1)]
        return {
            "cell": name,
            "kind": kind,
            "size": state.shape[-1],
            "number": scores[0],
            "marker": scores[1],
            "capacity": float(np.sum(scores)),
        }

    def judge(self, numbers: Numbers) -> Ruling:
        networks = numbers["networks"]
        bounded = all(n["capacity"] <= n["size"] for n in networks)
        good = [n for n in networks if n["number"][0] >= READABLE and n["number"][-1] < GONE]
        capacities = ", ".join(
            f"{n['cell']} {n['kind']} {n['capacity']:.1f} (of {n['size']})" for n in networks
        )
        failed = ", ".join(
            f"{n['cell']} {n['kind']} ({n['number'][0]:.2f}, {n['number'][-1]:.2f})"
            for n in networks
            if n not in good
        )
        capacity = {(n["cell"], n["kind"]): n["capacity"] for n in networks}
        names = list(dict.fromkeys(n["cell"] for n in networks))
        lowered = sum(capacity[name, "trained"] < capacity[name, "untrained"] for name in names)
        condition = (
            f"Inputs that can be read linearly (of so many state variables): {capacities}; training, which"
            f" keeps what the task asks for, lowers it in {lowered} of {len(names)} cells"
        )
        if failed:
            condition += f"; the last input is not readable, or the farthest is (R² of both), in {failed}"
        return ruled(bounded and len(good) == len(networks), bounded and bool(good), f"{condition}.")

    def table(self, numbers: Numbers) -> Table:
        rows = []
        for n in numbers["networks"]:
            half = next((k for k, v in enumerate(n["number"]) if v < 0.5), len(n["number"]))
            shown = [number(f"{n['number'][k]:.2f}") for k in shown_lags(self.lags)]
            loss = number(digits(n["loss"]) if "loss" in n else "–")
            rows.append(
                (
                    Entry(n["cell"]),
                    Entry(n["kind"]),
                    loss,
                    number(str(n["size"])),
                    number(f"{n['capacity']:.1f}"),
                    number(str(half)),
                    *shown,
                )
            )
        header = (
            "cell",
            "",
            "test loss",
            "state variables",
            "capacity",
            "lag of R² < 0.5",
            *(f"R² at {k}" for k in shown_lags(self.lags)),
        )
        return Table(
            "",
            header,
            tuple(rows),
            "Capacity: sum of R² over lags, of the number and the marker. R²: of the number.",
        )

    def draw(self, numbers: Numbers) -> Any:
        figure, axes = drawing.grid(1, 2, 2.4, 1.9, sharey=True)
        lines = {}
        for axis, channel in zip(axes[0], ("number", "marker"), strict=True):
            for n in numbers["networks"]:
                dash, colour = (
                    "--" if n["kind"] == "trained" else "-",
                    drawing.COLOURS[self.models.index(n["cell"])],
                )
                axis.plot(n[channel], dash, color=colour)
                lines[f"{n['cell']} {n['kind']}"] = drawing.line(colour, dash)
            axis.set(title=channel, xlabel="lag", ylim=(-0.03, 1.03))
        axes[0, 0].set_ylabel("R² of the read-out")
        drawing.legend(axes[0, 1], lines)
        return figure


def shown_lags(lags: int) -> list[int]:
    return [k for k in (0, 1, 5, 10, 20) if k < lags]


def readable(state: np.ndarray, u: np.ndarray, lags: int) -> list[float]:
    """R2 for lags 0 .. lags - 1 of u (T, B), read by ridge regression from state (T, B, n).

    It is fitted on half of the streams and scored on the others; worse than the mean counts as 0.
    """
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    first = max(WASHED, lags)
    half = state.shape[1] // 2
    fit, test = (
        (state[first:, some].reshape(-1, state.shape[2])) for some in (slice(half), slice(half, None))
    )
    past = np.stack([u[first - k : len(u) - k] for k in range(lags)], axis=-1)
    targets = [past[:, some].reshape(-1, lags) for some in (slice(half), slice(half, None))]
    model = Ridge(alpha=1e-6).fit(fit, targets[0])
    return [max(0.0, float(v)) for v in r2_score(targets[1], model.predict(test), multioutput="raw_values")]
