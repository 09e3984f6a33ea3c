"""The verdict's rules on evidence put together by hand, and on some networks of `verdict_suite`."""

import dataclasses

import numpy as np
import pytest
import torch
from support import verdict_suite
from support.comparison import WHOLE
from torch.nn.functional import cross_entropy

from cellbench.harness.gradients import Band, Evidence, Thresholds, diagnose, verdict
from cellbench.harness.gradients.module.recoverable import Residuals

LAGS = 40


def band(low=30, high=39, **changes):
    return dataclasses.replace(Band(low, high, recoverable=0.0, z=0.0, swap=0.0, needed=10.0), **changes)


def evidence(**changes):
    """A network at the trivial loss with an open path, something left to explain at lag 39."""
    flat = np.zeros(LAGS)
    shown = np.where(np.arange(LAGS) == 39, 1.0, 0.0)
    plain = Evidence(
        loss=1.0,
        trivial=1.0,
        floor=None,
        transport=flat,
        typical=flat,
        source=1.0,
        saturation=0.0,
        recoverable=shown,
        z=100 * shown,
        swap=flat,
        bands=(band(0, 29), band(recoverable=1.0, z=100.0)),
        probe_recovered=0.5,
        probe_power=1.0,
    )
    return dataclasses.replace(plain, **changes)


def decaying(at_the_end):
    return np.linspace(0, np.log(at_the_end), LAGS)


def nothing(**changes):
    """The same with nothing left in single inputs."""
    flat = np.zeros(LAGS)
    return evidence(
        **{"recoverable": flat, "z": flat, "bands": (band(0, 29), band()), "probe_recovered": 0.0} | changes
    )


def swapped(lag, rise=1.0):
    return np.where(np.arange(LAGS) == lag, rise, 0.0)


def judged(found):
    return found.label, found.qualifier


def test_an_open_path_with_something_left_is_learning_and_noise_makes_it_a_plateau():
    assert judged(verdict(evidence())) == ("LEARNING", "none")
    assert judged(verdict(evidence(stationary=0.1))) == ("LEARNING", "plateau")


def test_a_gradient_that_dies_before_the_lag_is_vanished_there():
    found = verdict(evidence(transport=np.where(np.arange(LAGS) < 30, 0.0, np.log(1e-9))))
    assert judged(found) == ("VANISHED", "none") and found.lag == 39 and "1e-09" in found.evidence


def test_vanishing_begins_at_two_to_the_minus_24():
    at = np.log(2.0**-24)
    assert verdict(evidence(transport=np.full(LAGS, at - 0.01))).label == "VANISHED"
    assert verdict(evidence(transport=np.full(LAGS, at + 0.01))).label == "LEARNING"


def test_a_gradient_that_needs_more_samples_than_were_seen_is_vanished():
    needing = (band(0, 29), band(recoverable=1.0, z=100.0, needed=1e6))
    assert verdict(evidence(bands=needing)).label == "LEARNING"
    assert verdict(evidence(bands=needing, samples_seen=1e5)).label == "VANISHED"
    assert (
        verdict(evidence(bands=(band(0, 29), band(recoverable=1.0, z=100.0, needed=1e12)))).label
        == "VANISHED"
    )


def test_a_shut_state_is_dead_unless_it_is_used():
    shut = {"transport": np.full(LAGS, -100.0), "saturation": 0.95}
    assert verdict(evidence(**shut)).label == "DEAD STATE"
    used = (band(0, 29), band(recoverable=1.0, z=100.0, swap=0.5))
    assert judged(verdict(evidence(**shut, bands=used, loss=0.5, typical=np.full(LAGS, -50.0)))) == (
        "VANISHED",
        "partial",
    )


def test_a_read_out_that_passes_nothing_is_named_before_anything_else_that_is_left():
    assert verdict(evidence(source=1e-5, transport=np.full(LAGS, -100.0))).label == "DEAD READ-OUT"


def test_growth_beyond_a_thousand_and_what_is_not_finite_are_exploded():
    grown = verdict(evidence(transport=np.linspace(0, np.log(1e4), LAGS)))
    assert grown.label == "EXPLODED" and grown.lag == 39
    broken = verdict(evidence(broken="3 numbers of weight_hh_l0", loss=float("nan")))
    assert broken.label == "EXPLODED" and "weight_hh_l0" in broken.evidence


