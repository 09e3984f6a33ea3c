"""The report from synthetic results: a frame in the tidy schema is generated here, nothing is measured."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cellbench.harness import report
from cellbench.harness.report import overview
from cellbench.harness.report.drawing import drawing
from cellbench.harness.report.frame import label, prepare
from cellbench.harness.report.summary import word_of
from cellbench.harness.report.table import escaped
from cellbench.harness.report.units import quantity

WORKLOAD = {
    "run": "first",
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "batch": 8,
    "input_size": 16,
    "hidden_size": 32,
}
TIMES = {"numpy": 4e-3, "numba": 5e-4, "native": 1e-3}
MANIFEST = {
    "run": "first",
    "created": "2026-01-02T03:04:05",
    "command": "cellbench run 'cells=[gru,lstm]'",
    "config": {"cells": ["gru", "lstm"], "workload": {"steps": [64, 256]}},
    "git": {"commit": "0123456789abcdef", "dirty": True},
    "machine": {"cpu": "A & B <CPU>", "memory_bytes": 2**34, "load": [0.5, 0.25, 0.1]},
}


def row(probe, metric, value, unit="s", **columns):
    return {
        **WORKLOAD,
        "probe": probe,
        "metric": metric,
        "value": value,
        "unit": unit,
        "status": "ok",
        **columns,
    }


def refused(probe, status, reason, **columns):
    return {**WORKLOAD, "probe": probe, "value": np.nan, "status": status, "reason": reason, **columns}


def throughput(cells=("gru", "lstm"), backends=("numpy", "native"), steps=(64, 256), processes=3):
    rows = []
    for cell in cells:
        for backend in backends:
            for T in steps:
                for direction, factor in (("forward", 1), ("backward", 3)):
                    case = {
                        "cell": cell,
                        "backend": backend,
                        "steps": T,
                        "direction": direction,
                        "implementation": f"{backend} 1.0",
                    }
                    seconds = TIMES.get(backend, 2e-3) * factor * T / 256
                    for p in range(processes):
                        here = seconds * (1 + 0.1 * p)
                        rows += [
                            row("throughput", "seconds", here * s, process=p, sample=i, **case)
                            for i, s in enumerate((0.9, 1, 1.5))
                        ]
                        rows.append(row("throughput", "steps_per_s", T / here, "1/s", process=p, **case))
                        rows.append(
                            row(
                                "throughput",
                                "ratio_to_native",
                                TIMES["native"] / TIMES.get(backend, 2e-3),
                                "1",
                                process=p,
                                **case,
                            )
                        )
                    rows.append(row("throughput", "first_call_s", 0.25, **case))
                    rows.append(row("throughput", "check_error", 3e-7, "1", **case))
    return rows


def parameters(cells=("gru", "lstm")):
    counts = {
        "parameters": 4800.0,
        "parameters.weight_ih": 1536.0,
        "parameter_bytes": 19200.0,
        "state_size": 32.0,
        "forward_flop": 9600.0,
        "affine": 0.0,
    }
    return [
        row("parameters", metric, value, "count", cell=cell, backend=None)
        for cell in cells
        for metric, value in counts.items()
    ]


def gradient_decay(cells=("gru", "lstm"), last=-40.0, steps=64, seeds=2):
    rows = []
    for cell in cells:
        for seed in range(seeds):
            case = {"cell": cell, "steps": steps, "seed": seed}
            for sample in range(2):
                logs = np.linspace(0, last - seed, steps + 1)
                rows += [
                    row("gradient_decay", "log_norm", v, "nats", lag=i, sample=sample, **case)
                    for i, v in enumerate(logs)
                ]
            rate = last / steps
            rows += [
                row("gradient_decay", m, rate + d, "nats/step", **case)
                for m, d in (("rate", 0), ("rate_low", -0.02), ("rate_high", 0.02))
            ]
    return rows


def training(cells=("gru", "lstm"), backends=("numba", "native"), tasks=("adding",), updates=250, seeds=2):
    rows = []
    for cell, backend, task, seed in (
        (c, b, t, s) for c in cells for b in backends for t in tasks for s in range(seeds)
    ):
        case = {"cell": cell, "backend": backend, "task": task, "seed": seed}
        losses = 0.2 + 0.8 * np.exp(-np.arange(updates) / 60) + 0.01 * np.cos(np.arange(updates) * (seed + 1))
        rows += [row("training", "loss", v, "nats", lag=i, **case) for i, v in enumerate(losses)]
        rows += [row("training", "elapsed_s", 0.01 * (i + 1), lag=i, **case) for i in range(updates)]
        rows += [row("training", "epoch_s", 1.0 + seed, lag=e, **case) for e in (1, 2, 3)]
        rows += [row("training", "test_loss", 0.3 / e, "nats", lag=e, **case) for e in (1, 2, 3)]
        rows += [
            row("training", "trivial_loss", 1.1, "nats", **case),
            row("training", "time_to_target_s", np.nan if seed else 2.0, **case),
        ]
    return rows


def clipping(cells=("gru",), variants=("max_norm=none", "max_norm=1.0"), updates=60, seeds=3):
    rows = []
    for cell, variant, seed in ((c, v, s) for c in cells for v in variants for s in range(seeds)):
        case = {"cell": cell, "backend": "numba", "variant": variant, "seed": seed}
        losses = np.exp(-np.arange(updates) / 20) + 1e-3 * seed
        if variant == "max_norm=none":
            losses[updates // 2 :] = np.inf
        rows += [row("clipping", "loss", v, "nats", lag=i, **case) for i, v in enumerate(losses)]
        rows += [
            row("clipping", "clipped_fraction", 0.25, "1", **case),
            row("clipping", "spikes", 2.0, "count", **case),
        ]
        rows += [
            row("clipping", "solved", float(seed > 0), "1", **case),
            row("clipping", "solved_step", 40.0 if seed else np.nan, **case),
        ]
    return rows


PROBES = {
    "parameters": parameters,
    "throughput": throughput,
    "gradient_decay": gradient_decay,
    "training": training,
    "clipping": clipping,
}


def written(rows, folder, manifests=()):
    """Text of the page and of the Markdown."""
    page = report.write(pd.DataFrame(rows), list(manifests), folder)
    return page.read_text(), (folder / "report.md").read_text()


# --- the summary
# --------------------------------------------------------------------------------------------------------------


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
    assert "hidden_size" in report.terminal.summary_text(frame).splitlines()[0]


def test_summary_of_two_runs_keeps_them_apart():
    frame = pd.DataFrame(
        throughput(cells=("gru",))
        + [r | {"run": "second", "value": r["value"] * 2} for r in throughput(cells=("gru",))]
    )
    rows = report.summary.summary(frame).set_index(["run", "backend"])["forward_s"]
    assert rows["second", "numpy"] == pytest.approx(2 * rows["first", "numpy"])


def test_summary_text_fits_a_terminal_and_carries_options_and_status():
    rows = (
        throughput(cells=("gru", "elman"), backends=("numpy", "numba", "native"))
        + parameters()
        + gradient_decay()
    )
    rows = [r | {"options": "activation=relu:biases=1"} if r["cell"] == "elman" else r for r in rows]
    rows += [
        refused(
            "throughput", "unsupported", "no kernel", cell="lstm", backend="native", steps=256, direction=d
        )
        for d in ("forward", "backward")
    ]
    text = report.terminal.summary_text(pd.DataFrame(rows))
    assert max(map(len, text.splitlines())) <= 120
    assert "elman:activation=relu:biases=1" in text and "unsupported" in text


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


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1.2e-5, "s", "12.0 µs"),
        (0.0044, "s", "4.40 ms"),
        (90, "s", "90.0 s"),
        (1200, "s", "20.0 min"),
        (7, "count", "7"),
        (67584, "count", "67.6k"),
        (1.5 * 2**20, "B", "1.50 MiB"),
        (3.618, "x", "3.62×"),
        (float("nan"), "s", "–"),
        (float("inf"), "count", "∞"),
        (-0.0312, "1", "−0.031"),
    ],
)
def test_quantities_read_as_a_person_writes_them(value, kind, text):
    assert quantity(value, kind) == text


MANY = tuple(f"cell{i:02d}" for i in range(30))


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


def test_matched_cells_are_compared_in_one_panel_though_their_hidden_sizes_differ(tmp_path):
    sizes = {"gru": 32, "lstm": 26}
    rows = [
        r | {"match": "parameters 4800 (gru, H 32)", "hidden_size": sizes[r["cell"]]}
        for make in PROBES.values()
        for r in make()
        if r["cell"] in sizes
    ]
    page, _ = written(rows, tmp_path)
    assert "closest to the budget of the first one: parameters 4800 (gru, H 32)" in page
    for name, panels in {"gradient_decay": 1, "training-adding": 2, "throughput": 4, "clipping": 1}.items():
        svg = (tmp_path / f"{name}.svg").read_text()
        assert len(re.findall(r'id="[\w-]+-axes_\d+"', svg)) == panels, name
        assert "gru (H 32)" in svg and ("lstm (H 26)" in svg or name == "clipping")
    table = report.summary.summary(pd.DataFrame(rows))
    assert dict(zip(table["cell"], table["hidden_size"], strict=True)) == sizes
    assert table["epoch_s:adding"].notna().any() and table["rate"].notna().all()


def test_matched_cells_of_two_budgets_are_compared_apart(tmp_path):
    rows = []
    for asked, sizes in ((32, {"gru": 32, "lstm": 26}), (64, {"gru": 64, "lstm": 55})):
        match = f"parameters {asked * 100} (gru, H {asked})"
        rows += [r | {"match": match, "hidden_size": sizes[r["cell"]]} for r in gradient_decay(seeds=1)]
    written(rows, tmp_path)
    svg = (tmp_path / "gradient_decay.svg").read_text()
    assert len(re.findall(r'id="\w+-axes_\d+"', svg)) == 2
    assert all(text in svg for text in ("gru (H 64)", "lstm (H 26)", "equal parameters 3200 (gru, H 32)"))


# --- the page
# -----------------------------------------------------------------------------------------------------------------


def test_a_case_that_is_not_ok_shows_its_status_and_reason(tmp_path):
    rows = [
        *throughput(cells=("gru",)),
        refused(
            "throughput", "unsupported", "native has no slstm", cell="slstm", backend="native", steps=256
        ),
    ]
    rows.append(
        refused("training", "out_of_memory", "needs 99 GiB", cell="gru", backend="native", task="adding")
    )
    for text in written(rows, tmp_path):
        assert "unsupported" in text and "native has no slstm" in text
        assert "out_of_memory" in text and "needs 99 GiB" in text
    assert (
        report.summary.summary(pd.DataFrame(rows)).set_index("cell").loc["slstm", "forward_status"]
        == "unsupported"
    )


def test_refusals_with_one_reason_share_a_row_that_names_the_cells(tmp_path):
    cells = ["mlstm", "mgu", "lem"]
    rows = throughput(cells=("gru",))
    rows += [
        refused(
            "throughput",
            "unsupported",
            f"cell {c!r} writes out its step",
            cell=c,
            case=c + d,
            backend="numba",
            direction=d,
        )
        for c in cells
        for d in ("forward", "backward")
    ]
    rows += [
        refused(
            "throughput", "wrong", "d_x is off", cell="s5", case="s5", backend="numba", direction="forward"
        )
    ]
    page, text = written(rows, tmp_path)
    table = [line for line in text.splitlines() if "writes out" in line or "d_x is off" in line]
    assert len(table) == 2 and "wrong" in table[0]
    assert "mlstm, mgu, lem" in table[1] and "the cell writes out its step | 6 |" in table[1]
    assert "7 cases have no result: 6 unsupported, 1 wrong" in page


def test_a_run_of_nothing_but_refusals_gives_a_page(tmp_path):
    rows = [
        refused(probe, "failed", f"no {probe}", cell="gru", backend="numpy", steps=64) for probe in PROBES
    ]
    page, _ = written(rows, tmp_path)
    assert "<svg" not in page and not list(tmp_path.glob("*.svg"))
    assert all(f"no {probe}" in page for probe in PROBES)


@pytest.mark.parametrize("probe", PROBES)
def test_each_probe_alone_gives_a_page_without_an_empty_figure(probe, tmp_path):
    page, text = written(PROBES[probe](), tmp_path, [MANIFEST])
    drawn = [path.stem for path in tmp_path.glob("*.svg")]
    assert drawn == (
        ["training-adding"] if probe == "training" else [] if probe == "parameters" else [probe]
    )
    assert page.count("<svg") == len(drawn)
    assert all(f"]({name}.svg)" in text for name in drawn)
    assert ">gru" in page


def test_no_results_at_all_gives_a_page_that_says_so(tmp_path):
    page, text = written([], tmp_path)
    assert "no results" in page and "no results" in text
    assert report.terminal.summary_text(pd.DataFrame()) == "no results"


def test_names_are_escaped_everywhere(tmp_path):
    name = "<script>x | $\\frac$ **b**\n</table>"
    rows = [r | {"cell": name} for make in PROBES.values() for r in make(cells=("gru",))]
    rows.append(
        refused("throughput", "failed", "<img src=x onerror=alert(1)>", cell=name, backend="<b>", steps=256)
    )
    page, text = written(rows, tmp_path, [MANIFEST | {"run": name, "command": name, "config": {name: name}}])
    for unsafe in ("<script", "<img", "<b>", "x</table>", "<CPU>"):
        assert unsafe not in page
        assert unsafe not in re.sub(r"^    .*$", "", text, flags=re.M)  # indented code is plain in Markdown
    assert "&lt;script&gt;x" in page
    assert (
        len(
            {
                line.count("|") - line.count("\\|")
                for line in text.splitlines()
                if line.startswith("| &lt;script") and "100" in line
            }
        )
        <= 1
    )
    for path in tmp_path.glob("*.svg"):
        assert "<script" not in path.read_text() and "script" in path.read_text()


def test_markdown_markup_in_a_name_is_made_plain():
    assert escaped("a|b [x](http://y) _z_ out_of_memory") == r"a\|b \[x\](http&#58;//y) \_z\_ out_of_memory"


def test_the_page_fetches_nothing_and_no_two_elements_share_an_id(tmp_path):
    page, _ = written([r for make in PROBES.values() for r in make()], tmp_path, [MANIFEST])
    assert page.count("<svg") == 4
    assert not re.search(r"""\b(src|href)\s*=\s*["']?[^#"']""", page)
    assert not re.search(r"@import|url\((?!#)|<script|<link", page)
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', page)) <= set(ids)
    assert page.index('id="summary"') < page.index("<svg")


def test_manifest_and_command_are_shown_whatever_their_keys(tmp_path):
    page, text = written(throughput(), tmp_path, [MANIFEST | {"odd": {"deep": [{"a": None}, 1]}}])
    assert "odd.deep[0].a" in page and "16.0 GiB" in page and "A &amp; B &lt;CPU&gt;" in page
    assert "    cellbench run 'cells=[gru,lstm]'" in text
    assert "with uncommitted changes" in page


def test_one_report_written_twice_is_the_same_and_leaves_no_stale_figure(tmp_path):
    first = written(throughput() + gradient_decay(), tmp_path)
    assert written(throughput() + gradient_decay(), tmp_path) == first
    written(throughput(), tmp_path)
    assert [path.name for path in tmp_path.glob("*.svg")] == ["throughput.svg"]


# --- figures
# ------------------------------------------------------------------------------------------------------------------


def test_log_norms_far_beyond_floating_point_are_drawn_without_overflow(tmp_path):
    rows = gradient_decay(cells=("gru",), last=-10000.0) + gradient_decay(cells=("lstm",), last=2000.0)
    rows += [
        r
        | {
            "cell": "elman",
            "value": -np.inf if r.get("lag", 0) > 30 and r["metric"] == "log_norm" else r["value"],
        }
        for r in rows[:136]
    ]
    with np.errstate(all="raise"):
        page, _ = written(rows, tmp_path)
    svg = (tmp_path / "gradient_decay.svg").read_text()
    numbers = [
        float(n)
        for path in re.findall(r'\sd="([^"]*)"', svg)
        for n in re.findall(r"-?[\d.]+(?:e[-+]?\d+)?", path)
    ]
    assert numbers and np.isfinite(numbers).all()
    assert "inf" not in svg and "nan" not in svg
    assert "The axis ends where float64 does" in page
    assert "10⁻³⁰⁰" in svg and "10³⁰⁰" in svg


def test_a_backend_has_the_same_colour_in_every_figure(tmp_path):
    written(throughput(backends=("numba", "native")) + training(), tmp_path)
    names = prepare(pd.DataFrame(throughput(backends=("numba", "native"))))["backend"]
    for backend, colour in drawing.colours(sorted(set(names))).items():
        assert backend in ("numba", "native")
        assert (
            colour in (tmp_path / "throughput.svg").read_text()
            and colour in (tmp_path / "training-adding.svg").read_text()
        )


def test_figures_carry_text_and_their_axes(tmp_path):
    written([r for make in PROBES.values() for r in make()], tmp_path)
    words = {
        "throughput": "T (steps)",
        "gradient_decay": "lag (steps before the last)",
        "training-adding": "training time (s)",
        "clipping": "optimiser steps",
    }
    for name, word in words.items():
        texts = [
            element.text
            for element in ElementTree.parse(tmp_path / f"{name}.svg").iter()
            if element.tag.endswith("}text")
        ]
        assert word in texts


def test_a_loss_that_is_never_finite_gets_no_panel(tmp_path):
    bad = [
        r | {"value": np.nan} if r["metric"] == "loss" else r
        for r in training(tasks=("hopeless",)) + clipping(cells=("rnn",))
    ]
    page, _ = written(bad, tmp_path / "bad")
    assert "<svg" not in page and "hopeless" in page
    written(bad + training() + clipping(), tmp_path / "both")
    assert not (tmp_path / "both" / "training-hopeless.svg").exists()
    assert "rnn" not in (tmp_path / "both" / "clipping.svg").read_text()


def test_one_length_gives_points_with_a_cell_a_line(tmp_path):
    page, _ = written(throughput(steps=(64,)), tmp_path)
    assert "T = 64, further right is faster" in page


def test_many_cells_are_sorted_dots_and_small_panels(tmp_path):
    rows = throughput(MANY, tuple(TIMES), processes=1)
    rows = [
        r | {"value": r["value"] * (1 + int(r["cell"][4:]))} if r["metric"] == "steps_per_s" else r
        for r in rows
    ]
    decays = [
        r
        for i, cell in enumerate(MANY)
        for r in gradient_decay((cell,), last=-5.0 * (i + 1), steps=8, seeds=1)
    ]
    page, _ = written(rows + decays[::-1], tmp_path)
    dots, panels = texts(tmp_path / "throughput.svg"), texts(tmp_path / "gradient_decay.svg")
    assert [t for t in dots if t in MANY] == list(MANY[::-1])  # the fastest first
    assert [t for t in panels if t in MANY] == list(MANY)  # the furthest first
    assert {"10⁻²", "10⁻⁶⁵"} < set(panels)  # the norms at the end stand in the titles
    assert "T = 256, further right is faster" in page and "The table has the other T." in page


def test_many_cells_with_long_names_are_all_on_the_page(tmp_path):
    cells = [f"cell{i}:with=a:long=label" for i in range(12)]
    page, _ = written(
        throughput(cells, tuple(TIMES), processes=1) + gradient_decay(cells, steps=8, seeds=1), tmp_path
    )
    assert all(f"cell{i}" in page for i in range(12))


def test_a_long_table_is_folded_and_a_short_one_is_not(tmp_path):
    page, _ = written(throughput(steps=(64,)), tmp_path / "short")
    assert "<details" not in page
    page, _ = written(throughput(MANY, steps=(64,)), tmp_path / "long")
    assert "<summary>120 rows</summary>" in page and page.count("<details>") == page.count("</details>") == 1


def test_colours_within_a_panel_differ_however_many_cells_there_are():
    known = drawing.colours(MANY)
    assert drawing.apart({"a": "#1", "b": "#2"}, ["b"])["b"] == "#2"
    some = ["cell01", "cell09", "cell17"]  # of one colour, counted over all
    assert len({drawing.apart(known, some)[name] for name in some}) == 3


def texts(path):
    return [element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")]


def test_many_cells_are_drawn_in_panels_of_bounded_number(tmp_path):
    cells = [f"cell{i}:with=a:long=label" for i in range(12)]
    page, _ = written(
        throughput(cells, tuple(TIMES), processes=1) + gradient_decay(cells, steps=8, seeds=1), tmp_path
    )
    assert all(f"cell{i}" in page for i in range(12))


def test_importing_the_report_loads_no_drawing_library():
    code = (
        "import sys, cellbench.harness.report; print([m for m in ('seaborn', 'matplotlib', 'torch') if m in"
        " sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
