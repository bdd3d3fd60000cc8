"""Registrable domains, by ICANN's section of the Public Suffix List.

Room: trust. Reads, once, the copy of the list that tldextract ships.

The section of private domains is left out: two sites of one hosting platform are no unrelated operators. tldextract
itself is imported only where its copy is not found beside it: it brings an HTTP client to fetch a newer list with, a
tenth of a second that an exam's start would have to wait for. The rules are those of the list
(https://github.com/publicsuffix/list/wiki/Format): the longest that fits counts, an exception more than any other.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_COPY: Final = ".tld_set_snapshot"
_PRIVATE_SECTION: Final = "===BEGIN PRIVATE DOMAINS==="


def registrable(host: str) -> str | None:
    """The registrable domain of a name in lower case; None for a public suffix and for what is under no known one."""
    return _finder()(host)


@lru_cache(maxsize=1)
def _finder() -> Callable[[str], str | None]:
    rules = _read_rules()
    return _by_tldextract() if rules is None else lambda host: _find(rules, host)


def _read_rules() -> frozenset[str] | None:
    spec = importlib.util.find_spec("tldextract")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        try:
            text = (Path(folder) / _COPY).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        lines = text.partition(_PRIVATE_SECTION)[0].split("\n")
        rules = frozenset(line.strip() for line in lines if line.strip() and not line.startswith("//"))
        if rules:
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
    import tldextract  # noqa: PLC0415 - see the head of this file

    extract = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, fallback_to_snapshot=True, include_psl_private_domains=False
    )

    def find(host: str) -> str | None:
        found = extract(host)
        return f"{found.domain}.{found.suffix}" if found.suffix and found.domain else None

    return find
