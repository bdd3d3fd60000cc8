"""Trusted roots as a value: which certificates, under which name, of which version and date.

Room: trust. Reads files only in the functions named after a source (`public_roots`, `certifi_bundle`, `load`,
`machine_roots`).

Public roots are those of the package's knowledge (`known_roots`) unless replaced. The roots that this machine trusts
besides are loaded only as a label: a path to one says who installed a CA here, it never clears anything.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import hashlib
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import RootsError
from detector.model import MachineRoot, RootOrigin

from .certificate import Certificate
from .known_roots import date_of, examined_dates, known_certificates, known_root_keys, known_roots, newest_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOTS_HORIZON: Final = dt.timedelta(days=180)
"""After its date, how long a list of roots counts as knowing the root of every genuine chain. A new root needs about so
long from a browser's list to the sites that a check meets: for 116 genuine chains, copies up to 274 days old knew every
root; a third less leaves room."""
ROOTS_FILE_OCTETS_MAX: Final = 16 * 1024 * 1024
"""Octets of a PEM bundle that is read: certifi's has 0.3 MB, the largest operating-system bundles under 1 MB."""

_MARK: Final = re.compile(
    rb'# Label: "(?P<label>[^"\n]{1,200})"|-----(?P<edge>BEGIN|END) (?:TRUSTED |X509 )?CERTIFICATE-----'
)
"""What stands around a certificate in PEM text; certifi writes the label above it."""


class Root(NamedTuple):
    """One trusted root, the label its source gives it (certifi's, else the subject), and how it came into the store."""

    label: str
    certificate: Certificate
    origin: RootOrigin = RootOrigin.UNKNOWN


