"""Pin files: what is expected of each endpoint, read strictly, checked for staleness, written readably.

Room: pins. Reads the files it is pointed to and nothing else: no sockets, no clock.
"""

from .learn import learn
from .lint import LintMessage, Severity, lint
from .load import PinSet, load, shipped
from .spelling import parse_pin, spell
from .target import parse_address, parse_host, parse_rule, parse_target
from .write import dump

__all__ = [
    "LintMessage",
    "PinSet",
    "Severity",
    "dump",
    "learn",
    "lint",
    "load",
    "parse_address",
    "parse_host",
    "parse_pin",
    "parse_rule",
    "parse_target",
    "shipped",
    "spell",
]
