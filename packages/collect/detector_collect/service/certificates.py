"""The certificate that a client showed to the proxy in front, where it is one of ours.

Room: detector_collect.service. Pure: a scope in, an identifier out.

A header can be written by anyone. It counts only on a connection from a proxy that is configured, which sets it itself
and removes what the client sent. The certificate is compared with the registered ones by its SHA-256, so that nothing
of it is parsed and no CA is trusted; that the client has its key was proved to the proxy by the TLS handshake.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from detector_collect.submissions import Refusal, RefusedError

if TYPE_CHECKING:
    from litestar.types import Scope

    from .settings import ClientCertificates

CERTIFICATE_PREFIX: Final = "certificate/"
"""Prefix of the identifier of a client certificate, before its SHA-256 in hexadecimal."""

_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_PEM_END: Final = b"-----END CERTIFICATE-----"


def identifier(scope: Scope, settings: ClientCertificates | None) -> str | None:
    """The identifier of the client's certificate; None where no trusted proxy passed one.

    Raises `RefusedError` (`unreadable`) for a header of a trusted proxy that has no certificate in the configured form.
    """
    if settings is None or not _is_trusted(scope, settings):
        return None
    name = settings.header.encode("ascii")
    values = [value.strip() for header, value in scope["headers"] if header == name]
    if not values or values == [b""]:
        return None
    if len(values) > 1:  # one of them is the client's own
        raise RefusedError(Refusal.UNREADABLE, "The proxy passed more than one client certificate.")
    try:
        der = _of_pem(values[0]) if settings.form == "pem" else _of_field(values[0])
    except ValueError:
        raise RefusedError(Refusal.UNREADABLE, "The proxy passed no client certificate in its form.") from None
    return CERTIFICATE_PREFIX + hashlib.sha256(der).hexdigest()


def _is_trusted(scope: Scope, settings: ClientCertificates) -> bool:
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:  # a Unix socket
        return False
    address = getattr(address, "ipv4_mapped", None) or address  # RFC 4291 section 2.5.5.2
    return any(address in network for network in settings.peers)


def _of_field(value: bytes) -> bytes:
    """A byte sequence of a structured field (RFC 8941 section 3.3.5). Raises `ValueError`."""
    if len(value) < 2 or value[:1] != b":" or value[-1:] != b":":  # noqa: PLR2004 - two colons
        raise ValueError("no byte sequence")
    return base64.b64decode(value[1:-1], validate=True)


def _of_pem(value: bytes) -> bytes:
    """One certificate in PEM with URL encoding. Raises `ValueError`."""
    text = unquote_to_bytes(value).strip()
    if not text.startswith(_PEM_BEGIN) or not text.endswith(_PEM_END) or text.count(_PEM_BEGIN) != 1:
        raise ValueError("not one certificate")
    return base64.b64decode(b"".join(text[len(_PEM_BEGIN) : -len(_PEM_END)].split()), validate=True)
