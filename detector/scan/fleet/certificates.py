"""Certificates for a fleet: one CA, and one certificate each for scheduler, workers and clients.

Room: fleet. Pure but for `write`, which makes the files.

Every part shows a certificate of this CA and requires one (mutual TLS), so nobody else can join, watch or submit work.
The members of a fleet send each other code: a holder of one of these keys can run programs on every machine of the
fleet. Protect them accordingly.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from detector.errors import OutputError
from detector.pins.target import parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable

DAYS_VALID: Final = 365
"""A fleet that is renewed less than once a year is not maintained."""
BACKDATED: Final = dt.timedelta(hours=1)
"""For machines whose clocks are slow."""
PARTS: Final = ("scheduler", "worker", "client")
_SECRET: Final = 0o600


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
        alternatives = x509.SubjectAlternativeName([*names, x509.DNSName(f"{part}.fleet.invalid")])
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
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


def _write_new(folder: Path, made: dict[str, bytes]) -> tuple[Path, ...]:
    existing = next((name for name in made if (folder / name).exists()), None)
    if existing is not None:
        raise OutputError(
            f"{folder / existing}: exists already, and may be in use.", advice="Name another folder, or move it away."
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in made.items():
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror}).", advice="Name a folder you may write to."
        ) from error
    return tuple(folder / name for name in made)


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
