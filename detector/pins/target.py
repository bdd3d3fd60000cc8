"""Parses host names, ports, `HOST:PORT` and URLs as people write and paste them: targets of every command and file.

Room: pins. Pure: nothing is resolved.

A target is `HOST`, `HOST:PORT` or a URL, of which user name, password, path and query are dropped and never shown; the
port of a URL without one is that of its scheme. http is refused: there is no TLS to check at such an address, and to
probe another port than the one named would be an answer to another question. So are mail addresses and networks.

A host is an IP address literal or a DNS name (RFC 1123 section 2.1; the underscore is allowed because names with one
are in use), in lower case, without the trailing dot; a name in another script becomes its A-labels
(IDNA 2008, RFC 5891, after the mapping of UTS 46).
"""

from __future__ import annotations

import ipaddress
import re
import string
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.errors import TargetError
from detector.model.validate import HTTPS_PORT, PORT_MAX

if TYPE_CHECKING:
    from collections.abc import Collection

    import idna
else:  # its tables take time to load, and few names need them
    idna = LazyModule("idna")

MAX_NAME: Final = 253
"""Longest DNS name in characters, without the trailing dot (RFC 1035 section 2.3.4: 255 bytes on the wire)."""

_MAX_TEXT: Final = 1024
"""Longest text that is parsed, in characters. A name in another script is longer before than after its encoding, but
not by that much; IDNA mapping takes time that grows with the square of the length."""

_SHOWN: Final = 80
"""How much of an invalid text a message quotes, in characters."""

_RULE_PART: Final = re.compile(r"(?:^|(?<=:))(\[[^\]]*\]|[^:\[\]]*)(?=:|\Z)")
"""What is between two colons, or in brackets between them."""

RESOLVE: Final = "HOST:PORT:ADDRESS"
CONNECT_TO: Final = "HOST1:PORT1:HOST2:PORT2"
_EXAMPLES: Final = {
    RESOLVE: "exam.example.edu:443:192.0.2.7 or exam.example.edu:443:[2001:db8::1]",
    CONNECT_TO: "exam.example.edu:443:stage.example.edu:8443",
}
_PARTS_MAX: Final = 4
"""Parts of the longer form."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+-]*\Z")
"""A scheme (RFC 3986 section 3.1) without dots, which none in use has: with one it is a host and an empty port."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")

_ADVICE: Final = "Write HOST or HOST:PORT, an IPv6 address with a port as [ADDRESS]:PORT."

_MAX_URL: Final = 8192
"""Longest pasted text that is parsed, in characters: RFC 9110 section 4.1 recommends support for URIs of 8000."""

_AROUND: Final = (
    "\"'`<>(),;\xab\xbb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a\u200b\u200e\u200f\u2060\ufeff"
) + string.whitespace
"""What surrounds a target in mails, chats and tables: angle brackets (RFC 3986 appendix C), the quotes of several
languages, punctuation, marks that are not visible, and blanks."""

_PORTS: Final = {
    "https": HTTPS_PORT, "wss": HTTPS_PORT, "ftps": 990, "telnets": 992, "imaps": 993, "pop3s": 995, "smtps": 465,
    "submissions": 465, "ldaps": 636, "nntps": 563, "sips": 5061, "ircs": 6697, "mqtts": 8883, "amqps": 5671,
    "rediss": 6379,
}  # fmt: skip
"""Schemes whose connections begin with a TLS handshake, and their default ports (IANA's registry of service names; for
wss RFC 6455 section 3, for rediss the server's own)."""

_PLAIN: Final = frozenset({"http", "ws"})
"""Schemes of the web without TLS."""


def parse_target(text: str, *, port: int = HTTPS_PORT) -> tuple[str, int]:
    """Parse a target: `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`, a bare IPv6 address, or a URL with any of these.

    Quotes, angle brackets and blanks around it are dropped, and so is everything of a URL but scheme, host and port.
    The host comes in canonical form; without a port that of the URL's scheme counts, else `port`. Raises `TargetError`,
    also for a URL without TLS, a mail address and a network.
    """
    pasted = text.strip(_AROUND).replace("\\", "/")  # as browsers read a backslash
    if len(pasted) > _MAX_URL:
        raise TargetError(f"A text of {len(pasted)} characters is too long for a URL.", advice=_ADVICE)
    scheme, separator, rest = pasted.partition(":/")
    if not separator or not _SCHEME.match(scheme):
        scheme, rest = "", pasted
    scheme = scheme.lower()
    authority, path = _split(rest.removeprefix("/" if scheme else "//"))
    user, at, place = authority.rpartition("@")
    if "@" in path and ":" in place and not (_is_address(place) or place.rpartition(":")[2].isdecimal()):
        raise TargetError("A password with a slash in it cannot be read.", advice="Leave out user name and password.")
    if not scheme and (pasted.lower().startswith("mailto:") or (at and ":" not in user)):
        raise TargetError(
            f"{quoted(authority)} is a mail address, not a server.", advice="Name the server, such as exam.example.edu."
        )
    if not scheme and path[1:].isdecimal() and _is_address(place):
        raise TargetError(
            f"{quoted(pasted)} is a network, not a server.", advice="`detector scan --network` takes networks."
        )
    host, number = parse_address(place.removesuffix(":") if scheme else place, port=_PORTS.get(scheme, port))
    if scheme and scheme not in _PORTS:
        plain = scheme in _PLAIN
        raise TargetError(
            f"{scheme}://{host} is a URL {'without TLS' if plain else 'of no protocol over TLS known here'}.",
            advice=f"To probe TLS on the usual port name the host alone: {host}." if plain else "Write HOST:PORT.",
        )
    return host, number


