"""Hook of mkdocs: pages of the documentation site whose text is elsewhere in the repository.

Each of these files stays where a visitor of the repository, or of a package index, expects it. Links between them and
`docs/` work in both places.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "THIRD_PARTY_NOTICES.md": "notices.md",
    "packages/collect/README.md": "collect.md",
    "packages/testing/README.md": "testing.md",
}
"""Pages of the site by the file that has their text."""
SOURCES: Final = {page: source for source, page in PAGES.items()}
LINK: Final = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
"""A relative link in Markdown, up to its target."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the files of the site."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point relative links at pages of the site, whether they stand in one of the pages or lead to one."""
    here = page.file.src_uri
    folder = posixpath.dirname(SOURCES.get(here, f"docs/{here}"))

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found[1]))
        there = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(there, posixpath.dirname(here) or '.')}"

    return LINK.sub(link, markdown)
