"""The summary: a row for each cell and backend, its settings, its words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.report_rows import MANY, gradient_decay, parameters, refused, throughput, training
from support.training_rows import WORKLOAD as TRAINING
from support.training_rows import rows as trained

from cellbench.harness import report
from cellbench.harness.report import overview
from cellbench.harness.report.frame import label, prepare
from cellbench.harness.report.needed import needed
from cellbench.harness.report.summary import rows_of, rows_of_ready, word_of

pytestmark = pytest.mark.quick


def test_summary_has_a_row_for_each_cell_and_backend_with_its_median_and_interval_at_the_largest_steps():
    rows = report.summary.summary(pd.DataFrame(throughput()))
    assert list(zip(rows["cell"], rows["backend"], strict=True)) == [
        (c, b) for c in ("gru", "lstm") for b in ("numpy", "native")
    ]
    gru = rows.iloc[0]
    assert gru["steps"] == 256
    assert gru[["forward_s", "forward_s_low", "forward_s_high"]].tolist() == pytest.approx(
        [4.4e-3, 4e-3, 4.8e-3]
    )
    assert gru[["backward_s", "backward_s_low", "backward_s_high"]].tolist() == pytest.approx(
        [13.2e-3, 12e-3, 14.4e-3]
    )
    assert gru["forward_speedup"] == pytest.approx(0.25)


def test_one_process_gives_a_median_without_an_interval():
    rows = report.summary.summary(pd.DataFrame(throughput(processes=1)))
    assert rows["forward_s"].notna().all() and rows["forward_s_low"].isna().all()
    assert "…" not in report.terminal.summary_text(pd.DataFrame(throughput(processes=1)))


def test_summary_puts_parameters_training_and_gradient_of_a_cell_in_its_rows():
    frame = pd.DataFrame(
        throughput(backends=("numba",)) + parameters() + training(backends=("numba",)) + gradient_decay()
    )
    rows = report.summary.summary(frame)
    assert rows["parameters"].tolist() == [4800, 4800]
    assert rows["epoch_s:adding"].tolist() == [1.5, 1.5]
    assert rows["gradient"].tolist() == ["vanishes", "vanishes"]
    assert rows["rate_low"].tolist() == pytest.approx([-0.645, -0.645])


def test_settings_that_vary_get_rows_of_their_own():
    frame = pd.DataFrame(
        throughput(cells=("gru",))
        + [r | {"hidden_size": 64, "value": 1.0} for r in throughput(cells=("gru",))]
    )
    rows = report.summary.summary(frame)
    assert sorted(rows["hidden_size"]) == [32, 32, 64, 64]
    assert set(rows.loc[rows["hidden_size"] == 64, "forward_s"]) == {1.0}
    assert " H " in report.terminal.summary_text(frame).splitlines()[0]


def test_summary_of_two_runs_keeps_them_apart():
    frame = pd.DataFrame(
        throughput(cells=("gru",))
        + [r | {"run": "second", "value": r["value"] * 2} for r in throughput(cells=("gru",))]
    )
    rows = report.summary.summary(frame).set_index(["run", "backend"])["forward_s"]
    assert rows["second", "numpy"] == pytest.approx(2 * rows["first", "numpy"])


def test_times_of_no_cell_have_no_row():
    frame = pd.DataFrame(throughput(["gru"], ["native"]))
    nobody = frame.assign(cell=None)
    assert list(report.summary.summary(pd.concat([frame, nobody]))["cell"]) == ["gru"]


def test_a_label_is_the_cell_and_its_options():
    assert label("elman", "activation=relu:biases=1") == "elman:activation=relu:biases=1"
    assert prepare(
        pd.DataFrame([{"cell": "gru", "options": None}, {"cell": "gru", "options": float("nan")}])
    )["label"].tolist() == ["gru", "gru"]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.2, -0.0101, "vanishes"),
        (-0.2, -0.01, "stable"),
        (-0.01, 0.01, "stable"),
        (0.01, 0.2, "stable"),
        (0.0101, 0.2, "explodes"),
        (-1.0, 1.0, "stable"),
        (float("nan"), 1.0, ""),
    ],
)
def test_gradient_words_change_at_the_thresholds(low, high, word):
    assert word_of(low, high) == word


def test_many_cells_have_a_row_each_in_the_summary_with_their_backends_side_by_side():
    rows = (
        throughput(MANY, ("numpy", "numba"), steps=(64,))
        + parameters(MANY)
        + gradient_decay(MANY, steps=8, seeds=1)
    )
    rows = [r for r in rows if (r["cell"], r.get("backend")) != ("cell07", "numba")]
    rows += [
        refused(
            "throughput",
            "unsupported",
            "no kernel",
            cell="cell07",
            backend="numba",
            steps=64,
            direction="forward",
        )
    ]
    table = overview.summary_table(pd.DataFrame(rows))
    assert [row[0].text for row in table.rows] == list(MANY)
    assert table.header[1:4] == ("parameters", "numba, forward", "numpy, forward") and "T 64, " in table.note
    assert [entry.text for entry in table.rows[7][:4]] == ["cell07", "4.80k", "unsupported", "1.10 ms"]
    assert max(map(len, report.terminal.summary_text(pd.DataFrame(rows)).splitlines())) <= 120


def test_the_summary_has_the_epochs_of_few_tasks_and_leaves_many_to_their_sections():
    few = pd.DataFrame(trained("gru", [0.3], task="a") + trained("gru", [0.3], task="b"))
    assert {"epoch, a", "epoch, b"} < set(overview.summary_table(few).header)
    many = pd.DataFrame([r for n in range(7) for r in trained("gru", [0.3], task=f"task{n}", updates=3)])
    found = overview.summary_table(many)
    assert not [h for h in found.header if h.startswith("epoch")] and "7 tasks" in found.note


def test_the_summary_has_the_epochs_of_the_seeds_that_ran_though_others_did_not():
    skipped = {
        **TRAINING,
        "cell": "gru",
        "backend": "numba",
        "task": "splice",
        "seed": 1,
        "status": "skipped",
        "value": np.nan,
    }
    row = report.summary.summary(pd.DataFrame([*trained("gru", [0.3]), skipped])).iloc[0]
    assert row["epoch_s:splice"] == pytest.approx(2.0) and row["epoch_s:splice_status"] == ""


def test_cells_that_were_only_counted_have_a_row_for_each_size_that_was_swept():
    rows = [{**one, "hidden_size": size} for size in (8, 16) for one in parameters(cells=("gru",))]
    for one in rows:
        one["value"] = one["value"] * one["hidden_size"]
    found = report.summary.summary(pd.DataFrame(rows))
    assert (
        found["hidden_size"].tolist() == [8, 16]
        and found["parameters"].tolist()[1] == found["parameters"][0] * 2
    )
    assert " H " in report.terminal.summary_text(pd.DataFrame(rows))


def repeated(value, **changes):
    """A case with six rows, of two processes."""
    case = {"run": "r", "probe": "throughput", "cell": "gru", "backend": "numba", "device": "cpu"}
    case |= {"dtype": "float32", "threads": 1, "steps": 64, "batch": 2, "input_size": 3, "hidden_size": 4}
    case |= {"direction": "forward", "metric": "seconds", "unit": "s", "status": "ok"} | changes
    return [case | {"process": k % 2, "value": value * (1 + k / 10)} for k in range(6)]


def test_the_summary_of_the_rows_that_it_needs_is_that_of_all_rows():
    frame = pd.DataFrame(
        repeated(1e-3, case="short", steps=8)
        + repeated(2e-3, case="other run", run="s", steps=8)
        + repeated(3e-3, case="long")
        + repeated(np.inf, case="infinite", backend="torch")
        + repeated(5.0, case="long", metric="clock_hz")
        + repeated(2.0, case="long", metric="ratio_to_native")
        + repeated(np.nan, case="refused", backend="native", status="unsupported", metric=None)
        + repeated(1.0, case="null", backend="numpy", status=None)[:3]
        + repeated(7.0, case="sizes", probe="parameters", metric="parameters", backend=None, steps=None)
        + repeated(0.5, case="task", probe="training", metric="epoch_s", task="adding", seed=1)
        + repeated(0.5, case="unknown", cell="lstm", metric="something")
    )
    few = needed(frame, report.summary.METRICS)
    assert list(few["case"].drop_duplicates()) == list(frame["case"].drop_duplicates())
    assert (few["metric"] == "seconds").sum() < (frame["metric"] == "seconds").sum() / 2
    assert repr(rows_of(frame)) == repr(rows_of_ready(prepare(frame)))


def test_whole_numbers_and_texts_as_values_are_summarised_as_they_are():
    frame = pd.DataFrame(repeated(1, case="a")).assign(value=[1, 2, "no number", 4, 5, 8])
    assert repr(rows_of(frame)) == repr(rows_of_ready(prepare(frame)))
    whole = frame.assign(value=[1, 2, 2, 4, 5, 8])
    assert repr(rows_of(whole)) == repr(rows_of_ready(prepare(whole)))


def test_a_frame_whose_rows_name_no_case_is_summarised_from_all_of_them():
    frame = pd.DataFrame(repeated(1e-3, case=None) + repeated(2e-3, backend="numpy", case="b"))
    assert needed(frame, report.summary.METRICS) is frame
