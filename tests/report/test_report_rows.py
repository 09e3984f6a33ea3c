"""A page leads to the Parquet rows behind it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from cellbench.harness import load
from cellbench.harness.cli import main
from cellbench.harness.report.rows import behind

RUN = ["run", "cells=[gru]", "backends=[numpy]", "probes=[parameters]"]


@pytest.mark.quick
def test_the_links_of_a_page_lead_to_the_rows_of_its_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*RUN, "results=a b%20/runs"]) == main(["report", "--results=a b%20/runs"]) == 0
    (page,) = Path("results/reports").glob("*/index.html")
    (link,) = re.findall(r'href="([^"#]*)"', page.read_text())
    rows, columns = pd.read_parquet(page.parent / unquote(link)), ["case", "metric", "value", "status"]
    assert rows[columns].to_dict() == load("a b%20/runs")[columns].to_dict()
    assert len(rows) and str(tmp_path) not in page.read_text()
    assert "cases.parquet" in (page.parent / "report.md").read_text()


def test_a_page_tells_no_place_outside_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (tmp_path, tmp_path / "here"):
        (place / "cases.parquet").write_text("rows")
    near, far = Path("cases.parquet"), tmp_path / "cases.parquet"
    assert [row[1].text for row in behind([near, far], Path("page")).tables[0].rows] == ["../cases.parquet"]
    assert behind([near, far], tmp_path / "page").empty
    assert behind([Path("lost/cases.parquet")], Path("page")).empty


def test_an_address_is_no_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("javascript:alert(1)")
    run.mkdir()
    (run / "cases.parquet").write_text("rows")
    assert behind([run / "cases.parquet"], Path()).tables[0].rows[0][1].link.startswith("javascript%3A")
