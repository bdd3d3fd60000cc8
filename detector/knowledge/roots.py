"""Loads roots: the public ones, those in a PEM file, and those this machine trusts.

Room: knowledge. Reads files only in `certifi_bundle`, `load` and `machine_roots`.

Public roots are the known roots of a data set (`known_roots`) unless the user replaces them. The machine's additional
roots only label a path: they say who installed a CA here and never clear anything.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.lazy import LazyModule
from detector.errors import RootsError
from detector.model import RootOrigin
from detector.model.files import read_file
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_ROOTS, Root, Roots, certificates_in_pem, from_der, label_of

from .known_roots import date_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence
    from importlib import metadata

    import certifi
    import wassima

    from detector.model import Knowledge

    from .known_roots import KnownRoots
else:
    metadata = LazyModule("importlib.metadata")
    certifi = LazyModule("certifi")
    wassima = LazyModule("wassima")

ROOTS_FILE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Largest PEM bundle read, in bytes: certifi's has 0.3 MB, the largest operating-system bundles under 1 MB."""


def public_roots(
    known: KnownRoots,
    certificates: Sequence[bytes],
    at: dt.date | None,
    *,
    identity: Knowledge,
    bundle: Callable[[], CertifiBundle],
) -> Roots:
    """The public roots: those of Mozilla's program, as certifi carries and labels them. `retired` has the former ones.

    They come from a data set, certificates (DER, in the order of `known`) included; the installed certifi confirms none
    of them. An older, edited or distribution-replaced copy of certifi changes nothing. Only one newer than the data set
    counts, and only against a root: see `CertifiBundle`, which `bundle` returns. `identity` is the part of the set.

    With `at`, for past captures, a root removed after that day is public. Roots that came later stay public, because
    other programs had them before.
    """
    at = None if at is None or at >= known.newest else at
    version, sha256 = identity.version, identity.sha256 if at is None else ""
    withdrawn = frozenset[bytes]()
    # Only a newer certifi can withdraw a root, so an older one's file is not read.
    if at is None and known.is_older_than(certifi.__version__) and (withdrawn := bundle().withdrawn):
        version += f", less {len(withdrawn)} that certifi {certifi.__version__} withdrew"
        sha256 = ""
    every = [(root, Certificate.read(der)) for root, der in zip(known.roots, certificates, strict=True)]
    current = [
        Root(root.label, certificate, RootOrigin.SHIPPED, root.limits)
        for root, certificate in every
        if root.is_current(at) and certificate.spki_sha256 not in withdrawn
    ]
    keys = {root.certificate.spki_sha256 for root in current}
    retired = [
        Root(root.label, certificate, limits=root.limits)
        for root, certificate in every
        if certificate.spki_sha256 not in keys
    ]
    return Roots(
        current,
        name=identity.name,
        version=version,
        date=identity.date,
        retired=Roots(retired, name="retired roots", version=version),
        unconfirmed=lambda: bundle().unconfirmed,
        sha256=sha256,
    )


class CertifiBundle(NamedTuple):
    """How the installed certifi differs from the known roots. Neither it nor its labels make a root trusted.

    `unconfirmed` are roots that may be certifi's own, of a version newer than the known ones (SHIPPED where the file is
    the one the installer recorded, else UNKNOWN). `added` were put into the file by a person or a program: institutions
    do that to make Python programs accept their CA. `withdrawn` are the keys (SHA-256) of current known roots that a
    newer certifi no longer carries.
    """

    unconfirmed: Roots
    added: Roots
    withdrawn: frozenset[bytes]


class Installed(NamedTuple):
    """How certifi was installed.

    `sha256` (base64url without padding) and `size` are what the installer recorded of its file (PyPA, "Recording
    installed projects"); None where it did not. `in_place` is whether the file that certifi names is the one in its
    own folder: distributions make it name, or link to, a bundle of theirs.
    """

    version: str
    sha256: str | None
    size: int | None
    in_place: bool


