"""Which entries are certificates for our hosts, and whether their keys are known.

Room: ct. Pure.

A log grows by hundreds of entries a second, and next to none is ours. So bytes are searched first, and only what
contains the name of a host is parsed (`Watched.concerns`). That search misses nothing that a client would accept for a
host: a certificate names it literally, or by a wildcard in the place of its first label (RFC 9525 section 6.3), always
in ASCII and one byte after the other. So the label after the first is there between two dots. (The first and the last
label may have other bytes next to them that resemble a name's.)

A key is *known* for a host

* if it is pinned for the host: as the leaf's key, as a backup, or by the hash of the certificate;
* if the history saw it on the host in a connection that was `pinned` or `witnessed`. What was merely `logged` does not
  count: an interceptor with a certificate that a public CA issued and logged is exactly that;
* if a CA on the certificate's path is pinned for the host, by its key: the pin file then says that this CA issues for
  the host. A public root's key never counts (docs/adr/0003), and no CA does with `leaf_keys_only`. A CA that the file
  does not pin makes nothing known, however public it is.

Pins past their date count here: they say whose the key is, and nothing is cleared by them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.trust import hostname
from detector.trust.certificate import CERTIFICATE_BYTES_MAX, Certificate
from detector.trust.der import SEQUENCE, encode
from detector.trust.hostname import NameMatch
from detector.trust.signature import Signed, verify_issued

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from detector.model import Endpoint

    from .entries import Entry

TWO_LABELS_MAX: Final = 32
"""Hosts of two labels (`example.edu`) that are searched for one by one; 32 halve the entries read a second. With more
of them every entry is parsed."""

_NAMES: Final = frozenset({NameMatch.MATCH, NameMatch.COMMON_NAME_ONLY})
HISTORY_KEYS_NONE: Final[Mapping[str, AbstractSet[bytes]]] = {}


class Expected(NamedTuple):
    """What is known of one host: hashes of leaf keys, of CA or leaf keys that are pinned, and of certificates.

    `logged` are keys that the history saw in connections that were clean, but only as logged.
    """

    leaf_keys: frozenset[bytes] = frozenset()
    pins: frozenset[bytes] = frozenset()
    certificates: frozenset[bytes] = frozenset()
    logged: frozenset[bytes] = frozenset()

    def knows(self, leaf_key: bytes | None, certificate: bytes | None) -> bool:
        """Whether a certificate is expected by its own key, or by its hash."""
        return leaf_key in self.leaf_keys or leaf_key in self.pins or certificate in self.certificates


class Match(NamedTuple):
    """An entry that is a certificate for some of our hosts; `is_readable` is False where it may be one."""

    entry: Entry
    certificate: Certificate
    hosts: tuple[str, ...]
    is_readable: bool = True

    @property
    def certificate_sha256(self) -> bytes | None:
        """SHA-256 of the certificate, or of the precertificate where that is the one which was logged."""
        if self.entry.issuer_key_hash is None:
            return self.certificate.sha256
        if self.entry.precertificate is None:
            return None
        submitted, logged = Certificate(self.entry.precertificate), self.certificate
        same = (submitted.spki, submitted.serial) == (logged.spki, logged.serial)
        return submitted.sha256 if same else None  # what a tile has besides the entry is not the log's statement

    @property
    def tbs_sha256(self) -> bytes:
        """What a certificate and its precertificate have in common: the SHA-256 of the latter's TBSCertificate."""
        if self.entry.issuer_key_hash is not None:
            return Certificate(self.entry.body).sha256
        tbs = self.certificate.tbs_without_scts or self.certificate.tbs or self.entry.body
        return Certificate(tbs).sha256


