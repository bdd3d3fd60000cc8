"""Reports: the same `Report` for people (table, HTML) and for programs (JSON, JSON Lines, CSV).

Room: report. Pure: records in, text out; nothing is written to a file or a terminal here.
"""

from .html import render as html
from .sentences import headline, what_to_do
from .spreadsheet import render as csv
from .table import render as table
from .text import json, jsonl

__all__ = ["csv", "headline", "html", "json", "jsonl", "table", "what_to_do"]
