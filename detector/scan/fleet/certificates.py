"""Certificates for a fleet: one CA, and one certificate each for scheduler, workers and clients.

Room: fleet. Pure but for `write`, which makes the files.

Every part shows a certificate of this CA and asks for one (mutual TLS), so nobody else can join, watch or give work.
What runs in a fleet is code that its members send each other: whoever holds one of these keys can run programs on
every machine of the fleet. Keep them as such.
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
"""A year: a fleet that is renewed less often is one nobody looks after."""
BACKDATED: Final = dt.timedelta(hours=1)
"""For machines whose clocks are behind."""
PARTS: Final = ("scheduler", "worker", "client")
_SECRET: Final = 0o600


class Files(NamedTuple):
    """Where one part of a fleet finds its certificates."""

    ca: Path
    certificate: Path
    key: Path


def files(folder: str | Path, part: str) -> Files:
    """The files of one part in a folder that `write` made."""
    folder = Path(folder)
    return Files(folder / "ca.pem", folder / f"{part}.pem", folder / f"{part}.key")


def write(folder: str | Path, *, hosts: Iterable[str], now: dt.datetime, days: int = DAYS_VALID) -> tuple[Path, ...]:
    """Make a CA and the certificates of the parts in `folder`; gives the files made.

    `hosts` are the names and addresses under which the scheduler is reached. The CA's own key is not kept: a fleet that
    needs another part gets new certificates altogether. Raises `OutputError`, and `TargetError` for what is no host;
    nothing that is there is overwritten.
    """
    folder = Path(folder)
    names = [_general_name(parse_host(host)) for host in hosts]
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("TLS middleware detector fleet")
    ca = (
        _builder(ca_name, ca_name, ca_key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    made: dict[str, bytes] = {"ca.pem": ca.public_bytes(serialization.Encoding.PEM)}
    for part in PARTS:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([*names, x509.DNSName(f"{part}.fleet.invalid")])
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_name(part), ca_name, key, now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        made[f"{part}.pem"] = certificate.public_bytes(serialization.Encoding.PEM)
        made[f"{part}.key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return _put(folder, made)


def _put(folder: Path, made: dict[str, bytes]) -> tuple[Path, ...]:
    there = [name for name in made if (folder / name).exists()]
    if there:
        raise OutputError(
            f"{folder / there[0]}: is there already, and may be in use.", advice="Name another folder, or move it away."
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


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
