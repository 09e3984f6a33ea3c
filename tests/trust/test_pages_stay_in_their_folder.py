"""A page replaces what it wrote into its folder: nothing else, and nothing outside."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from support import stored_runs

from cellbench.harness import report, store
from cellbench.harness.cli import main
from cellbench.harness.report.section import Section
from cellbench.harness.report.table import Entry, Table
from cellbench.harness.store import pages

pytestmark = pytest.mark.quick

OWN = {"index.html": "mine", "report.md": "![x](training-x.svg)", "training-x.svg": "mine"}
OWN |= {"claim-Steep.svg": "mine", "verdict.svg": "mine", "trend-a.svg": "mine", "claims.md": "mine"}


@pytest.fixture
def a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "cells=[gru]", "probes=[parameters]"]) == 0
    return store.runs(Path("results/runs"))[0]


@pytest.fixture
def thesis(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    for name, text in OWN.items():
        (folder / name).write_text(text)
    return folder


def untouched(folder):
    return {path.name: path.read_text() for path in folder.iterdir()} == OWN


@pytest.mark.parametrize(
    "name", ["THESIS", "../../thesis", "../../..", "/", ".", "..", "", "a/b", "a\nb", "\x1b[2J"]
)
def test_a_manifest_names_no_path_to_write_to(a_run, thesis, name, capsys):
    path = a_run / store.MANIFEST
    described = json.loads(path.read_text()) | {"run": str(thesis) if name == "THESIS" else name}
    path.write_text(json.dumps(described))
    before = sorted(str(p) for p in Path().rglob("*"))
    for command in (["report", str(a_run)], ["history", str(a_run)], ["run", f"resume={a_run}"]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1 and "\x1b" not in said.err
    assert untouched(thesis)
    new = set(map(str, Path().rglob("*"))) - set(before)
    assert new <= {"results/reports", "results/reports/history"}


@pytest.mark.parametrize(
    "command", [["report", "RUN"], ["history", "RUN"], ["claims", "gates"], ["regress", "base=HEAD"]]
)
def test_a_folder_with_files_of_ones_own_is_refused_before_anything_is_measured(
    a_run, thesis, command, capsys
):
    (thesis / "junit.xml").write_text("mine")
    given = [str(a_run) if word == "RUN" else word for word in command]
    assert main([*given, f"--output={thesis}"]) == 2
    assert "which cellbench did not write" in capsys.readouterr().err
    (thesis / "junit.xml").unlink()
    assert untouched(thesis)


def test_a_folder_with_other_files_keeps_them(a_run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "training-x.svg").write_text("mine")
    for _ in range(2):
        assert main(["report", str(a_run), f"--output={tmp_path}"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "training-x.svg").read_text() == "mine"
    assert "parameters" in (tmp_path / "report.md").read_text()


def test_a_page_that_was_changed_by_hand_is_not_replaced(a_run, tmp_path, capsys):
    assert main(["report", str(a_run), f"--output={tmp_path / 'page'}"]) == 0
    (tmp_path / "page/report.md").write_text("my notes")
    assert main(["report", str(a_run), f"--output={tmp_path / 'page'}"]) == 2
    assert "'report.md'" in capsys.readouterr().err
    assert (tmp_path / "page/report.md").read_text() == "my notes"


def test_what_an_earlier_page_drew_goes_and_what_another_kind_drew_stays(tmp_path):
    pages.replace(tmp_path, "report", {"a.svg": "1", "b.svg": "2"})
    pages.replace(tmp_path, "claims", {"c.svg": "3"})
    pages.replace(tmp_path, "report", {"b.svg": "4"})
    assert {p.name for p in tmp_path.iterdir()} == {"b.svg", "c.svg", pages.MARKER}


@pytest.mark.parametrize("kept", ["..", "../thesis/index.html", "/etc/passwd", ".bashrc"])
def test_a_marker_from_elsewhere_names_nothing_outside(thesis, tmp_path, kept):
    page = tmp_path / "page"
    page.mkdir()
    hashes = [pages._hash(text.encode()) for text in OWN.values()]
    (page / pages.MARKER).write_text(json.dumps({"pages": {"report": {kept: hashes, "x.svg": hashes}}}))
    (page / "x.svg").symlink_to(thesis / "index.html")
    pages.replace(page, "report", {"index.html": "ours"})
    assert untouched(thesis) and (page / "x.svg").is_symlink()


def test_nothing_is_written_through_a_link(thesis, tmp_path):
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").symlink_to(thesis / "index.html")
    with pytest.raises(store.ResultsError, match=r"index\.html"):
        pages.replace(page, "report", {"index.html": "ours"})
    (page / "index.html").unlink()
    (page / pages.MARKER).symlink_to(thesis / "index.html")
    with pytest.raises(store.ResultsError, match="is a link"):
        pages.replace(page, "report", {"index.html": "ours"})
    assert untouched(thesis)


@pytest.mark.parametrize("there", [True, False])
def test_a_history_that_is_a_link_is_not_written_to(tmp_path, there, capsys):
    run = stored_runs.a_run(tmp_path / "runs", stored_runs.program(), stored_runs.native())
    history, target = tmp_path / "history.jsonl", tmp_path / "elsewhere"
    history.symlink_to(target)
    if there:
        target.write_text("")
    command = ["history", str(run), "--file", str(history), "--output", str(tmp_path / "p")]
    assert main(command) == 2
    assert "it is a link" in capsys.readouterr().err
    assert target.exists() == there and (not there or target.read_text() == "")


@pytest.mark.parametrize("name", [store.BLOCKS, store.MANIFEST, store.TABLE])
def test_a_run_with_a_link_in_it_is_not_written_to(a_run, thesis, name, capsys):
    target = thesis / "index.html"
    target.write_bytes((a_run / name).read_bytes())
    (a_run / name).unlink()
    (a_run / name).symlink_to(target)
    before = target.read_bytes()
    assert main(["run", f"resume={a_run}"]) == 2
    assert "is a link" in capsys.readouterr().err and target.read_bytes() == before


def test_a_page_whose_folder_is_a_link_is_written_only_where_a_person_names_it(a_run, thesis, capsys):
    Path("results/reports").mkdir(parents=True)
    Path("results/reports", a_run.name).symlink_to(thesis)
    assert main(["report", str(a_run)]) == 2
    assert "is a link" in capsys.readouterr().err and untouched(thesis)


def test_a_damaged_marker_makes_nothing_ours(tmp_path):
    pages.replace(tmp_path, "report", {"index.html": "1"})
    for content in ("", "[", "[]", '{"pages": 3}', '{"pages": {"report": {"index.html": 3}}}', "[" * 200_000):
        (tmp_path / pages.MARKER).write_text(content)
        with pytest.raises(store.ResultsError, match="did not write"):
            pages.replace(tmp_path, "report", {"index.html": "2"})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(store.ResultsError, match="cannot be written"):
        pages.check(tmp_path / "file", ())
    with pytest.raises(store.ResultsError, match="cannot be written"):
        report.write(pd.DataFrame(), [], Path("/proc/nowhere"))


def test_a_full_disk_while_a_page_is_written_leaves_each_file_whole(tmp_path, monkeypatch):
    content = [Section("a", tables=(Table("a", ("b",), ((Entry("c"),),)),))]
    assert not report.page.figures(content)
    pages.replace(tmp_path, "report", {"index.html": "one", "report.md": "one"})
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(store.ResultsError, match="No space left on device; give another folder"):
        pages.replace(tmp_path, "report", {"index.html": "two", "report.md": "two"})
    monkeypatch.undo()
    assert {(tmp_path / name).read_text() for name in ("index.html", "report.md")} <= {"one", "two"}
    pages.replace(tmp_path, "report", {"index.html": "three", "report.md": "three"})
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("command", [["publish"], ["history", "nosuch", "--output"]])
def test_a_line_that_names_no_run_makes_no_folder(tmp_path, monkeypatch, command, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "new"]) == 2
    assert not list(tmp_path.iterdir())
