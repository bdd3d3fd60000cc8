"""Name constraints, applied as careful clients apply them (RFC 5280 sections 4.2.1.6 and 4.2.1.10).

Room: trust. Pure.

A subtree becomes a key, and a name the keys of all subtrees that cover it: its own and everything above. So the cost of
many names under many constraints is their sum, not their product. DNS names, addresses, mailboxes and directory names
are compared; critical constraints on any other form refuse every name of that form.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final, NamedTuple

from . import der
from . import distinguished_name as name
from .certificate import ALTERNATIVE_NAMES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

SUBTREES_MAX: Final = 1024
"""Subtrees of one extension that are read; a constrained CA of a large organization has some hundreds."""
DNS_NAME_BYTES_MAX: Final = 255
"""Longest domain name in bytes (RFC 1035 section 2.3.4)."""
MAILBOX_BYTES_MAX: Final = 64 + 1 + DNS_NAME_BYTES_MAX
"""Longest mailbox in bytes: local part, @ and domain (RFC 5321 section 4.5.3.1). Every label of the domain begins a key
that covers it, so their sum grows with the square of its length."""

OTHER_NAME: Final = 0xA0
MAILBOX: Final = 0x81
DNS_NAME: Final = 0x82
X400_ADDRESS: Final = 0xA3
DIRECTORY_NAME: Final = 0xA4
EDI_PARTY_NAME: Final = 0xA5
URI: Final = 0x86
ADDRESS: Final = 0x87
REGISTERED_ID: Final = 0x88
"""Tags of the forms of GeneralName (RFC 5280 section 4.2.1.6)."""
_FORMS: Final = frozenset(
    {OTHER_NAME, MAILBOX, DNS_NAME, X400_ADDRESS, DIRECTORY_NAME, EDI_PARTY_NAME, URI, ADDRESS, REGISTERED_ID}
)
_TEXT: Final = frozenset({MAILBOX, DNS_NAME, URI})
"""Forms that are IA5String, which is ASCII."""
_BYTES_MAX: Final = {DNS_NAME: DNS_NAME_BYTES_MAX, MAILBOX: MAILBOX_BYTES_MAX}
_PERMITTED: Final = 0xA0
_EXCLUDED: Final = 0xA1
"""Tags of permittedSubtrees and excludedSubtrees (RFC 5280 section 4.2.1.10)."""

_HOST_CHARACTERS: Final = string.ascii_lowercase + string.digits + "-_"
"""Characters of a lower-case label. The underscore is not allowed in host names (RFC 1123), but many certificates
have it."""
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
"""emailAddress of PKCS #9, which mailbox constraints cover where there are no alternative names."""

_ADDRESS_BYTES: Final = frozenset({4, 16})
_WILDCARD: Final = "*."

GeneralName = tuple[int, bytes]
"""The tag of its form and its value: of a directory name the Name in DER."""
Key = tuple[int | str, "Hashable"]
"""What a subtree is looked up by: its form (or `_WILDCARD`) and its value."""


class Constraints(NamedTuple):
    """A nameConstraints extension: the keys of its subtrees, and their forms."""

    critical: bool
    permitted: frozenset[Key]
    excluded: frozenset[Key]
    permitted_forms: frozenset[int]
    excluded_forms: frozenset[int]

    def allow(self, names: Iterable[GeneralName]) -> bool:
        """Whether a certificate with these names may be issued below."""
        return all(self._allows(form, value) for form, value in names)

    def _allows(self, form: int, value: bytes) -> bool:
        if form not in self.permitted_forms and form not in self.excluded_forms:
            return True
        if form not in _COVERING:
            return not self.critical
        try:
            covering = list(_COVERING[form](value))
        except ValueError:  # not a name of this form, so in no permitted subtree; DERError is one
            return False
        return self.excluded.isdisjoint(covering) and (
            form not in self.permitted_forms or not self.permitted.isdisjoint(covering)
        )


def only_under(domains: Iterable[str]) -> Constraints:
    """The constraints that permit DNS names under these domains only. Raises ValueError for what is no domain."""
    permitted = [next(iter(_dns_keys(domain.encode("ascii")))) for domain in domains]
    return Constraints(
        critical=True,
        permitted=frozenset(permitted),
        excluded=frozenset(),
        permitted_forms=frozenset({DNS_NAME}),
        excluded_forms=frozenset(),
    )


