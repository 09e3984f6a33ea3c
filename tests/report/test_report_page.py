"""The page and its Markdown: everything stands on it, escaped, and nothing is fetched."""

from __future__ import annotations

import re
import subprocess
import sys

import pandas as pd
import pytest
from support.report_rows import (
    MANIFEST,
    MANY,
    PROBES,
    gradient_decay,
    refused,
    throughput,
    written,
)

from cellbench.harness import report
from cellbench.harness.report.html import SCRIPTS, as_html
from cellbench.harness.report.section import Section
from cellbench.harness.report.table import Entry, Table, escaped


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
    table = [line for line in text.splitlines() if re.search(r"^\|.*(writes out|d_x is off)", line)]
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
    assert drawn == (["training-adding"] if probe == "training" else [] if probe == "parameters" else [probe])
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
    assert page.count("<script") == len(SCRIPTS)  # the page's own
    for unsafe in ("<script>x", "<img", "<b>", "x</table>", "<CPU>"):
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


def test_the_page_fetches_nothing_and_no_two_elements_share_an_id(everything):
    page = (everything / "index.html").read_text()
    assert page.count("<svg") == 4
    assert not re.search(r"""\b(src|href)\s*=\s*["']?[^#"']""", page)
    assert not re.search(r"@import|url\((?!#)|<script |<link", page)
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
    some, more = throughput(steps=(64,)), gradient_decay(steps=8)
    first = written(some + more, tmp_path)
    assert written(some + more, tmp_path) == first
    assert len(list(tmp_path.glob("*.svg"))) == 2
    written(some, tmp_path)
    assert [path.name for path in tmp_path.glob("*.svg")] == ["throughput.svg"]


def captions(page):
    """The caption of each table, and the names of the regions that they stand in."""
    tables = re.findall(r'aria-label="([^"]*)">\s*<table[^>]*>\s*<caption>(.*?)</caption>', page)
    assert len(tables) == page.count("<table") > 0
    assert all(region == caption for region, caption in tables)
    return [caption for _, caption in tables]


def test_every_table_has_a_caption_of_its_own(everything):
    found = captions((everything / "index.html").read_text())
    assert all(found) and len(set(found)) == len(found)


def test_a_table_without_a_heading_is_captioned_by_its_section():
    table = Table("", ("a",), ((Entry("1"),),))
    page = as_html("title", [], [Section("Means & more", tables=(table,))])
    assert captions(page) == ["Means &amp; more"]


def test_a_long_table_is_folded_and_a_short_one_is_not(tmp_path):
    page, _ = written(throughput(steps=(64,)), tmp_path / "short")
    assert "<details" not in page
    page, _ = written(throughput(MANY, steps=(64,)), tmp_path / "long")
    assert (
        "<summary>Table of 120 rows</summary>" in page
        and page.count("<details>") == page.count("</details>") == 1
    )


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
