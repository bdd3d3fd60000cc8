"""Hook of mkdocs: the repository's CHANGELOG.md and CONTRIBUTING.md as pages of the documentation site.

Both stay where a visitor of the repository expects them. Links between them and `docs/` work in both places.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ("CHANGELOG.md", "CONTRIBUTING.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the two pages to the files of the site."""
    for name in PAGES:
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name.lower(), content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links to the two files at their pages."""
    for name in PAGES:
        markdown = markdown.replace(f"](../{name}", f"]({name.lower()}").replace(f"]({name}", f"]({name.lower()}")
    return markdown
