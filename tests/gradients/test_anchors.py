"""The anchors: mean-field theory against published digits, small networks within their bias, the table."""

import csv
import dataclasses
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cellbench.harness.data import systems
from cellbench.harness.studies.anchors import __main__ as anchors
from cellbench.harness.studies.anchors import (
    initial_decay,
    learned,
    maps,
    mean_field,
    random_network,
    running,
    sequences,
)
from cellbench.harness.studies.anchors.anchor import Anchor, timed, within
from cellbench.harness.studies.anchors.training import Recipe, train
from cellbench.harness.tasks import chaotic_map

HARNESS = Path(anchors.__file__).parents[2]


@pytest.mark.parametrize("file", sorted(HARNESS.rglob("__main__.py")), ids=lambda file: file.parent.name)
def test_no_package_starts_processes_from_its_main_which_they_cannot_import(file):
    assert "multiprocessing" not in file.read_text()


def anchor(**changes):
    return dataclasses.replace(Anchor("a", 1.0, 1.1, 1.05, (1.0, 1.2), "1/N"), **changes)


@pytest.mark.parametrize(
    "gain, published", [(1.5, 0.06522), (2, 0.15472), (3, 0.31025), (5, 0.53243), (10, 0.85644)]
)
def test_quadrature_gives_the_published_largest_exponents(gain, published):
    assert mean_field.largest_exponent(gain) == pytest.approx(published, abs=6e-6)


@pytest.mark.parametrize("gain, published", [(1.5, -0.71435), (2, -1.14902)])
def test_quadrature_gives_the_published_mean_exponents(gain, published):
    assert mean_field.mean_exponent(gain) == pytest.approx(published, abs=6e-6)


@pytest.mark.parametrize(
    "gain, published", [(1.1, 0.001352), (1.2, 0.011077), (1.5, 0.186144), (2, 1.635957), (3, 15.0807)]
)
def test_quadrature_gives_the_published_noise_at_which_chaos_ends(gain, published):
    found = mean_field.critical_noise(gain)
    assert found == pytest.approx(published, rel=5e-4 if gain == 1.1 else 6e-5)
    assert mean_field.largest_exponent(gain, found) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "gain, noise, published", [(0.9, 0.25, -0.3545), (1.5, 0.6, -0.0861), (2, 1, 0.0460), (3, 1, 0.2685)]
)
def test_quadrature_gives_the_published_exponents_of_driven_networks(gain, noise, published):
    assert mean_field.largest_exponent(gain, noise) == pytest.approx(published, abs=6e-5)


@pytest.mark.parametrize("bias, published", [(-2, 0.1617), (0, 0.3640), (2, 0.7404), (4, 0.9465)])
def test_quadrature_gives_the_published_mean_squared_singular_value_of_a_gru_within_a_thousandth(
    bias, published
):
    assert mean_field.gru_growth(bias) == pytest.approx(published, abs=1e-3)


def test_the_gru_integral_agrees_with_a_sample_of_units():
    rng = np.random.default_rng(0)
    a, b, n, u = rng.standard_normal((4, 400_000))
    q = 0.17167  # E h^2 at bias 0, which the integral's growth leaves where it is
    assert mean_field._gru(0.0, 1.0, 1.0, q)[0] == pytest.approx(0, abs=1e-4)
    r, z, back = (1 / (1 + np.exp(-v)) for v in (math.sqrt(1 + q) * a, math.sqrt(1 + q) * b, 0 * a))
    back = math.sqrt(q) * u
    new = np.tanh(n + r * back)
    open_ = (1 - z) * (1 - new**2)
    square = z**2 + (open_ * r) ** 2 + (new**2 + q) * (z * (1 - z)) ** 2 + (open_ * back * r * (1 - r)) ** 2
    assert mean_field._gru(0.0, 1.0, 1.0, q)[1] == pytest.approx(
        square.mean(), abs=4 * square.std() / math.sqrt(len(a))
    )


