"""Figures: panels, colours, axes and texts of what is drawn."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from support.report_rows import (
    MANY,
    PROBES,
    TIMES,
    clipping,
    gradient_decay,
    row,
    texts,
    throughput,
    training,
    written,
)

from cellbench.harness import report
from cellbench.harness.report.drawing import drawing
from cellbench.harness.report.drawing.panels import MOST_PANELS, cut, titled


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


def test_a_backend_has_the_colour_of_the_whole_run_in_a_figure_that_lacks_others(tmp_path):
    written(throughput(backends=("numba",)) + training(backends=("native",)), tmp_path)
    first, second, *_ = drawing.COLOURS  # of native and of numba, by their names
    drawn = (tmp_path / "throughput.svg").read_text()
    assert second in drawn and first not in drawn


def test_a_cell_has_the_colour_of_the_whole_run_in_a_figure_that_lacks_others(tmp_path):
    written(gradient_decay(("elman", "gru"), steps=8) + training(("gru",)), tmp_path)
    first, second, *_ = drawing.COLOURS  # of elman and of gru, by their appearance
    assert first in (tmp_path / "gradient_decay.svg").read_text()
    drawn = (tmp_path / "training-adding.svg").read_text()
    assert second in drawn and first not in drawn


def test_figures_carry_text_and_their_axes(everything):
    words = {
        "throughput": "T (steps)",
        "gradient_decay": "lag (steps before the last)",
        "training-adding": "training time (s)",
        "clipping": "optimiser steps",
    }
    for name, word in words.items():
        assert word in texts(everything / f"{name}.svg")


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
    cells = MANY[:12]
    rows = throughput(cells, tuple(TIMES), processes=1)
    rows = [
        r | {"value": r["value"] * (1 + int(r["cell"][4:]))} if r["metric"] == "steps_per_s" else r
        for r in rows
    ]
    decays = [
        r
        for i, cell in enumerate(cells)
        for r in gradient_decay((cell,), last=-5.0 * (i + 1), steps=8, seeds=1)
    ]
    page, _ = written(rows + decays[::-1], tmp_path)
    dots, panels = texts(tmp_path / "throughput.svg"), texts(tmp_path / "gradient_decay.svg")
    assert [t for t in dots if t in cells] == list(cells[::-1])  # the fastest first
    assert [t for t in panels if t in cells] == list(cells)  # the furthest first
    assert {"10⁻²", "10⁻²⁶"} < set(panels)  # the norms at the end stand in the titles
    assert "T = 256, further right is faster" in page and "The table has the other T." in page


def test_many_cells_with_long_names_are_all_on_the_page(tmp_path):
    cells = [f"cell{i}:with=a:long=label" for i in range(12)]
    page, _ = written(
        throughput(cells, tuple(TIMES), processes=1) + gradient_decay(cells, steps=8, seeds=1), tmp_path
    )
    assert all(f"cell{i}" in page for i in range(12))


def test_colours_within_a_panel_differ_however_many_cells_there_are():
    known = drawing.colours(MANY)
    assert drawing.apart({"a": "#1", "b": "#2"}, ["b"])["b"] == "#2"
    some = ["cell01", "cell09", "cell17"]  # of one colour, counted over all
    assert len({drawing.apart(known, some)[name] for name in some}) == 3


def test_a_figure_has_a_bounded_number_of_panels_and_says_what_it_leaves_out():
    panels, rest = cut(list(range(MOST_PANELS + 6)))
    assert panels == list(range(MOST_PANELS)) and "The first 64 of 70 panels" in rest
    assert cut([1, 2]) == ([1, 2], "")


def speeds(rates, cell="gru", **columns):
    """Rows of throughput from {(backend, B, H): steps a second}; three processes around that."""
    return [
        row(
            "throughput",
            "steps_per_s",
            rate * (1 + 0.1 * p),
            "1/s",
            process=p,
            cell=cell,
            backend=backend,
            steps=64,
            direction="forward",
            **{"batch": batch, "hidden_size": hidden, "input_size": hidden, "implementation": "", **columns},
        )
        for (backend, batch, hidden), rate in rates.items()
        for p in (-1, 0, 1)
    ]


def test_the_speed_map_holds_the_fastest_backend_against_the_best_other_at_each_point(tmp_path):
    grid = {("numba", b, h): 600.0 for b in (1, 8) for h in (32, 64)}
    grid |= {
        ("native", b, h): rate for b, h, rate in ((1, 32, 100), (1, 64, 200), (8, 32, 300), (8, 64, 800))
    }
    grid |= {("torch", 1, 32): 150.0, ("torch", 1, 64): 10.0}
    page, _ = written(speeds(grid), tmp_path)
    drawn = texts(tmp_path / "speed_map.svg")
    assert [t for t in drawn if re.fullmatch(r"\d\.\d\d+", t)] == ["4.00", "3.00", "2.00", "0.750"]
    assert {"gru, forward", "hidden size H", "batch B", "1", "8", "32", "64"} <= set(drawn)
    assert "Steps per second of numba" in page and "at T = 64" in page


@pytest.mark.parametrize("missing", ["backend", "batch", "hidden size"])
def test_there_is_no_speed_map_without_two_backends_batches_and_hidden_sizes(tmp_path, missing):
    grid = {(b, n, h): 5.0 for b in ("numba", "native") for n in (1, 8) for h in (32, 64)}
    axis = ["backend", "batch", "hidden size"].index(missing)
    first = next(iter(grid))[axis]
    written(speeds({k: v for k, v in grid.items() if k[axis] == first}), tmp_path)
    assert not (tmp_path / "speed_map.svg").exists() and (tmp_path / "throughput.svg").exists()


def test_every_shade_stands_out_from_white_paper():
    for colour in drawing.shades(list("abcde")).values():
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
        light = np.dot(linear, (0.2126, 0.7152, 0.0722))
        assert 1.05 / (light + 0.05) >= 3  # WCAG's least for what is drawn


def test_a_title_of_two_lines_breaks_between_words():
    _, axes = drawing.grid(1, 4, 2.0, 1.0)
    titled(axes[0, 0], "numba, B 4, forward+backward")
    assert axes[0, 0].get_title(loc="left").splitlines() == ["numba, B 4,", "forward+backward"]


def test_the_speed_map_holds_no_image_which_a_page_does_not_load(tmp_path):
    written(speeds({(n, b, h): 5.0 for n in ("numba", "native") for b in (1, 4) for h in (8, 16)}), tmp_path)
    assert "<image" not in (tmp_path / "speed_map.svg").read_text()