def _is_address(text: str) -> bool:
    """Whether this is an IP address literal, in brackets or not."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str]:
    """Split what follows a scheme into authority and the rest, which begins with `/`, `?` or `#` (RFC 3986, 3.2)."""
    end = min((place for place in map(text.find, "/?#") if place >= 0), default=len(text))
    return text[:end], text[end:]


def parse_address(text: str, *, port: int) -> tuple[str, int]:
    """Parse `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT` or a bare IPv6 address, strictly; `port` is the default.

    Raises `TargetError`.
    """
    if len(text) > _MAX_TEXT:
        raise TargetError(f"{quoted(text)} is too long for a host name.", advice=_ADVICE)
    host, after = text, ""
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")) or ":" not in host:
            raise TargetError(f"{quoted(text)} is not an IPv6 address in brackets.", advice=_ADVICE)
        after = after[1:] if after != ":" else after
    elif text.count(":") == 1:
        host, _, after = text.partition(":")
        after = after or ":"
    return parse_host(host), _port(after, text) if after else port


def parse_rule(rule: str, forms: Collection[str] = (RESOLVE, CONNECT_TO)) -> tuple[tuple[str, int], tuple[str, int]]:
    """Parse where to connect instead of resolving a name, IPv6 addresses in brackets.

    `RESOLVE` is curl's form for --resolve (here one address), `CONNECT_TO` for --connect-to: there the second host
    or port may be empty; the first ones, for curl any, may not.

    Raises `TargetError`.
    """
    parts = _RULE_PART.findall(rule) if len(rule) <= _MAX_TEXT else []
    if len(parts) > _PARTS_MAX:  # an IPv6 address without brackets, which has at least two colons
        parts[2:] = [":".join(parts[2:])]
    known = {form.count(":") + 1 for form in forms}
    if len(parts) not in known or ":".join(parts) != rule or not all(parts[:2]):
        examples = ", ".join(f"{form} (such as {_EXAMPLES[form]})" for form in forms)
        raise TargetError(f"{quoted(rule)} is not a rule of where to connect.", advice=f"Write {examples}.")
    host, port = parse_address(":".join(parts[:2]), port=0)
    if len(parts) < _PARTS_MAX:
        if not _is_address(parts[2]):
            raise TargetError(
                f"{quoted(parts[2])} is not one IP address.",
                advice=f"{CONNECT_TO} takes a name: exam.example.edu:443:stage.example.edu:443.",
            )
        return (host, port), parse_address(parts[2], port=port)
    return (host, port), parse_address(f"{parts[2] or parts[0]}:{parts[3] or port}", port=port)


def parse_host(text: str) -> str:
    """Parse a host name or IP address literal (IPv6 without brackets); return its canonical form.

    Raises `TargetError` for anything else, such as a URL, a wildcard, or labels that no resolver accepts.
    """
    if len(text) > _MAX_TEXT:
        raise TargetError(f"{quoted(text)} is too long for a host name.", advice=_ADVICE)
    if ":" in text:
        return _ipv6(text)
    name = text if text.isascii() else _to_ascii(text)
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(map(_LABEL.match, labels)):
        reason = "contains blanks" if any(map(str.isspace, text)) else "is not a host name"
        raise TargetError(f"{quoted(text)} {reason}.", advice=_ADVICE)
    if labels[-1].isdigit():  # no top-level domain is a number: RFC 3696 section 2
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise TargetError(f"{quoted(text)} is not an IPv4 address.", advice=_ADVICE) from None
    return name


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise TargetError(f"{quoted(text)} is neither a host name nor an IPv6 address.", advice=_ADVICE) from None
    if address.scope_id is not None:
        raise TargetError(f"{quoted(text)} has a zone, which has no meaning elsewhere.", advice="Leave out %ZONE.")
    return str(address)


def _to_ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise TargetError(f"{quoted(text)} is not a host name: {quoted(str(error))}.", advice=_ADVICE) from None


def _port(digits: str, text: str) -> int:
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= len(str(PORT_MAX)) else 0
    if not 1 <= number <= PORT_MAX:
        raise TargetError(
            f"{quoted(text)} does not end in a port.",
            advice=f"A port is a number from 1 to {PORT_MAX}, as in HOST:443.",
        )
    return number


def quoted(text: str) -> str:
    """Quote a text for a message: bounded, escaped, and without what may be credentials before an @."""
    credentials, at, rest = text.rpartition("@")
    shown = f"…@{rest}" if at and credentials else text
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")