class Roots:
    """A set of trusted roots. `name`, `version` and `date` say which, so that a judgement can be repeated.

    `date` is the day up to which the source knew of changes; None where it does not say. Roots that a caller brings are
    public as they are: only `public_roots` knows `retired` and `unconfirmed` ones.
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
    ) -> None:
        self.roots: Final = tuple(roots)
        self.name: Final = name
        self.version: Final = version
        self.date: Final = date
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
        """Roots that were public and are no more: what leads to one accuses nobody and clears nothing."""
        return NO_ROOTS if self._retired is None else self._retired

    @property
    def unconfirmed(self) -> Roots:
        """Roots that only a newer list of the same source has: see `CertifiBundle`."""
        return NO_ROOTS if self._unconfirmed is None else self._unconfirmed()

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
            retired=self.retired.without(more.keys),
            unconfirmed=lambda: self.unconfirmed.without(more.keys),
        )

    def without(self, keys: frozenset[bytes]) -> Roots:
        """These roots less those whose key (SHA-256 of the SPKI) is in `keys`."""
        kept = (root for root in self.roots if root.certificate.spki_sha256 not in keys)
        return Roots(kept, name=self.name, version=self.version, date=self.date)


NO_ROOTS: Final = Roots((), name="none", version="")


class TrustedRoots(NamedTuple):
    """Roots that a machine trusts and that were never public, each with its origin.

    `installed_at` has by SHA-256 of the certificate when they came there, where the machine says so.
    """

    roots: Roots
    installed_at: dict[bytes, dt.datetime]


def certificates_in_pem(data: bytes) -> list[tuple[str | None, bytes]]:
    """(label or None, DER) of every certificate in PEM text (RFC 7468), in order; undecodable blocks are left out.

    Takes time linear in the length.
    """
    found: list[tuple[str | None, bytes]] = []
    label: bytes | None = None
    begin: int | None = None
    for mark in _MARK.finditer(data):
        if mark["edge"] == b"BEGIN":
            begin = mark.end()
        elif mark["edge"] is None:
            label = mark["label"]
        elif begin is not None:
            with contextlib.suppress(binascii.Error):
                body = base64.b64decode(b"".join(data[begin : mark.start()].split()), validate=True)
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
    """Roots from DER certificates, labelled by subject, all of one origin."""
    roots = (Root(_label(c), c, origin) for c in map(Certificate.read, certificates))
    return Roots(roots, name=name, version=version, date=date)


def from_recorded(recorded: Iterable[MachineRoot], *, name: str) -> Roots:
    """Roots of a machine as they were recorded there, labelled by subject."""
    read = ((root.origin, Certificate.read(root.der)) for root in recorded)
    return Roots((Root(_label(c), c, origin) for origin, c in read), name=name, version="")


def _label(certificate: Certificate) -> str:
    subject = certificate.subject
    if subject is None:
        return certificate.sha256.hex()
    return subject.get("CN") or subject.text


@lru_cache(maxsize=64)
def _public_roots(at: dt.date | None) -> Roots:
    withdrawn = frozenset[bytes]() if at is not None else withdrawn_keys()
    every = [(known, Certificate.read(der)) for known, der in zip(known_roots(), known_certificates(), strict=True)]
    current = [
        Root(known.label, certificate, RootOrigin.SHIPPED)
        for known, certificate in every
        if known.is_current(at) and certificate.spki_sha256 not in withdrawn
    ]
    keys = {root.certificate.spki_sha256 for root in current}
    retired = [Root(known.label, certificate) for known, certificate in every if certificate.spki_sha256 not in keys]
    version = newest_version()
    if withdrawn:
        import certifi  # noqa: PLC0415 - as in `withdrawn_keys`

        version += f", less {len(withdrawn)} that {certifi.__version__} withdrew"
    return Roots(
        current,
        name="certifi",
        version=version,
        date=date_of(newest_version()),
        retired=Roots(retired, name="retired roots", version=version),
        unconfirmed=lambda: certifi_bundle().unconfirmed,
    )


def public_roots(at: dt.date | None = None) -> Roots:
    """The public roots: those of Mozilla's program, as certifi carries and labels them. `retired` has the former ones.

    They are the knowledge of this package, certificates included; the installed certifi vouches for none. An older
    copy of it, a copy that somebody edited, or one that a distribution replaced changes nothing. Only a newer one has
    a say, and only against a root: see `CertifiBundle`.

    `at` is for what was captured in the past: a root that was removed after that day is public. Roots that came later
    stay public, because other programs had them before.
    """
    newest = date_of(newest_version())
    return _public_roots(None if at is None or newest is None or at >= newest else at)


class CertifiBundle(NamedTuple):
    """What the installed certifi has beyond the knowledge. Neither it nor its labels vouch for anything.

    `unconfirmed` are roots that can be certifi's own, of a version newer than the knowledge (SHIPPED where the file is
    the one the installer recorded, else UNKNOWN). `added` were put into the file by a person or a program: institutions
    do that to keep Python programs quiet. `withdrawn` are the keys (SHA-256) of roots that the knowledge has for public
    and a newer certifi no longer carries.
    """

    unconfirmed: Roots
    added: Roots
    withdrawn: frozenset[bytes]


class Installed(NamedTuple):
    """How certifi was installed.

    `sha256` (base64url without padding) and `size` are what the installer recorded of its file (PyPA, "Recording
    installed projects"); None where it did not. `in_place` is whether the file that certifi names is the one in its
    own folder: distributions have it name, or link to, a bundle of theirs.
    """

    version: str
    sha256: str | None
    size: int | None
    in_place: bool


def split_certifi(data: bytes, installed: Installed) -> CertifiBundle:
    """Tell what may be certifi's own from what somebody added to its file (`data`).

    Of a version that was examined every root is known: any other was added, unless the whole file is a distribution's.
    Of other versions only what lies before or after the content that the installer recorded was added for sure.
    """
    genuine = _recorded_part(data, installed)
    own = {der for _, der in certificates_in_pem(data if genuine is None else genuine)}
    is_complete = installed.in_place and date_of(installed.version) in examined_dates()
    unconfirmed, added = [], []
    for _, der in certificates_in_pem(data):
        certificate = Certificate.read(der)
        if certificate.spki_sha256 is None or certificate.spki_sha256 in known_root_keys():
            continue
        if is_complete or der not in own:
            added.append(Root(_label(certificate), certificate, RootOrigin.ADDED))
        else:
            origin = RootOrigin.UNKNOWN if genuine is None else RootOrigin.SHIPPED
            unconfirmed.append(Root(_label(certificate), certificate, origin))
    withdrawn = frozenset[bytes]()
    if genuine is not None and _is_newer(installed.version):
        carried = {Certificate.read(der).spki_sha256 for der in own}
        current = (bytes.fromhex(known.spki_sha256) for known in known_roots() if known.is_current(None))
        withdrawn = frozenset(key for key in current if key not in carried)
    return CertifiBundle(
        Roots(unconfirmed, name="certifi", version=installed.version),
        Roots(added, name="added to certifi's file", version=installed.version),
        withdrawn,
    )


def _recorded_part(data: bytes, installed: Installed) -> bytes | None:
    """The content that the installer recorded: all of `data`, its beginning, or its end; None where it is not there."""
    parts = [data] if not installed.size else [data[: installed.size], data[-installed.size :]]
    return next((part for part in parts if _record_hash(part) == installed.sha256), None)


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")


@lru_cache(maxsize=1)
def certifi_bundle() -> CertifiBundle:
    """What the file of the installed certifi has beyond the knowledge, read once; nothing where it cannot be read."""
    import certifi  # noqa: PLC0415 - only behind a chain without a public path, or a newer certifi

    path = Path(certifi.where())
    try:
        data = path.read_bytes()
        in_place = path.resolve() == Path(certifi.__file__).resolve().with_name(path.name)
    except OSError:
        data, in_place = b"", False
    keys = {Certificate.read(der).spki_sha256 for _, der in certificates_in_pem(data)}
    if keys <= known_root_keys() and not _is_newer(certifi.__version__):
        return CertifiBundle(NO_ROOTS, NO_ROOTS, frozenset())
    return split_certifi(data, Installed(certifi.__version__, *_record(path.name), in_place))


def _record(name: str) -> tuple[str | None, int | None]:
    """The hash and the size that the installer of certifi recorded of its file with this name."""
    from importlib import metadata  # noqa: PLC0415 - 20 ms for what is rarely asked

    with contextlib.suppress(metadata.PackageNotFoundError):  # as in an application that was frozen
        for file in metadata.files("certifi") or ():
            if file.name == name and file.hash is not None and file.hash.mode == "sha256":
                return file.hash.value, file.size
    return None, None


def withdrawn_keys() -> frozenset[bytes]:
    """The keys of roots that the knowledge has for public and the installed certifi, being newer, no longer carries."""
    import certifi  # noqa: PLC0415 - not needed when the caller brings roots

    # An older copy has no say, so its file is not read.
    return certifi_bundle().withdrawn if _is_newer(certifi.__version__) else frozenset()


def _is_newer(version: str) -> bool:
    """Whether this version of certifi is newer than the newest one that was examined."""
    date, newest = date_of(version), date_of(newest_version())
    return date is not None and newest is not None and date > newest


def load(path: str | Path, *, date: dt.date | None = None) -> Roots:
    """Roots from a PEM file, of this `date` if that is known.

    The version is the SHA-256 of the file, so that a report names exactly these. Raises `RootsError`.
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
    return Roots(roots, name=path.name, version="sha256:" + hashlib.sha256(data).hexdigest()[:16], date=date)


@lru_cache(maxsize=1)
def machine_roots() -> Roots:
    """The roots the operating system trusts (Windows, macOS, Linux), through wassima. Empty when there are none."""
    import wassima  # noqa: PLC0415 - needed only when a chain has no public path

    return from_der(wassima.root_der_certificates(), name="operating system")
