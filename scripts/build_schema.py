"""Write the JSON Schemas in docs, of reports and of watch events, from the records.

python scripts/build_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from detector.model import report_schema
from detector.watch_event import watch_event_schema

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCHEMAS = {"report.schema.json": report_schema, "watch-event.schema.json": watch_event_schema}


def text(name: str = "report.schema.json") -> str:
    """A schema as it is checked in."""
    return json.dumps(SCHEMAS[name](), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        (DOCS / name).write_text(text(name), "utf-8")
