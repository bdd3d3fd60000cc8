"""Reports for programs: JSON (docs/report.schema.json) and JSON Lines, one result per line.

Room: report. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from detector.model import encode

if TYPE_CHECKING:
    from detector.model import Report


def json(report: Report) -> str:
    """The whole report, indented, ending in a newline."""
    return msgspec.json.format(report.to_json(), indent=2).decode("utf-8") + "\n"


def jsonl(report: Report) -> str:
    """One line per endpoint: the same result as in `results` of the JSON report."""
    return "".join(encode(result).decode("utf-8") + "\n" for result in report.results)
