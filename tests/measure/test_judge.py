"""Pairs, verdicts and the judge, with fake clocks and processes that return what was put in."""

import numpy as np
import pytest
from support.processes import Processes

from cellbench.harness.measure.clocks import Fake
from cellbench.harness.measure.conditions import Conditions, Warning, quota, warnings_of
from cellbench.harness.measure.judge import AGAIN, FIRST, MORE, Judge
from cellbench.harness.measure.pair import (
    ARMS,
    Effort,
    Pair,
    Timing,
    Trouble,
    time_pair,
    time_pairs,
    trouble_of,
)
from cellbench.harness.measure.timing import Timed
from cellbench.harness.measure.verdict import FLOOR, Verdict, confirms, decide, holm, p_value

pytestmark = pytest.mark.quick

QUIET = Conditions(cores=2, load=0.5)
SECOND = Effort(builds=10, seconds=1.0, sample_s=0.001, fewest_builds=3, fewest_rounds=3)


def rng():
    return np.random.default_rng(0)


def nothing():
    pass


def sides(clock, a, b):
    return lambda: Timed(clock.run_of(a), nothing), lambda: Timed(clock.run_of(b), nothing)


# ---- one pair in one process


def test_a_pair_is_timed_in_three_arms_of_several_builds():
    clock = Fake()
    found = time_pair(Pair("p", sides, (clock, 0.01, 0.011)), rng(), SECOND, clock)
    assert set(found.samples) == set(ARMS) and found.loops == 1
    assert np.allclose(found.logs(), np.log(1.1)) and np.allclose(found.logs("again"), 0)
    assert len(found.logs()) == len(found.samples["again"]) == 10


def test_timed_seconds_count_every_loop():
    clock = Fake()
    found = time_pair(Pair("p", sides, (clock, 1e-4, 2e-4)), rng(), SECOND, clock)
    assert found.loops == 10
    assert np.isclose(
        found.timed_s, 10 * sum(v for builds in found.samples.values() for b in builds for v in b)
    )
    assert 0.9 < found.timed_s < 1.5


@pytest.mark.parametrize(("run_s", "builds"), [(1e-5, 10), (1e-2, 10), (0.05, 3), (10.0, 3)])
def test_the_effort_gives_up_builds_before_rounds(run_s, builds):
    assert SECOND.plan(run_s)[0] == builds and SECOND.plan(run_s)[1] >= SECOND.fewest_rounds


@pytest.mark.parametrize(("run_s", "wanted"), [(1e-4, 0.4), (1e-3, 0.4), (0.01, 0.75), (0.1, 2.7)])
def test_long_runs_are_given_more_seconds_up_to_a_bound_or_the_fewest_builds(run_s, wanted):
    builds, count = Effort().plan(run_s)
    assert builds * count * 3 * max(run_s, 1e-3) == pytest.approx(wanted, rel=0.15)


def test_every_build_is_made_anew_and_signs_of_life_come_between():
    clock, made, alive = Fake(), [], []

    def make():
        def build(name):
            made.append(name)
            return Timed(clock.run_of(0.01), nothing)

        return lambda: build("a"), lambda: build("b")

    time_pair(Pair("p", make), rng(), Effort(builds=4), clock, alive=lambda: alive.append(1))
    assert (made.count("a"), made.count("b"), len(alive)) == (8, 4, 4)
    assert len({tuple(made[k : k + 3]) for k in range(0, 12, 3)}) > 1


class Spoken(Exception):
    status, reason = "unsupported", "this backend has no such kernel"


def test_an_error_becomes_trouble_and_leaves_the_other_pairs():
    def fail(error):
        raise error

    pairs = [
        Pair("a", fail, (Spoken(),)),
        Pair("b", fail, (MemoryError("32 GB"),)),
        Pair("c", fail, (KeyError("x"),)),
    ]
    found = []
    time_pairs(found.append, pairs, [1], Effort())
    found = dict(found)
    assert found["a"] == Trouble("unsupported", "this backend has no such kernel")
    assert (found["b"].status, found["c"].status) == ("out_of_memory", "failed")
    assert "KeyError: 'x'" in found["c"].reason and "test_judge.py" in found["c"].reason


def test_a_reason_without_a_status_is_another_library_s_and_not_ours():
    error = UnicodeDecodeError("utf8", b"x", 0, 1, "a word")
    assert trouble_of(error).status == "failed" and "UnicodeDecodeError" in trouble_of(error).reason


# ---- verdicts


def near(centre, spread=0.0005, k=5):
    return [[centre + spread * (j - (k - 1) / 2)] for j in range(k)]


