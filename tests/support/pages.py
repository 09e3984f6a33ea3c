"""README and the pages of docs/, taken apart: blocks of code, commands, sentences, links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
MOST_WORDS = 25
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)


def name(page: Path) -> str:
    """The page's path from the repository's top, for the name of a test."""
    return page.relative_to(ROOT).as_posix()


def text(page: Path) -> str:
    return page.read_text(encoding="utf8")


@dataclass(frozen=True)
class Block:
    """One block of code. `saved_as` and `prints`: what the page says before and after it, where it does."""

    page: Path
    language: str
    code: str
    saved_as: str | None
    prints: str | None


def blocks(page: Path, language: str) -> list[Block]:
    """The page's blocks in this language; that of commands is the empty one."""
    written = text(page)
    blocks_found = []
    for match in FENCE.finditer(written):
        if match[1] == language:
            before = re.search(r"Save this as `(\S+)`:\n+\Z", written[: match.start()])
            after = re.match(r"\n+It prints `(.*?)`", written[match.end() :])
            said = (found and found[1] for found in (before, after))
            blocks_found.append(Block(page, match[1], match[2], *said))
    return blocks_found


def commands(page: Path) -> list[list[str]]:
    """The page's commands, split as a shell does it and without their comments."""
    lines = [line for block in blocks(page, "") for line in block.code.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True) for part in parts if part and not part.startswith("#")]


def sentences(page: Path) -> list[str]:
    """The page's sentences, without code, tables, headings and the addresses of links."""
    prose = re.sub(r"^---\n.*?^---\n", "", FENCE.sub("\n\n", text(page)), flags=re.S | re.M)
    lines = ["" if re.match(r"\s*(\||#|:::)", line) else line for line in prose.splitlines()]
    lines = ["" if re.match(r"    (options|  members)", line) else line for line in lines]
    joined = "\n".join(re.sub(r"^\s*([-*]|\d+\.) ", "\n\n", line) for line in lines)
    found = []
    for paragraph in re.split(r"\n\s*\n", joined):
        plain = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        plain = re.sub(r"`[^`]*`", "CODE", plain)
        found += [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z`(]|cellbench|\w+\.py)", plain) if s]
    return found


def links(page: Path) -> list[str]:
    """The page's links to files, with their anchors."""
    return re.findall(r"\]\(((?!https?://)[^)\s]+)\)", FENCE.sub("", text(page)))


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text(page)), re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}
