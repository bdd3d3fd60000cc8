"""Asks a resolver over HTTPS (RFC 8484) which addresses names have: beside the system's resolver, to compare.

Room: probe. Opens connections through `https`; judges nothing. Messages are dnspython's (extra `doh`).

The resolver is spoken to in HTTP/1.1, which RFC 8484 section 5.2 allows and some public resolvers refuse; then there
are no answers, which is told. Nothing is asked of a resolver that is not vouched for: what it says would be
worth nothing.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from detector.model import ResolutionOutcome

from .client import Limits
from .https import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Observation
    from detector.probe.routes import Dialer

    from .https import Vouch

MESSAGE_OCTETS_MAX: Final = 65535
"""Largest DNS message (RFC 8484 section 6)."""

ADDRESSES_MAX: Final = 16
"""Addresses kept of one answer."""

NAMES_MAX: Final = 256
"""Names asked about over one connection."""

LIMITS: Final = Limits(body_octets=MESSAGE_OCTETS_MAX)

MEDIA_TYPE: Final = "application/dns-message"

_TYPES: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)

Answer = tuple[ResolutionOutcome, tuple[str, ...]]


async def resolve(
    url: str, names: Sequence[str], *, dialer: Dialer, vouch: Vouch, deadline: float
) -> tuple[Observation | None, dict[str, Answer]]:
    """What the resolver at `url` says about `names`, and what the connection to it showed.

    `url` may end in `{?dns}`, as templates are written (RFC 8484 section 4.1). Raises nothing for reasons of network,
    resolver or answer.
    """
    names = tuple(dict.fromkeys(names))[:NAMES_MAX]
    plain = url.removesuffix("{?dns}")
    questions = [question for name in names for question in _questions(name)]
    paths = [path_of(plain, question) for question in questions]
    conversation = await ask(
        plain, paths, dialer=dialer, vouch=vouch, limits=LIMITS, deadline=deadline, accept=MEDIA_TYPE
    )
    if conversation is None:
        return None, dict.fromkeys(names, (ResolutionOutcome.NO_ANSWER, ()))
    if not conversation.vouched:
        return conversation.observation, dict.fromkeys(names, (ResolutionOutcome.NOT_VOUCHED, ()))
    bodies = iter(conversation.bodies)
    answers = {}
    for name in names:
        both = [read(next(bodies, None), question) for question in _questions(name)]
        answers[name] = _together(both)
    return conversation.observation, answers


def _questions(name: str) -> list[dns.message.QueryMessage]:
    """Make the questions; none for what cannot be a name. The id is 0, for caches (RFC 8484 section 4.1)."""
    try:
        ascii_name = name.rstrip(".").encode("ascii" if name.isascii() else "idna").decode("ascii")
        return [dns.message.make_query(ascii_name, kind, id=0) for kind in _TYPES]
    except (dns.exception.DNSException, UnicodeError):
        return []


def path_of(url: str, question: dns.message.Message) -> str:
    """The path to ask for: the URL's, with the message in base64url without padding (RFC 8484 section 6)."""
    path = "/" + url.partition("://")[2].partition("/")[2]
    encoded = base64.urlsafe_b64encode(question.to_wire()).rstrip(b"=").decode("ascii")
    return f"{path}{'&' if '?' in path else '?'}dns={encoded}"


def read(body: bytes | None, question: dns.message.Message) -> Answer:
    """Read one answer: its outcome, and the addresses it gives, at most `ADDRESSES_MAX`. Raises nothing."""
    if body is None:
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


def _together(both: Sequence[Answer]) -> Answer:
    """The answers for both families as one: an answer that is missing makes the whole incomplete."""
    outcomes = {outcome for outcome, _ in both}
    addresses = tuple(address for _, found in both for address in found)
    if ResolutionOutcome.NO_ANSWER in outcomes or not both:
        return ResolutionOutcome.NO_ANSWER, addresses
    if addresses:
        return ResolutionOutcome.ANSWERED, addresses
    return ResolutionOutcome.NO_SUCH_NAME, ()
