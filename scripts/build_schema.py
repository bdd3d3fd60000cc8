"""Write the JSON Schemas in docs/ from the records they describe.

python scripts/build_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detector.bundle.form import bundle_schema
from detector.bundle.verification import verification_schema
from detector.exam.exchange import exchange_schema
from detector.model import report_schema
from detector.watch_event import watch_event_schema

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"

SCHEMAS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "report.schema.json": report_schema,
    "bundle.schema.json": bundle_schema,
    "verification.schema.json": verification_schema,
    "exam-gate.schema.json": exchange_schema,
    "watch-event.schema.json": watch_event_schema,
}


def text(name: str = "report.schema.json") -> str:
    """The schema as it is checked in."""
    return json.dumps(SCHEMAS[name](), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        (DOCS / name).write_text(text(name), "utf-8")
