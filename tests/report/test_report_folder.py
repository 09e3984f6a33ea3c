"""A report that is too large for one page is a folder of them: a page a question, and every link leads on."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from support.report_rows import MANIFEST, PROBES, parameters, throughput, training

from cellbench.harness import report
from cellbench.harness.report import html


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a report of rows whose pages may be so large; returns the text of each page by its name."""

    def write(rows, largest):
        monkeypatch.setattr(html, "LARGEST", largest)
        assert report.write(pd.DataFrame(rows), [MANIFEST], tmp_path) == tmp_path / "index.html"
        return {path.name: path.read_text() for path in tmp_path.glob("*.html")}

    return write


def headings(page):
    return re.findall(r"<h[23]>(.*?) <a", page)


def everything():
    return [row for make in PROBES.values() for row in make()]


def test_what_fits_is_one_page_and_what_does_not_is_a_page_a_question(folder):
    (whole,) = folder(everything(), 3_000_000).values()
    pages = folder(everything(), 150_000)
    assert sorted(pages) == ["costs.html", "fast.html", "index.html", "learns.html", "remembers.html"]
    assert headings(pages["fast.html"]) == ["Throughput"] and "Summary" in headings(pages["index.html"])
    assert sorted(one for page in pages.values() for one in headings(page)) == sorted(headings(whole))
    for name, page in pages.items():
        assert re.findall(r'href="([^"]*)" aria-current="page"', page) == [name]
        assert 'class="found"' not in page if name != "index.html" else 'class="found"' in page
    assert set(folder(parameters(), 200_000)) == {"index.html"}  # and none of the earlier pages is left


def test_every_link_of_a_folder_leads_to_an_element_of_one_of_its_pages(folder):
    rows = [*throughput(), *training(tasks=("adding", "copy", "splice")), *parameters()]
    pages = folder(rows, 200_000)
    ids = {name: set(re.findall(r'\sid="([^"]*)"', page)) for name, page in pages.items()}
    across = 0
    for name, page in pages.items():
        for file, anchor in re.findall(r'<a[^>]* href="([^"#]*)#?([^"]*)"', page):
            assert not anchor or anchor in ids[file or name], (name, file, anchor)
            across += bool(file and anchor)
    assert across > 5


def test_a_question_that_is_too_large_for_a_page_has_a_page_a_section(folder):
    pages = folder(training(("gru",), ("numba",), ("adding", "copy", "splice")), 60_000)
    many_to_one = headings(pages["tasks-many-to-one.html"])
    assert many_to_one[:3] == ["Tasks, many to one", "Training: adding", "Training: splice"]
    assert headings(pages["training.html"]) == ["Training"]
    assert 'href="tasks-many-to-one.html#training-adding"' in pages["training.html"]


def test_questions_and_headings_of_any_script_make_names_of_files(folder):
    rows = training(tasks=("../../x", "модель", "a" * 300, "index"))
    pages = folder(rows, 1_000)
    assert len(pages) == 6 and max(map(len, pages)) < 80  # the first, all tasks, and each of four
