"""The section of each probe on the page: those in the project's folder, users' own, and the plain table."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from support.report_rows import row

from cellbench.harness import probe, report
from cellbench.harness.cli import main
from cellbench.harness.report import sections
from cellbench.harness.report.frame import prepare

pytestmark = pytest.mark.quick

DEPTH = '''
"""How long is a cell's name?"""

from dataclasses import dataclass
from pathlib import Path

from cellbench.harness.case import Case
from cellbench.harness.probe import Probe, series

(Path(__file__).parent / "imported").touch()


@dataclass(frozen=True)
class Depth(Probe):
    def cases(self, plan):
        return [Case(self.name, cell, seed=s) for cell in plan.cells for s in plan.seeds]

    def measure(self, case, emit):
        curve = series("curve", "1", [0.0, 1.0, 2.0], lag=[0, 1, 2])
        return "counted", [series("depth", "m", len(case.spec) + case.seed), curve]
'''
SECTION = """
    def sections(self, rows, colours):
        from cellbench.harness.report import Entry, Figure, Section, Table, number

        rows = rows[rows["metric"] == "depth"]
        entries = tuple((Entry(r.label), number(f"{r.value:g} m deep")) for r in rows.itertuples())
        table = Table("Depth", ("cell", "how deep"), entries, "Measured with a plumb line.")
        figure = Figure("depth", "Depth", "Depth by cell, as a line.", lambda: self.drawn(rows, colours))
        yield Section("Depth of wells", (figure,), (table,))

    def drawn(self, rows, colours):
        from matplotlib.figure import Figure

        figure = Figure()
        axes = figure.subplots()
        for name, here in rows.groupby("label"):
            axes.plot(here["seed"], here["value"], color=colours.cells[name])
        axes.set_xlabel("how far down")
        return figure
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Depth, whose file has no section yet."""
    folder = tmp_path_factory.mktemp("wells")
    (folder / "depth.py").write_text(DEPTH)
    probes = f"probes=[{folder}/depth.py:Depth]"
    assert main(["run", "cells=[gru,lstm]", probes, "seeds=2", f"results={folder}/runs"]) == 0
    return folder


@pytest.fixture
def file(run):
    """The probe's file, which has a section now and was not imported since."""
    (run / "depth.py").write_text(DEPTH + SECTION)
    (run / "imported").unlink(missing_ok=True)
    return run / "depth.py"


def written(run, tmp_path, *options):
    """The page, its Markdown, and the figures."""
    assert main(["report", f"--results={run}/runs", f"--output={tmp_path}", *options]) == 0
    figures = sorted(path.name for path in tmp_path.glob("*.svg"))
    return (tmp_path / "index.html").read_text(), (tmp_path / "report.md").read_text(), figures


def test_every_probe_of_the_project_has_a_section_file_of_its_name():
    imported = {"benchmark"}  # of another tool, which is no probe here
    assert sorted(set(sections.built_in()) - imported) == sorted(
        name for name in probe.names() if probe.get(name).__module__.startswith("cellbench.harness.probes.")
    )


def test_a_probe_in_one_file_brings_its_figure_and_table_to_page_markdown_and_terminal(
    run, file, tmp_path, capsys
):
    page, text, figures = written(run, tmp_path, f"--probe={file}:Depth")
    said = capsys.readouterr().out
    assert figures == ["depth.svg"] and "how far down" in (tmp_path / "depth.svg").read_text()
    assert "Depth of wells" in page and "<svg" in page and "4 m deep" in page and "plumb line" in page
    assert text.index("## Depth of wells") < text.index("](depth.svg)") < text.index("| lstm | 5 m deep |")
    assert "Depth of wells" in said and "4 m deep" in said
    assert "Probe Depth" not in page + text + said


def test_without_being_named_a_users_file_is_not_imported_and_its_metrics_are_a_plain_table(
    run, file, tmp_path, capsys
):
    written(run, tmp_path, f"--probe={file}:Depth")
    (run / "imported").unlink(missing_ok=True)
    capsys.readouterr()
    page, text, figures = written(run, tmp_path)
    assert not (run / "imported").exists()
    assert figures == [] and "<svg" not in page  # the figure of the page before is gone
    assert "## Probe Depth" in text and "| cell | depth (m) | curve |" in text
    assert "| gru | 3.50 (3.00 … 4.00) | 2.00 |" in text and "At the last lag or step: curve." in text
    assert "Probe Depth" in page and "Probe Depth" in capsys.readouterr().out


def test_an_installed_probe_brings_its_section_without_being_named(run, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "wells-1.dist-info"
    info.mkdir(parents=True)
    (site / "wells_of_ours.py").write_text(DEPTH + SECTION)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wells\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[cellbench.probes]\nwells = wells_of_ours:Depth\n")
    monkeypatch.syspath_prepend(str(site))
    _, text, figures = written(run, tmp_path / "page")
    assert figures == ["depth.svg"] and "| lstm | 5 m deep |" in text


@pytest.mark.parametrize(
    ("spec", "words"), [("nowhere.py:Depth", "no file 'nowhere.py'"), ("depht", "unknown probe 'depht'")]
)
def test_a_probe_that_is_not_there_is_one_line_and_exit_code_2(run, tmp_path, capsys, spec, words):
    assert main(["report", f"--results={run}/runs", f"--output={tmp_path}", f"--probe={spec}"]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def plain(rows):
    frame = pd.DataFrame([{"probe": "odd", "cell": "gru", "status": "ok", **row} for row in rows])
    (section,) = sections.of_page(prepare(frame))
    (table,) = section.tables
    return table.header, [[entry.text for entry in row] for row in table.rows]


def test_the_plain_table_keeps_settings_apart_and_names_what_is_no_number():
    header, rows = plain(
        [
            {"metric": "depth", "unit": "m", "value": 1.0, "hidden_size": 8, "seed": 0},
            {"metric": "depth", "unit": "m", "value": np.nan, "hidden_size": 8, "seed": 1},
            {"metric": "depth", "unit": "m", "value": 3.0, "hidden_size": 16, "seed": 0},
            {"metric": "ratio", "unit": "1", "value": 0.5, "hidden_size": 16, "seed": 0},
        ]
    )
    assert header == ("cell", "hidden_size", "depth (m)", "ratio")
    assert rows == [["gru", "8", "NaN in 1 of 2", "–"], ["gru", "16", "3.00", "0.500"]]


def test_of_a_course_the_plain_table_has_the_last_value_of_each_seed():
    curve = [
        {"metric": "loss", "unit": "nats", "value": v, "lag": k, "seed": s}
        for s, values in enumerate(([9.0, 1.0], [9.0, 5.0, 3.0]))
        for k, v in enumerate(values)
    ]
    assert plain(curve) == (("cell", "loss (nats)"), [["gru", "2.00"]])


def test_a_probe_without_any_result_has_no_section_and_its_reason_stands_below():
    frame = pd.DataFrame([{"probe": "odd", "cell": "gru", "status": "failed", "reason": "no luck"}])
    assert list(sections.of_page(prepare(frame))) == []


def test_a_figure_cannot_be_written_outside_the_pages_folder():
    with pytest.raises(ValueError, match=re.escape("'../page' names a file")):
        report.Figure("../page", "", "", lambda: None)


def test_a_figure_that_nobody_laid_out_is_whole_and_its_powers_are_readable():
    """Ticks of a log axis are mathematics to Matplotlib; a name with dollar signs stays a name."""

    def drawn():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3, 2))
        axes = figure.add_axes((0, 0, 1, 1))  # its labels lie outside of the figure
        axes.semilogy([1, 2], [1e-14, 1.0], label="a $cell$")
        axes.set_xlabel("how far down")
        axes.legend()
        return figure

    svg = report.Figure("own", "Own", "A caption.", drawn).svg
    assert "mathdefault" not in svg and "a $cell$" in svg and "how far down" in svg
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    assert width > 3 * 72 and height > 2 * 72


def test_a_roofline_shows_time_share_and_what_bounds_it():
    from cellbench.harness.report.sections import roofline

    metrics = {"seconds": 2e-3, "bound_s": 5e-4, "share": 0.25, "fixed_s": 1e-5, "step_s": 3e-6}
    metrics |= {"ceiling_flop_per_s": 9e10, "bytes_per_s.L1": 1.2e11}
    setting = {"cell": "gru", "backend": "numba", "steps": 64, "direction": "forward"}
    rows = [row("roofline", name, value, **setting, reason="bound by L1") for name, value in metrics.items()]
    (section,) = roofline.sections(prepare(pd.DataFrame(rows)), None)
    (table,) = section.tables
    texts = [entry.text for entry in table.rows[0]]
    times = ["2.00 ms", "500 µs", "25.0 %", "10.0 µs", "3.00 µs"]
    assert texts == ["gru", "numba", "64", "forward", *times, "L1"]
    assert "One core: 90 GFLOP/s, GB/s: L1 120." in table.note


def test_a_roofline_of_a_device_is_a_table_of_its_own_with_the_device_s_ceilings():
    from cellbench.harness.report.sections import roofline

    metrics = {"seconds": 2e-3, "bound_s": 5e-4, "share": 0.25, "ceiling_flop_per_s": 9e12}
    setting = {"cell": "gru", "backend": "native", "steps": 64, "direction": "forward", "device": "cuda"}
    rows = [
        row("roofline", name, value, **setting, reason="bound by memory") for name, value in metrics.items()
    ]
    rows.append(row("roofline", "bytes_per_s.memory", 3e12, **setting, reason="bound by memory"))
    rows.append(row("roofline", "seconds", 1e-3, **setting | {"device": "cpu"}, reason="bound by L1"))
    (section,) = roofline.sections(prepare(pd.DataFrame(rows)), None)
    of_device, of_core = section.tables
    assert "The device: 9000 GFLOP/s, GB/s: memory 3000." in of_device.note and "One core: " in of_core.note
    assert "x, weights and output once" in of_device.note and of_device.rows[0][-1].text == "memory"
