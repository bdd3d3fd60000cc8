"""From one request to what is found in it: which offer belongs to it, what its headers claim, and whether the two agree.

Room: origin. Pure: a ClientHello, an address and header values in, a `Judgment` out.

    requests = Requests(proxies=[Proxy(peers=("192.0.2.0/24",), header="cloudfront-viewer-ja4-fingerprint")])
    requests.assess(hello, peer, headers)

Two sources of an offer exclude each other. A connection from a peer that is configured as a proxy of the site's own ends
there: its ClientHello is the proxy's, and says nothing about anybody, so the offer is what the proxy wrote into a
header. On every other connection the ClientHello is the client's, and such headers are ignored: a client could write
anything into them.

The middlewares of this room (`aiohttp`, `asgi`) extract the arguments, and nothing else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


    Headers = Callable[[str], Sequence[str]]
    """Returns all values of a header, whose name is in lower case."""

ASSESSED_MAX: Final = 4096
"""Assessments remembered, of (hello, claims) or (header, claims). Each holds a hello of about 2 KiB: 8 MiB."""

HEADER_CHARACTERS_MAX: Final = 16 * 1024
"""Characters of a forwarded header that is read; that of HAProxy has about 1 KiB."""

LOG: Final = logging.getLogger("detector.origin")

Form = Literal["ja4", "nginx", "haproxy"]

JA4_HEADERS: Final[dict[str, str]] = {
    "cloudfront-viewer-ja4-fingerprint": "Amazon CloudFront",
    "cdn-ja4": "bunny.net",
}
"""Headers in which a network of caches passes the JA4 of its client, by their documentation (November 2026)."""
