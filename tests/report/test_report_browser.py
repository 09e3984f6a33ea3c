"""The page in a real browser: nothing hides, tables sort, filter and can be saved, hostile names stay text.

`nox -s browser` brings playwright; without it, or without a chromium, these tests are skipped.
"""

from __future__ import annotations

import csv
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.report_rows import MANIFEST, TIMES, gradient_decay, refused, throughput, written
from support.training_rows import rows as training_rows

from cellbench.harness import report

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, see nox -s browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium, such as Debian's package of that name"
)
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, everything):
    """Opens the page of every probe, or of a folder; what the browser complains of is an error."""
    pages, complaints = [], []

    def open_page(folder=everything, width=1280, scheme="light", at=""):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda one: complaints.append(one.url) if not one.url.startswith("file:") else None
        )
        page.goto((folder / "index.html").as_uri() + at)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


def column(page, name, table="#summary table"):
    """The texts of a column from top to bottom, of the rows that are shown."""
    at = page.locator(f"{table} thead th").all_inner_texts().index(name)
    rows = page.locator(f"{table} tbody tr:not([hidden])").all()
    return [row.locator("td").nth(at).evaluate("cell => cell.firstChild.textContent") for row in rows]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_the_page_is_never_wider_than_the_window(opened, width, scheme):
    page = opened(width=width, scheme=scheme)
    for tab in page.locator(".tabs a").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.title") == page.locator("h1").inner_text()