def read_names(data: bytes) -> tuple[GeneralName, ...]:
    """Parse the GeneralNames of a subjectAltName extension strictly. Raises `der.DERError`."""
    names: list[GeneralName] = []
    for item in _bounded(data, der.expect(data, 0, len(data), der.SEQUENCE), ALTERNATIVE_NAMES_MAX):
        tag, _, content, end = item
        if tag == DNS_NAME and end - content <= DNS_NAME_BYTES_MAX and (value := data[content:end]).isascii():
            names.append((tag, value))  # nearly all names, so they take a short cut
        else:
            names.append(_general_name(data, item, _ADDRESS_BYTES))
    return tuple(names)


def cost(one: GeneralName) -> int:
    """Roughly how many keys a name may have: every other byte of a text begins a suffix, every bit ends a prefix."""
    form, value = one
    return 8 * len(value) if form == ADDRESS else len(value)


def names_of(subject: name.Name, alternative: tuple[GeneralName, ...] | None) -> Iterator[GeneralName]:
    """Every name that constraints cover: a non-empty subject and the alternative names.

    Without alternative names also the mailboxes in the subject (RFC 5280 section 4.2.1.10).
    """
    if subject.attributes:
        yield DIRECTORY_NAME, subject.der
    if alternative is not None:
        yield from alternative
        return
    for identifier, value in subject.canonical:
        if identifier == _EMAIL_ADDRESS:
            yield MAILBOX, value.encode("utf-8", "surrogatepass")


def read_constraints(data: bytes, *, critical: bool) -> Constraints:
    """Parse the subtrees of a nameConstraints extension strictly. Raises ValueError, which `der.DERError` is."""
    sides: dict[int, list[tuple[int, list[Key]]]] = {}
    tags = []
    for side in der.children(data, der.expect(data, 0, len(data), der.SEQUENCE)):
        tags.append(side.tag)
        sides[side.tag] = [_subtree(data, item) for item in _bounded(data, side, SUBTREES_MAX)]
    if tags not in ([_PERMITTED], [_EXCLUDED], [_PERMITTED, _EXCLUDED]):
        raise der.DERError("name constraints")
    permitted, excluded = sides.get(_PERMITTED, []), sides.get(_EXCLUDED, [])
    return Constraints(
        critical,
        permitted=frozenset(keys[0] for _, keys in permitted if keys),
        excluded=frozenset(key for _, keys in excluded for key in keys),
        permitted_forms=frozenset(form for form, _ in permitted),
        excluded_forms=frozenset(form for form, _ in excluded),
    )


def _bounded(data: bytes, parent: der.Element, most: int) -> Iterator[der.Element]:
    """The elements inside one, at least one and at most `most`."""
    if parent.content == parent.end:
        raise der.DERError("empty")
    for count, item in enumerate(der.children(data, parent)):
        if count >= most:
            raise der.LimitError("too many names")
        yield item


def _general_name(data: bytes, item: der.Element, address_bytes: frozenset[int]) -> GeneralName:
    value = der.value(data, item)
    if item.tag == DIRECTORY_NAME:
        inner = der.expect(data, item.content, item.end, der.SEQUENCE)
        name.relative_names(data, inner)
        if inner.end != item.end:
            raise der.DERError("directory name")
    elif (
        item.tag not in _FORMS
        or (item.tag in _TEXT and not value.isascii())
        or (item.tag == ADDRESS and len(value) not in address_bytes)
    ):
        raise der.DERError("general name")
    if len(value) > _BYTES_MAX.get(item.tag, len(value)):
        raise der.LimitError("name")
    return item.tag, value


def _subtree(data: bytes, item: der.Element) -> tuple[int, list[Key]]:
    """The form of a GeneralSubtree and its keys: its own first, then those that detect an overlap.

    `minimum` and `maximum` have no meaning in this profile, and clients refuse them.
    """
    base = der.element(data, item.content, item.end)
    if item.tag != der.SEQUENCE or base.end != item.end:
        raise der.DERError("subtree")
    form, value = _general_name(data, base, frozenset(2 * size for size in _ADDRESS_BYTES))
    return form, list(_KEYS[form](value)) if form in _KEYS else []


