"""Verdicts from levels: sides that never shared a process, and an anchor in each process."""

import numpy as np
import pytest

from cellbench.harness.measure import levels
from cellbench.harness.measure.bootstrap import Interval
from cellbench.harness.measure.verdict import FLOOR, Verdict

pytestmark = pytest.mark.quick


def drawn(rng, spread, k, shift=0.0):
    return list(rng.normal(shift, spread, k))


def test_the_level_of_a_process_is_the_median_of_its_builds_shortest_samples():
    benchmark, anchor = [[2.0, 9.0], [4.0, 8.0], [16.0, 99.0]], [[1.0, 5.0], [1.0, 1.0], [1.0, 7.0]]
    assert levels.level(benchmark, anchor) == pytest.approx(np.log(4))


def test_a_slower_anchor_and_a_slower_benchmark_cancel():
    rng = np.random.default_rng(0)
    benchmark, anchor = rng.uniform(1, 2, (5, 7)), rng.uniform(1, 2, (5, 7))
    assert levels.level(3 * benchmark, 3 * anchor) == pytest.approx(levels.level(benchmark, anchor))


def test_unchanged_code_is_hardly_ever_called_changed():
    rng = np.random.default_rng(1)
    found = [levels.decide(drawn(rng, 0.1, 8), drawn(rng, 0.1, 8), rng)[0] for _ in range(300)]
    assert (
        sum(v in (Verdict.SLOWER, Verdict.FASTER) for v in found) <= 7
    )  # one look; each is repeated before it is said


def test_what_it_says_it_can_tell_it_tells():
    rng, spread, k = np.random.default_rng(2), 0.03, 8
    claims = [levels.detectable(drawn(rng, spread, k), drawn(rng, spread, k)) for _ in range(200)]
    least = float(np.median(claims))
    told = 0
    for _ in range(300):
        a, b = drawn(rng, spread, k), drawn(rng, spread, k, np.log1p(1.5 * least))
        told += levels.decide(a, b, rng)[0] is Verdict.SLOWER
    assert 0.05 < least < 0.08 and told / 300 >= 0.85


def test_noise_makes_it_unsure_and_never_the_same():
    rng = np.random.default_rng(3)
    found = [levels.decide(drawn(rng, 0.2, 8), drawn(rng, 0.2, 8), rng) for _ in range(100)]
    assert all(effect.high < levels.BLUNTEST for verdict, _, effect in found if verdict is Verdict.SAME)
    assert sum(verdict is Verdict.UNSURE for verdict, _, _ in found) >= 90


def test_a_quiet_machine_says_same_and_above_what():
    rng = np.random.default_rng(4)
    verdict, reason, effect = levels.decide(drawn(rng, 0.005, 8), drawn(rng, 0.005, 8), rng)
    assert verdict is Verdict.SAME and reason.startswith("no change above ") and isinstance(effect, Interval)


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, Verdict.SLOWER), (-0.3, Verdict.FASTER)])
def test_a_large_change_has_its_direction(shift, verdict):
    rng = np.random.default_rng(5)
    assert levels.decide(drawn(rng, 0.02, 8), drawn(rng, 0.02, 8, shift), rng)[0] is verdict


def test_a_change_below_the_floor_is_none_however_quiet_it_is():
    a = list(np.linspace(0, 1e-6, 8))
    assert levels.decide(a, [v + 0.9 * FLOOR for v in a], np.random.default_rng(6))[0] is Verdict.SAME


def test_single_processes_tell_nothing():
    verdict, reason, _ = levels.decide([0.0], [1.0], np.random.default_rng(7))
    assert verdict is Verdict.UNSURE and "inf" in reason
