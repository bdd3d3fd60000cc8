"""The operator of a host: its registrable domain, by ICANN's section of the Public Suffix List.

Room: knowledge. Reads, once, the copy of the list that tldextract ships.

The section of private domains is ignored: two sites of one hosting platform are not unrelated operators. tldextract
itself is imported only where its copy is not found next to it: it brings an HTTP client to fetch a newer list with, a
tenth of a second that would delay the start of an exam. The rules are those of the list
(https://github.com/publicsuffix/list/wiki/Format): the longest match wins, an exception over any other.
"""

from __future__ import annotations

import importlib.util
import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.trust.hostname import NETWORK_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable

    import tldextract
else:
    tldextract = LazyModule("tldextract")

ONE_NETWORK: Final = "this network"
"""The operator of everything under `NETWORK_SUFFIXES` or an unlisted suffix, of bare names and of addresses."""
_SNAPSHOT: Final = ".tld_set_snapshot"
_PRIVATE_SECTION: Final = "===BEGIN PRIVATE DOMAINS==="


_DOTS: Final = dict.fromkeys(map(ord, "\u3002\uff0e\uff61"), ".")
"""Characters that separate labels as a dot does (UTS #46 section 2.3)."""


@lru_cache(maxsize=65536)
def operator_of(host: str) -> str:
    """The operator of a host for which none is declared: its registrable domain, else `ONE_NETWORK`."""
    name = host.translate(_DOTS).lower().rstrip(".")
    _, dot, suffix = name.rpartition(".")
    if not dot or suffix in NETWORK_SUFFIXES or _address(name) is not None:
        return ONE_NETWORK
    return registrable(name) or ONE_NETWORK


def is_public(host: str) -> bool:
    """Whether this name or address means the same host on every network."""
    address = _address(host)
    return operator_of(host) != ONE_NETWORK if address is None else address.is_global


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def registrable(host: str) -> str | None:
    """The registrable domain of a lower-case name; None for a public suffix and for a name under an unlisted one."""
    return _finder()(host)


@lru_cache(maxsize=1)
def _finder() -> Callable[[str], str | None]:
    rules = _read_rules()
    return _by_tldextract() if rules is None else lambda host: _find(rules, host)


def _read_rules() -> frozenset[str] | None:
    spec = importlib.util.find_spec("tldextract")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        try:
            text = (Path(folder) / _SNAPSHOT).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        lines = text.partition(_PRIVATE_SECTION)[0].split("\n")
        if rules := frozenset(line.strip() for line in lines if line.strip() and not line.startswith("//")):
            return rules
    return None


def _find(rules: frozenset[str], host: str) -> str | None:
    labels = host.split(".")
    readable = [_unicode(label) for label in labels]
    for at in range(len(labels)):
        name, parent = ".".join(readable[at:]), ".".join(readable[at + 1 :])
        if f"!{name}" in rules:
            return ".".join(labels[at:])
        if name in rules or f"*.{parent}" in rules:
            return ".".join(labels[at - 1 :]) if at and labels[at - 1] else None
    return None


def _unicode(label: str) -> str:
    """A label as the list writes it (RFC 5890 section 2.3.2.1)."""
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def _by_tldextract() -> Callable[[str], str | None]:
    extract = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, fallback_to_snapshot=True, include_psl_private_domains=False
    )

    def find(host: str) -> str | None:
        found = extract(host)
        return f"{found.domain}.{found.suffix}" if found.suffix and found.domain else None

    return find
