"""Tables on a terminal: aligned, without colours, nothing cut off."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text
from support.report_rows import gradient_decay, parameters, refused, throughput
from support.training_rows import convolution, rows

from cellbench.harness import report
from cellbench.harness.report.frame import prepare
from cellbench.harness.report.table import Entry, Table, number
from cellbench.harness.screen import one_line

pytestmark = pytest.mark.quick


def test_summary_text_fits_a_terminal_and_carries_options_and_status():
    results = (
        throughput(cells=("gru", "elman"), backends=("numpy", "numba", "native"))
        + parameters()
        + gradient_decay()
    )
    results = [r | {"options": "activation=relu:biases=1"} if r["cell"] == "elman" else r for r in results]
    results += [
        refused(
            "throughput", "unsupported", "no kernel", cell="lstm", backend="native", steps=256, direction=d
        )
        for d in ("forward", "backward")
    ]
    text = report.terminal.summary_text(pd.DataFrame(results))
    assert max(map(len, text.splitlines())) <= 120
    assert "elman:activation=relu:biases=1" in text and "unsupported" in text


def test_a_terminal_shows_the_rivals_beside_the_cells_and_no_empty_summary():
    said = report.terminal.text(pd.DataFrame(rows("gru", [0.3, 0.31, 0.32]) + rows("elman", [0.9] * 3)))
    assert max(map(len, said.splitlines())) <= 120
    below = said.partition("Training: splice")[2]
    order = [below.index(f"\n{name}") for name in ("gru", "order-free linear", "elman", "constant answer")]
    assert order == sorted(order)


def test_a_model_on_two_backends_is_two_rows_that_can_be_told_apart():
    both = rows("gru", [0.3] * 3, backend="numba") + rows("gru", [0.4] * 3, backend="torch")
    said = report.terminal.text(pd.DataFrame(both))
    lines = [line for line in said.partition("Training: splice")[2].splitlines() if line.startswith("gru")]
    assert [("numba" in line, "torch" in line) for line in lines] == [(True, False), (False, True)]
    assert max(map(len, said.splitlines())) <= 120
    alone = report.terminal.text(pd.DataFrame(both[: len(both) // 2] + convolution([0.5] * 3)))
    assert "numba" not in alone.partition("Training: splice")[2]


def test_a_task_or_backend_by_path_stands_with_its_short_name():
    spec = "/home/me/research/my_task.py:Mine:steps=20"
    said = report.terminal.text(pd.DataFrame(rows("gru", [0.3], task=spec, backend="/x/b.py:Own")))
    assert "Training: Mine:steps=20" in said and "/home" not in said
    ready = prepare(pd.DataFrame(rows("gru", [0.3], task="a.py") + rows("gru", [0.3], task="numba")))
    assert set(ready["task"]) == {"a", "numba"}
    alike = rows("gru", [0.3], task="one/a.py:T") + rows("gru", [0.3], task="two/a.py:T")
    assert set(prepare(pd.DataFrame(alike))["task"]) == {"one/a.py:T", "two/a.py:T"}


def table(*rows):
    return Table("", ("name", "value"), tuple((Entry(name), number(*value)) for name, value in rows))


def test_a_table_has_no_colours_and_its_columns_are_aligned():
    text = report.terminal.plain(table(("gru", ("1.25", "1.20 … 1.30")), ("[bold]ünïcode[/]", ("10.5",))))
    assert "\x1b" not in text
    assert text.splitlines() == [
        "name                           value",
        "────────────────────────────────────",
        "gru               1.25 (1.20 … 1.30)",
        "[bold]ünïcode[/]                10.5",
    ]


def test_intervals_give_way_before_anything_else_and_no_name_is_cut_off():
    narrow = report.terminal.plain(table(("gru", ("1.25", "1.20 … 1.30"))), width=20)
    assert "1.25" in narrow and "1.20" not in narrow
    name = "cell:" + ":".join(f"option{i}=value{i}" for i in range(8))
    folded = report.terminal.plain(table((name, ("1.25",))), width=60).splitlines()
    assert max(map(len, folded)) <= 60
    assert "".join(line.split()[0] for line in folded[2:]) == name


def test_a_table_that_cannot_fit_is_wider_and_keeps_every_number():
    header = tuple(f"a column {i}" for i in range(20))
    wide = Table("", header, (tuple(number(f"{i:.6f}") for i in range(20)),))
    text = report.terminal.plain(wide, width=40)
    assert all(f"{i:.6f}" in text and f"a column {i}" in text for i in range(20))
    assert len(text.splitlines()) == 3


def test_a_terminal_says_which_cases_have_no_result_and_why_where_the_reason_is_one():
    none = refused("throughput", "unavailable", "no CUDA device", cell="gru", backend="triton", case="c")
    text = report.terminal.text(pd.DataFrame([*throughput(), none]))
    assert "1 case has no result: 1 unavailable; no CUDA device" in text
    assert "no result" not in report.terminal.text(pd.DataFrame(throughput()))


def test_a_table_that_needs_no_folding_is_laid_out_as_rich_would():
    entries = tuple(
        (Entry(name), number(f"{value:.3g}"), Entry(note))
        for name, value, note in (
            ("gru", 1.5, ""),
            ("ünïcode 世界", -3e-7, "e\u0301 accent"),  # two columns a character, and none
            ("[bold]lstm[/]", 12345, "a\ttab and\na line"),
            ("", 0, "  spaces  "),
        )
    )
    shown = Table("", ("name", "value", "a note of some length"), entries)
    assert report.terminal.plain(shown, width=90) == by_rich(shown, width=90)
    empty = Table("", ("name", "value"), ())
    assert report.terminal.plain(empty) == by_rich(empty, width=120)


def by_rich(table: Table, width: int) -> str:
    """The same table by rich, without a line around it."""
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for name, right in zip(table.header, table.numeric(), strict=True):
        grid.add_column(Text(name), justify="right" if right else "left", no_wrap=True)
    for row in table.rows:
        grid.add_row(*(Text(one_line(entry.text)) for entry in row))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(grid)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
