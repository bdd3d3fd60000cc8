"""Trusted roots as a value: a set of certificates with name, version and date.

Room: trust. Pure. `detector.knowledge.roots` loads the public roots, a user's file and this machine's store.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import re
import string
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import MachineRoot, RootOrigin

from .certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOTS_HORIZON: Final = dt.timedelta(days=180)
"""How long after its date a list of roots is assumed to know the root of every genuine chain. A new root needs about
that long from a browser's list to the sites that a check meets: for 116 genuine chains, copies up to 274 days old knew
every root; a third less leaves a margin."""

WHITE_SPACE: Final = string.whitespace.encode()
"""Bytes that PEM may have anywhere within base64 (RFC 7468 section 2)."""

_PEM_MARK: Final = re.compile(
    rb'# Label: "(?P<label>[^"\n]{1,200})"|-----(?P<edge>BEGIN|END) (?:TRUSTED |X509 )?CERTIFICATE-----'
)
"""The lines around a certificate in PEM text; certifi writes the label above it."""


class Limits(NamedTuple):
    """What browsers take below a root that they trust for a part only.

    `distrust_after`: no leaf that is valid only from a later day (UTC); None for no such day. `permitted_names`: only
    leaves whose DNS names all lie under one of these domains; empty for any name.
    """

    distrust_after: dt.date | None = None
    permitted_names: tuple[str, ...] = ()


NO_LIMITS: Final = Limits()


class Root(NamedTuple):
    """One trusted root, the label its source gives it (certifi's, else the subject), and how it came into the store.

    Only public roots have `limits`: those that root programs set.
    """

    label: str
    certificate: Certificate
    origin: RootOrigin = RootOrigin.UNKNOWN
    limits: Limits = NO_LIMITS


class Roots:
    """A set of trusted roots. `name`, `version` and `date` identify it, so that an assessment can be repeated.

    `date` is the day up to which the source knew of changes; None where it does not say. Only
    `detector.knowledge.roots.public_roots` fills `retired`, `unconfirmed` and `sha256` (hexadecimal, of a data set's
    file); a caller's roots have none of them.
    """

    def __init__(  # noqa: PLR0913 - keyword-only past the roots; each is one fact about the set
        self,
        roots: Iterable[Root],
        *,
        name: str,
        version: str,
        date: dt.date | None = None,
        retired: Roots | None = None,
        unconfirmed: Callable[[], Roots] | None = None,
        sha256: str = "",
    ) -> None:
        self.roots: Final = tuple(roots)
        self.name: Final = name
        self.version: Final = version
        self.date: Final = date
        self.sha256: Final = sha256
        self._retired: Final = retired
        self._unconfirmed: Final = unconfirmed

    def __len__(self) -> int:
        return len(self.roots)

    @cached_property
    def by_subject(self) -> dict[tuple[tuple[str, str], ...], tuple[Root, ...]]:
        """Roots by canonical subject name."""
        index: dict[tuple[tuple[str, str], ...], tuple[Root, ...]] = {}
        for root in self.roots:
            if root.certificate.subject is not None:
                key = root.certificate.subject.canonical
                index[key] = (*index.get(key, ()), root)
        return index

    @cached_property
    def by_sha256(self) -> dict[bytes, Root]:
        """Roots by the hash of the whole certificate."""
        return {root.certificate.sha256: root for root in self.roots}

    @cached_property
    def keys(self) -> frozenset[bytes]:
        """SHA-256 of every root's SubjectPublicKeyInfo."""
        return frozenset(r.certificate.spki_sha256 for r in self.roots if r.certificate.spki_sha256)

    @property
    def retired(self) -> Roots:
        """Roots that are no longer public: a chain to one neither accuses nor clears."""
        return NO_ROOTS if self._retired is None else self._retired

    @property
    def unconfirmed(self) -> Roots:
        """Roots that only a newer list of the same source has (`detector.knowledge.roots.CertifiBundle`)."""
        return NO_ROOTS if self._unconfirmed is None else self._unconfirmed()

    @cached_property
    def labels(self) -> frozenset[str]:
        """Every root's label."""
        return frozenset(root.label for root in self.roots)

    def with_added(self, more: Roots) -> Roots:
        """The union of these roots and `more`, with both names."""
        return Roots(
            (*self.roots, *more.roots),
            name=f"{self.name} + {more.name}",
            version=f"{self.version} + {more.version}",
            date=self.date,
            retired=self.retired.without(more.keys),
            unconfirmed=lambda: self.unconfirmed.without(more.keys),
        )

    def without(self, keys: frozenset[bytes]) -> Roots:
        """These roots except those whose key (SHA-256 of the SPKI) is in `keys`."""
        kept = (root for root in self.roots if root.certificate.spki_sha256 not in keys)
        return Roots(kept, name=self.name, version=self.version, date=self.date)


NO_ROOTS: Final = Roots((), name="none", version="")


class TrustedRoots(NamedTuple):
    """Roots that a machine trusts and that were never public, each with its origin.

    `installed_at` maps the SHA-256 of a certificate to the time it was installed, where the machine records that.
    """

    roots: Roots
    installed_at: dict[bytes, dt.datetime]


def certificates_in_pem(data: bytes) -> list[tuple[str | None, bytes]]:
    """(label or None, DER) of every certificate in PEM text (RFC 7468), in order; undecodable blocks are skipped.

    Takes time linear in the length.
    """
    found: list[tuple[str | None, bytes]] = []
    label: bytes | None = None
    begin: int | None = None
    for mark in _PEM_MARK.finditer(data):
        if mark["edge"] == b"BEGIN":
            begin = mark.end()
        elif mark["edge"] is None:
            label = mark["label"]
        elif begin is not None:
            with contextlib.suppress(binascii.Error):
                body = base64.b64decode(data[begin : mark.start()].translate(None, WHITE_SPACE), validate=True)
                found.append((label.decode("utf-8", "replace") if label else None, body))
            label = begin = None
    return found


def from_der(
    certificates: Sequence[bytes],
    *,
    name: str,
    version: str = "",
    date: dt.date | None = None,
    origin: RootOrigin = RootOrigin.UNKNOWN,
) -> Roots:
    """Roots from DER certificates, labeled by subject, all of one origin."""
    roots = (Root(label_of(c), c, origin) for c in map(Certificate.read, certificates))
    return Roots(roots, name=name, version=version, date=date)


def from_recorded(recorded: Iterable[MachineRoot], *, name: str) -> Roots:
    """Roots as recorded on a machine, labeled by subject."""
    read = ((root.origin, Certificate.read(root.der)) for root in recorded)
    return Roots((Root(label_of(c), c, origin) for origin, c in read), name=name, version="")


def label_of(certificate: Certificate) -> str:
    """The common name of a root, else its whole subject, else its hash."""
    subject = certificate.subject
    return certificate.sha256.hex() if subject is None else subject.get("CN") or subject.text
