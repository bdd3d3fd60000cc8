"""Write what docs/collect-ingest.md says of refusals, and docs/collect-openapi.json. For maintainers.

Room: scripts. A test compares both.

    python scripts/build_collect_ingest.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from detector_collect.service.app import INGEST
from detector_collect.service.description import openapi
from detector_collect.submissions import ANSWERS

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
PAGE: Final = DOCS / "collect-ingest.md"
OPENAPI: Final = DOCS / "collect-openapi.json"
_TABLE: Final = re.compile(r"(?<=<!-- refusals -->\n).*?(?=<!-- /refusals -->)", re.DOTALL)


def page(text: str) -> str:
    """The page with the table of refusals in its place."""
    rows = ["| Reason | Status | Meaning | Advice |", "|---|---|---|---|"]
    for refusal, answer in ANSWERS.items():
        rows.append(f"| `{refusal}` | {int(answer.status)} | {answer.title} | {answer.advice} |")
    table = "\n".join(rows)
    return _TABLE.sub(lambda _: f"{table}\n", text)


def description() -> str:
    """The OpenAPI description, as checked in."""
    return json.dumps(openapi([*INGEST]), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write both."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    OPENAPI.write_text(description(), "utf-8")


if __name__ == "__main__":
    main()
