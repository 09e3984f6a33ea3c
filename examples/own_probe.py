"""My own probe: a question about cells, measured for every cell and seed of a run.

In this folder:

    cellbench run 'probes=[own_probe.py:StateSize]' 'cells=[elman,lstm,gru]' workload.steps=100
    cellbench report --probe own_probe.py:StateSize

The question here: how large does the state grow when the input is white noise? `sections` draws its figure
and table. It may be left out, and then the report has a plain table.
"""

from dataclasses import dataclass

import numpy as np

from cellbench import cells
from cellbench.harness.case import Case
from cellbench.harness.probe import Probe, series
from cellbench.harness.report import Entry, Figure, Section, Table, number


@dataclass(frozen=True)
class StateSize(Probe):
    """Root mean square of all states along a sequence of white noise, at initialisation.

    scheme   how the weights are drawn, as for `cell.init`
    """

    scheme: str = "torch"

    def cases(self, plan):
        """One case for each cell, size and seed; the reference computes them, so there is no backend."""
        return [
            Case(self.name, cell, dtype="float64", **size, seed=seed)
            for cell in plan.cells
            for size in plan.sizes
            for seed in plan.seeds
        ]

    def measure(self, case, emit):
        """Runs in a process of its own; returns what computed the numbers, and the numbers by step."""
        cell = cells.get(case.spec)
        params = cell.init(case.input_size, case.hidden_size, seed=case.seed, scheme=self.scheme)
        noise = np.random.default_rng(case.seed).standard_normal((case.steps, case.batch, case.input_size))
        step = cells.backend("numpy").prepare(
            cell, params, steps=1, batch=case.batch, dtype="float64", direction="forward"
        )
        state, sizes = None, []
        for x in noise:
            state = step.forward(x[None], state).state
            sizes.append(np.sqrt(np.mean([np.mean(array**2) for array in state.values()])))
        return "numpy", [series("state_rms", "1", sizes, lag=range(1, case.steps + 1))]

    def sections(self, rows, colours):
        """What the report shows, from the rows of this probe; called where the page is written."""
        means = rows.groupby(["label", "lag"], sort=False).value.mean().unstack("label")
        last = means.iloc[-1]
        figure = Figure("state_size", "Size of the state", "Mean over seeds.", lambda: draw(means, colours))
        entries = tuple((Entry(cell), number(f"{last[cell]:.3f}")) for cell in means)
        yield Section("Size of the state", (figure,), (Table("", ("cell", "at the end"), entries),))

    def estimate_s(self, case):
        """About how long a case takes, for `--plan`."""
        return 1.0


def draw(means, colours):
    """A line for each cell; a matplotlib figure."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
    for cell in means:
        axis.plot(means.index, means[cell], color=colours.cells[cell], label=cell)
    axis.set(xlabel="step", ylabel="root mean square of the state")
    axis.legend()
    return figure