def test_a_known_floor_decides_converged_by_the_excess():
    assert verdict(evidence(loss=0.64, floor=0.62)).label == "LEARNING"
    assert verdict(evidence(loss=0.63, floor=0.62)).label == "CONVERGED"
    assert (
        verdict(nothing(loss=0.5, floor=0.0)).label == "UNDETERMINED"
    )  # something is left, and nobody knows where


def test_without_a_floor_a_loss_near_zero_is_converged_and_a_negative_one_is_not():
    assert verdict(evidence(loss=0.04)).label == "CONVERGED"
    assert verdict(evidence(loss=-0.1, trivial=1.0)).label != "CONVERGED"


def test_without_a_floor_nothing_recoverable_is_converged_only_with_a_probe_that_can_find_things():
    assert verdict(nothing(loss=0.5)).label == "CONVERGED"
    assert verdict(nothing(loss=0.5, probe_recovered=None)).label == "UNDETERMINED"
    assert verdict(nothing(loss=0.5, probe_power=0.1)).label == "UNDETERMINED"
    assert verdict(nothing(loss=0.5, probe_recovered=0.2)).label == "UNDETERMINED"


def test_a_network_that_learned_nothing_is_not_converged_because_nothing_was_found():
    assert verdict(nothing(loss=1.0)).label == "UNDETERMINED"


def test_an_interaction_is_named_in_the_evidence():
    found = verdict(nothing(probe_recovered=0.9, probe_pair=((36, 36), (39, 39)), probe_pair_z=18.0))
    assert (
        found.label == "UNDETERMINED"
        and "lag 36 x lag 39" in found.evidence
        and "interaction" in found.evidence
    )


def test_no_evidence_without_proof_is_ever_converged():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        e = evidence(
            loss=rng.uniform(0.06, 1.2),
            source=rng.choice([1.0, 1e-6]),
            saturation=rng.uniform(),
            transport=decaying(10 ** rng.uniform(-40, 4)),
            typical=decaying(10 ** rng.uniform(-40, 4)),
            recoverable=rng.uniform(0, 0.2, LAGS),
            z=rng.uniform(0, 20, LAGS),
            swap=rng.uniform(0, 1, LAGS),
            bands=(
                band(0, 29, z=rng.uniform(0, 20), recoverable=rng.uniform(0, 1)),
                band(needed=10 ** rng.uniform(0, 20)),
            ),
            probe_recovered=rng.choice([None, 0.0, 0.3]),
            probe_power=rng.uniform(),
        )
        proof = max(*e.recoverable, e.bands[0].recoverable) <= 0.05 and e.probe_recovered == 0.0
        if not proof:
            assert verdict(e).label != "CONVERGED"


def test_a_solution_whose_gradient_is_gone_is_latched_at_the_lag_that_it_holds():
    found = verdict(evidence(loss=0.01, swap=swapped(39), typical=decaying(1e-20)))
    assert judged(found) == ("CONVERGED", "latched") and found.lag == 39
    assert judged(verdict(evidence(loss=0.01, swap=swapped(39)))) == ("CONVERGED", "none")


def test_a_solution_that_uses_the_last_inputs_alone_has_a_short_memory():
    found = verdict(evidence(loss=0.01, swap=swapped(2), typical=decaying(1e-20)))
    assert judged(found) == ("CONVERGED", "short memory") and found.lag is None


def test_what_bands_show_and_single_lags_do_not_is_named_as_a_band():
    bands = tuple(
        band(k, k + 9, recoverable=r, z=50 * r) for k, r in ((0, 0.0), (10, 0.3), (20, 0.5), (30, 0.05))
    )
    found = verdict(nothing(bands=bands, transport=np.full(LAGS, -30.0)))
    assert found.label == "VANISHED" and found.lag == (10, 29)


