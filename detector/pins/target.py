"""Parses host names, ports and `HOST:PORT` as people write them, on the command line and in pin files.

Room: pins. Pure: nothing is resolved.

A host is an IP address literal or a DNS name (RFC 1123 section 2.1; the underscore is allowed because names with one
are in use), in lower case, without the trailing dot; a name in another script becomes its A-labels
(IDNA 2008, RFC 5891, after the mapping of UTS 46).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.errors import TargetError

if TYPE_CHECKING:
    import idna
else:  # its tables take time to load, and few names need them
    idna = LazyModule("idna")

HTTPS_PORT: Final = 443
"""Port where none is given (RFC 9110 section 4.2.2)."""

MAX_PORT: Final = 65535
"""Largest TCP port number (RFC 9293 section 3.1)."""

MAX_NAME: Final = 253
"""Longest DNS name in characters, without the trailing dot (RFC 1035 section 2.3.4: 255 bytes on the wire)."""

_MAX_TEXT: Final = 1024
"""Longest text that is parsed, in characters. A name in another script is longer before than after its encoding, but
not by that much; IDNA mapping takes time that grows with the square of the length."""

_SHOWN: Final = 80
"""How much of an invalid text a message quotes, in characters."""

_RULE_PARTS: Final = 4
"""Host, port, address, port."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")

_ADVICE: Final = "Write HOST or HOST:PORT, an IPv6 address with a port as [ADDRESS]:PORT."


def parse_target(text: str) -> tuple[str, int]:
    """Parse `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT` or a bare IPv6 address; the default port is 443.

    Returns:
        The host in canonical form and the port (1 to 65535).

    Raises:
        TargetError: the text is not of this form.
    """
    return parse_address(text, port=HTTPS_PORT)


def parse_address(text: str, *, port: int) -> tuple[str, int]:
    """Parse a target as `parse_target` does, with `port` as the default."""
    if len(text) > _MAX_TEXT:
        raise TargetError(f"{_show(text)} is too long for a host name.", advice=_ADVICE)
    if "://" in text:
        raise TargetError(f"{_show(text)} is a URL.", advice=_ADVICE)
    host, after = text, ""
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")) or ":" not in host:
            raise TargetError(f"{_show(text)} is not an IPv6 address in brackets.", advice=_ADVICE)
        after = after[1:] if after != ":" else after
    elif text.count(":") == 1:
        host, _, after = text.partition(":")
        after = after or ":"
    return parse_host(host), _port(after, text) if after else port


def parse_rule(rule: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Parse `HOST:PORT:ADDRESS:PORT` (connect there instead), IPv6 addresses in brackets. Raises `TargetError`."""
    parts: list[str] = []
    rest = rule
    while rest and len(parts) <= _RULE_PARTS:
        if rest.startswith("["):
            inner, bracket, rest = rest.partition("]")
            parts.append(inner + bracket)
            rest = rest.removeprefix(":")
        else:
            part, _, rest = rest.partition(":")
            parts.append(part)
    if len(parts) != _RULE_PARTS or not all(parts):
        raise TargetError(
            f"{_show(rule)}: not of the form HOST:PORT:ADDRESS:PORT.",
            advice="Example: exam.example.edu:443:127.0.0.1:8443 (IPv6 addresses in brackets).",
        )
    return parse_target(f"{parts[0]}:{parts[1]}"), parse_target(f"{parts[2]}:{parts[3]}")


def parse_host(text: str) -> str:
    """Parse a host name or IP address literal (IPv6 without brackets); return its canonical form.

    Raises:
        TargetError: it is anything else, such as a URL, a port, a path, a wildcard, or labels no resolver accepts.
    """
    if len(text) > _MAX_TEXT:
        raise TargetError(f"{_show(text)} is too long for a host name.", advice=_ADVICE)
    if ":" in text:
        return _ipv6(text)
    name = text if text.isascii() else _to_ascii(text)
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(map(_LABEL.match, labels)):
        reason = "contains blanks" if any(map(str.isspace, text)) else "is not a host name"
        raise TargetError(f"{_show(text)} {reason}.", advice=_ADVICE)
    if labels[-1].isdigit():  # no top-level domain is a number: RFC 3696 section 2
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise TargetError(f"{_show(text)} is not an IPv4 address.", advice=_ADVICE) from None
    return name


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise TargetError(f"{_show(text)} is neither a host name nor an IPv6 address.", advice=_ADVICE) from None
    if address.scope_id is not None:
        raise TargetError(f"{_show(text)} has a zone, which has no meaning elsewhere.", advice="Leave out %ZONE.")
    return str(address)


def _to_ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise TargetError(f"{_show(text)} is not a host name: {_show(str(error))}.", advice=_ADVICE) from None


def _port(digits: str, text: str) -> int:
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_PORT)) else 0
    if not 1 <= number <= MAX_PORT:
        raise TargetError(
            f"{_show(text)} does not end in a port.", advice=f"A port is a number from 1 to {MAX_PORT}, as in HOST:443."
        )
    return number


def _show(text: str) -> str:
    """Quote a text for a message: bounded, escaped, and without what may be credentials before an @."""
    credentials, at, rest = text.rpartition("@")
    shown = f"…@{rest}" if at and credentials else text
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")