def verdict(effect, control=None, last=True):
    return decide(effect, control or near(0.0, k=len(effect)), rng(), last)[0]


def test_every_verdict_on_both_sides_of_its_threshold():
    above, below = np.log1p(FLOOR) + 1e-4, np.log1p(FLOOR) - 1e-4
    assert verdict(near(above)) is Verdict.SLOWER
    assert verdict(near(below)) is Verdict.SAME
    assert verdict(near(np.log1p(-FLOOR) - 1e-4)) is Verdict.FASTER
    assert verdict(near(np.log1p(-FLOOR) + 1e-4)) is Verdict.SAME


def test_a_change_needs_the_same_sign_in_every_process():
    assert verdict([[0.05], [0.05], [0.05], [0.05], [0.001]]) is Verdict.SLOWER
    assert verdict([[0.05], [0.05], [0.05], [0.05], [-0.001]]) is Verdict.UNSURE


def test_same_needs_a_narrow_interval_and_narrower_where_more_can_be_measured():
    wide, wider = near(0.0, spread=1.3 * FLOOR / 2), near(0.0, spread=2.1 * FLOOR / 2)
    assert (verdict(wide), verdict(wide, last=False)) == (Verdict.SAME, Verdict.UNSURE)
    assert verdict(wider) is Verdict.UNSURE


def test_a_second_instance_of_a_that_differs_spoils_the_verdict():
    assert verdict(near(0.1), near(np.log1p(FLOOR) + 1e-4)) is Verdict.INVALID
    assert verdict(near(0.1), near(np.log1p(FLOOR) - 1e-4)) is Verdict.SLOWER


@pytest.mark.parametrize("ratio", [5.21, 1 / 5.21])
def test_a_change_a_hundred_times_the_noise_is_no_doubt_though_the_control_is_off(ratio):
    said = Verdict.SLOWER if ratio > 1 else Verdict.FASTER
    off = near(np.log1p(0.026))
    assert verdict(near(np.log(ratio)), off) is said is verdict(near(np.log(ratio)), off, last=False)
    one_is_not = [*near(np.log(ratio))[:4], [0.2]]
    assert verdict(one_is_not, off) is Verdict.INVALID


def test_a_clear_change_needs_three_processes_of_each_look():
    found, _, _ = suite(clear=[(np.log(5.21), np.log1p(0.026))], plain=[0.0])
    assert found["clear"].verdict is Verdict.SLOWER
    assert (found["clear"].processes, found["clear"].repeated) == (3, 3)
    assert found["plain"].verdict is Verdict.SAME and found["plain"].processes == 5


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.filterwarnings("error")
def test_a_time_of_zero_or_none_is_invalid_and_no_crash(value, arm):
    samples = {name: [[1.0, 1.0, 1.0]] * 3 for name in ARMS} | {arm: [[value] * 3] * 3}
    found = Timing(samples, QUIET)
    logs, control = [found.logs()] * 5, [found.logs("again")] * 5
    said, why, effect = decide(logs, control, rng())
    assert said is Verdict.INVALID and effect is None and "0 or no number" in why
    assert 0 <= p_value(logs) <= 1


def test_nothing_measured_is_invalid():
    assert decide([], [], rng()) == (Verdict.INVALID, "nothing was measured", None)


def test_a_repetition_confirms_the_same_direction_only():
    assert confirms(near(0.01), Verdict.SLOWER, rng()) and not confirms(near(0.01), Verdict.FASTER, rng())
    assert not confirms([[0.01], [0.01], [-0.001]], Verdict.SLOWER, rng()) and not confirms(
        [], Verdict.SLOWER, rng()
    )


def test_p_is_student_s_and_holm_s_correction_is_as_by_hand():
    from scipy import stats

    values = [0.01, 0.02, -0.005, 0.012, 0.03]
    assert np.isclose(p_value([[v] for v in values]), stats.ttest_1samp(values, 0).pvalue)
    assert p_value([[0.5]]) == 1.0 and p_value([[0.1], [0.1]]) == 0.0 and p_value([[0.0], [0.0]]) == 1.0
    assert np.allclose(
        holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]
    )  # 4, 3, 2, 1 times, never falling
    assert holm([]) == []


# ---- the judge


def suite(seconds=1.0, cores=(), device="cpu", **plans):
    """(judgements by name, the processes, what was kept)."""
    processes, kept = Processes({k: list(v) for k, v in plans.items()}, seconds, cores=dict(cores)), []
    judge = Judge(rng(), call=processes, keep=lambda *found: kept.append(found))
    judgements = judge.judge([Pair(name, nothing, device=device) for name in plans])
    assert [j.name for j in judgements] == list(plans)
    return {j.name: j for j in judgements}, processes, kept


