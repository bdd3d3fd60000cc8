"""Trusted roots as a value: which certificates, under which name, of which version and date.

Room: trust. Reads files only in the functions named after a source (`certifi_roots`, `load`, `machine_roots`).

Public roots are certifi's unless replaced. The roots the operating system trusts are loaded only as a label: a path
to one that is not public says who installed a CA on this machine, it never clears anything.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import RootsError
from detector.model import RootOrigin

from .certificate import Certificate
from .known_roots import known_roots, newest_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib import metadata

ROOTS_FILE_OCTETS_MAX: Final = 16 * 1024 * 1024
"""Octets of a PEM bundle that is read: certifi's has 0.3 MB, the largest operating-system bundles under 1 MB."""

_PEM: Final = re.compile(
    rb"(?:# Label: \"(?P<label>[^\"\n]{1,200})\"[^-]*?)?"
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(?P<body>[A-Za-z0-9+/=\s]*)"
    rb"-----END (?:TRUSTED |X509 )?CERTIFICATE-----"
)


class Root(NamedTuple):
    """One trusted root, the label its source gives it (certifi's, else the subject), and how it came into the store."""

    label: str
    certificate: Certificate
    origin: RootOrigin = RootOrigin.UNKNOWN


class Roots:
    """A set of trusted roots. `name`, `version` and `date` say which, so that a judgement can be repeated."""

    def __init__(self, roots: Iterable[Root], *, name: str, version: str, date: dt.date | None = None) -> None:
        self.roots: Final = tuple(roots)
        self.name: Final = name
        self.version: Final = version
        self.date: Final = date

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

    @cached_property
    def labels(self) -> frozenset[str]:
        """Every root's label."""
        return frozenset(root.label for root in self.roots)

    def with_added(self, more: Roots) -> Roots:
        """These roots and `more`, under a name that says so."""
        return Roots(
            (*self.roots, *more.roots),
            name=f"{self.name} + {more.name}",
            version=f"{self.version} + {more.version}",
            date=self.date,
        )

    def without(self, public_keys: frozenset[bytes]) -> Roots:
        """These roots less those whose key (SHA-256 of the SPKI) is in `public_keys`."""
        kept = (root for root in self.roots if root.certificate.spki_sha256 not in public_keys)
        return Roots(kept, name=self.name, version=self.version, date=self.date)


NO_ROOTS: Final = Roots((), name="none", version="")


def certificates_in_pem(data: bytes) -> list[tuple[str | None, bytes]]:
    """(label or None, DER) of every certificate in PEM text (RFC 7468), in order; undecodable blocks are left out."""
    found: list[tuple[str | None, bytes]] = []
    for match in _PEM.finditer(data):
        label = match["label"]
        try:
            body = base64.b64decode(b"".join(match["body"].split()), validate=True)
        except binascii.Error:
            continue
        found.append((label.decode("utf-8", "replace") if label else None, body))
    return found


def from_der(certificates: Sequence[bytes], *, name: str, version: str = "", date: dt.date | None = None) -> Roots:
    """Roots from DER certificates, labelled by subject."""
    return Roots(
        (Root(_label(c), c) for c in map(Certificate.read, certificates)), name=name, version=version, date=date
    )


def _label(certificate: Certificate) -> str:
    subject = certificate.subject
    if subject is None:
        return certificate.sha256.hex()
    return subject.get("CN") or subject.text


_REINSTALL: Final = "Reinstall the package certifi, or name a file of roots (--roots)."


class CertifiBundle(NamedTuple):
    """The installed certifi bundle, split: what Mozilla put there, and what somebody added to the file."""

    public: Roots
    added: Roots


def certifi_roots() -> Roots:
    """The Mozilla roots as the installed certifi ships them, labelled as certifi labels them. Raises `RootsError`.

    Institutions append their own CA to this very file to keep Python programs quiet. What certifi never shipped is not
    public, wherever it stands: see `certifi_bundle`.
    """
    return certifi_bundle().public


