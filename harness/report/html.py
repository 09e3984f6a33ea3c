"""A page as HTML, one file that fetches nothing; a report that is too large for one is a folder of pages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .findings import by_question, note
from .section import Finding, Section
from .tabs import FIRST, Tab, tabbed, tabs

HERE = Path(__file__).parent
PAGE = "index.html"
SCRIPTS = ("tabs.js", "page.js", "panels.js", "figure.js", "parquet.js", "zoom.js")
LARGEST = 3_000_000  # bytes of a page, from which on it takes more than a second to open


@dataclass(frozen=True)
class Folder:
    """The pages of a report by the name of their file, and which of them is made."""

    pages: Mapping[str, Tab]
    here: str

    @property
    def contents(self) -> list[Tab]:
        """What the page lists: the first one everything."""
        return list(self.pages.values()) if self.here == PAGE else [self.pages[self.here]]

    def to(self, anchor: str) -> str:
        """The address of a section, on whichever page it stands."""
        holding = (file for file, page in self.pages.items() if anchor in page.anchors)
        file = next(holding, self.here)
        return f"{'' if file == self.here else file}#{anchor}"


def as_html(
    title: str,
    lines: Sequence[str],
    content: Sequence[Section],
    foot: str = "",
    found: Sequence[Finding] = (),
    site: Sequence[tuple[str, str]] = (),
    folder: Folder | None = None,
) -> str:
    """One self-contained page. All text is escaped; the SVG of our own figures alone is not.

    site: the texts and addresses of the pages beside it, which stand first. folder: where this is one of the
    pages of a report, which it has in place of tabs.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    jinja = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    jinja.trim_blocks = jinja.lstrip_blocks = True
    own = {name: Markup((HERE / name).read_text(encoding="utf-8")) for name in ("style.css", *SCRIPTS)}
    text: dict[str, object] = {
        "title": title,
        "lines": lines,
        "found": by_question(found),
        "note": note(found),
        "foot": foot,
    }
    text |= {
        "site": site,
        "tabs": tabs(content),
        "tabbed": tabbed(content) and folder is None,
        "folder": folder,
    }
    # a browser runs these scripts alone, whatever stands in the results
    scripts = {f"sha256-{_digest(own[name])}": own[name] for name in SCRIPTS}
    template = jinja.get_template("template.html")
    return template.render(text, style=own["style.css"], scripts=scripts, svg=Markup)


def as_pages(
    title: str,
    lines: Sequence[str],
    content: Sequence[Section],
    foot: str = "",
    found: Sequence[Finding] = (),
) -> dict[str, str]:
    """The report as one page, or where that is larger than LARGEST as several; the text of each by its file.

    The first one has what was found and what answers no question; then there is a page a question, or a page
    a section of one that is too large for a page.
    """
    whole = as_html(title, lines, content, foot, found)
    if len(whole.encode()) <= LARGEST:
        return {PAGE: whole}
    pages = _pages(content)
    texts = {PAGE: as_html(title, lines, pages[PAGE].sections, foot, found, folder=Folder(pages, PAGE))}
    for file, page in list(pages.items())[1:]:
        texts[file] = as_html(title, [], page.sections, foot, folder=Folder(pages, file))
    return texts


def _pages(content: Sequence[Section]) -> dict[str, Tab]:
    """What stands on which page, by the name of its file."""
    pages = {PAGE: Tab(FIRST, tuple(section for section in content if not section.question))}
    for tab in _parts([section for section in content if section.question]):
        name = tab.anchor.partition(".")[2][:60] or "page"
        pages[f"{name}.html" if f"{name}.html" not in pages else f"{name}-{len(pages)}.html"] = tab
    return pages


def _parts(content: Sequence[Section]) -> Iterator[Tab]:
    for tab in tabs(content):
        if len(as_html("", [], tab.sections).encode()) <= LARGEST:
            yield Tab(tab.sections[0].question, tab.sections)
        else:
            yield from (Tab(section.heading, (section,)) for section in tab.sections)


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()
