"""A short seeded training in float64: twenty updates on adding, as the probe `training` does."""

from __future__ import annotations

import numpy as np

from cellbench import cells

from ...case import Case

STEPS, BATCH, UPDATES, SEED = 10, 16, 20, 0
RATE, MAX_NORM = 0.003, 1.0
HIDDEN = (8, 2)  # 2 for cells that want their input as wide as their state


def losses(spec: str) -> list[float] | str:
    """The loss before each update, by the reference backend; a reason where no size fits the cell."""
    import torch

    from ...learn import model as training
    from ...learn import training as learning
    from ...tasks.adding import Adding

    cell = cells.get(spec)
    fit = [h for h in HIDDEN if cell.unfit(2, h) is None]
    if not fit:
        return f"unfit: {cell.unfit(2, HIDDEN[0])}"
    data = Adding(steps=STEPS, count=BATCH * UPDATES).data(np.random.default_rng([SEED, 1]))
    case = Case(
        "training",
        spec,
        "numpy",
        "cpu",
        "float64",
        steps=STEPS,
        batch=BATCH,
        input_size=2,
        hidden_size=fit[0],
    )
    model = training.Model(case, cell.init(2, fit[0], SEED), data.output_size, SEED)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    order = np.random.default_rng([SEED, 2])
    batches = training.batches(data.train, BATCH, "cpu", order)
    losses = [learning.step(model, optimiser, data, b, MAX_NORM)[0] for b in batches]
    assert len(losses) == UPDATES
    return losses
