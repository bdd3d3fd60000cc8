"""Does a certificate name this host (RFC 9525)?

Room: trust. Pure. Matching is service-identity's.
"""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule

if TYPE_CHECKING:
    from service_identity import exceptions, hazmat

    from .certificate import Certificate
else:  # 40 ms that the first handshake of a scan need not wait for
    exceptions = LazyModule("service_identity.exceptions")
    hazmat = LazyModule("service_identity.hazmat")

NETWORK_SUFFIXES: Final = frozenset(
    {
        *("test", "example", "invalid", "localhost", "local", "onion", "alt"),
        *("internal", "lan", "intra", "intranet", "private", "corp", "home", "arpa"),
    }
)
"""Suffixes of names that mean "this network", or nothing in public DNS: everything under them counts as one operator,
so a campus CA that serves two of them accuses nobody. The first line is reserved (RFC 2606, RFC 6761, RFC 6762, RFC
7686, RFC 9476). The second is ICANN's .internal, what private networks use (RFC 6762 appendix G), and .arpa, which has
home.arpa (RFC 8375) and reverse names. Most are in no suffix list; listed here, they do not depend on one."""

CACHED_CHARACTERS_MAX: Final = 1024
"""Longest names of a certificate whose match is cached, in characters: usual ones have under 200, and a peer must not
fill the memory."""


class NameMatch(enum.StrEnum):
    """Whether a certificate is for a host. `UNFINISHED`: it has more names than are read, and none of those matches."""

    MATCH = "match"
    COMMON_NAME_ONLY = "common-name-only"
    MISMATCH = "mismatch"
    UNFINISHED = "unfinished"


def match(certificate: Certificate, host: str) -> NameMatch:
    """Whether the certificate names the host (RFC 9525 section 6).

    `COMMON_NAME_ONLY`: no alternative names at all and the common name matches, as in certificates of the past and in
    some private PKIs. Public CAs have not issued those for over a decade.
    """
    if _has_name(certificate, host):
        return NameMatch.MATCH
    if certificate.names_truncated:
        return NameMatch.UNFINISHED
    common_name = certificate.subject.get("CN") if certificate.subject else None
    if not certificate.has_alternative_names and common_name is not None and _dns_match((common_name,), host):
        return NameMatch.COMMON_NAME_ONLY
    return NameMatch.MISMATCH


def _has_name(certificate: Certificate, host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _dns_match(certificate.dns_names, host)
    return str(address) in certificate.ip_addresses


def load() -> None:
    """Import what `match` needs ahead of time."""
    _ = hazmat.DNS_ID, exceptions.VerificationError


def _dns_match(patterns: tuple[str, ...], host: str) -> bool:
    """Whether one of the names is for the host; cached, because the same certificates come back."""
    small = sum(map(len, patterns)) <= CACHED_CHARACTERS_MAX
    return _cached_compare(patterns, host) if small else _compare(patterns, host)


def _compare(patterns: tuple[str, ...], host: str) -> bool:
    dns_pattern, verify = hazmat.DNSPattern, hazmat.verify_service_identity
    refusals = (exceptions.CertificateError, exceptions.VerificationError, UnicodeEncodeError)
    try:
        wanted = hazmat.DNS_ID(host)
    except ValueError:
        return host.lower() in {p.lower() for p in patterns}
    for_wildcards = wanted
    if wanted.hostname.startswith(b"xn--") and b"." in wanted.hostname:
        # Browsers let a wildcard cover an A-label, service-identity does not (RFC 6125 section 6.4.3 left it open). A
        # wildcard that is a whole label covers any label, so another one is substituted.
        for_wildcards = hazmat.DNS_ID("x" + wanted.hostname[wanted.hostname.index(b".") :].decode("ascii"))
    # A wildcard stands for the first label alone (RFC 9525 section 6.3), so only names with this parent can match. A
    # peer can present thousands of names, and the comparison proper takes 30 microseconds for each.
    parent = _parent(host)
    for pattern in patterns:
        if _parent(pattern) != parent:
            continue
        # Also where the library would refuse the pattern (a bare name): it still names its host literally.
        if pattern.lower().rstrip(".") == host.lower() and "*" not in pattern:
            return True
        try:
            presented = dns_pattern.from_bytes(pattern.encode("ascii"))
            identity = for_wildcards if pattern.startswith("*.") else wanted
            verify([presented], obligatory_ids=[identity], optional_ids=[])
        except refusals:  # among others a wildcard that is too wide
            continue
        return True
    return False


_cached_compare: Final = lru_cache(maxsize=4096)(_compare)


def _parent(name: str) -> str:
    return name.lower().rstrip(".").partition(".")[2]
