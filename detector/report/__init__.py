"""Reports: the same `Report` for people (table) and for programs (JSON, JSON Lines).

Room: report. Pure: records in, text out; nothing is written to a file or a terminal here.
"""

from .sentences import headline, what_to_do
from .table import render as table
from .text import json, jsonl

__all__ = ["headline", "json", "jsonl", "table", "what_to_do"]