def test_thresholds_are_the_callers():
    assert verdict(evidence(loss=0.3), Thresholds(converged=0.4)).label == "CONVERGED"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"z": np.zeros(3)}, "lengths"), ({"floor": 2.0}, "floor is 2 and the trivial loss 1")],
    ids=str,
)
def test_evidence_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        evidence(**changes)


def test_the_score_of_a_uniform_four_way_answer_is_one_and_a_half():
    y = np.random.default_rng(0).integers(0, 4, 20000)
    shown = np.eye(4)[y]
    score, z = Residuals(shown - 0.25, np.diag([0.25] * 4) - 1 / 16, 1.0).score(shown)
    assert np.isclose(score, 1.5, atol=2e-3) and z > 1000


def test_the_score_of_features_that_say_nothing_is_zero_with_a_z_of_deviation_one():
    rng = np.random.default_rng(0)
    residuals = Residuals(3 * rng.standard_normal((400, 1)), np.array([[2.0]]), 1.0)
    z = [residuals.score(rng.standard_normal((400, 3)))[1] for _ in range(400)]
    assert abs(np.mean(z)) < 0.2 and 0.8 < np.std(z) < 1.2


def rare(rng, rows=256, classes=60, told=0):
    """(Recoverable, z) of 30 rare features and a calibrated answer over mostly rare classes.

    The first `told` features are classes.
    """
    share = 1 / np.arange(1, classes + 1)
    share /= share.sum()
    y = rng.choice(classes, rows, p=share)
    residuals = Residuals(np.eye(classes)[y] - share, np.diag(share) - np.outer(share, share), 1.0)
    features = (rng.random((rows, 30)) < 0.02).astype(float)
    features[:, :told] = np.eye(classes)[y][:, :told]
    return residuals.score(features)


def test_a_rare_class_that_meets_a_rare_input_is_no_evidence():
    rng = np.random.default_rng(0)
    found = np.array([rare(rng) for _ in range(400)])
    assert found[:, 1].max() < 4 and found[:, 0].mean() < 0.01


def test_what_tells_frequent_classes_among_many_rare_ones_is_found():
    rng = np.random.default_rng(0)
    score, z = rare(rng, told=3)
    assert z > 6 and score > 0.2


def test_the_parity_of_two_inputs_is_invisible_to_scores_and_found_by_the_probe():
    g = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (12, 2, 64), generator=g)
    batches = []
    for pair in bits:
        x = torch.randn(10, 64, 1, generator=g)
        x[0, :, 0], x[4, :, 0] = 2.0 * pair[0] - 1, 2.0 * pair[1] - 1
        batches.append((x, pair.sum(0) % 2))
    torch.manual_seed(0)
    found = diagnose(torch.nn.GRU(1, 2), cross_entropy, batches)
    assert found.verdict.label == "UNDETERMINED" and "lag 5 x lag 9" in found.verdict.evidence
    assert found.evidence.probe_recovered > 0.5 * found.trivial_loss and np.nanmax(found.z) < 6


QUICK = [
    "recall-lstm-reaching-at-start",
    "recall-rnn-shut",
    "recall-lstm-sigmoid-at-minus-40",
    "recall-gru-nan",
    "recall-rnn-gain-3",
    "recall-byhand-latch",
    "recall-byhand-half-latch",
    "recall-byhand-half-blind",
    "recall-rnn-solved",
    "copy-lstm-solved",
]


@pytest.mark.parametrize("name", QUICK if WHOLE else QUICK[::2])
def test_networks_of_known_condition_get_their_verdict(name):
    (case,) = [c for c in verdict_suite.cases() if c.name == name]
    result = verdict_suite.run(case, batches_count=6)
    assert result.held, f"the case's premise does not hold: loss {result.loss:.3g}"
    assert result.right, str(result.diagnosis.verdict)


def test_the_suite_covers_five_families_and_three_cells_with_a_third_unseen():
    cases = verdict_suite.cases()
    assert {"recall", "adding", "order", "copy"} <= {c.family for c in cases} and {"rnn", "lstm", "gru"} <= {
        c.cell for c in cases
    }
    assert len(cases) >= 30 and {c.truth for c in cases} == set(verdict_suite.LABELS)
    assert abs(np.mean([c.seen for c in cases]) - 2 / 3) < 0.02