def test_a_saturated_gain_needs_no_more_nodes():
    coarse = slice(None, None, 2)
    for gain in (5, 10):
        d = mean_field.variance(gain)
        values = mean_field.slope(math.sqrt(d) * mean_field.NODES) ** 2
        weights = mean_field.WEIGHTS[coarse] / mean_field.WEIGHTS[coarse].sum()
        assert weights @ values[coarse] == pytest.approx(mean_field.WEIGHTS @ values, rel=1e-12)


def test_ginibre_exponents_are_newmans():
    found = mean_field.ginibre_exponents(10)
    assert found[[0, -1]] == pytest.approx([-0.0517, -1.7865], abs=6e-5)


@pytest.mark.parametrize("gain", [1.5, 2.0, 3.0, 5.0, 10.0])
def test_networks_of_200_lie_below_the_mean_field_by_their_bias(gain):
    (found,) = random_network.largest_exponents(200, 8, gain, steps=1000)
    assert found.holds, found


def test_a_stable_network_has_the_logs_of_its_eigenvalues_as_exponents():
    weight = random_network.network(20, 0.9, 0)["weight_hh"]
    found = random_network.spectrum(20, 0.9, 0, 2000, k=None).exponents
    assert found == pytest.approx(np.sort(np.log(np.abs(np.linalg.eigvals(weight))))[::-1], abs=5e-3)


def test_noise_lowers_the_growth_of_the_adjoint_as_theory_has_it():
    x = np.random.default_rng(0).standard_normal((600, 1, 200))
    rate = random_network.lag_profile(
        random_network.CELL, random_network.network(200, 1.5, 0, 0.6), x
    ).rate.value
    assert rate == pytest.approx(
        mean_field.largest_exponent(1.5, 0.6), abs=0.025
    )  # N = 200: -4/N, and 0.005 of 300 lags


def test_maps_and_products_of_matrices_have_their_known_exponents():
    found = [*maps.random_products(steps=4000), *maps.clipped_descent(chains=4000, updates=600)]
    assert all(a.holds for a in found), [a for a in found if not a.holds]
    largest, smallest, total, logistic = maps.chaotic_maps(10_000)
    assert total.holds and logistic.measured == pytest.approx(math.log(2), abs=2e-3)
    # a tenth of the study's steps: three of its standard deviations of 0.001, times the root of ten
    assert largest.measured == pytest.approx(0.4192, abs=0.0095)
    assert smallest.measured == pytest.approx(-1.6232, abs=0.0095)


def test_the_cells_of_maps_step_as_the_tasks_maps_do():
    for cell, system in (
        (maps.HenonCell(), chaotic_map.Henon()),
        (maps.LogisticCell(), chaotic_map.Logistic()),
    ):
        start, x = system.start(np.random.default_rng(0), 3), np.zeros((20, 3, 1))
        program = learned.cells.backend("numpy").prepare(
            cell, {"weight_ih": np.zeros((1, 1))}, steps=20, batch=3, dtype="float64", direction="forward"
        )
        state = {name: start[:, [k]] for k, name in enumerate(cell.states)}
        path = systems.run(system, start, x)[1:, :, 0]
        assert np.allclose(program.forward(x, state).output[:, :, 0], path, rtol=1e-9)


def test_a_ring_of_modes_keeps_the_moment_of_its_moduli():
    (found,) = initial_decay.ring_of_modes(units=256)
    assert found.holds, found


def test_a_default_network_keeps_less_a_step_than_one():
    elman = next(initial_decay.default_rates(size=200, steps=200))
    assert elman.holds, elman


