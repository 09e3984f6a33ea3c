"""Tables for other programs: the same rows in each form, numbers as numbers, hostile names as text."""

import csv
import io
import json

import pytest
from support.pages import ROOT

from cellbench.harness.cli import main
from cellbench.harness.report.exports import FORMS, named
from cellbench.harness.report.section import Section
from cellbench.harness.report.table import Entry, Table, number

pytestmark = pytest.mark.quick
TABLE = Table(
    "Throughput of it",
    ("cell", "time", "time"),
    (
        (Entry("gru_a & <b>"), number("12.5 \u00b5s", "11.0 \u2026 13.0"), number("2.00\u00d7")),
        (Entry("lstm, $x^2$"), number("\u2013"), number("1.5k")),
    ),
    "A note.",
)


def test_numbers_are_in_si_units_and_columns_of_one_name_are_told_apart():
    rows = list(csv.DictReader(io.StringIO(FORMS["csv"](TABLE))))
    assert rows[0] == {"cell": "gru_a & <b>", "time": "1.25e-05", "time 2": "2"}
    assert rows[1] == {"cell": "lstm, $x^2$", "time": "", "time 2": "1500"}
    first, second = json.loads(FORMS["json"](TABLE))
    assert first["time"] == {"value": 1.25e-05, "text": "12.5 \u00b5s (11.0 \u2026 13.0)"}
    assert second["time"]["value"] is None


def test_latex_and_markdown_show_what_the_page_shows_and_read_nothing_as_markup():
    tex = FORMS["tex"](TABLE)
    assert r"gru\_a \& <b> & 12.5 $\mu$s (11.0 \ldots{} 13.0) & 2.00$\times$ \\" in tex
    assert r"lstm, \$x\textasciicircum{}2\$" in tex and r"\begin{tabular}{lrr}" in tex
    assert FORMS["md"](TABLE).splitlines()[2].startswith("| gru_a &amp; &lt;b&gt; | 12.5")


def test_every_table_has_a_name_of_its_own():
    content = [Section("One", tables=(TABLE, TABLE), parts=(Section("Part", tables=(TABLE,)),))]
    names = [name for name, _ in named(content)]
    assert names == ["throughput-of-it", "throughput-of-it-2", "throughput-of-it-3"]


@pytest.mark.parametrize("form", FORMS)
def test_export_writes_each_table_of_a_run(form, tmp_path, capsys):
    run = ROOT / "results" / "reference" / "speed" / "run"
    assert main(["export", str(run), "--as", form, "--output", str(tmp_path / "out")]) == 0
    files = {path.name for path in (tmp_path / "out").glob("[a-z]*")}
    assert {f"summary.{form}", f"throughput.{form}"} <= files
    assert main(["export", str(run), "--as", form, "--output", str(tmp_path / "out")]) == 0  # over its own
    (tmp_path / "out" / f"summary.{form}").write_text("mine")
    assert main(["export", str(run), "--as", form, "--output", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / f"summary.{form}").read_text() == "mine"


def test_a_form_that_there_is_not_is_named(capsys):
    assert main(["export", "--as", "cvs"]) == 2
    assert "did you mean 'csv'" in capsys.readouterr().err


def test_the_trends_of_a_history_are_a_table_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["history", str(ROOT / "results/reference/speed/run"), "--file", "h.jsonl"]) == 0
    assert main(["export", "--history", "h.jsonl", "--as", "csv"]) == 0
    (file,) = (tmp_path / "results/reports/history").glob("*.csv")
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert file.name == "change-points.csv" and len(rows) > 2
    assert all(row["benchmark"] and float(row["latest ratio"]) > 0 for row in rows)
    assert (tmp_path / "results/reports/history/index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/runs/x", "--history", "h", "--as", "csv"], "--history has no runs"),
        (["--history", "h", "--as", "csv"], "there is no history 'h'"),
        (["--history", "h", "--as", "onnx"], "leave out --history"),
        (["--history", "h", "--as", "csv", "--cell", "gru"], "--cell is of a cell"),
    ],
)
def test_a_history_that_cannot_be_exported_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
