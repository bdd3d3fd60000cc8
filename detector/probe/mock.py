"""A network without sockets: in-memory TLS servers and scripted peers behind the `Dialer` interface.

Room: probe. No sockets and no clock; deterministic. For tests of whatever stands on `probe`, here and elsewhere.

Example::

    network = MockNetwork({
        ("exam.example.edu", 443): TLSServer(chain=(leaf_der, intermediate_der), key=leaf_key),
        ("mail.example.org", 443): Script(Send(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n"), Close()),
        ("bank.example.com", 443): Fails(Outcome.CONNECT_REFUSED),
    })
    observation = await probe(endpoint, dialer=network)

A name that is not listed does not resolve.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from OpenSSL import SSL

from detector.model import Endpoint, Outcome, Route

from .handshake import CIPHERS, READ_SIZE
from .routes import RouteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from .routes import Journal, ProtocolFactory

ADDRESS: Final = "192.0.2.1:443"
"""Where everything in a mock network is: a documentation address (RFC 5737 section 3)."""
