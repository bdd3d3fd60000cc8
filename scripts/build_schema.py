"""Write the JSON Schemas in docs/ from the records: of reports, and of what the exam gate is asked and answers.

python scripts/build_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from detector.exam.exchange import exchange_schema
from detector.model import report_schema

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCHEMA = DOCS / "report.schema.json"
GATE_SCHEMA = DOCS / "exam-gate.schema.json"


def text() -> str:
    """The schema of reports as it is checked in."""
    return json.dumps(report_schema(), indent=2, sort_keys=True) + "\n"


def gate_text() -> str:
    """The schema of the exam gate as it is checked in."""
    return json.dumps(exchange_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), "utf-8")
    GATE_SCHEMA.write_text(gate_text(), "utf-8")
