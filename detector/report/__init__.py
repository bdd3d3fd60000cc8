"""Reports: the same `Report` for people (table, HTML) and for programs (JSON, JSON Lines, CSV, Prometheus, Nagios).

`siem` has the formats of security monitoring, imported on use.

Room: report. Pure: records in, text out; nothing is written to a file or a terminal here.
"""

from .html import render as html
from .html import render_dossier
from .programs import json, jsonl, prometheus
from .sentences import headline, what_to_do
from .spreadsheet import render as csv
from .table import plain as plain_table
from .table import render as table
from .timeline import TimelineEntry

__all__ = ["TimelineEntry", "csv", "headline", "html", "json", "jsonl", "plain_table", "prometheus"]
__all__ += ["render_dossier", "table", "what_to_do"]
