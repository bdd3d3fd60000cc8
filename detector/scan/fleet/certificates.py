"""Certificates for a fleet: one CA, and one certificate each for scheduler, workers and clients.

Room: fleet. Pure but for `write`, which makes the files, and `context`, which reads them.

Every part shows a certificate of this CA and requires one (mutual TLS), so nobody else can join, watch or submit work.
The role is in the certificate, and checked by the other side: only the scheduler's may serve (id-kp-serverAuth, RFC
5280 section 4.2.1.12), and the name `ROLE.fleet.invalid` distinguishes workers from clients.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from detector.errors import InputError, OutputError
from detector.model.files import unwritable
from detector.model.private_files import create_private
from detector.pins.target import parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DAYS_VALID: Final = 365
"""A fleet that is renewed less than once a year is not maintained."""
BACKDATED: Final = dt.timedelta(hours=1)
"""For machines whose clocks are slow."""
SCHEDULER: Final = "scheduler"
WORKER: Final = "worker"
CLIENT: Final = "client"
PARTS: Final = (SCHEDULER, WORKER, CLIENT)
_ROLE_DOMAIN: Final = ".fleet.invalid"  # no host can have such a name (RFC 2606 section 2)
_NEW: Final = "Make new ones with `detector fleet certificates`, and give every machine those of its part."


class Files(NamedTuple):
    """The certificate files of one part of a fleet."""

    ca: Path
    certificate: Path
    key: Path


def files(folder: str | Path, part: str) -> Files:
    """The files of one part in a folder that `write` made."""
    folder = Path(folder)
    return Files(folder / "ca.pem", folder / f"{part}.pem", folder / f"{part}.key")


def write(folder: str | Path, *, hosts: Iterable[str], now: dt.datetime, days: int = DAYS_VALID) -> tuple[Path, ...]:
    """Make a CA and the certificates of the parts in `folder`; returns the files made.

    `hosts` are the names and addresses of the scheduler. The CA's key is not kept: for another part, make
    all certificates again. Existing files are not overwritten.

    Raises:
        OutputError: a file exists or cannot be written.
        TargetError: one of `hosts` is not a host.
    """
    folder = Path(folder)
    names = [_general_name(parse_host(host)) for host in hosts]
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("TLS middleware detector fleet")
    ca = _builder(ca_name, ca_name, ca_key, now, days, is_ca=True).sign(ca_key, hashes.SHA256())
    made: dict[str, bytes] = {"ca.pem": ca.public_bytes(serialization.Encoding.PEM)}
    for part in PARTS:
        key = ec.generate_private_key(ec.SECP256R1())
        serves = part == SCHEDULER
        alternatives = x509.SubjectAlternativeName(names if serves else [x509.DNSName(part + _ROLE_DOMAIN)])
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_name(part), ca_name, key, now, days, is_ca=False)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        made[f"{part}.pem"] = certificate.public_bytes(serialization.Encoding.PEM)
        made[f"{part}.key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return _write_new(folder, made)


def context(folder: str | Path, part: str, *, now: dt.datetime) -> ssl.SSLContext:
    """Return the TLS settings of one part: TLS 1.3, and only peers with a certificate of this fleet.

    Raises `InputError` where its files are missing, do not belong together, or are out of date.
    """
    found = files(folder, part)
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if part == SCHEDULER else ssl.PROTOCOL_TLS_CLIENT)
    settings.minimum_version = ssl.TLSVersion.TLSv1_3
    settings.verify_mode = ssl.CERT_REQUIRED
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        authority = x509.load_pem_x509_certificate(found.ca.read_bytes())
        settings.load_cert_chain(found.certificate, found.key, password="")
        settings.load_verify_locations(found.ca)
        certificate.verify_directly_issued_by(authority)
    except ssl.SSLError as error:
        raise InputError(
            f"--tls {folder}: {part}.key is not a key, or not that of {part}.pem.", advice="Copy both files again."
        ) from error
    except OSError as error:
        missing = next((file for file in found if not file.is_file()), found.key)
        raise InputError(
            f"--tls {folder}: {missing.name} cannot be read ({error.strerror}).",
            advice="Make the files with `detector fleet certificates`, and give this machine those of its part.",
        ) from error
    except InvalidSignature as error:
        raise InputError(f"--tls {folder}: {part}.pem is not of the CA in ca.pem.", advice=_NEW) from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--tls {folder}: {part}.pem or ca.pem is not a certificate of a fleet.", advice=_NEW
        ) from error
    for each, name in ((certificate, f"{part}.pem"), (authority, "ca.pem")):
        if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
            between = f"{each.not_valid_before_utc:%Y-%m-%d} to {each.not_valid_after_utc:%Y-%m-%d}"
            raise InputError(f"--tls {folder}: {name} is valid from {between}, and today is not.", advice=_NEW)
    return settings


def role_of(certificate: Mapping[str, Any] | None) -> str | None:
    """Return the role in a verified certificate, as `ssl.SSLObject.getpeercert` gives it; None where it has no one."""
    names = [name for kind, name in (certificate or {}).get("subjectAltName", ()) if kind == "DNS"]
    roles = [name.removesuffix(_ROLE_DOMAIN) for name in names if name.endswith(_ROLE_DOMAIN)]
    return roles[0] if len(roles) == 1 else None


def _write_new(folder: Path, made: dict[str, bytes]) -> tuple[Path, ...]:
    existing = next((name for name in made if (folder / name).exists()), None)
    if existing is not None:
        raise OutputError(
            f"DIR {folder / existing}: exists already, and may be in use.",
            advice="Name another folder, or move it away.",
        )
    written: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in made.items():
            descriptor = create_private(folder / name)
            written.append(folder / name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        for path in written:
            path.unlink()
        raise unwritable(f"DIR {folder}", error, "Name a folder you may write to.") from error
    return tuple(written)


def _builder(  # noqa: PLR0913 - the fields of a certificate
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    days: int,
    *,
    is_ca: bool,
) -> x509.CertificateBuilder:
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, decipher_only=False, **usage
            ),
            critical=True,
        )
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