class Watched:
    """The hosts to watch for, and the keys known of each. `unwatched` are names that no public CA certifies.

    `history` has, by endpoint (`host:port`), the hashes of leaf keys that were seen `pinned` or `witnessed`, and
    `logged` those that were only logged. With `leaf_keys_only` no CA makes a certificate known. `roots` are the hashes
    of public roots' keys.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        *,
        roots: AbstractSet[bytes],
        history: Mapping[str, AbstractSet[bytes]] = HISTORY_KEYS_NONE,
        logged: Mapping[str, AbstractSet[bytes]] = HISTORY_KEYS_NONE,
        leaf_keys_only: bool = False,
    ) -> None:
        self.expected: Final[dict[str, Expected]] = {}
        self.leaf_keys_only: Final = leaf_keys_only
        unwatched: set[str] = set()
        none: frozenset[bytes] = frozenset()
        for endpoint in endpoints:
            if not _is_certified(endpoint.host):
                unwatched.add(endpoint.host)
                continue
            before = self.expected.get(endpoint.host, Expected())
            self.expected[endpoint.host] = Expected(
                before.leaf_keys | history.get(endpoint.name, none),
                before.pins | (frozenset((*endpoint.pins, *endpoint.backup_pins)) - roots),
                before.certificates | frozenset(endpoint.certificates),
                before.logged | logged.get(endpoint.name, none),
            )
        self.unwatched: Final = tuple(sorted(unwatched))
        self._by_label: Final[defaultdict[bytes, list[str]]] = defaultdict(list)
        self._by_parent: Final[defaultdict[str, list[str]]] = defaultdict(list)
        self._two_labels: Final[dict[str, bytes]] = {}
        for host in self.expected:
            parent = host.partition(".")[2]
            self._by_parent[parent].append(host)
            label, dot, _ = parent.partition(".")
            if dot:
                self._by_label[label.encode()].append(host)
            else:
                self._two_labels[host] = host.encode()
        self._labels: Final = frozenset(self._by_label)

    def concerns(self, data: bytes) -> bool:
        """Whether bytes, in any number of entries, may have a certificate for a host. Never wrongly False."""
        lowered = data.lower()
        if not self._labels.isdisjoint(lowered.split(b".")) or len(self._two_labels) > TWO_LABELS_MAX:
            return True
        return any(needle in lowered for needle in self._two_labels.values())

    def match(self, entry: Entry) -> Match | None:
        """The entry as a certificate for some of the hosts, or None where it is for none of them. Never raises."""
        if not self.concerns(entry.body):
            return None
        # Of a precertificate there is what will be signed, without a signature.
        certificate = Certificate(entry.body if entry.issuer_key_hash is None else encode(SEQUENCE, entry.body))
        hosts = tuple(host for host in self._named_by(certificate) if hostname.match(certificate, host) in _NAMES)
        if hosts:
            return Match(entry, certificate, hosts, is_readable=certificate.spki is not None)
        named = () if is_complete(certificate) else self._contained(entry.body.lower())
        return Match(entry, certificate, named, is_readable=False) if named else None

    def _named_by(self, certificate: Certificate) -> list[str]:
        """Hosts that a certificate names, or may name by a wildcard."""
        found: set[str] = set()
        for name in _names(certificate):
            lowered = name.lower().rstrip(".")
            found.update((lowered,) if lowered in self.expected else ())
            if lowered.startswith("*."):
                found.update(self._by_parent.get(lowered.removeprefix("*."), ()))
        return sorted(found)

    def _contained(self, lowered: bytes) -> tuple[str, ...]:
        """Hosts whose name, or a wildcard for it, is somewhere in some bytes."""
        labels = self._labels.intersection(lowered.split(b"."))
        candidates = [*self._two_labels, *(host for label in labels for host in self._by_label[label])]
        wildcards = {host: f"*.{host.partition('.')[2]}" for host in candidates}
        return tuple(sorted(h for h in candidates if h.encode() in lowered or wildcards[h].encode() in lowered))

    def unknown(self, match: Match, issuers: Sequence[Certificate] = ()) -> tuple[str, ...]:
        """The hosts of a certificate for which its key is not known; `issuers` are those its log has for it."""
        key, sha256 = match.certificate.spki_sha256, match.certificate_sha256
        left = [host for host in match.hosts if not self.expected[host].knows(key, sha256)]
        if left and not self.leaf_keys_only:
            above = issuer_keys(match, issuers)
            left = [host for host in left if self.expected[host].pins.isdisjoint(above)]
        return tuple(left)

    def needs_issuers(self, match: Match) -> bool:
        """Whether the answer depends on the CAs above."""
        hosts = self.unknown(match)
        return not self.leaf_keys_only and any(self.expected[host].pins for host in hosts)

    def was_logged(self, match: Match, hosts: Iterable[str]) -> bool:
        """Whether the history saw the key in use on one of these hosts, where it was clean as logged."""
        return any(match.certificate.spki_sha256 in self.expected[host].logged for host in hosts)


def _is_certified(host: str) -> bool:
    """Whether public CAs issue for such a name: one with a dot, and no address."""
    return "." in host and ":" not in host and not host.rpartition(".")[2].isdigit()


def _names(certificate: Certificate) -> Iterator[str]:
    """The names of a certificate that can be a host's."""
    yield from certificate.dns_names
    if certificate.subject is not None and (common_name := certificate.subject.get("CN")) is not None:
        yield common_name


def is_complete(certificate: Certificate) -> bool:
    """Whether all the names of a certificate were read."""
    return (
        len(certificate.der) <= CERTIFICATE_BYTES_MAX
        and certificate.spki is not None
        and certificate.subject is not None
        and certificate.extensions_are_complete
        and not certificate.names_truncated
        and not any(problem.startswith(("subject alternative", "structure")) for problem in certificate.problems)
    )


def issuer_keys(match: Match, issuers: Sequence[Certificate]) -> frozenset[bytes]:
    """The hashes of the keys above a certificate, each proved: that of a precertificate's issuer by the log's entry.

    Every other one is proved by a signature: which certificates a log gives for an entry, it does not sign.
    """
    known = match.entry.issuer_key_hash
    found: dict[bytes, None] = {}
    below = [match.certificate]
    if known is not None:
        found[known] = None
        below = [one for one in issuers if one.spki_sha256 == known]
    for _ in issuers:
        above = [
            one
            for one in issuers
            if one.spki is not None
            and one.spki_sha256 not in found
            and any(verify_issued(child, one.spki) is Signed.VALID for child in below)
        ]
        if not above:
            break
        found.update((one.spki_sha256, None) for one in above if one.spki_sha256 is not None)
        below = above
    return frozenset(found)
