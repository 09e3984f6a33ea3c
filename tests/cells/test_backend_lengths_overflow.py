"""A step beyond a sequence's length may overflow; nothing of it is left in what the sequence itself gives."""

import numpy as np
import pytest
from support.comparison import BACKENDS, CELLS, computed, label, prepare, problem, supports

from cellbench import cells

FUSED = ("s5", "lstm", "slstm", "lru", "mingru")  # kernels of more cells take long to compile
CASES = [
    (which, backend, scale)
    for which in CELLS
    for backend in BACKENDS
    for scale in (30.0, 1e150)
    if supports(backend, which)
    and (backend != "numba" or which in FUSED)
    and (scale == 30 or cells.get(which).writes("effective") is False)  # an exponential of a matrix
]


@pytest.mark.parametrize(("which", "backend", "scale"), CASES, ids=label)
def test_a_sequence_of_one_step_in_a_batch_of_seven_is_that_step_alone(which, backend, scale):
    alone, padded = (problem(cells.get(which), steps, batch=1) for steps in (1, 7))
    alone.params = padded.params = {name: scale * array for name, array in alone.params.items()}
    padded.state, padded.d_state = alone.state, alone.d_state
    padded.x[:1], padded.d_output[:1] = alone.x, alone.d_output
    with np.errstate(all="ignore"):
        want = computed(prepare(backend, alone), alone)
        have = computed(prepare(backend, padded, lengths=[1]), padded)
    for name, array in want.items():
        part = have[name][:1] if name in ("output", "d_x") else have[name]
        if np.isfinite(array).all():  # what a single step cannot compute either is no question of lengths
            np.testing.assert_allclose(
                part, array, rtol=1e-9, atol=1e-9 * np.max(np.abs(array), initial=0), err_msg=name
            )
