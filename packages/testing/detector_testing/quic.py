"""QUIC servers on loopback: honest ones, impostors, and UDP ports that answer with anything.

Room: testing. Opens UDP sockets on loopback. Needs aioquic, which is the server: the extra `quic`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

try:
    from aioquic.asyncio.server import serve
    from aioquic.quic.configuration import QuicConfiguration
except ImportError as error:
    raise ImportError("QUIC needs aioquic: install the kit with its extra 'quic', as in its README") from error

from .streams import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

    from .pki import Issued, PrivateKey
    from .streams import Address

ALPN: Final = ("h3",)
"""HTTP/3 (RFC 9114 section 3.1); only the handshake is implemented."""


class _Presented:
    """A certificate for aioquic's server, well-formed or not."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_bytes(self, _encoding: Any) -> bytes:  # noqa: ANN401 - cryptography's Encoding
        return self._der


@contextlib.asynccontextmanager
async def serve_quic(  # noqa: PLR0913 - every option is something servers or middleboxes do
    issued: Issued,
    *,
    chain: Sequence[bytes] | None = None,
    key: PrivateKey | None = None,
    alpn: Collection[str] = ALPN,
    retry: bool = False,
    host: str = LOOPBACK,
    port: int = 0,
) -> AsyncIterator[Address]:
    """Run a QUIC server that presents `issued` until the block ends; yields its address.

    `chain` replaces the chain, by any bytes; `key` replaces the leaf's key, as for an impostor without it. `alpn` are
    the server's protocols; `retry` validates client addresses first (RFC 9000 section 8.1.2).
    """
    presented = [_Presented(der) for der in (issued.chain if chain is None else chain)]
    configuration = QuicConfiguration(is_client=False, alpn_protocols=list(alpn))
    configuration.certificate = presented[0]
    configuration.certificate_chain = presented[1:]
    configuration.private_key = issued.key if key is None else key
    server = await serve(host, port, configuration=configuration, retry=retry)
    try:
        yield _address_of(cast("asyncio.BaseTransport", server._transport))  # noqa: SLF001 - aioquic has no public name for it
    finally:
        server.close()
        await asyncio.sleep(0)  # the socket closes in the next iteration of the loop


@contextlib.asynccontextmanager
async def serve_datagrams(
    reply: Callable[[bytes], Iterable[bytes]], *, host: str = LOOPBACK, port: int = 0
) -> AsyncIterator[Address]:
    """Run a UDP port that answers each datagram with the datagrams that `reply` returns."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Replier(reply), local_addr=(host, port)
    )
    try:
        yield _address_of(transport)
    finally:
        transport.close()
        await asyncio.sleep(0)  # as above


def version_negotiation(datagram: bytes, *versions: int) -> bytes:
    """Return a server's answer to an Initial packet of a version it does not support (RFC 9000 section 17.2.1)."""
    destination = datagram[6 : 6 + datagram[5]]
    rest = datagram[6 + datagram[5] :]
    source = rest[1 : 1 + rest[0]]
    ids = bytes([len(source)]) + source + bytes([len(destination)]) + destination
    return b"\x80" + bytes(4) + ids + b"".join(version.to_bytes(4, "big") for version in versions)


class _Replier(asyncio.DatagramProtocol):
    def __init__(self, reply: Callable[[bytes], Iterable[bytes]]) -> None:
        self._reply = reply
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Datagram transports of other event loops do not derive from asyncio's class.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if self._transport is not None:
            for datagram in self._reply(data):
                self._transport.sendto(datagram, addr)


def _address_of(transport: asyncio.BaseTransport) -> Address:
    found = transport.get_extra_info("sockname")
    return str(found[0]), int(found[1])
