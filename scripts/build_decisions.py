"""Write docs/decisions.md: a template, with the decision table put in. For maintainers; a test compares the whole page.

Room: scripts. Reads scripts/templates/decisions.md, writes docs/decisions.md.

    python scripts/build_decisions.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from detector.report.rules import markdown

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "decisions.md"
TEMPLATE: Final = Path(__file__).with_name("templates") / "decisions.md"


def page() -> str:
    """The whole page."""
    return TEMPLATE.read_text("utf-8").replace("{table}", markdown())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