def test_a_suite_without_a_change_takes_five_processes_that_its_pairs_share():
    found, processes, kept = suite(one=[0.001], two=[0.0])
    assert all(j.verdict is Verdict.SAME and (j.processes, j.repeated) == (5, 0) for j in found.values())
    assert len(processes.groups) == 5 and all(sorted(g) == ["one", "two"] for g in processes.groups)
    assert [k[1:3] for k in kept if k[0] == "one"] == [(FIRST, n) for n in range(5)]


def test_a_red_is_repeated_and_both_are_recorded():
    found, _, kept = suite(slow=[0.05], same=[0.0])
    assert found["slow"].verdict is Verdict.SLOWER and (found["slow"].processes, found["slow"].repeated) == (
        5,
        5,
    )
    assert "confirmed" in found["slow"].reason and np.isclose(found["slow"].effect.estimate, np.expm1(0.05))
    assert [k[1:3] for k in kept if k[0] == "slow"] == [(FIRST, n) for n in range(5)] + [
        (AGAIN, n) for n in range(5)
    ]
    assert found["same"].repeated == 0


@pytest.mark.parametrize("again", [0.0, -0.05])
def test_a_red_that_its_repetition_does_not_confirm_is_never_red(again):
    found, _, _ = suite(slow=[0.05] * 5 + [again])
    assert found["slow"].verdict in (Verdict.SAME, Verdict.UNSURE) and found["slow"].first is Verdict.SLOWER
    assert "did not confirm" in found["slow"].reason and found["slow"].repeated == 5


def test_a_disturbed_repetition_is_repeated():
    noisy = [(0.05, 0.014)] * 5 + [(0.05, 0.017)] * 5 + [0.05]
    found, _, kept = suite(slow=noisy)
    assert found["slow"].verdict is Verdict.SLOWER and "confirmed" in found["slow"].reason
    assert (found["slow"].processes, found["slow"].repeated) == (5, 10)
    assert [k[1:3] for k in kept][5:] == [(AGAIN, n) for n in range(10)]
    over_budget, _, _ = suite(seconds=2.0, slow=noisy)
    assert over_budget["slow"].verdict is Verdict.UNSURE and over_budget["slow"].repeated == 5


def test_one_process_of_a_longer_repetition_that_disagrees_is_enough_against_a_change():
    found, _, _ = suite(slow=[*[0.05] * 5, -0.01, 0.05])
    assert found["slow"].verdict is Verdict.UNSURE and found["slow"].repeated == 10


def test_looks_that_are_clear_alone_and_not_together_go_on():
    found, _, _ = suite(fast=[(-0.48, 0.045)] * 3 + [(-0.42, 0.0)])
    assert found["fast"].verdict is Verdict.FASTER
    assert (found["fast"].processes, found["fast"].repeated) == (3, 5)


def test_unsure_doubles_the_processes_within_the_budget():
    unsure = [0.05, -0.05]
    found, _, kept = suite(seconds=1.0, one=unsure * 50)
    assert (
        found["one"].verdict is Verdict.UNSURE and found["one"].processes == 10
    )  # 20 of a second each would be over 15 s
    assert [k[1:3] for k in kept][5:] == [(MORE, n) for n in range(5, 10)]
    assert (
        suite(seconds=0.3, one=unsure * 50)[0]["one"].processes == 10
    )  # `most`, whatever is left of the budget
    assert suite(seconds=4.0, one=unsure * 50)[0]["one"].processes == 5


def test_what_was_unsure_is_judged_by_all_its_processes():
    found, _, _ = suite(seconds=0.3, one=[0.05, -0.05] + [0.0] * 60)
    assert found["one"].verdict is Verdict.SAME and found["one"].processes > 5


def test_trouble_in_one_pair_leaves_the_others():
    found, processes, kept = suite(bad=[Trouble("wrong", "d_x is off")], good=[0.0])
    assert (
        found["bad"].verdict is Verdict.INVALID
        and found["bad"].status == "wrong"
        and "d_x is off" in found["bad"].reason
    )
    assert found["good"].verdict is Verdict.SAME and found["good"].processes == 5
    assert sum("bad" in g for g in processes.groups) == 1 and [
        k[3].status for k in kept if k[0] == "bad"
    ] == ["wrong"]


def test_after_a_crash_each_pair_that_is_left_runs_alone():
    found, processes, _ = suite(before=[0.0], bad=["crashed"], after=[0.0])
    assert (
        found["bad"].verdict is Verdict.INVALID
        and found["bad"].status == "crashed"
        and "SIGSEGV" in found["bad"].reason
    )
    assert all(found[n].verdict is Verdict.SAME and found[n].processes == 5 for n in ("before", "after"))
    assert processes.groups[:3] == [["before", "bad", "after"], ["bad"], ["after"]]


