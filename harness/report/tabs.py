"""The sections of a page in tabs, one a question, and the links that stand first in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .section import Section, anchor_of

FIRST, LAST = "Overview", "The run"  # what answers no question, before and after what does
Links = tuple[str, list[tuple[str, str]]]  # what headings begin with, and the (text, anchor) of each


@dataclass(frozen=True)
class Tab:
    """Sections that answer one question; without a title where a page has too few of them for tabs."""

    title: str
    sections: tuple[Section, ...]

    @property
    def anchor(self) -> str:
        """The tab's id in the page, which no heading has."""
        return f"question.{anchor_of(self.title)}"

    @property
    def anchors(self) -> set[str]:
        """The ids of its sections and of their parts."""
        return set(_anchors(self.sections))

    @property
    def links(self) -> list[Links]:
        """The links to its sections."""
        return list(_links(self.sections))


def _anchors(some: Iterable[Section]) -> Iterator[str]:
    for section in some:
        yield section.anchor
        yield from _anchors(section.parts)


def tabs(content: Sequence[Section]) -> list[Tab]:
    """The sections by question, in the order in which questions first appear."""
    questions = [section.question for section in content]
    last = max((i for i, question in enumerate(questions) if question), default=-1)
    groups: dict[str, list[Section]] = {}
    for i, section in enumerate(content):
        groups.setdefault(section.question or (FIRST if i < last else LAST), []).append(section)
    named = groups if tabbed(content) else set(questions)
    return [Tab(title if title in named else "", tuple(some)) for title, some in groups.items()]


def tabbed(content: Iterable[Section]) -> bool:
    """Whether the sections answer two questions at least."""
    return len({section.question for section in content if section.question}) > 1


def _links(some: Iterable[Section]) -> Iterator[Links]:
    """'Training: adding' and 'Training: copy' share their first word; a heading alone has none.

    A group, a section of parts alone, is listed with them.
    """
    for first, here in groupby(some, lambda one: one.heading.partition(": ")[0]):
        sections = list(here)
        if all(one.parts and not one.tables for one in sections):
            for one in sections:
                texts = [part.heading.partition(": ")[2] or part.heading for part in one.parts]
                yield f"{one.heading}:", _pairs(texts, one.parts)
            continue
        many = len(sections) > 1
        texts = [_rest(one.heading, first) if many else one.heading for one in sections]
        yield f"{first}:" if many else "", _pairs(texts, sections)


def _rest(heading: str, first: str) -> str:
    return "all" if heading == first else heading.removeprefix(f"{first}: ")


def _pairs(texts: Iterable[str], sections: Iterable[Section]) -> list[tuple[str, str]]:
    return list(zip(texts, (one.anchor for one in sections), strict=True))
