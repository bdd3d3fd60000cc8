"""The HTTP header Public-Key-Pins (RFC 7469 section 2.1).

Room: pins. Pure.

The header holds for the host that sent it, from the day on which it was received, for max-age seconds. So the last day
of the pins is counted from the day of the import.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from detector.errors import PinFileError
from detector.model.toml_files import shown

from .entry import Entry, Found, Scope, Written, base64_of, bounded, read_pins, refuse

_HEADER: Final = "public-key-pins"
_REPORT_ONLY: Final = "public-key-pins-report-only"
_DIRECTIVE: Final = re.compile(
    r"""[ \t]*+(?P<name>[\w!#$%&'*+.^`|~-]++)[ \t]*+
    (?:=[ \t]*+(?:"(?P<quoted>[^"\\]*+)"|(?P<token>[\w.-]++))[ \t]*+)?+(?:;|\Z)""",
    re.ASCII | re.VERBOSE,
)
"""A directive: name, or name=token, or name="text" (RFC 7469 section 2.1, RFC 9110 section 5.6)."""
_DAY: Final = 86400
"""Seconds of a day."""
_DAYS_MAX: Final = 3650
"""Days that pins may be valid for: as many as `pins learn` gives at most. RFC 7469 section 4.1 suggests sixty."""
_DIGITS_MAX: Final = 10
"""Digits of max-age; three hundred years have as many."""
_ADVICE: Final = (
    'Give the header as the host sent it: Public-Key-Pins: pin-sha256="…"; pin-sha256="…"; max-age=5184000.'
)


def read(data: bytes, at: dt.date) -> Found:
    """Read a header, by itself or among those of a response."""
    try:
        lines = data.decode("ascii").strip().splitlines()
    except UnicodeDecodeError:
        raise PinFileError("not ASCII text.", advice=_ADVICE) from None
    values: list[str] = []
    for line in lines:
        field, _, rest = line.partition(":")
        if field.strip().lower() == _REPORT_ONLY:
            refuse("Public-Key-Pins-Report-Only", "has pins on trial", "Import the header once the pins are enforced.")
        if field.strip().lower() == _HEADER:
            values.append(rest)
    if len(values) != 1:
        refuse("Public-Key-Pins", f"is there {len(values)} times", _ADVICE)
    pins: list[str] = []
    others: dict[str, str | None] = {}
    for name, value, is_quoted in _directives(values[0].strip().removesuffix(";")):
        if name == "pin-sha256":
            if value is None or not is_quoted:
                refuse(name, "is not within quotes", _ADVICE)
            pins.append(value)
        elif name in others or name not in ("max-age", "includesubdomains", "report-uri"):
            refuse(shown(name), "is there twice, or not known", _ADVICE)
        else:
            others[name] = value
    notes = ("report-uri is left out: it says nothing of the host's keys.",) if "report-uri" in others else ()
    entry = Entry("", Scope.EVERY, read_pins("pin-sha256", pins), _last_day(others.get("max-age"), at))
    return Found(bounded((entry,)), notes)


def _directives(value: str) -> list[tuple[str, str | None, bool]]:
    found: list[tuple[str, str | None, bool]] = []
    at = 0
    while at < len(value):
        directive = _DIRECTIVE.match(value, at)
        if directive is None:
            refuse("Public-Key-Pins", f"directive {len(found) + 1} is damaged", _ADVICE)
        quoted = directive["quoted"]
        found.append((directive["name"].lower(), directive["token"] if quoted is None else quoted, quoted is not None))
        at = directive.end()
    return found


def _last_day(max_age: str | None, at: dt.date) -> dt.date:
    digits = max_age or ""
    days = int(digits) // _DAY if digits.isdecimal() and len(digits) <= _DIGITS_MAX else 0
    if not 1 <= days <= _DAYS_MAX:
        refuse("max-age", f"{shown(digits)} is not from one day to {_DAYS_MAX}, in seconds", _ADVICE)
    return at + dt.timedelta(days=days)


def write(written: Written) -> str:
    """Write the header of one host. Raises `PinFileError`."""
    endpoint = written.endpoints[0]
    if len(written.endpoints) > 1:
        refuse(
            f"{written.endpoints[1].name}: host", "a header is of one host, the one that sends it", "Export one host."
        )
    days = (endpoint.expires - written.at).days if endpoint.expires else 0
    if not 1 <= days <= _DAYS_MAX:
        refuse(
            f"{endpoint.name}: expires",
            f"the header needs a last day, from tomorrow to {_DAYS_MAX} days from now",
            "Write expires in the pin file.",
        )
    pins = "; ".join(f'pin-sha256="{base64_of(pin)}"' for pin in endpoint.pins)
    return f"Public-Key-Pins: {pins}; max-age={days * _DAY}\n"
