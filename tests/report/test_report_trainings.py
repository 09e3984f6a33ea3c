"""Trainings as tables: who stands where on a task, and the sentence of who beats whom."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from support.report_rows import written
from support.training_rows import convolution, diverged, rows, table

from cellbench.harness.report.frame import prepare
from cellbench.harness.report.table import markdown
from cellbench.harness.report.trainings import overview


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


def test_a_model_of_several_sizes_stands_once_in_the_sentence():
    sizes = rows("gru", [0.9] * 3, hidden_size=8) + rows("gru", [0.3, 0.9, 0.9], hidden_size=16)
    made, _ = table(sizes + rows("gru", [0.9] * 3, hidden_size=32) + rows("elman", [0.9] * 3))
    assert "“order-free linear” is not beaten by gru (lower in 1 of 9 seeds) and elman." in made.note
    assert "“every position apart, linear” is not beaten by any model;" in made.note


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


def test_several_tasks_have_a_table_of_all_models_with_how_many_rivals_they_beat(tmp_path):
    other = {"task": "adding", "unit": "1", "accuracy": False, "rivals": {"last value": 0.1}}
    every = rows("gru", [0.3, 0.31]) + rows("gru", [0.02], **other) + diverged("elman", **other)
    _, text = written(every, tmp_path)
    assert "## Training\n\n| model | backend | splice | adding |" in text
    assert "| gru | numba | 80.0 % (beats 2 of 3) | 0.020 (beats 2 of 2) |" in text
    assert "| elman | numba | – | diverged |" in text
    assert not overview(prepare(pd.DataFrame(rows("gru", [0.3])))).rows


def test_the_table_of_all_tasks_is_turned_where_the_tasks_are_more_than_the_models():
    every = [r for task in "abc" for r in rows("gru", [0.3], task)] + rows("lstm", [0.4], "a")
    turned = markdown(overview(prepare(pd.DataFrame(every))))
    assert "| task | lowest test loss | gru, numba | lstm, numba |" in turned
    assert "| a | gru (not sure, one seed) | 80.0 % (beats 2 of 3) | 80.0 % (beats 2 of 3) |" in turned
    assert "| c | gru | 80.0 % (beats 2 of 3) | – |" in turned
