"""Write the JSON Schemas in docs/ from the records they describe.

python scripts/build_schema.py
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detector.bundle.form import bundle_schema
from detector.bundle.verification import verification_schema
from detector.ct.findings import finding_schema
from detector.exam.protocol import protocol_schema
from detector.model import report_schema
from detector.watch.events import watch_event_schema

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"

SCHEMAS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "report.schema.json": report_schema,
    "bundle.schema.json": bundle_schema,
    "verification.schema.json": verification_schema,
    "exam-gate.schema.json": protocol_schema,
    "watch-event.schema.json": watch_event_schema,
    "ct-finding.schema.json": finding_schema,
}


def text(name: str = "report.schema.json") -> str:
    """The text of a schema file in docs/."""
    return json.dumps(_alike(SCHEMAS[name]()), indent=2, sort_keys=True) + "\n"


def _alike(schema: Any) -> Any:  # noqa: ANN401 - anything that JSON has
    """Without what depends on the versions of Python and msgspec.

    That is the indentation of docstrings, which newer ones take away, and that the keys of a mapping are of an
    enumeration, which msgspec says from 0.23 on.
    """
    if isinstance(schema, list):
        return [_alike(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    alike = {key: _alike(value) for key, value in schema.items()}
    if isinstance(text := alike.get("description"), str):
        alike["description"] = inspect.cleandoc(text)
    if "$ref" in alike.get("propertyNames", {}):
        del alike["propertyNames"]
    return alike


if __name__ == "__main__":
    for name in SCHEMAS:
        (DOCS / name).write_text(text(name), "utf-8")
