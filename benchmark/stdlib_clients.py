"""The standard library as contender: `python -m benchmark.stdlib_clients KIND --count N`, settings on standard input.

It imports nothing of the detector, whose memory and start-up would count as its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import TYPE_CHECKING, Any, Final

from benchmark.attempts import IncompleteError, main, measured

if TYPE_CHECKING:
    from benchmark.attempts import Attempt


def streams(settings: dict[str, Any]) -> Attempt:
    """Return a client on the standard library's `asyncio.open_connection` with TLS."""
    context = _plain_context()

    async def attempt(address: str, port: int) -> None:
        _, writer = await asyncio.open_connection(
            address, port, ssl=context, server_hostname=settings["host"], ssl_handshake_timeout=settings["patience"]
        )
        _hash_chain(writer.get_extra_info("ssl_object"))
        writer.transport.abort()

    return attempt


class _OverMemory(asyncio.Protocol):
    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(IncompleteError("the connection ended early"))

    def _go_on(self) -> None:
        if self.done.done():
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(self._outgoing.read())
        else:
            self._transport.write(self._outgoing.read())
            _hash_chain(self._tls)
            self.done.set_result(None)
            self._transport.close()


def memory(settings: dict[str, Any]) -> Attempt:
    """Return a client on the standard library's `ssl`, on memory BIOs in an asyncio protocol."""
    context = _plain_context()

    async def attempt(address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: _OverMemory(context, settings["host"]), address, port)
        await protocol.done

    return attempt


def _plain_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # captured, not assessed, as everywhere here
    return context


def _hash_chain(connection: ssl.SSLObject) -> None:
    # The public API returns the whole chain from Python 3.13 on, before that the leaf.
    whole = getattr(connection, "get_unverified_chain", None)
    chain = [connection.getpeercert(binary_form=True) or b""] if whole is None else whole()
    for certificate in chain:
        hashlib.sha256(certificate).digest()


KINDS: Final = {"memory": memory, "streams": streams}


async def run(kind: str, settings: dict[str, Any], count: int, concurrency: int) -> dict[str, Any]:
    """Run a client; returns its report."""
    return await measured(KINDS[kind](settings), settings, count, concurrency)


if __name__ == "__main__":
    raise SystemExit(main(run, tuple(KINDS)))
