"""DNS over HTTPS (RFC 8484): which addresses a second resolver gives, for comparison with the system's.

Room: probe. Asks over a connection of `https`, which the caller has assessed. Messages are dnspython's (extra `doh`).

The resolver is asked in HTTP/1.1, which RFC 8484 section 5.2 allows and some public resolvers refuse; then there are no
answers, which is reported. A resolver that is not trusted is not asked: its answers would be worth nothing.
"""

from __future__ import annotations

import base64
import ipaddress
import struct
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from detector.model import ResolutionOutcome

from .client import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .https import HTTPSServer

MESSAGE_BYTES_MAX: Final = 65535  # largest DNS message (RFC 8484 section 6)
RECORDS_MAX: Final = 64
"""Records of one message that are read: an address list has under 20. dnspython takes up to 1.5 ms for one whose names
are long and compressed (RFC 1035 section 4.1.4), and 64 KiB hold five thousand."""
_COUNTS: Final = struct.Struct(">6x3H")  # of answer, authority and additional records (RFC 1035 section 4.1.1)
ADDRESSES_MAX: Final = 16  # addresses kept of one answer
NAMES_MAX: Final = 256  # names resolved over one connection

LIMITS: Final = Limits(body_bytes=MESSAGE_BYTES_MAX)

MEDIA_TYPE: Final = "application/dns-message"

_TYPES: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)

Answer = tuple[ResolutionOutcome, tuple[str, ...]]


async def resolve(server: HTTPSServer, names: Sequence[str]) -> dict[str, Answer]:
    """Resolve `names` at `server`. Raises nothing for reasons of network, resolver or answer."""
    questions = {name: _questions(name) for name in tuple(dict.fromkeys(names))[:NAMES_MAX]}
    paths = [path_of(server.path, question) for asked in questions.values() for question in asked]
    bodies = iter(await server.get(paths, limits=LIMITS, accept=MEDIA_TYPE))
    return {name: _combine([read(next(bodies), question) for question in asked]) for name, asked in questions.items()}


def _questions(name: str) -> list[dns.message.QueryMessage]:
    """Make the questions; none for what cannot be a name. The id is 0, for caches (RFC 8484 section 4.1)."""
    try:
        ascii_name = name.rstrip(".").encode("ascii" if name.isascii() else "idna").decode("ascii")
        return [dns.message.make_query(ascii_name, kind, id=0) for kind in _TYPES]
    except (dns.exception.DNSException, UnicodeError):
        return []


def path_of(path: str, question: dns.message.Message) -> str:
    """Return the path to request: the URL's, with the message in base64url without padding (RFC 8484 section 6)."""
    encoded = base64.urlsafe_b64encode(question.to_wire()).rstrip(b"=").decode("ascii")
    return f"{path}{'&' if '?' in path else '?'}dns={encoded}"


def read(body: bytes | None, question: dns.message.Message) -> Answer:
    """Parse one answer: its outcome, and its addresses, at most `ADDRESSES_MAX`. Raises nothing."""
    if body is None or len(body) < _COUNTS.size or sum(_COUNTS.unpack_from(body)) > RECORDS_MAX:
        return ResolutionOutcome.NO_ANSWER, ()
    try:
        message = dns.message.from_wire(body)
        if not message.flags & dns.flags.QR or message.question != question.question:
            return ResolutionOutcome.NO_ANSWER, ()
        if message.rcode() == dns.rcode.NXDOMAIN:
            return ResolutionOutcome.NO_SUCH_NAME, ()
        if message.rcode() != dns.rcode.NOERROR or not isinstance(message, dns.message.QueryMessage):
            return ResolutionOutcome.NO_ANSWER, ()
        found = message.resolve_chaining().answer
        addresses = [str(ipaddress.ip_address(record.to_text())) for record in found or ()]
    except (dns.exception.DNSException, ValueError):
        return ResolutionOutcome.NO_ANSWER, ()
    return ResolutionOutcome.ANSWERED, tuple(sorted(addresses)[:ADDRESSES_MAX])


def _combine(both: Sequence[Answer]) -> Answer:
    """Combine the answers for both address families: one that is missing makes the whole incomplete."""
    outcomes = {outcome for outcome, _ in both}
    addresses = tuple(address for _, found in both for address in found)
    if ResolutionOutcome.NO_ANSWER in outcomes or not both:
        return ResolutionOutcome.NO_ANSWER, addresses
    return (ResolutionOutcome.ANSWERED if addresses else ResolutionOutcome.NO_SUCH_NAME), addresses
