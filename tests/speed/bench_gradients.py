"""Benchmarks of the gradient's diagnostics: a lag profile beside a fused forward and backward, and Lyapunov
spectra.

pytest tests/bench_gradients.py --benchmark-enable, on one thread (OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1). The
profile is to cost at most 1.1 of the fused run of the same shape, which is made ready beforehand while the
profile makes its program itself; the spectrum of all 64 exponents of 1000 steps took a plain implementation
173 ms.
"""

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness.gradients import lag_profile, lyapunov_spectrum

STEPS, BATCH, INPUTS, HIDDEN = 1000, 32, 32, 64


def given(name, batch=BATCH, dtype="float64"):
    cell, rng = cells.get(name), np.random.default_rng(0)
    return cell, cell.init(INPUTS, HIDDEN), rng.standard_normal((STEPS, batch, INPUTS)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
class TestProfile:
    def test_fused(self, benchmark, cell, dtype):
        benchmark.group = f"{cell} {dtype}"
        kind, params, x = given(cell, dtype=dtype)
        program = cells.backend("numba").prepare(kind, params, steps=STEPS, batch=BATCH, dtype=dtype)
        program.load(x)
        benchmark(program.run)

    def test_profile(self, benchmark, cell, dtype):
        benchmark.group = f"{cell} {dtype}"
        kind, params, x = given(cell, dtype=dtype)
        logs = benchmark(lag_profile, kind, params, x, backend="numba", dtype=dtype).log_norm
        assert logs.shape == (STEPS + 1, BATCH) and np.isfinite(logs[1:10]).all()


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_profile_in_the_log_domain(benchmark, cell):
    benchmark.group = f"{cell} float64"
    logs = benchmark(lag_profile, *given(cell)).log_norm
    assert np.isfinite(logs[1:]).all()


@pytest.mark.parametrize("k", [1, 8, 64])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_spectrum(benchmark, cell, k):
    benchmark.group = f"spectrum {cell}"
    found = benchmark(lyapunov_spectrum, *given(cell, batch=1), k=k)
    assert len(found.exponents) == k and found.steps == STEPS - 200
