"""What is drawn of trainings: courses over seeds, the levels across, the systems that were identified."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from support.report_rows import texts, written
from support.training_rows import convolution, diverged, rows

from cellbench.harness.report import standings
from cellbench.harness.report.drawing import drawing, references
from cellbench.harness.report.drawing.courses import courses
from cellbench.harness.report.drawing.losses import axis_of
from cellbench.harness.report.frame import prepare


def test_profiles_of_networks_are_drawn_beside_the_systems_own(tmp_path):
    every = [
        r
        for cell in ("gru", "elman")
        for task in ("pendulum", "oscillator")
        for r in rows(cell, [0.02], task, unit="1")
    ]
    cases = [r for r in every if r["metric"] == "learning_rate"]
    for n, case in enumerate(cases):
        for metric, level in (("own_profile", -1.0 - n), ("true_profile", -1.0)):
            every += [
                case | {"metric": metric, "unit": "nats", "lag": k, "value": level - k} for k in range(5)
            ]
    every += [
        cases[0] | {"metric": "own_profile", "unit": "nats", "lag": 5, "value": -np.inf}
    ]  # an input that does nothing is a gap
    every = [one | {"run": f"of {one['task']}"} for one in every]  # which a panel's task tells
    page, text = written(every, tmp_path)
    drawn = texts(tmp_path / "identification.svg")
    assert {"the system", "gru", "elman", "pendulum", "oscillator", "|d answer / d input|"} <= set(drawn)
    assert "## Identified systems" in text and "own_profile" not in text and page.count("<svg") == 3


def test_loss_is_drawn_against_time_steps_and_tokens_with_the_rivals_named_across(tmp_path):
    written(rows("gru", [0.3, 0.31]) + convolution([0.1] * 2), tmp_path)
    drawn = texts(tmp_path / "training-splice.svg")
    assert {
        "training time (s)",
        "optimiser steps",
        "tokens",
        "loss (nats)",
        "accuracy",
        "gru, numba",
        "tcn, torch",
    } < set(drawn)
    for name in ("constant answer", "order-free linear", "every position apart, linear"):
        assert drawn.count(name) == 2  # at the loss and at the accuracy
    assert drawn.count("target") == 1


def test_epochs_end_where_their_seconds_say_and_tokens_grow_evenly_between():
    line = courses(prepare(pd.DataFrame(rows("gru", [0.3]))))["gru, numba"]
    (epochs,) = line.epochs
    assert epochs["lag"].tolist() == [20, 40, 60] and epochs["elapsed_s"].tolist() == pytest.approx([2, 4, 6])
    assert line.tokens_a_step == 50


def test_the_median_goes_as_far_as_half_of_the_seeds_went():
    every = (
        rows("gru", [0.3, 0.4])
        + diverged("gru", seed=2, at=7)
        + diverged("gru", seed=3, at=9)
        + diverged("gru", seed=4, at=30)
    )
    line = courses(prepare(pd.DataFrame(every)))["gru, numba"]
    assert line.middle_steps["lag"].max() == 29  # at 30 two of five have a finite loss
    assert [len(one) for one in line.steps] == [60, 60, 7, 9, 30]


def test_a_training_that_diverged_is_drawn_as_far_as_it_went(tmp_path):
    line = courses(prepare(pd.DataFrame(diverged("elman"))))["elman, numba"]
    assert len(line.steps[0]) == 7 and not len(line.epochs[0]) and np.isnan(line.tokens_a_step)
    assert line.broken["lag"].tolist() == [6]  # the last whose loss is finite
    page, _ = written(diverged("elman"), tmp_path)
    assert (
        page.count("<svg") == 1
        and "tokens" not in texts(tmp_path / "training-splice.svg")
        and "at step 7" in page
    )
    assert "A cross is where a training diverged." in page


def test_a_training_that_was_pruned_is_drawn_and_has_lost_to_nobody(tmp_path):
    pruned = [r | {"status": "pruned"} for r in diverged("elman") if r["metric"] and np.isfinite(r["value"])]
    line = courses(prepare(pd.DataFrame(pruned)))["elman, numba"]
    assert line.length and not len(line.broken)
    ready = prepare(pd.DataFrame([*pruned, *rows("gru", [1.0, 0.5])]))
    seeds = {model.name: standings.tried(model) for model in standings.models(ready)}
    assert seeds["elman"] == [] and seeds["gru"] == [0, 1]
    page, _ = written(pruned, tmp_path)
    assert "A cross" not in page


def test_every_one_of_many_cells_is_drawn_and_in_the_table(tmp_path):
    cells = [f"cell{i:02d}" for i in range(11)]
    page, text = written(
        [r for i, c in enumerate(cells) for r in rows(c, [0.1 + i / 20], updates=30)][::-1], tmp_path
    )
    drawn = texts(tmp_path / "training-splice.svg")
    assert [name.partition(",")[0] for name in drawn if name.startswith("cell")] == cells
    assert (
        len(set(re.findall(r'id="[\w-]+-axes_\d+"', (tmp_path / "training-splice.svg").read_text())))
        == 2 * 2 * 2
    )
    assert all(f"| {c} | cell |" in text for c in cells) and "and 1 more" in text
    assert "Panels go from the lowest test loss to the highest." in page


def test_names_at_the_lines_never_lie_on_each_other_and_stay_where_they_fit():
    assert references.apart([0.1, 0.5, 0.9], 0.05) == [0.1, 0.5, 0.9]
    moved = references.apart([0.3, 0.301, 0.302, 0.34, 0.9], 0.05)
    assert np.all(np.diff(moved) >= 0.05 - 1e-12) and moved[-1] == 0.9
    assert np.mean(moved[:4]) == pytest.approx(np.mean([0.3, 0.301, 0.302, 0.34]))
    low, high = references.apart([0.0] * 5, 0.1), references.apart([0.2, *[1.0] * 9], 0.1)
    assert (
        low[0] == pytest.approx(-0.03)
        and high[-1] == pytest.approx(1.03)
        and np.diff(high).min() >= 0.1 - 1e-12
    )


def test_a_panel_holds_the_strongest_rivals_and_says_how_many_found_no_room(tmp_path):
    many = {f"rival{i:02d}": 0.1 + i / 20 for i in range(12)}
    page, _ = written(rows("gru", [0.3], rivals=many), tmp_path)
    drawn = set(texts(tmp_path / "training-splice.svg"))
    assert {"rival00", "constant answer", "target"} < drawn and "rival11" not in drawn
    assert "5 rivals with the highest loss found no room" in page


def test_the_axis_of_the_loss_shows_every_level_and_lets_no_spike_set_it():
    curve = np.r_[np.linspace(1, 0.5, 999), 1e3]
    low, high, log = axis_of(np.r_[np.linspace(1, 0.5, 999), 20.0], np.array([0.7, 0.0]))
    assert not log and low < 0 and 1 < high < 3
    low, high, log = axis_of(curve, np.array([0.01, 0.0]))
    assert log and low == 0.01 and high == 1e3
    assert axis_of(np.array([0.5, 0.6]), np.array([2.0]))[1] > 2


def test_a_cell_has_the_same_colour_in_the_figures_of_all_tasks(tmp_path):
    written(rows("gru", [0.3]) + rows("lstm", [0.3]) + rows("lstm", [0.3], task="other"), tmp_path)
    colour = drawing.colours(["gru", "lstm"])["lstm"]
    assert all(colour in (tmp_path / f"training-{task}.svg").read_text() for task in ("splice", "other"))