def test_a_crash_in_the_repetition_is_no_verdict():
    found, _, _ = suite(slow=[0.05] * 5 + ["timed_out"])
    assert found["slow"].verdict is Verdict.INVALID and found["slow"].status == "timed_out"


def test_nothing_measured_is_invalid_whatever_the_worker_says():
    found, _, _ = suite(one=["failed"])
    assert found["one"].verdict is Verdict.INVALID and found["one"].processes == 0


def test_a_control_that_is_off_spoils_the_verdict():
    found, _, _ = suite(one=[(0.05, 0.04)])
    assert found["one"].verdict is Verdict.INVALID and "second instance" in found["one"].reason


def test_cores_that_change_meanwhile_spoil_the_verdict():
    found, _, _ = suite(one=[0.05], cores={3: 1})
    assert found["one"].verdict is Verdict.INVALID and "cores" in found["one"].reason


def test_a_change_must_hold_over_the_suite():
    alone = [0.02, 0.08, 0.01, 0.03, 0.02, 0.09, 0.01, 0.02, 0.03, 0.01]
    assert suite(seconds=1.0, one=alone)[0]["one"].verdict is Verdict.SLOWER
    many = {f"same{k}": [0.001, -0.001] * 20 for k in range(20)}
    found, _, _ = suite(seconds=1.0, one=alone, **many)
    assert found["one"].verdict is Verdict.UNSURE and "over the suite" in found["one"].reason


def test_two_pairs_of_one_name_or_none_are_refused():
    judge = Judge(rng(), call=Processes({}))
    for pairs in ([], [Pair("a", nothing), Pair("a", nothing)]):
        with pytest.raises(ValueError, match="at least one pair, and no two of one name"):
            judge.judge(pairs)


def test_memory_is_not_limited_where_cuda_maps_more_than_there_is():
    assert suite(one=[0.0])[1].limited and not suite(one=[0.0], device="cuda")[1].limited


# ---- what the machine was like


@pytest.mark.parametrize(
    ("kind", "quiet", "spoilt"),
    [
        (Warning.LOAD, {"load": 2.0}, {"load": 2.6}),
        (Warning.QUOTA, {"quota": 2.0}, {"quota": 1.0}),
        (Warning.THROTTLED, {"mhz": 2800.0, "highest_mhz": 3000.0}, {"mhz": 2600.0, "highest_mhz": 3000.0}),
        (Warning.BATTERY, {"battery": False}, {"battery": True}),
        (Warning.GOVERNOR, {"governor": "performance"}, {"governor": "powersave"}),
    ],
)
def test_each_warning_is_said_where_it_applies_only(kind, quiet, spoilt):
    def said(facts):
        return {w.kind for w in warnings_of([Conditions(**{"cores": 2, "load": 0.5} | facts)], 1, [1.0, 1.2])}

    assert (said(quiet), said(spoilt)) == (set(), {kind})


def test_threads_beyond_the_cores_and_a_drifting_anchor_are_said():
    (threads,) = warnings_of([QUIET], 4, [])
    assert threads.kind is Warning.THREADS and "set threads=2" in str(threads)
    (drift,) = warnings_of([QUIET], 1, [1.0, 1.4])
    assert drift.kind is Warning.DRIFT and "40 % more" in str(drift)
    (load,) = warnings_of([Conditions(1, 4.3, None, None)], 1, [])
    assert "(load 4.3 on 1 core)" in str(load)
    assert warnings_of([QUIET], 1, [0.0, np.nan]) == warnings_of([], 1, []) == ()


def test_a_span_has_the_worst_of_its_ends():
    start, end = Conditions(2, 3.0, 2000.0, 2000.0, battery=True), Conditions(1, 0.5, 3000.0, 3000.0)
    both = start.until(end)
    assert (both.load, both.mhz, both.highest_mhz, both.battery, both.cores) == (3.0, 2000.0, 3000.0, True, 1)
    assert QUIET.until(QUIET) == QUIET


def test_the_quota_of_a_control_group_is_the_least_above_it(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("1:cpu:/x\n0::/a/b\n")
    assert quota(tmp_path, own) is None and quota(tmp_path, tmp_path / "absent") is None
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/cpu.max").write_text("max 100000\n")
    assert quota(tmp_path, own) is None
    (tmp_path / "a/cpu.max").write_text("150000 100000\n")
    assert quota(tmp_path, own) == 1.5
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("50000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert quota(tmp_path, own) == 0.5
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert quota(tmp_path, own) == 1.5
