"""Host names: does a certificate name this host (RFC 9525), may its CA name it (RFC 5280), who operates it.

Room: trust. Pure, but that the Public Suffix List is read once. Matching is service-identity's.
"""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .certificate import Certificate, NameConstraints

NETWORK_SUFFIXES: Final = frozenset(
    {
        *("test", "example", "invalid", "localhost", "local", "onion", "alt"),
        *("internal", "lan", "intra", "intranet", "private", "corp", "home", "arpa"),
    }
)
"""Suffixes of names that mean "this network", or nothing in public DNS: whatever runs under them is one operator,
so a campus CA that serves two of them accuses nobody. The first line is reserved (RFC 2606, RFC 6761, RFC 6762, RFC
7686, RFC 9476). The second is ICANN's .internal, what private networks use (RFC 6762 appendix G), and .arpa, which has
home.arpa (RFC 8375) and reverse names. Most are in no suffix list; listed here, they are so whatever a list says."""

ONE_NETWORK: Final = "this network"
"""The operator of everything under such a suffix or one that no list knows, of bare names and of addresses."""


REMEMBERED_CHARACTERS: Final = 1024
"""Characters of the names of a certificate whose answer is remembered: usual ones have under 200, and a peer must not
fill the memory."""


class NameMatch(enum.StrEnum):
    """Whether a certificate is for a host. `UNFINISHED`: it names more than is read, and nothing that was read fits."""

    MATCH = "match"
    COMMON_NAME_ONLY = "common-name-only"
    MISMATCH = "mismatch"
    UNFINISHED = "unfinished"


def match(certificate: Certificate, host: str) -> NameMatch:
    """Whether the certificate names the host (RFC 9525 section 6).

    `COMMON_NAME_ONLY`: no alternative names at all and the common name fits, as in certificates of the past and in
    some private PKIs. Public CAs have not issued those for over a decade.
    """
    if _named(certificate, host):
        return NameMatch.MATCH
    if certificate.names_unfinished:
        return NameMatch.UNFINISHED
    common_name = certificate.subject.get("CN") if certificate.subject else None
    if not certificate.has_alternative_names and common_name is not None and _dns_match((common_name,), host):
        return NameMatch.COMMON_NAME_ONLY
    return NameMatch.MISMATCH


def _named(certificate: Certificate, host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _dns_match(certificate.dns_names, host)
    return str(address) in certificate.ip_addresses


def load() -> None:
    """Import what `match` needs, for who has time now and none later."""
    import service_identity  # noqa: F401, PLC0415 - to have it


def _dns_match(patterns: tuple[str, ...], host: str) -> bool:
    """Whether one of the names is for the host. Answers are remembered: the same certificates come back again."""
    small = sum(map(len, patterns)) <= REMEMBERED_CHARACTERS
    return _remembered_match(patterns, host) if small else _compare(patterns, host)


def _compare(patterns: tuple[str, ...], host: str) -> bool:
    from service_identity import hazmat  # noqa: PLC0415 - 40 ms that a scan's first handshake need not wait for
    from service_identity.exceptions import CertificateError, VerificationError  # noqa: PLC0415 - as above

    try:
        wanted = hazmat.DNS_ID(host)
    except ValueError:
        return host.lower() in {p.lower() for p in patterns}
    for_wildcards = wanted
    if wanted.hostname.startswith(b"xn--") and b"." in wanted.hostname:
        # Browsers let a wildcard cover an A-label, service-identity does not (RFC 6125 section 6.4.3 left it open). To
        # a wildcard that is a whole label it does not matter what it covers, so another label stands in.
        for_wildcards = hazmat.DNS_ID("x" + wanted.hostname[wanted.hostname.index(b".") :].decode("ascii"))
    for pattern in filter(_may_name(host), patterns):
        try:
            presented = hazmat.DNSPattern.from_bytes(pattern.encode("ascii"))
            identity = for_wildcards if pattern.startswith("*.") else wanted
            hazmat.verify_service_identity([presented], obligatory_ids=[identity], optional_ids=[])
        except (CertificateError, VerificationError, UnicodeEncodeError):
            # A pattern the library refuses (a bare name, a wildcard too wide) still names its host literally.
            if pattern.lower().rstrip(".") == host.lower() and "*" not in pattern:
                return True
        else:
            return True
    return False


def _may_name(host: str) -> Callable[[str], bool]:
    """Tell which names are worth comparing: a wildcard stands for the first label alone (RFC 9525 section 6.3).

    A peer can present thousands of names, and the comparison proper takes 30 microseconds for each.
    """
    wanted = host.lower().rstrip(".").partition(".")[2]
    return lambda pattern: pattern.lower().rstrip(".").partition(".")[2] == wanted


_remembered_match: Final = lru_cache(maxsize=4096)(_compare)


def permitted(host: str, constraints: NameConstraints) -> bool:
    """Whether name constraints allow a CA to name this host (RFC 5280 section 4.2.1.10)."""
    try:
        address = ipaddress.ip_address(host).packed
    except ValueError:
        name = host.lower().rstrip(".")

        def under(tree: str) -> bool:
            tree = tree.lower()
            if tree.startswith("."):
                return name.endswith(tree)
            return tree in ("", name) or name.endswith("." + tree)

        if any(map(under, constraints.excluded_dns)):
            return False
        return not constraints.permitted_dns or any(map(under, constraints.permitted_dns))

    def within(tree: bytes) -> bool:
        half = len(tree) // 2
        if half != len(address):
            return False
        return all(a & m == n & m for a, n, m in zip(address, tree[:half], tree[half:], strict=True))

    if any(map(within, constraints.excluded_ip)):
        return False
    return not constraints.permitted_ip or any(map(within, constraints.permitted_ip))


@lru_cache(maxsize=65536)
def operator_of(host: str) -> str:
    """Who operates a host, where nothing is declared: its registrable domain (Public Suffix List, ICANN's section).

    Names that mean nothing outside of one network, or nothing that is known, are all of one operator, `ONE_NETWORK`:
    bare names, names under `NETWORK_SUFFIXES` or a suffix that the list does not have, and address literals.
    """
    name = host.lower().rstrip(".")
    _, dot, suffix = name.rpartition(".")
    if not dot or suffix in NETWORK_SUFFIXES or _is_address(name):
        return ONE_NETWORK
    from .suffixes import registrable  # noqa: PLC0415 - a list of 300 KB, for chains that no client takes

    return registrable(name) or ONE_NETWORK


def is_public(host: str) -> bool:
    """Whether this name or address means the same host on every network."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return operator_of(host) != ONE_NETWORK


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
