"""The tabs of a page: one a question, in the order of the page, with every section in one of them."""

from __future__ import annotations

import re

import pandas as pd
from support.report_rows import MANIFEST, gradient_decay, parameters, throughput, training, written

from cellbench.harness.report.frame import prepare
from cellbench.harness.report.html import as_html
from cellbench.harness.report.section import Section
from cellbench.harness.report.sections import of_page
from cellbench.harness.report.table import Entry, Table
from cellbench.harness.report.tabs import tabbed, tabs

TABLE = (Table("", ("a",), ((Entry("1"),),)),)


def section(heading, question=""):
    return Section(heading, tables=TABLE, question=question)


def told(content):
    return [(tab.title, [one.heading for one in tab.sections]) for tab in tabs(content)]


def test_sections_of_one_question_share_a_tab_wherever_they_stand():
    content = [section("Sum"), section("T", "Fast?"), section("E", "Right?"), section("L", "Fast?")]
    content += [section("Machine"), section("Commands")]
    assert told(content) == [
        ("Overview", ["Sum"]),
        ("Fast?", ["T", "L"]),
        ("Right?", ["E"]),
        ("The run", ["Machine", "Commands"]),
    ]


def test_a_page_of_one_question_has_no_tabs_and_one_of_two_has():
    one = [section("Sum"), section("T", "Fast?"), section("L", "Fast?"), section("Machine")]
    assert not tabbed(one) and told(one) == [("", ["Sum"]), ("Fast?", ["T", "L"]), ("", ["Machine"])]
    page = as_html("title", [], one)
    assert 'class="tabs"' not in page and "question." not in re.sub(
        "<script>.*?</script>", "", page, flags=re.S
    )
    page = as_html("title", [], [*one, section("E", "Right?")])
    assert 'class="tabs"' in page and page.index('id="question.fast"') < page.index('id="t"')
    assert re.findall(r'role="region" aria-label="([^"]*\?)"', page) == ["Fast?", "Right?"]


def test_a_page_has_the_questions_in_their_order_and_each_section_in_one_tab(tmp_path):
    rows = [*throughput(), *gradient_decay(), *training(tasks=("adding", "splice")), *parameters()]
    page, text = written(rows, tmp_path, [MANIFEST])
    regions = re.findall(r'role="region" aria-label="([^"]*\?)"', page)
    assert regions == ["Fast?", "Costs?", "Learns?", "Remembers?"]
    headings = re.findall(r"<h2>(.*?) <a", page)
    assert headings == re.findall("^## (.*)$", text, flags=re.M) and len(set(headings)) == len(headings)
    learns = page[page.index('id="question.learns"') : page.index('id="question.remembers"')]
    assert re.findall(r"<h2>(.*?) <a", learns) == ["Training", "Training: adding", "Training: splice"]


def test_the_question_of_a_section_is_its_own_else_that_of_its_file_else_that_of_other_probes():
    frame = pd.DataFrame([*parameters(), *(row | {"probe": "wells"} for row in parameters())])

    class Wells:
        name = "wells"

        def sections(self, rows, colours):
            return [section("Depth"), section("Water", "Costs?")]

    found = [(one.heading, one.question) for one in of_page(prepare(frame), [Wells()])]
    costs = [("Parameters and operations", "Costs?"), ("Water", "Costs?")]
    assert found == [*costs, ("Depth", "Other probes")]


def test_the_links_of_a_tab_name_what_covers_all_of_a_kind():
    content = [section("Training", "L"), section("Training: copy", "L"), section("Clipping", "L")]
    (tab,) = tabs(content)
    training = [("all", "training"), ("copy", "training-copy")]
    assert tab.links == [("Training:", training), ("", [("Clipping", "clipping")])]
