"""Pin files: what is expected of each endpoint. Strict reading, lint, learning, writing.

Room: pins. Reads the files that are named and nothing else: no sockets, no clock.
"""

from .encoding import encode_pin, parse_pin
from .learn import Learned, SharedKeys, learn, learn_all, shared_pins
from .lint import LintMessage, Severity, lint
from .load import PinSet, load, shipped
from .target import parse_address, parse_host, parse_rule, parse_target
from .write import dump

__all__ = [
    "Learned",
    "LintMessage",
    "PinSet",
    "Severity",
    "SharedKeys",
    "dump",
    "encode_pin",
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
]
