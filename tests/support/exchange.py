"""What the tests of exchange share: draws, the float64 reference, and the largest error in float32."""

import numpy as np

from cellbench import cells

STEPS, BATCH, INPUTS, UNITS = 7, 2, 3, 4
FORMS = [{}, {"layers": 2}, {"bidirectional": True}, {"layers": 2, "bidirectional": True}]
CLOSE = 1e-6  # 8 roundings of float32, of outputs that are about 1


def form_name(form):
    return "-".join(form) or "one"


def x_of(seed=1, steps=STEPS):
    """x (T, B, I) that float32 holds exactly."""
    drawn = np.random.default_rng(seed).standard_normal((steps, BATCH, INPUTS))
    return drawn.astype(np.float32).astype(np.float64)


def drawn(cell, seed=2):
    """Arrays of a cell that float32 holds exactly. Not init's: biases of zero would hide where they go."""
    rng = np.random.default_rng(seed)
    shapes = cell.parameter_shapes(INPUTS, UNITS)
    return {
        name: (0.6 * rng.standard_normal(shape)).astype(np.float32).astype(np.float64)
        for name, shape in shapes.items()
    }


def redrawn(arrays, seed=3):
    """Arrays of these shapes in float32."""
    rng = np.random.default_rng(seed)
    return [(0.6 * rng.standard_normal(np.shape(a))).astype(np.float32) for a in arrays]


def output(cell, params, x, state=None, lengths=None):
    """The float64 reference, (T, B, O)."""
    program = cells.backend("numpy").prepare(
        cell,
        params,
        steps=len(x),
        batch=x.shape[1],
        dtype="float64",
        direction="forward",
        lengths=lengths,
    )
    return program.forward(x, state).output


def close(have, want):
    """Fails unless both are finite and equal to CLOSE, relative to the largest value."""
    have, want = np.asarray(have, np.float64), np.asarray(want, np.float64)
    assert have.shape == want.shape
    assert np.isfinite(want).all()
    np.testing.assert_allclose(have, want, rtol=0, atol=CLOSE * max(1, np.abs(want).max()))