# DNS names. A leading dot means: only what is below (RFC 5280 defines it for URIs, clients use it for DNS names too).


def _host(text: str) -> str:
    if not all(label and not label.strip(_HOST_CHARACTERS) for label in text.split(".")):
        raise ValueError("host name")
    return text


def _above(host: str) -> Iterator[str]:
    while "." in host:
        host = host.partition(".")[2]
        yield host


def _dns_text(value: bytes) -> str:
    return value.decode("ascii").lower().removesuffix(".")


def _dns_keys(value: bytes) -> Iterator[Key]:
    tree = _dns_text(value)
    if value and not tree:
        raise ValueError("host name")
    yield DNS_NAME, _host(tree) if tree and not tree.startswith(".") else tree
    if tree.startswith("."):
        _host(tree[1:])
    elif "." in tree:
        yield _WILDCARD, tree.partition(".")[2]


def _dns_covering(value: bytes) -> Iterator[Key]:
    host = _dns_text(value)
    below = _host(host.removeprefix(_WILDCARD))
    yield from ((DNS_NAME, tree) for tree in ("", host))
    yield from ((DNS_NAME, tree) for above in _above(host) for tree in (above, "." + above))
    if host.startswith(_WILDCARD):
        # A wildcard matches every label, so a subtree one label below its own overlaps with it (CVE-2025-61727).
        yield _WILDCARD, below


# Mailboxes. A subtree is one mailbox, all of a host, or with a leading dot all of the hosts below it.


def _mailbox(value: bytes) -> tuple[str, str]:
    local, at, domain = value.decode("ascii").partition("@")
    if not (local and at):
        raise ValueError("mailbox")
    return local, _host(domain.lower())


def _mailbox_keys(value: bytes) -> Iterator[Key]:
    if b"@" in value:
        yield MAILBOX, _mailbox(value)
    else:
        tree = value.decode("ascii").lower()
        _host(tree.removeprefix("."))
        yield MAILBOX, tree


def _mailbox_covering(value: bytes) -> Iterator[Key]:
    local, domain = _mailbox(value)
    yield from ((MAILBOX, tree) for tree in ((local, domain), domain))
    yield from ((MAILBOX, "." + above) for above in _above(domain))


# Directory names. A subtree covers the names that begin with it.


def _directory(value: bytes) -> name.RelativeNames:
    return name.relative_names(value, der.expect(value, 0, len(value), der.SEQUENCE))


def _directory_covering(value: bytes) -> Iterator[Key]:
    relatives = _directory(value)
    yield from ((DIRECTORY_NAME, relatives[:length]) for length in range(len(relatives) + 1))


# Addresses. A subtree is a network as address and mask (RFC 4632).


def _network(address: bytes, prefix: int) -> Key:
    return ADDRESS, (len(address), prefix, int.from_bytes(address, "big") >> (8 * len(address) - prefix))


def _address_keys(value: bytes) -> Iterator[Key]:
    half = len(value) // 2
    mask = int.from_bytes(value[half:], "big")
    prefix = mask.bit_count()
    if mask != ((1 << prefix) - 1) << (8 * half - prefix):
        raise der.DERError("mask")
    yield _network(value[:half], prefix)


_KEYS: Final[dict[int, Callable[[bytes], Iterable[Key]]]] = {
    DNS_NAME: _dns_keys,
    MAILBOX: _mailbox_keys,
    DIRECTORY_NAME: lambda value: [(DIRECTORY_NAME, _directory(value))],
    ADDRESS: _address_keys,
}
"""By form: the key of a subtree, and those of an overlap. Each raises ValueError."""
_COVERING: Final[dict[int, Callable[[bytes], Iterable[Key]]]] = {
    DNS_NAME: _dns_covering,
    MAILBOX: _mailbox_covering,
    DIRECTORY_NAME: _directory_covering,
    ADDRESS: lambda value: (_network(value, prefix) for prefix in range(8 * len(value) + 1)),
}
"""By form: the keys of every subtree that covers a name. Each raises ValueError."""