@lru_cache(maxsize=1)
def certifi_bundle() -> CertifiBundle:
    """The installed bundle, read once. See `split_certifi`. Raises `RootsError` when it has none of certifi's roots."""
    from importlib import metadata  # noqa: PLC0415 - not needed when the caller brings roots

    import certifi  # noqa: PLC0415 - as above

    path = Path(certifi.where())
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RootsError(f"certifi's roots {path}: cannot be read ({error.strerror}).", advice=_REINSTALL) from error
    installed = metadata.distribution("certifi")
    bundle = split_certifi(data, installed.version, untouched=_as_recorded(data, installed))
    if not bundle.public:
        # Without any public root every genuine chain would look like an interceptor's.
        raise RootsError(f"certifi's roots {path}: none of them is in the file.", advice=_REINSTALL)
    return bundle


def _as_recorded(data: bytes, installed: metadata.Distribution) -> bool:
    """Whether the bundle is the one that the installer recorded (PyPA, "Recording installed projects", RECORD)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
    return any(
        file.name == "cacert.pem" and file.hash is not None and (file.hash.mode, file.hash.value) == ("sha256", digest)
        for file in installed.files or ()
    )


def split_certifi(data: bytes, version: str, *, untouched: bool = False) -> CertifiBundle:
    """Tell the roots that certifi ships from roots added to its file.

    A root whose key is known from certifi's history is certifi's. That history is package data and ages, so of a newer
    version a root with a label of its own is taken for certifi's too: appended ones carry no label, or one that history
    gives to another key. `untouched` says that the file is as it was installed: then nothing was appended, and every
    root of a newer version is certifi's.
    """
    by_key = {root.spki_sha256: root.label for root in known_roots()}
    known = frozenset(by_key.values())
    date, newest = _date_of_version(version), _date_of_version(newest_version())
    is_newer = date is not None and newest is not None and date > newest
    public: list[Root] = []
    added: list[Root] = []
    for label, body in certificates_in_pem(data):
        certificate = Certificate.read(body)
        known_label = by_key.get(certificate.spki_sha256.hex()) if certificate.spki_sha256 else None
        new = is_newer and (untouched or (label is not None and label not in known))
        if known_label is not None or new:
            public.append(Root(label or known_label or _label(certificate), certificate))
        else:
            added.append(Root(_label(certificate), certificate))
    return CertifiBundle(
        Roots(public, name="certifi", version=version, date=date),
        Roots(added, name="added to certifi's bundle", version=version),
    )


def _date_of_version(version: str) -> dt.date | None:
    """certifi versions are dates: 2026.5.20."""
    parts = version.split(".")[:3]
    try:
        return dt.date(*map(int, parts))
    except (ValueError, TypeError):
        return None


def load(path: str | Path) -> Roots:
    """Roots from a PEM file. The version is the SHA-256 of the file, so that a report names exactly these.

    Raises `RootsError`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:  # the size of a device or a pipe is known once it has been read
            data = file.read(ROOTS_FILE_OCTETS_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RootsError(
            f"Roots file {path}: cannot be read ({reason}).", advice="Name a readable PEM file of certificates."
        ) from error
    if len(data) > ROOTS_FILE_OCTETS_MAX:
        raise RootsError(
            f"Roots file {path}: larger than {ROOTS_FILE_OCTETS_MAX // 1024 // 1024} MiB.",
            advice="Name a PEM file that holds only root certificates.",
        )
    blocks = certificates_in_pem(data)
    if not blocks or len(blocks) != data.count(b"-----BEGIN ") - data.count(b"PRIVATE KEY-----") // 2:
        raise RootsError(
            f"Roots file {path}: {'no certificate in it' if not blocks else 'a certificate in it is damaged'}.",
            advice="It must be PEM: -----BEGIN CERTIFICATE----- blocks with base64 between them.",
        )
    roots = [Root(label or _label(Certificate.read(body)), Certificate.read(body)) for label, body in blocks]
    for number, root in enumerate(roots, 1):
        if root.certificate.spki is None or root.certificate.subject is None:
            raise RootsError(
                f"Roots file {path}: certificate {number} is not an X.509 certificate.",
                advice="Take it out or replace it; every block must hold one DER certificate.",
            )
    return Roots(roots, name=path.name, version="sha256:" + hashlib.sha256(data).hexdigest()[:16])


@lru_cache(maxsize=1)
def machine_roots() -> Roots:
    """The roots the operating system trusts (Windows, macOS, Linux), through wassima. Empty when there are none."""
    import wassima  # noqa: PLC0415 - needed only when a chain has no public path

    return from_der(wassima.root_der_certificates(), name="operating system")
