"""The three ways to clip, on one minibatch of temporal order."""

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness import task
from cellbench.harness.case import Case
from cellbench.harness.gradients import clip_by_norm, total_norm
from cellbench.harness.learn import model as learning
from cellbench.harness.probes._clipping_ways import Puller, Way, flat

pytestmark = pytest.mark.quick

CASE = Case(
    "clipping", "lstm", "numpy", "cpu", "float64", 1, steps=12, batch=4, input_size=6, hidden_size=5, seed=0
)


@pytest.fixture
def pull():
    """The gradients of a minibatch before and after clipping, by variant; and the model."""
    data = task.draw("temporal_order:steps=12:count=8", np.random.default_rng(0))
    params = cells.get("lstm").init(6, 5, 0)
    batch = next(learning.batches(data.train, 4, "cpu"))

    def pulled(variant):
        model = learning.Model(CASE, params, data.output_size, 0)
        return Puller(model, Way.of(variant)).pull(data, batch), model

    return pulled


@pytest.mark.parametrize("variant", ["max_norm=none", "max_norm=1e9", "max_value=1e9", "max_state=1e9"])
def test_a_limit_that_nothing_reaches_changes_nothing(pull, variant):
    pulled, _ = pull(variant)
    assert np.array_equal(flat(pulled.raw), flat(pulled.kept)) and not pulled.clipped


def test_the_norm_is_scaled_to_its_limit_and_the_direction_kept(pull):
    pulled, _ = pull("max_norm=0.001")
    assert pulled.kept_norm == pytest.approx(0.001) and pulled.angle == 0
    assert np.allclose(flat(pulled.kept) * pulled.norm, flat(pulled.raw) * 0.001)


@pytest.mark.parametrize("limit", [0.001, 1e9])
def test_a_clipped_step_takes_exactly_what_clip_by_norm_returns(pull, limit):
    pulled, _ = pull(f"max_norm={limit}")
    by_hand = clip_by_norm(pulled.raw, limit)
    assert (pulled.norm, pulled.clipped) == (by_hand.norm, bool(by_hand.fraction))
    assert np.array_equal(flat(pulled.kept), flat(by_hand.arrays))
    assert pulled.kept_norm == total_norm(by_hand.arrays)


def test_each_entry_is_cut_at_its_limit(pull):
    pulled, _ = pull("max_value=0.001")
    assert np.allclose(flat(pulled.kept), flat(pulled.raw).clip(-0.001, 0.001))
    assert pulled.angle > 0


def test_a_limit_of_the_states_gradient_bounds_those_of_the_cell_and_spares_the_head(pull):
    """A step then adds at most the limit to an entry of a gradient: inputs, states, slopes are at most 1."""
    limit = 1e-6
    pulled, model = pull(f"max_state={limit}")
    raw, kept = pulled.raw, pulled.kept
    assert pulled.clipped and pulled.kept_norm < pulled.norm
    assert np.array_equal(raw["head_weight"], kept["head_weight"])  # the head lies before the state
    cell = {name: d.numpy() for name, d in kept.items() if name.startswith("cell.")}
    assert max(np.abs(d).max() for d in cell.values()) <= limit * CASE.steps
    (program,) = model.programs.values()
    assert "with_outputs" not in vars(program)  # the program is as it was


def test_a_gradient_that_is_not_finite_is_handed_on_as_it_is(pull):
    pulled, model = pull("max_norm=1.0")
    assert pulled.finite
    model.head_weight.data[0, 0] = float("nan")
    data = task.draw("temporal_order:steps=12:count=8", np.random.default_rng(0))
    batch = next(learning.batches(data.train, 4, "cpu"))
    bad = Puller(model, Way.of("max_norm=1.0")).pull(data, batch)
    assert not bad.finite and not bad.clipped and bad.kept is bad.raw