def split_certifi(data: bytes, installed: Installed, known: KnownRoots) -> CertifiBundle:
    """Separate roots that may be certifi's own from those that somebody added to its file (`data`).

    Every root of an examined version is known: any other was added, unless the whole file is a distribution's. In other
    versions only what lies before or after the content that the installer recorded was certainly added.
    """
    # The recorded content is all of the file, its beginning or its end.
    parts = [data] if not installed.size else [data[: installed.size], data[-installed.size :]]
    hashes = [base64.urlsafe_b64encode(hashlib.sha256(part).digest()).rstrip(b"=").decode("ascii") for part in parts]
    genuine = next((part for part, found in zip(parts, hashes, strict=True) if found == installed.sha256), None)
    own = {der for _, der in certificates_in_pem(data if genuine is None else genuine)}
    is_complete = installed.in_place and date_of(installed.version) in known.examined_dates
    unconfirmed, added = [], []
    for _, der in certificates_in_pem(data):
        certificate = Certificate.read(der)
        if certificate.spki_sha256 is None or certificate.spki_sha256 in known.keys:
            continue
        if is_complete or der not in own:
            added.append(Root(label_of(certificate), certificate, RootOrigin.ADDED))
        else:
            origin = RootOrigin.UNKNOWN if genuine is None else RootOrigin.SHIPPED
            unconfirmed.append(Root(label_of(certificate), certificate, origin))
    withdrawn = frozenset[bytes]()
    if genuine is not None and known.is_older_than(installed.version):
        carried = {Certificate.read(der).spki_sha256 for der in own}
        current = (bytes.fromhex(root.spki_sha256) for root in known.roots if root.is_current(None))
        withdrawn = frozenset(key for key in current if key not in carried)
    return CertifiBundle(
        Roots(unconfirmed, name="certifi", version=installed.version),
        Roots(added, name="added to certifi's file", version=installed.version),
        withdrawn,
    )


def certifi_bundle(known: KnownRoots) -> CertifiBundle:
    """How the installed certifi differs from the known roots; empty when it cannot be read."""
    path = Path(certifi.where())
    try:
        data = path.read_bytes()
        in_place = path.resolve() == Path(certifi.__file__).resolve().with_name(path.name)
    except OSError:
        data, in_place = b"", False
    keys = {Certificate.read(der).spki_sha256 for _, der in certificates_in_pem(data)}
    if keys <= known.keys and not known.is_older_than(certifi.__version__):
        return CertifiBundle(NO_ROOTS, NO_ROOTS, frozenset())
    return split_certifi(data, Installed(certifi.__version__, *_installer_record(path.name), in_place), known)


def _installer_record(name: str) -> tuple[str | None, int | None]:
    """The hash and the size that certifi's installer recorded for its file with this name."""
    with contextlib.suppress(metadata.PackageNotFoundError):  # as in a frozen application
        for file in metadata.files("certifi") or ():
            if file.name == name and file.hash is not None and file.hash.mode == "sha256":
                return file.hash.value, file.size
    return None, None


def load(path: str | Path, *, date: dt.date | None = None) -> Roots:
    """Roots from a PEM file, of this `date` if that is known.

    The version is the SHA-256 of the file, so that a report identifies exactly these. Raises `RootsError`.
    """
    path = Path(path)
    data = read_file(path, most=ROOTS_FILE_BYTES_MAX, kind="roots file", error=RootsError)
    blocks = certificates_in_pem(data)
    if not blocks or len(blocks) != data.count(b"-----BEGIN ") - data.count(b"PRIVATE KEY-----") // 2:
        raise RootsError(
            f"{path}: {'no certificate in it' if not blocks else 'a certificate in it is damaged'}.",
            advice="It must be PEM: -----BEGIN CERTIFICATE----- blocks with base64 between them.",
        )
    roots = [Root(label or label_of(Certificate.read(body)), Certificate.read(body)) for label, body in blocks]
    for number, root in enumerate(roots, 1):
        if root.certificate.spki is None or root.certificate.subject is None:
            raise RootsError(
                f"{path}: certificate {number} is not an X.509 certificate.",
                advice="Remove or replace it; every block must hold one DER certificate.",
            )
    return Roots(roots, name=path.name, version="sha256:" + hashlib.sha256(data).hexdigest()[:16], date=date)


@lru_cache(maxsize=1)
def machine_roots() -> Roots:
    """The roots the operating system trusts (Windows, macOS, Linux), through wassima. Empty when there are none."""
    return from_der(wassima.root_der_certificates(), name="operating system")
