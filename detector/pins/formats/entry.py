"""What files with pins of other programs say, in one form, and how their patterns apply to hosts.

Room: pins. Pure.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from detector.errors import PinFileError, TargetError
from detector.model.endpoint import encode_pin
from detector.model.toml_files import shown
from detector.pins.encoding import parse_pin
from detector.pins.target import parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from detector.model import Endpoint

PINS_MAX: Final = 256
"""Pins of one entry: as many as certificates are kept of one connection."""

ENTRIES_MAX: Final = 5000
"""Entries of one file: as many as a pin set may have."""

_NAME_MAX: Final = 253
"""Characters of a name in messages; a host name has as many."""

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_DAY: Final = dt.timedelta(days=1)
_PIN_ADVICE: Final = "Write the base64 form of a SHA-256 digest (RFC 7469 section 2.4)."


class Scope(enum.Enum):
    """Which hosts an entry is about."""

    HOST = "one host"
    ONE_LABEL = "the names of one more label"
    CHILDREN = "the host and the names of one more label"
    SUBDOMAINS = "the host and its subdomains"
    EVERY = "any host"


class Entry(NamedTuple):
    """Pins for the hosts in the scope of a name; without pins it exempts them. `expires` is the last day of use."""

    host: str
    scope: Scope
    pins: tuple[bytes, ...]
    expires: dt.date | None = None

    def covers(self, host: str) -> bool:
        """Whether the entry is about this host."""
        if self.scope is Scope.EVERY:
            return True
        is_child = host.partition(".")[2] == self.host
        return {
            Scope.HOST: host == self.host,
            Scope.ONE_LABEL: is_child,
            Scope.CHILDREN: host == self.host or is_child,
            Scope.SUBDOMAINS: host == self.host or host.endswith(f".{self.host}"),
        }[self.scope]


class Found(NamedTuple):
    """The entries of a file, and `notes` on what a pin file has no place for, as sentences."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


class Written(NamedTuple):
    """What a format is written from: endpoints of which nothing but host, pins and expiry counts, and today's date.

    `issuers` says whether the pins are those of CAs (True) or of leaves (False); None where the caller does not say.
    """

    endpoints: Sequence[Endpoint]
    at: dt.date
    issuers: bool | None


class Format(NamedTuple):
    """How a format is read and written, and what it can say.

    `expires`: whether it gives a last day. `adds_up`: whether all entries for a host apply, not the nearest alone.
    `least` is the number of pins without which its programs refuse an entry.
    """

    title: str
    read: Callable[[bytes, dt.date], Found]
    write: Callable[[Written], str] | None
    expires: bool = False
    adds_up: bool = False
    least: int = 1


def refuse(field: str, reason: str, advice: str) -> NoReturn:
    """Refuse a file because of one field. The message does not name the file."""
    raise PinFileError(f"{field}: {reason}.", advice=advice) from None


def plain(name: str) -> str:
    """A name of the file for messages: unchanged where it is short and printable."""
    return name if name.isprintable() and len(name) <= _NAME_MAX else shown(name)


def read_host(field: str, text: str) -> str:
    """Read the name of an entry. Raises `PinFileError`."""
    try:
        return parse_host(text)
    except TargetError as error:
        refuse(field, error.message.removesuffix("."), "Write a host name alone.")


def read_pins(field: str, texts: Sequence[str], prefix: str = "") -> tuple[bytes, ...]:
    """Read the pins of an entry in base64, each behind the prefix. Raises `PinFileError`."""
    if len(texts) > PINS_MAX:
        refuse(field, f"{len(texts)} pins; at most {PINS_MAX} are read", "Keep the pins that are in use.")
    return tuple(dict.fromkeys(_pin(f"{field}[{index}]", text, prefix) for index, text in enumerate(texts)))


def _pin(field: str, text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        refuse(field, f"{shown(text)} does not begin with {prefix}", _PIN_ADVICE)
    encoded = text.removeprefix(prefix)
    if encoded.startswith("sha256"):
        refuse(field, f"{shown(text)} is not base64", _PIN_ADVICE)
    try:
        return parse_pin(encoded)
    except ValueError as error:
        refuse(field, f"{shown(text)} {error}", _PIN_ADVICE)


def day_before(field: str, text: object) -> dt.date:
    """The last day of pins that expire as this date (yyyy-MM-dd) begins. Raises `PinFileError`."""
    try:
        return dt.date.fromisoformat(text if isinstance(text, str) and _DATE.match(text) else "") - _DAY
    except (ValueError, OverflowError):
        refuse(field, f"{shown(text)} is not a date", "Write yyyy-MM-dd.")


def day_after(endpoint: str, last: dt.date) -> str:
    """The date (yyyy-MM-dd) at whose beginning pins of this last day expire. Raises `PinFileError`."""
    if last == dt.date.max:
        refuse(f"{endpoint}: expires", "no date follows it", "Give an earlier date.")
    return (last + _DAY).isoformat()


def base64_of(pin: bytes) -> str:
    """A pin without the name of its hash."""
    return encode_pin(pin).removeprefix("sha256/")


def bounded(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries, of which there must be some and not too many. Raises `PinFileError`."""
    found: list[Entry] = []
    for entry in entries:
        if len(found) == ENTRIES_MAX:
            raise PinFileError(f"This holds more than {ENTRIES_MAX} entries.", advice="Split the file.")
        found.append(entry)
    if not any(entry.pins for entry in found):
        raise PinFileError("This holds no pins.", advice="Check the name of the format and of the file.")
    return tuple(found)