def test_sequences_place_their_cues_where_they_say():
    rng = np.random.default_rng(0)
    x, y = sequences.recall(rng, 50, 7)
    assert (
        (x[0, :, :4].argmax(1) == y).all()
        and (x[1:, :, [0, 1, 2, 3, 5]] == 0).all()
        and (x[0, :, 5] == 1).all()
    )
    assert np.std(x[:, :, 4]) == pytest.approx(0.5, abs=0.06)
    x, y = sequences.adding_early(rng, 4000, 100)
    places = [np.flatnonzero(x[:, b, 1]) for b in range(4000)]
    assert all(len(p) == 2 and p[0] < 10 <= p[1] < 50 for p in places)
    assert y[:, 0] == pytest.approx([0.5 + x[p, b, 0].sum() / 4 for b, p in enumerate(places)], abs=1e-6)
    assert np.var(y) == pytest.approx(sequences.TRIVIAL_ADDING, rel=0.1)


def test_training_says_when_a_short_recall_was_learned_and_when_not():
    cell = learned.cells.get("elman")
    recipe = dataclasses.replace(learned.recall_recipe(4), updates=200)
    found = train(recipe, cell, cell.init(6, 32, 0), 0)
    assert found.learned_at == len(found.losses) < 200 and np.mean(found.losses[-10:]) <= recipe.target
    short = train(dataclasses.replace(recipe, updates=20), cell, cell.init(6, 32, 0), 0)
    assert short.learned_at is None and len(short.losses) == 20 and (short.losses == found.losses[:20]).all()


def test_training_ends_at_a_gradient_that_is_not_finite():
    def draw(rng, batch):
        return np.full((3, batch, 1), np.nan, np.float32), np.zeros((batch, 1), np.float32)

    cell = learned.cells.get("elman")
    found = train(Recipe(draw, outputs=1, target=0.1), cell, cell.init(1, 3, 0), 0)
    assert len(found.losses) == 1 and found.learned_at is None


def test_an_anchor_holds_within_what_is_allowed_and_nan_never():
    assert anchor().holds and anchor(measured=1.0).holds and not anchor(measured=0.999).holds
    assert not anchor(measured=math.nan).holds and anchor(measured=math.nan).word == "OUTSIDE"
    assert anchor(measured=1.2).off == pytest.approx(1) and anchor(measured=1.0).off == pytest.approx(-1)
    assert within(1.0, 0.1, (-0.3, -0.2)) == pytest.approx((0.6, 0.9))


def test_an_anchor_that_is_held_against_nothing_is_refused():
    with pytest.raises(ValueError, match="held against nothing"):
        anchor(published=None, computed=None)
    with pytest.raises(ValueError, match="low < high"):
        anchor(allowed=(1.0, 1.0))


def test_seconds_are_those_since_the_anchor_before():
    ticks = iter([0.0, 2.0, 4.5])
    assert [a.seconds for a in timed(iter([anchor(), anchor()]), lambda: next(ticks))] == [2.0, 2.5]


def quick(measured):
    yield anchor(measured=measured)


@pytest.mark.parametrize("measured, code", [(1.05, 0), (2.0, 1)])
def test_the_study_writes_table_and_figure_and_exits_1_where_an_anchor_is_outside(
    tmp_path, capsys, monkeypatch, measured, code
):
    monkeypatch.setattr(running, "run", lambda group: list(group()))
    monkeypatch.setattr(running, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(running, "as_completed", iter)
    monkeypatch.setattr(
        anchors, "GROUPS", {"one": (partial(quick, measured),), "two": (partial(quick, 1.1),)}
    )
    assert anchors.main(["--results", str(tmp_path)]) == code
    rows = list(csv.DictReader((tmp_path / "anchors.csv").open()))
    assert [float(r["measured"]) for r in rows] == [measured, 1.1] and rows[0]["holds"] == str(not code)
    page = (tmp_path / "anchors.md").read_text()
    assert f"2 figures, {code} outside" in page and "| a | 1 | 1.1 |" in page
    assert (tmp_path / "anchors.svg").read_text().startswith("<svg")
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{code} outside")


def test_groups_run_in_processes_of_their_own():
    found = running.run_all({"maps": (maps.clipped_descent,)})
    assert found["maps"] and all(one.seconds is not None for one in found["maps"])


class Here:
    """An executor in this process."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, function, *arguments):
        value = function(*arguments)
        return type("Done", (), {"result": lambda self: value})()