def contrast(page, selector):
    """WCAG's ratio of a text's colour to that of the page."""
    return page.evaluate(
        """selector => {
          const light = (colour) => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
              .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const of = (element, what) => light(getComputedStyle(element)[what]);
          const a = of(document.querySelector(selector), "color"), b = of(document.body, "backgroundColor");
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }""",
        selector,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(opened, scheme):
    page = opened(scheme=scheme, at="#question.all")
    tabs = (".tabs a", ".tabs [aria-current=true]")
    for selector in (
        *tabs,
        "p",
        "td",
        "td small",
        ".found a",
        "nav[aria-label=Sections] a",
        "tr.again td",
        ".note",
    ):
        assert contrast(page, selector) >= 4.5, selector


def test_a_click_on_a_head_sorts_by_the_quantity_and_not_by_its_text(opened, tmp_path):
    written(throughput(cells=("gru",), backends=("numpy", "numba", "native")), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    head = page.locator("#summary thead th", has_text="forward (T = 256)").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "backend") == ["numba", "native", "numpy"]  # 550 µs, 1.10 ms, 4.40 ms
    head.locator("button").press("Enter")
    assert column(page, "backend") == ["numpy", "native", "numba"]


def test_words_filter_the_rows_of_every_table(opened, tmp_path):
    written(throughput(cells=("gru", "lstm")), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    page.get_by_role("searchbox").fill("GRU native")
    assert column(page, "cell") == ["gru"] and column(page, "backend") == ["native"]
    assert "rows" in page.locator(".filter [role=status]").inner_text()
    page.get_by_role("searchbox").fill("")
    assert len(column(page, "cell")) == 4


def test_a_table_is_saved_as_numbers_in_seconds_and_as_it_is_shown(opened, tmp_path):
    rows = throughput(cells=("gru",), backends=("native", "numba"))
    rows.append(refused("throughput", "unsupported", "no kernel", cell="gru", backend="jax", steps=256))
    written(rows, tmp_path, [MANIFEST])
    page = opened(tmp_path)
    a, b = saved_both(page, page.locator("#summary"), tmp_path)
    assert (tmp_path / "summary.parquet").exists() and list(a.columns) == list(b.columns)
    time = b.set_index("backend")["forward (T = 256)"]
    assert time["numba"] == pytest.approx(1.1 * TIMES["numba"], rel=1e-3) and np.isnan(time["jax"])
    shown = b.set_index("backend")["forward (T = 256), as shown"]
    assert " µs (" in shown["numba"] and " … " in shown["numba"] and "unsupported" in shown["jax"]


def test_the_parquet_of_every_table_has_the_rows_of_its_csv(opened, tmp_path):
    page = opened(at="#question.all")
    for folded in page.locator("summary").all():
        folded.click()
    rows = 0
    for buttons in page.locator(".save").all():
        page.wait_for_timeout(250)  # chromium drops what is above ten downloads a second
        a, b = saved_both(page, buttons, tmp_path)
        assert len(b) == buttons.locator("xpath=preceding-sibling::div[1]").locator("tbody tr").count()
        numbers = b.select_dtypes("number").columns
        a[numbers] = a[numbers].replace("", np.nan)
        pd.testing.assert_frame_equal(a.astype(b.dtypes), b, rtol=1e-14)
        rows += len(b)
    assert rows > 20


def test_a_table_of_which_a_search_leaves_no_row_is_saved_without_rows(opened, tmp_path):
    written(throughput(cells=("gru",)), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    page.get_by_role("searchbox").fill("nothing like this")
    a, b = saved_both(page, page.locator("#summary"), tmp_path)
    assert len(a) == len(b) == 0 and list(a.columns) == list(b.columns)


def test_a_hostile_name_stays_text(opened, tmp_path):
    rows = throughput(cells=(HOSTILE, "gru"))
    rows.append(refused("throughput", "failed", HOSTILE, cell="gru", backend=HOSTILE, steps=256))
    written(rows, tmp_path, [MANIFEST])
    page = opened(tmp_path)
    assert HOSTILE in page.locator("#summary").inner_text()
    page.get_by_role("searchbox").fill(HOSTILE)
    assert page.locator("img").count() == 0 and page.title() != "1"


def test_a_table_of_few_rows_is_shown_whole(opened):
    page = opened(at="#question.fast")
    table = page.locator("#throughput .scroll:has(table)")
    assert table.locator("tbody tr").count() < 25
    assert table.evaluate("one => one.scrollHeight <= one.clientHeight + 1")


def test_the_buttons_of_a_table_stand_apart(opened):
    first, second = (one.bounding_box() for one in opened().locator("#summary .save button").all())
    assert second["x"] >= first["x"] + first["width"] + 8


def test_a_sentence_leads_to_its_section(opened):
    page = opened()
    link = page.locator(".found a").first
    link.click()
    assert page.locator(link.get_attribute("href")).bounding_box()["y"] < 200


def test_without_a_script_the_page_says_the_same(browser, everything):
    page = browser.new_page(java_script_enabled=False)
    page.goto((everything / "index.html").as_uri())
    assert page.locator("#summary tbody tr").count() and not page.locator(".filter").is_visible()
    assert len(headings(page)) == page.locator("h2").count() and not page.locator(".tabs").is_visible()
    page.close()


def headings(page):
    """The sections that are shown, from top to bottom."""
    return [
        h.evaluate("h => h.firstChild.textContent.trim()") for h in page.locator("h2").all() if h.is_visible()
    ]


def test_a_tab_shows_its_sections_alone_and_all_shows_everything(opened):
    page = opened()
    every = page.locator("h2").count()
    assert headings(page) == ["Summary"]
    page.get_by_role("link", name="Fast?").click()
    assert headings(page) == ["Throughput"] and page.url.endswith("#question.fast")
    assert page.locator(".tabs [aria-current=true]").inner_text() == "Fast?"
    page.get_by_role("link", name="All", exact=True).click()
    assert len(headings(page)) == every
    page.go_back()
    assert headings(page) == ["Throughput"]
    page.go_back()
    assert headings(page) == ["Summary"]


def test_the_keys_move_between_tabs_and_open_them(opened):
    page = opened()
    page.locator(".tabs a").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert headings(page) == ["Throughput"]
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == "All"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "Overview"


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("#question.costs", ["Parameters and operations"]),
        ("#gradient-norm-against-lag", ["Gradient norm against lag"]),
        ("#figure.clipping", ["Training: adding", "Gradient clipping"]),
        ("#nowhere", ["Summary"]),
        ("#%", ["Summary"]),
    ],
)
def test_a_permanent_link_opens_the_tab_that_holds_its_section_or_figure(opened, link, shown):
    page = opened(at=link)
    assert headings(page) == shown
    if (target := page.locator(f"[id='{link[1:]}']")).count() and "question" not in link:
        bar = page.locator(".bar").bounding_box()
        assert bar["y"] + bar["height"] <= target.bounding_box()["y"] + 1 < 300


def test_a_link_to_a_section_stays_among_all_where_all_are_shown(opened):
    page = opened(at="#question.all")
    many = len(headings(page))
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="adding").click()
    assert len(headings(page)) == many and 0 < page.locator("#training-adding").bounding_box()["y"] < 200


def test_a_search_tells_in_each_tab_how_many_rows_it_leaves(opened):
    page = opened()
    page.get_by_role("searchbox").fill("max_norm=1.0")
    tabs = {tab.inner_text(): tab.get_attribute("data-rows").strip() for tab in page.locator(".tabs a").all()}
    assert tabs["Overview"] == "0" and tabs["Learns?"] == tabs["All"] == "1"
    page.get_by_role("searchbox").fill("")
    assert not page.locator(".tabs [data-rows]").count()


