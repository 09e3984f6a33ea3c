"""Hooks of mkdocs: what lies outside of docs/ is found from the site as it is found in the repository.

A link such as `../examples/own_cell.py` leads to the repository's page of that file. A figure of results/ is
copied into the site. CONTRIBUTING.md and CHANGELOG.md are pages. A link that leads nowhere is a warning, and
`strict` makes that an error.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).parents[1]
AT_TOP = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINK = re.compile(r"(?<=\]\()(?!https?://|#)([^)\s#]+)")


def on_files(files, config):
    """Adds the pages at the repository's top, and every figure of results/reference."""
    for page, source in AT_TOP.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for figure in sorted((ROOT / "results" / "reference").rglob("*.svg")):
        name = figure.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(figure)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites the links of a page that lead out of docs/."""
    folder = "" if page.file.src_uri in AT_TOP else posixpath.dirname(f"docs/{page.file.src_uri}")

    def rewritten(match):
        target = posixpath.normpath(posixpath.join(folder, match[1]))  # from the repository's top
        if not (ROOT / target).exists():
            log.warning("%s: the link %s leads to no file of the repository", page.file.src_uri, match[1])
            return match[1]
        here = posixpath.dirname(page.file.src_uri) or "."
        for name, source in AT_TOP.items():
            if target == source:
                return posixpath.relpath(name, here)
        if target.startswith("docs/") or target.endswith(".svg"):
            return posixpath.relpath(target.removeprefix("docs/"), here)
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{config.repo_url.rstrip('/')}/{kind}/main/{target}"

    return LINK.sub(rewritten, markdown)
