"""Pin files: what is expected of each endpoint, read strictly, checked for staleness, learned, written.

Room: pins. Reads the files it is pointed to and nothing else: no sockets, no clock.
"""

from .encoding import parse_pin, spell
from .learn import Learned, learn, learn_all
from .lint import LintMessage, Severity, lint
from .load import PinSet, load, shipped
from .shared_keys import shared_pins
from .target import parse_address, parse_host, parse_rule, parse_target
from .write import dump

__all__ = [
    "Learned",
    "LintMessage",
    "PinSet",
    "Severity",
    "dump",
    "learn",
    "learn_all",
    "lint",
    "load",
    "parse_address",
    "parse_host",
    "parse_pin",
    "parse_rule",
    "parse_target",
    "shared_pins",
    "shipped",
    "spell",
]
