"""A site over time: its pages lead to each other, results stay data, only what was written is replaced."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest
from support.stored_runs import NAME, native, parameters, program

from cellbench.harness import store
from cellbench.harness.cli import main

HOSTILE = '<img src=x onerror="document.title=1">'


def a_run(parent, *cases):
    """A stored run of these cases."""
    writer = store.create(parent, {"command": "cellbench run", "created": "2026-01-02T03:04:05+00:00"})
    for number, case in enumerate(cases):
        writer.append(f"case{number}", case["definition"], case["status"], series=case["series"], done=True)
    writer.close()
    return writer.folder


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.tags = set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.ids |= {found["id"]} if "id" in found else set()
        self.links |= {found["href"]} if "href" in found and tag == "a" else set()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a published site of two runs and a history."""
    place = tmp_path_factory.mktemp("place")
    outside = place / "outside.py"
    outside.write_text("open('was_imported', 'w')\n")
    counts = parameters(3e3), parameters(4e3, cell="lstm")
    a_run(place / "results" / "runs", program(), native(), program("lstm"), native(cell="lstm"), *counts)
    a_run(place / "results" / "runs", program(f"{outside}:Cell"), program(HOSTILE), native(), program())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(["history", "results/runs"]) == 0
        assert main(["publish", "site"]) == 0
    return place


@pytest.fixture
def site(place):
    return place / "site"


def test_a_site_has_a_page_for_each_run_and_cell_and_every_link_leads_somewhere(site):
    pages = {file.name: Links(file.read_text(encoding="utf-8")) for file in site.glob("*.html")}
    assert {"index.html", "history.html", "cell-gru.html", "cell-lstm.html"} <= set(pages)
    assert sum(name.startswith("run-") for name in pages) == 2
    for name, page in pages.items():
        for link in page.links:
            file, _, anchor = link.partition("#")
            assert not anchor or anchor in pages[file or name].ids, (name, link)
            assert (file or name) in pages, (name, link)
    assert "2026-01-02 03:<wbr>04 UTC" in (site / "index.html").read_text(encoding="utf-8")
    assert pages.keys() - {"index.html"} <= {link.partition("#")[0] for link in pages["index.html"].links}


def test_a_cell_s_page_has_its_equations_its_counts_and_what_was_measured(site, place):
    text = (site / "cell-gru.html").read_text(encoding="utf-8")
    assert "z = sigmoid(wx.z + wh.z)" in text and "3 * H" not in text and "18,816" in text
    assert 'id="throughput"' in text and "numba" in text and "njit" in text
    assert str(place) not in text


def test_names_in_results_are_neither_imported_nor_markup(site, place):
    assert not (place / "was_imported").exists()
    assert all("img" not in Links(file.read_text(encoding="utf-8")).tags for file in site.glob("*.html"))
    assert any("&lt;img" in file.read_text(encoding="utf-8") for file in site.glob("cell-*.html"))


def test_the_front_names_machines_trends_and_what_the_newest_run_found(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert NAME in text and 'id="machines"' in text and "The newest run is" in text
    assert re.search(r'<li><a href="run-[^"]+#throughput">', text)


def test_a_site_is_replaced_and_what_is_somebody_s_stays(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "site"
    shutil.copytree(place / "site", site)
    run = a_run(tmp_path / "later", program(), native())
    (site / "notes.txt").write_text("mine")
    assert main(["publish", "site", "later"]) == 0
    assert {file.name for file in site.glob("run-*")} == {f"run-{run.name}.html"}
    assert (site / "notes.txt").exists() and not (site / "cell-lstm.html").exists()
    (site / "index.html").write_text("mine")
    capsys.readouterr()
    assert main(["publish", "site", "later"]) == 2
    assert "did not write" in capsys.readouterr().err and (site / "index.html").read_text() == "mine"


@pytest.mark.parametrize("arguments", [["nothing"], ["--file", "nothing.jsonl"], ["--results", "nothing"]])
def test_what_is_not_there_is_named_in_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "results" / "runs", program())
    assert main(["publish", "site", *arguments]) == 2
    told = capsys.readouterr()
    assert (
        told.err.count("\n") == 1 and "nothing" in told.err and not list((tmp_path / "site").glob("*.html"))
    )


def test_without_a_folder_that_alone_is_asked_for(capsys):
    assert main(["publish"]) == 2
    told = capsys.readouterr().err
    assert "DIR" in told and "DIR, RUN" not in told
