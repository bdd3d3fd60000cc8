"""Reports of failed pins as TrustKit sends them, with what they say about a device. Room: tests."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from detector_testing import Issued
from detector_testing.pki import to_pem

from detector.session.seams import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY: Final = dt.timedelta(days=1)
PERSONAL: Final = "ada-lovelaces-iphone"
"""What identifies a device in each report."""


def pin_report(chain: Iterable[bytes], *, at: dt.datetime, **changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A report of that time; `_` stands for a hyphen, and None leaves a field out."""
    fields: dict[str, Any] = {
        "app_bundle_id": "org.example.exam", "app_version": "1.0", "app_vendor_id": PERSONAL, "app_platform": "IOS",
        "date_time": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "hostname": "exam.example.org", "port": 443,
        "noted_hostname": "example.org", "include_subdomains": True, "enforce_pinning": True, "known_pins": [],
        "validated_certificate_chain": [to_pem(one).decode() for one in chain],
    }  # fmt: skip
    named = {name.replace("_", "-"): value for name, value in {**fields, **changes}.items() if value is not None}
    return json.dumps(named).encode()


def client_certificate(name: str) -> Issued:
    """A self-signed client certificate, as an operator makes it for a server that reports."""
    key, now = ec.generate_private_key(ec.SECP256R1()), utc_now()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    return Issued(chain=(made.public_bytes(Encoding.DER),), key=key)