def test_a_figure_that_was_hidden_is_zoomed_and_saved_as_one_that_was_not(opened):
    told = []
    for at in ("#throughput", ""):
        page = opened(at=at)
        page.get_by_role("link", name="Fast?").click()
        figure = page.locator("[id='figure.throughput']")
        figure.get_by_role("button", name="Zoom in").click()
        hidden = figure.evaluate("one => [...one.querySelectorAll('[style*=none]')].map(one => one.id)")
        with page.expect_download() as saved:
            figure.get_by_role("button", name="Save as CSV").click()
        size = {**figure.locator("svg").bounding_box(), "y": 0}
        told.append((hidden, size, saved.value.path().read_text()))
    assert told[0] == told[1]


def test_on_paper_every_section_is_printed(opened):
    page = opened()
    page.emulate_media(media="print")
    assert len(headings(page)) == page.locator("h2").count() and not page.locator(".tabs").is_visible()


def test_on_paper_nothing_is_cut_at_the_right(opened):
    page = opened(width=1032)  # A4, landscape, less its margins
    page.emulate_media(media="print")
    for shown in page.locator("main table, main figure svg").all():
        box = shown.bounding_box()
        assert box["x"] + box["width"] <= 1033, shown.inner_text()[:40]


def point(figure, series, which=0):
    """The middle of a mark of a figure's line, in the window."""
    box = figure.locator(f"[data-series='{series}']:not([data-band]) use").nth(which).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_pointer_tells_the_value_of_the_nearest_point(opened, tmp_path):
    written(throughput(cells=("gru",), backends=("native", "numba")), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    figure = page.locator("figure svg").first
    figure.scroll_into_view_if_needed()
    x, y = point(figure, "numba")
    page.mouse.move(x + 2, y - 1)
    told = page.locator(".tip").inner_text()
    name, value, at = re.fullmatch(r"(\w+): ([\d,]+) at ([\d,]+)", told).groups()
    rate = 256 / (1.1 * TIMES["numba"])  # steps a second, of the middle process
    assert (name, at) == ("numba", "64") and float(value.replace(",", "")) == pytest.approx(rate, rel=1e-3)
    page.mouse.move(x, y + 400)
    assert not page.locator(".tip").is_visible()


@pytest.mark.parametrize("key", ["", "Enter", " "])
def test_an_entry_of_a_legend_hides_its_lines_and_shows_them_again(opened, tmp_path, key):
    written(throughput(cells=("gru", "lstm"), backends=("native", "numba")), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    figure = page.locator("figure svg").first
    entry = figure.get_by_role("button", name="numba")
    lines = figure.locator("[data-series=numba]")
    assert lines.count() == 8 and lines.first.is_visible()  # a line and its band, in each of four panels
    flip = (lambda: entry.press(key)) if key else entry.click
    flip()
    assert not any(one.is_visible() for one in lines.all())
    assert entry.get_attribute("aria-pressed") == "false"
    assert figure.locator("[data-series=native]").first.is_visible()
    flip()
    assert all(one.is_visible() for one in lines.all())


def test_a_curve_of_decades_tells_the_value_and_not_its_logarithm(opened):
    page = opened(at="#gradient-norm-against-lag")
    figure = page.locator("#gradient-norm-against-lag figure svg").first
    figure.scroll_into_view_if_needed()
    told, line = "", figure.locator("[data-series]:not([data-band]) path").first
    where = line.evaluate(
        """path => {
          const at = path.getPointAtLength(path.getTotalLength() / 2).matrixTransform(path.getScreenCTM());
          return [at.x, at.y];
        }"""
    )
    page.mouse.move(*where)
    told = page.locator(".tip").inner_text()
    assert re.fullmatch(r"\w+: (\d\.?\d*e-\d+|0\.\d+) at [\d.]+", told), told


def speed_figure(opened, tmp_path, cells=("gru",)):
    written(throughput(cells=cells, backends=("native", "numba")), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    figure = page.locator("figure").first
    figure.scroll_into_view_if_needed()
    return page, figure


def hovered(page, figure, series, which=0):
    x, y = point(figure, series, which)
    page.mouse.move(x + 1, y)
    return page.locator(".tip").inner_text()


def ticks(figure, side):
    """The texts that stand at an axis now."""
    shown = figure.locator(f"[data-x] g:has(> [id*='{side}tick_']) text").all()
    return [one.text_content() for one in shown if one.is_visible()]


def test_a_box_zooms_into_a_panel_and_a_double_click_shows_all_of_it_again(opened, tmp_path):
    page, figure = speed_figure(opened, tmp_path)
    before, told, numbers = point(figure, "numba"), hovered(page, figure, "numba"), ticks(figure, "y")
    page.mouse.move(before[0] - 3, before[1] - 15)
    page.mouse.down()
    page.mouse.move(before[0] + 60, before[1] + 25)
    page.mouse.up()
    assert point(figure, "numba") != before and ticks(figure, "y") != numbers
    assert hovered(page, figure, "numba") == told
    page.mouse.dblclick(before[0] + 100, before[1] + 5)
    assert point(figure, "numba") == pytest.approx(before, abs=0.01) and ticks(figure, "y") == numbers


def test_the_keys_of_a_figure_zoom_and_reset_it(opened, tmp_path):
    _, figure = speed_figure(opened, tmp_path)
    drawing, before = figure.locator("svg"), point(figure, "numba")
    drawing.press("+")
    zoomed = point(figure, "numba")
    drawing.press("ArrowRight")
    assert before != zoomed != point(figure, "numba")
    drawing.press("0")
    assert point(figure, "numba") == pytest.approx(before, abs=0.01)


def test_a_figure_is_switched_between_log_and_linear(opened, tmp_path):
    page, figure = speed_figure(opened, tmp_path)
    told = hovered(page, figure, "native")
    figure.get_by_role("button", name="Linear / log y").click()
    low, high = (point(figure, name)[1] for name in ("native", "numba"))
    box = figure.locator("[data-x] path").first.bounding_box()
    rate = {name: box["y"] + box["height"] - place for name, place in (("native", low), ("numba", high))}
    # from 0 on: numba takes half of native's time, so it stands twice as high
    assert rate["numba"] / rate["native"] == pytest.approx(TIMES["native"] / TIMES["numba"], rel=0.01)
    assert hovered(page, figure, "native") == told
    figure.get_by_role("button", name="Linear / log y").click()
    assert point(figure, "native")[1] != pytest.approx(low, abs=1)


def test_the_data_behind_a_figure_are_saved_as_they_were_measured(opened, tmp_path):
    page, figure = speed_figure(opened, tmp_path)
    with page.expect_download() as saved:
        figure.get_by_role("button", name="Save as CSV").click()
    assert saved.value.suggested_filename == "throughput.csv"
    rows = list(csv.DictReader(saved.value.path().read_text(encoding="utf-8").splitlines()))
    (value,) = [r["y"] for r in rows if (r["line"], r["x"]) == ("numba", "256") and "back" not in r["y axis"]]
    assert float(value) == pytest.approx(256 / (1.1 * TIMES["numba"]), rel=1e-4)
    assert rows[0]["x axis"] == "T (steps)" or rows[-1]["x axis"] == "T (steps)"


def test_the_points_of_a_long_curve_of_decades_are_all_there_and_exact_to_three_digits(opened, tmp_path):
    written(gradient_decay(("gru",), last=-120.0, steps=200, seeds=1), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    _, rows = saved_both(page, page.locator("figure").first, tmp_path)
    assert list(rows["x"]) == pytest.approx(range(201), abs=1e-3) and rows["x"][0] == 0
    assert list(rows["y"]) == pytest.approx(list(np.exp(np.linspace(0, -120, 201))), rel=2e-3)


def saved_both(page, shown, folder):
    """The data of a figure or a section's table, as they come out of CSV and Parquet, read by pandas."""
    files = {}
    for form in ("CSV", "Parquet"):
        with page.expect_download() as saved:
            shown.get_by_role("button", name=f"Save as {form}").first.click()
        files[form] = folder / saved.value.suggested_filename
        saved.value.save_as(files[form])
    assert [path.suffix for path in files.values()] == [".csv", ".parquet"]
    return pd.read_csv(files["CSV"], keep_default_na=False, dtype=str), pd.read_parquet(files["Parquet"])


def test_the_parquet_behind_every_figure_has_the_rows_of_its_csv(opened, tmp_path):
    page = opened(at="#question.all")
    rows = 0
    for figure in page.locator("figure:has(.tools)").all():
        a, b = saved_both(page, figure, tmp_path)
        assert list(b.dtypes[["x", "y"]]) == [float, float]
        pd.testing.assert_frame_equal(a.astype(b.dtypes), b, rtol=1e-14)
        rows += len(b)
    assert rows > 200


def test_the_parquet_of_a_figure_keeps_hostile_names_of_any_script(opened, tmp_path):
    names = (HOSTILE, "модель 🦆", 'a,"b"', *(f"cell {n}" for n in range(3)))
    written(throughput(cells=names, backends=("native", HOSTILE)), tmp_path, [MANIFEST])
    page = opened(tmp_path)
    a, b = saved_both(page, page.locator("figure").first, tmp_path)
    pd.testing.assert_frame_equal(a.astype(b.dtypes), b, rtol=1e-14)
    assert "модель 🦆" in set(b["panel"]) and HOSTILE in set(b["line"])
    table = pq.read_table(tmp_path / "throughput.parquet")
    assert table.num_rows == len(a) and table.schema.field("x").type == "double"


def test_a_link_leads_to_each_figure_and_every_id_is_there_once(opened, everything):
    page = opened()
    for link in page.locator("figcaption .here").all():
        assert page.evaluate("id => !!document.getElementById(id)", link.get_attribute("href")[1:])
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


def legible(page):
    """The texts of figures that are too small, and those that lie on others."""
    return tuple(
        page.evaluate(
            """() => {
          const small = [], over = [];
          for (const figure of document.querySelectorAll("figure")) {
            const texts = [...figure.querySelectorAll("svg text")].filter((one) => one.textContent.trim());
            for (const text of texts) {
              const { a, b } = text.getScreenCTM();
              const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b);
              if (size < 11) small.push(`${text.textContent}: ${size}`);
            }
            const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
            boxes.forEach(([one, p], i) => boxes.slice(i + 1).forEach(([other, q]) => {
              const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
              const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
              // lines of a legend stand close: their boxes have room above and below the letters
              if (across > 1 && down > 4) over.push(`${figure.dataset.name}: ${one} | ${other}`);
            }));
          }
          return [small, over];
        }"""
        )
    )


@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_every_text_of_a_figure_is_legible_and_lies_on_no_other(opened, width):
    page = opened(width=width, at="#question.all")
    assert legible(page) == ([], [])


def test_a_task_is_found_under_its_shape_and_its_rows_are_a_download(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    pd.DataFrame({"value": [0.25, 0.5]}).to_parquet(run / "cases.parquet")
    every = training_rows("gru", [0.3], "splice") + training_rows("gru", [0.3], "translation")
    report.write(pd.DataFrame(every), [MANIFEST], tmp_path / "page", tables=[run / "cases.parquet"])
    page = opened(tmp_path / "page")
    group = page.locator("nav .group", has_text="sequence to sequence")
    group.get_by_role("link", name="translation").click()
    assert 0 <= page.locator("#training-translation").bounding_box()["y"] < 200
    with page.expect_download() as saved:
        page.get_by_role("link", name="cases.parquet").click()
    assert pd.read_parquet(saved.value.path()).value.tolist() == [0.25, 0.5]


def test_a_legend_beyond_the_edge_of_a_narrow_window_stands_above_its_figure_too(opened, tmp_path):
    written(throughput(cells=("gru", "lstm"), backends=("native", "numba")), tmp_path, [MANIFEST])
    above = opened(tmp_path, width=400).locator("figure").first.locator(".legend")
    assert above.inner_text().split() == ["backend", "native", "numba"]
    for entry in above.get_by_role("button").all():
        box = entry.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 400
    figure = above.locator("xpath=..")
    above.get_by_role("button", name="numba").click()
    assert not any(one.is_visible() for one in figure.locator("[data-series=numba]").all())
    assert figure.locator("[data-legend=numba][aria-pressed=false]").count() == 2
    wide = opened(tmp_path, width=1280).locator("figure").first.locator(".legend")
    assert wide.count() == 1 and not wide.is_visible()


def test_the_speed_map_of_a_sweep_shows_its_colours_and_no_text_on_another(opened, tmp_path):
    rows = [
        one | {"run": f"run{h}", "batch": b, "hidden_size": h, "case": f"{one['cell']} {b} {h}"}
        for h in (8, 16)
        for b in (1, 4)
        for one in throughput(backends=("native", "numba"), steps=(64,))
    ]
    written(rows, tmp_path, [MANIFEST | {"run": f"run{h}"} for h in (8, 16)])
    page = opened(tmp_path, at="#question.all")
    assert page.locator("[id='figure.speed_map'] svg").count() == 1
    assert legible(page) == ([], [])


def test_the_environment_is_in_sight_in_its_tab(opened):
    page = opened(at="#environment")
    assert page.locator("#environment td", has_text="git.commit").is_visible()
