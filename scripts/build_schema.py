"""Write docs/report.schema.json, the JSON Schema of reports, from the records in detector/model.py.

python scripts/build_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from detector.model import report_schema

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "report.schema.json"


def text() -> str:
    """The schema as it is checked in."""
    return json.dumps(report_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), "utf-8")
