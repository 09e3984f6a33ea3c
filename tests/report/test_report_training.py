"""Trainings in the report, from synthetic results: who stands where in a task's table, what is said of it and
what is drawn.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cellbench.harness import report
from cellbench.harness.report import overview, seeds, trainings
from cellbench.harness.report.drawing import drawing, references
from cellbench.harness.report.drawing.courses import courses
from cellbench.harness.report.drawing.losses import axis_of
from cellbench.harness.report.frame import prepare

RIVALS = {"order-free linear": 0.5, "every position apart, linear": 0.2}
WORKLOAD = {
    "run": "first",
    "probe": "training",
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "batch": 64,
    "hidden_size": 32,
    "status": "ok",
}
UPDATES, EPOCHS = 60, 3  # steps in all, and epochs that they make


def rows(
    cell,
    losses,
    task="splice",
    backend="numba",
    rivals=RIVALS,
    unit="nats",
    accuracy=True,
    updates=UPDATES,
    **columns,
):
    """A training for each of the test losses, one a seed; what columns add overrides the workload."""
    found = []
    for seed, end in enumerate(losses):
        case = WORKLOAD | {"cell": cell, "backend": backend, "task": task, "seed": seed, **columns}

        def row(metric, value, unit="1", lag=None, reason=None, case=case):
            return {**case, "metric": metric, "value": value, "unit": unit, "lag": lag, "reason": reason}

        found += [
            row("trivial_loss", 1.0, unit),
            row("target_loss", 0.3, unit),
            row("model_parameters", 4417.0),
        ]
        found += [row("learning_rate", 0.003), *([row("chance_accuracy", 0.55)] if accuracy else [])]
        for name, loss in rivals.items():
            found.append(row(f"rival_loss.{name}", loss + 0.01 * seed, unit))
            found += [row(f"rival_accuracy.{name}", 1 - loss)] if accuracy else []
        curve = end + np.exp(-np.arange(updates) / 10)
        found += [row("loss", v, unit, n) for n, v in enumerate(curve, 1)]
        found += [row("elapsed_s", 0.1 * n, "s", n) for n in range(1, updates + 1)]
        per = updates // EPOCHS
        for n in range(1, EPOCHS + 1):
            found += [
                row("epoch_s", 0.1 * per, "s", n),
                row("tokens", 1000.0 * n, "1", n),
                row("test_loss", end + 0.1 / n, unit, n),
            ]
            found += [row("accuracy", 0.5 + 0.1 * n, "1", n)] if accuracy else []
        found += [
            row("time_to_target_s", 4.0 if end < 0.3 else np.nan, "s"),
            row("best_test_loss", end, unit),
        ]
        found += [row("best_accuracy", 0.8)] if accuracy else []
    return found


def diverged(cell, seed=0, at=7, **columns):
    """A training that ended with a loss of infinity at a step: its curve is kept, and the last row says so."""
    found = [r for r in rows(cell, [0.0] * (seed + 1), **columns) if r["seed"] == seed]
    found = [
        r
        for r in found
        if (r["metric"] in ("loss", "elapsed_s") and r["lag"] <= at)
        or r["metric"].startswith(("rival", "triv"))
    ]
    found = [r | {"value": np.inf} if r["metric"] == "loss" and r["lag"] == at else r for r in found]
    reason = f"at step {at} the loss is inf, the gradient's norm inf"
    found.append(found[0] | {"metric": None, "value": np.nan})
    return [r | {"status": "diverged", "reason": reason} for r in found]


def convolution(losses, **columns):
    found = rows("tcn", losses, backend="torch", variant="as gru", **columns)
    return [
        *found,
        *(r | {"metric": "receptive_field", "value": 61.0} for r in found if r["metric"] == "learning_rate"),
    ]


def table(every, task="splice"):
    """(the table, its texts by header and model)."""
    made = trainings.table(prepare(pd.DataFrame(every)), task)
    columns = {
        h: {r[0].text.replace("\u00a0", " "): r[i] for r in made.rows} for i, h in enumerate(made.header)
    }
    return made, columns


def written(every, folder):
    page = report.write(pd.DataFrame(every), [], folder)
    return page.read_text(), (folder / "report.md").read_text()


def texts(path):
    return [element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")]


# --- the table
# ----------------------------------------------------------------------------------------------------------------


def test_rivals_and_the_convolution_stand_beside_the_cells_the_lowest_test_loss_first():
    _, columns = table(rows("gru", [0.3, 0.31, 0.32]) + rows("elman", [0.9] * 3) + convolution([0.1] * 3))
    order = ["tcn", "every position apart, linear", "gru", "order-free linear", "elman", "constant answer"]
    assert list(columns["kind"]) == order
    assert [e.text for e in columns["kind"].values()] == [
        "convolution",
        "rival",
        "cell",
        "rival",
        "cell",
        "rival",
    ]
    assert columns["kind"]["tcn"].detail == "of 61 steps"
    assert (
        columns["test loss (nats)"]["gru"].text == "0.310"
        and columns["test loss (nats)"]["gru"].detail == "0.300 … 0.320"
    )
    assert (
        columns["accuracy"]["constant answer"].text == "55.0 %"
        and columns["accuracy"]["gru"].text == "80.0 %"
    )
    assert (
        columns["parameters"]["gru"].text == "4,417"
        and columns["parameters"]["order-free linear"].text == "–"
    )
    assert (
        columns["time per epoch"]["gru"].text == "2.00 s" and columns["learning rate"]["gru"].text == "0.003"
    )
    assert (
        columns["time to target"]["tcn"].text == "4.00 s"
        and columns["time to target"]["elman"].text == "not reached"
    )


def test_the_sentence_names_who_does_not_beat_whom_and_in_how_many_seeds_a_cell_did():
    made, _ = table(rows("gru", [0.3, 0.31, 0.6]) + rows("elman", [0.9] * 3) + convolution([0.1] * 3))
    assert made.note.startswith(
        "“every position apart, linear” is not beaten by gru and elman; “order-free linear” is not beaten by"
        " gru (lower in 2 of 3 seeds) and elman. All trained models beat “constant answer”."
    )
    assert "sees all steps at once" in made.note and "All at cpu, float32, 1 thread, B 64, H 32." in made.note
    made, _ = table(rows("gru", [0.1] * 3, rivals={"order-free linear": 0.5}))
    assert made.note.startswith("gru beats every rival: “order-free linear” and “constant answer”.")
    assert "all steps at once" not in made.note
    assert (
        "“order-free linear” and “constant answer” are not beaten by any model."
        in table(rows("gru", [2.0]) + rows("lstm", [2.0]))[0].note
    )


def test_a_diverged_seed_counts_as_not_beating_and_is_counted_beside_the_others():
    made, columns = table(rows("gru", [0.1, 0.1]) + diverged("gru", seed=2))
    assert columns["seeds"]["gru"].text == "2 of 3" and columns["seeds"]["gru"].detail == "1 diverged"
    assert "gru (lower in 2 of 3 seeds)" in made.note
    assert columns["test loss (nats)"]["gru"].text == "0.100"


def test_a_model_without_a_result_has_its_status_and_step_in_the_last_row():
    skipped = {
        "probe": "training",
        "cell": "lstm",
        "backend": "numba",
        "task": "splice",
        "seed": 0,
        "status": "skipped",
    }
    made, columns = table(
        [*rows("gru", [0.1]), *diverged("elman"), skipped | {"value": np.nan, "reason": "no data"}]
    )
    assert [r[0].text for r in made.rows][-2:] == ["elman", "lstm"]
    entry = columns["test loss (nats)"]["elman"]
    assert (entry.text, entry.detail, entry.kind) == ("diverged", "at step 7", "status")
    assert columns["test loss (nats)"]["lstm"].text == "skipped" and "lstm" not in made.note


def test_a_rival_without_a_loss_shows_its_own_figures():
    every = rows("gru", [0.5], rivals={"unigram": 3.0})
    every += [
        every[0] | {"metric": "figure.chrf", "value": 23.0},
        every[0] | {"metric": "rival_chrf.nearest", "value": 51.7},
    ]
    every += [every[0] | {"metric": "rival_loss.nearest", "value": np.nan}]
    made, columns = table(every)
    assert columns["chrF"]["gru"].text == "23.0" and columns["chrF"]["nearest"].text == "51.7"
    assert columns["test loss (nats)"]["nearest"].text == "–" and "nearest" not in made.note
    assert columns["bits per target"]["gru"].text == "0.721"  # 0.5 / ln 2


def test_a_system_is_shown_with_its_own_exponent_beside_the_true_one():
    every = rows("gru", [0.02], unit="1", accuracy=False)
    values = {"own_lyapunov": -0.12, "true_lyapunov": -0.105, "profile_rms_nats": 0.7}
    every += [every[0] | {"metric": f"figure.{name}", "value": v} for name, v in values.items()]
    made, _ = table(every)
    here = made.header.index("Lyapunov exponent (nats/step)")
    assert made.header[here : here + 3] == (
        "Lyapunov exponent (nats/step)",
        "the system's",
        "lag profile, off by (nats)",
    )
    assert [e.text for e in made.rows[0][here : here + 3]] == ["−0.120", "−0.105", "0.700"]
    assert "accuracy" not in made.header and "bits per target" not in made.header


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
        cases[0] | {"metric": "own_profile", "lag": 5, "value": -np.inf}
    ]  # an input that does nothing is a gap
    page, text = written(every, tmp_path)
    drawn = texts(tmp_path / "identification.svg")
    assert {"the system", "gru", "elman", "pendulum", "oscillator", "|d answer / d input|"} <= set(drawn)
    assert "## Identified systems" in text and "own_profile" not in text and page.count("<svg") == 3


def test_verdicts_stand_in_the_table_and_their_evidence_apart(tmp_path):
    every = rows("gru", [0.5, 0.5])
    for seed, label in ((0, "VANISHED"), (1, "LEARNING")):
        case = next(r for r in every if r["seed"] == seed)
        every.append(
            case | {"metric": f"label.{label}", "value": 1.0, "reason": f"{label} at lag {seed + 12}"}
        )
    entry = table(every)[1]["verdict"]["gru"]
    assert (entry.text, entry.detail) == ("VANISHED 1/2", "LEARNING 1")
    page, text = written(every, tmp_path)
    assert "| splice | gru | numba | 1 | LEARNING | at lag 13 |" in text and "at lag 12" in page


def test_a_training_without_a_verdict_says_why(tmp_path):
    every = rows("gru", [0.5])
    every[0]["reason"] = "no verdict: it has layers"
    _, text = written(every, tmp_path)
    assert "| splice | gru | numba | 0 | no verdict | it has layers |" in text


def test_settings_and_backends_that_differ_have_rows_of_their_own():
    every = rows("gru", [0.1]) + rows("gru", [0.2], backend="native") + rows("gru", [0.3], dtype="float64")
    made, _ = table(every)
    assert [(r[2].text, r[3].text) for r in made.rows if r[1].text == "cell"] == [
        ("numba", "float32"),
        ("native", "float32"),
        ("numba", "float64"),
    ]
    assert "gru (numba)" in made.note


def test_results_of_before_rivals_and_best_epochs_are_still_shown():
    old = ("loss", "elapsed_s", "epoch_s", "test_loss", "accuracy", "trivial_loss", "time_to_target_s")
    every = [r for r in rows("gru", [0.2]) if r["metric"] in old]
    _, columns = table(every)
    assert columns["test loss (nats)"]["gru"].text == "0.233"  # after the last epoch


# --- seeds
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "cut"), [(2, 0), (3, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5)])
def test_the_interval_leaves_out_as_many_extremes_as_the_binomial_distribution_allows(count, cut):
    values = np.random.default_rng(count).permutation(np.arange(count, dtype=float))
    assert seeds.bounds(values) == (cut, count - 1 - cut)


def test_the_interval_holds_the_median_of_all_seeds_as_often_as_is_said():
    draws = np.sort(np.random.default_rng(0).exponential(size=(20_000, 3)), axis=1)
    held = np.mean((draws[:, 0] <= np.log(2)) & (np.log(2) <= draws[:, 2]))
    assert abs(held - seeds.coverage(3)) < 4 * np.sqrt(0.75 * 0.25 / 20_000) and seeds.coverage(3) == 0.75
    assert "75 %" in seeds.sentence(3) and "at least 95 %" in seeds.sentence(6) and "no interval" in seeds.sentence(1)


def test_a_value_that_is_not_finite_does_not_vanish_from_the_median():
    assert seeds.over_seeds(pd.Series([0.1, np.inf, 0.2])).text == "not finite in 1 of 3"


# --- the figure
# ---------------------------------------------------------------------------------------------------------------


def test_a_task_has_its_figure_and_table_in_one_section_and_both_forms_of_the_page(tmp_path):
    every = rows("gru", [0.3, 0.31]) + rows("gru", [0.02], task="adding:steps=8", unit="1", accuracy=False)
    page, text = written(every, tmp_path)
    assert sorted(p.stem for p in tmp_path.glob("*.svg")) == ["training-adding-steps-8", "training-splice"]
    assert re.findall(r"^## (Training.*)$", text, flags=re.M) == [
        "Training",
        "Training: splice",
        "Training: adding:steps=8",
    ]
    assert (
        text.index("](training-splice.svg)")
        < text.index("| constant answer".replace(" answer", "\u00a0answer"))
        < text.index("](training-adding")
    )
    assert page.count("<svg") == 2 and "is not beaten by" in page and "is not beaten by" in text
    written(rows("gru", [0.3]), tmp_path)
    assert [p.stem for p in tmp_path.glob("*.svg")] == ["training-splice"]


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
    assert "A cross: there a training diverged." in page


def test_a_task_of_nothing_but_refusals_has_a_table_and_no_figure(tmp_path):
    refused = {
        "probe": "training",
        "cell": "gru",
        "backend": "numba",
        "task": "splice",
        "seed": 0,
        "value": np.nan,
    }
    page, text = written([refused | {"status": "skipped", "reason": "no data here"}], tmp_path)
    assert "<svg" not in page and "## Training: splice" in text and "no data here" in text


def test_every_one_of_many_cells_is_drawn_and_in_the_table(tmp_path):
    cells = [f"cell{i:02d}" for i in range(29)]
    page, text = written(
        [r for i, c in enumerate(cells) for r in rows(c, [0.1 + i / 20], updates=30)][::-1], tmp_path
    )
    drawn = texts(tmp_path / "training-splice.svg")
    assert [name.partition(",")[0] for name in drawn if name.startswith("cell")] == cells
    assert (
        len(set(re.findall(r'id="[\w-]+-axes_\d+"', (tmp_path / "training-splice.svg").read_text())))
        == 4 * 2 * 2
    )
    assert all(f"| {c} | cell |" in text for c in cells) and "and 13 more" in text
    assert "From the lowest test loss to the highest." in page


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


def test_the_summary_has_the_epochs_of_few_tasks_and_leaves_many_to_their_sections():
    few = pd.DataFrame(rows("gru", [0.3], task="a") + rows("gru", [0.3], task="b"))
    assert {"epoch, a", "epoch, b"} < set(overview.summary_table(few).header)
    many = pd.DataFrame([r for n in range(7) for r in rows("gru", [0.3], task=f"task{n}", updates=3)])
    found = overview.summary_table(many)
    assert not [h for h in found.header if h.startswith("epoch")] and "7 tasks" in found.note


def test_several_tasks_have_a_table_of_all_models_with_how_many_rivals_they_beat(tmp_path):
    other = {"task": "adding", "unit": "1", "accuracy": False, "rivals": {"last value": 0.1}}
    every = rows("gru", [0.3, 0.31]) + rows("gru", [0.02], **other) + diverged("elman", **other)
    _, text = written(every, tmp_path)
    assert "## Training\n\n| model | backend | splice | adding |" in text
    assert "| gru | numba | 80.0 % (beats 2 of 3) | 0.020 (beats 2 of 2) |" in text
    assert "| elman | numba | – | diverged |" in text
    assert "## Training\n" not in written(rows("gru", [0.3]), tmp_path)[1]
    _, turned = written(
        [r for task in "abc" for r in rows("gru", [0.3], task)] + rows("lstm", [0.4], "a"), tmp_path
    )
    assert "| task | gru, numba | lstm, numba |" in turned
    assert (
        "| a | 80.0 % (beats 2 of 3) | 80.0 % (beats 2 of 3) |" in turned
        and "| c | 80.0 % (beats 2 of 3) | – |" in turned
    )


def test_the_summary_has_the_epochs_of_the_seeds_that_ran_though_others_did_not():
    skipped = {
        **WORKLOAD,
        "cell": "gru",
        "backend": "numba",
        "task": "splice",
        "seed": 1,
        "status": "skipped",
        "value": np.nan,
    }
    row = report.summary.summary(pd.DataFrame([*rows("gru", [0.3]), skipped])).iloc[0]
    assert row["epoch_s:splice"] == pytest.approx(2.0) and row["epoch_s:splice_status"] == ""


def test_a_terminal_shows_the_rivals_beside_the_cells_and_no_empty_summary():
    said = report.terminal.text(pd.DataFrame(rows("gru", [0.3, 0.31, 0.32]) + rows("elman", [0.9] * 3)))
    assert max(map(len, said.splitlines())) <= 120
    below = said.partition("Training: splice")[2]
    order = [below.index(f"\n{name}") for name in ("gru", "order-free linear", "elman", "constant answer")]
    assert order == sorted(order)
