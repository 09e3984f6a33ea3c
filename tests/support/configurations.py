"""Random configurations of a cell on a backend: sizes, options and dtype, extremes among them."""

import numpy as np

from cellbench import cells
from cellbench.cells.derived.layers import unfit
from cellbench.harness.case import Case

EXTREMES = {"steps": (1, 200), "batch": (1, 17), "input_size": (1, 513), "hidden_size": (1, 97)}
WIDE = ({"input_size": 4097, "hidden_size": 1}, {"hidden_size": 512}, {"steps": 1000})
OPTIONS = (
    *("", "", "", ":biases=0", ":biases=1", ":layers=2", ":bidirectional=true", ":readout=3"),
    ":biases=1:layers=2:bidirectional=true:readout=1",
)


def drawn(rng):
    """One configuration as a case that some backend here can run; its sizes fit the cell."""
    while True:
        spec = str(rng.choice(cells.names()) + rng.choice(OPTIONS))
        sizes = {k: int(np.exp(rng.uniform(*np.log([low, high + 1])))) for k, (low, high) in EXTREMES.items()}
        if rng.random() < 0.15:
            sizes |= WIDE[rng.integers(len(WIDE))]
        dtype = str(rng.choice(["float32", "float32", "float64"]))
        direction = str(rng.choice(["forward", "backward", "backward"]))
        if made := fitted(spec, sizes, str(rng.choice(cells.backend_names())), dtype, direction):
            return made


def fitted(spec, sizes, backend, dtype, direction):
    """The case at the sizes, or at the nearest that the cell can have; None where it cannot be run here."""
    try:
        cell = cells.get(spec)
    except ValueError:  # an option that the cell has not
        return None
    inputs, units = sizes["input_size"], sizes["hidden_size"]
    near = [(i, h) for h in range(units, 2 * units + 9) for i in (inputs, h)]
    fit = next(((i, h) for i, h in near if unfit(cell, i, h) is None), None)
    chosen = cells.backend(backend)
    if fit is None or chosen.unavailable() or chosen.unsupported(cell, dtype, "cpu", direction):
        return None
    sizes = sizes | {"input_size": fit[0], "hidden_size": fit[1]}
    return Case("parity", spec, backend, "cpu", dtype, 1, direction=direction, **sizes)
