"""Claims as the last section of a report: where they are found, drawn anew from their numbers, and what is
said of odd ones.
"""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellbench.harness import claim
from cellbench.harness.claim import HOLDS, NOT_HERE, Claim, Ruling
from cellbench.harness.claims import _file, _page
from cellbench.harness.cli import main
from cellbench.harness.commands import claims
from cellbench.harness.report.table import Entry, Table
from cellbench.harness.store import ResultsError

pytestmark = pytest.mark.quick

HERE = {"cpu": "a chip", "cores": 2, "gpu": None}


@dataclass(frozen=True)
class Steep(Claim):
    place, sentence, how, rule, caption, seconds = (
        1,
        "Steeper falls.",
        "by falling",
        "holds above the bar",
        "A fall.",
        1.0,
    )
    bar: float = 2.0

    def measure(self, tick):
        return {"fall": 5.0, "far": math.inf, "none": math.nan}

    def judge(self, numbers):
        assert numbers["far"] == math.inf and math.isnan(numbers["none"])
        return Ruling(HOLDS if numbers["fall"] > self.bar else NOT_HERE, f"It fell {numbers['fall']:g}.")

    def table(self, numbers):
        return Table("", ("fall",), ((Entry(f"{numbers['fall']:g} m"),),))

    def draw(self, numbers):
        from matplotlib.figure import Figure

        return Figure()


@pytest.fixture
def one(monkeypatch):
    monkeypatch.setattr(claim, "names", lambda: ["steep"])
    monkeypatch.setattr(claim, "get", lambda name, options=None: Steep(**(options or {})))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "runs"
    assert main(["run", "cells=[gru]", "probes=[parameters]", f"results={folder}"]) == 0
    return folder


@pytest.fixture
def results(tmp_path, monkeypatch, one, runs):
    """A folder with a run and, beside the runs, what `claims` wrote."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs, "results/runs")
    assert claims.claims([], tmp_path / "results/claims") == 0
    return tmp_path / "results"


def stored(results):
    return json.loads((results / "claims/claims.json").read_text())


def rewritten(results, **content):
    (results / "claims/claims.json").write_text(json.dumps(stored(results) | content))


def reported(capsys, *arguments):
    """(the exit code, what the terminal said, the page, its markdown)."""
    capsys.readouterr()
    code = main(["report", "--output", "page", *arguments])
    said = capsys.readouterr()
    pages = [Path("page", name).read_text() if code == 0 else "" for name in ("index.html", "report.md")]
    return code, said.out + said.err, *pages


def test_the_claims_beside_the_runs_are_the_last_section(results, capsys):
    code, said, page, text = reported(capsys)
    assert code == 0 and "claims: from results/claims/claims.json" in said
    assert text.index("## The lecture's claims") > text.index("## Parameters")
    for part in ("Steeper falls.", HOLDS, "It fell 5.", "by falling", "holds above the bar", "5 m", "commit"):
        assert part in page and part in text
    assert Path("page/claim-Steep.svg").exists() and "<svg" in page


def test_without_claims_there_is_no_section(results, capsys):
    (results / "claims/claims.json").unlink()
    code, said, page, _ = reported(capsys)
    assert code == 0 and "claim" not in said and "lecture" not in page


def test_an_unread_folder_of_claims_is_one_line_and_exit_code_2(results, capsys):
    code, said, *_ = reported(capsys, "--claims", "elsewhere")
    assert code == 2 and said.count("\n") == 1 and "'elsewhere' has no claims.json" in said


@pytest.mark.parametrize("content", ["{", "[]", '{"claims": [{"claim": "a"}]}', '{"claims": 3}', "\x00"])
def test_a_damaged_file_is_a_line_on_the_page_and_the_report_stands(results, capsys, content):
    (results / "claims/claims.json").write_text(content)
    code, said, page, _ = reported(capsys)
    assert (
        code == 0 and "is damaged or of another layout" in said and "is damaged or of another layout" in page
    )


def test_a_claim_is_judged_by_todays_rule_and_a_changed_verdict_is_told(results, capsys):
    found = stored(results)["claims"]
    found[0]["options"]["bar"] = 9.0
    rewritten(results, claims=found)
    code, said, page, _ = reported(capsys)
    assert (
        code == 0 and f"claims: Steep: {NOT_HERE}; by the rule of then: {HOLDS}" in said and NOT_HERE in page
    )


def test_a_claim_that_is_no_longer_there_keeps_its_words(results, capsys, monkeypatch):
    monkeypatch.setattr(
        claim, "get", lambda name, options=None: (_ for _ in ()).throw(ValueError(f"unknown claim {name!r}"))
    )
    code, said, page, _ = reported(capsys)
    assert code == 0 and "Steep has no figure, and the verdict of then: unknown claim 'steep'" in said
    assert "It fell 5." in page and "<svg" not in page


def test_claims_of_another_machine_are_told_apart(results, capsys):
    rewritten(results, machine=HERE)
    _, _, page, _ = reported(capsys)
    assert "Not the machine of run" in page and "a chip" in page


def test_what_is_written_reads_back_as_the_same(results):
    record = _file.read(results / "claims/claims.json")
    assert record.results[0].numbers["far"] == math.inf and math.isnan(record.results[0].numbers["none"])
    assert record.source["git"]["commit"] and record.warnings == ()
    _page.write(record, results / "again")
    assert json.loads((results / "again/claims.json").read_text()) == stored(results)


def test_a_missing_file_is_an_error_of_results(tmp_path):
    with pytest.raises(ResultsError, match="cannot be read"):
        _file.read(tmp_path / "claims.json")
