"""An established TLS connection as an asyncio transport: what comes after a handshake, on either side.

Room: probe. Wraps a transport that is already connected; opens nothing and judges nothing.

asyncio's own TLS verifies during its handshake, keeps no record of what was presented and has no exporter, so it cannot
carry a connection that was captured first. This one takes OpenSSL's connection over memory buffers as the handshake
left it, and gives it to any `asyncio.Protocol`: the client that asks a witness, the witness's HTTP server, the guarded
connector.

An end of the TCP connection without close_notify is told to the protocol as an error, not as an end of data: otherwise
anybody on the way could cut an answer short unnoticed (RFC 8446 section 6.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHUNK_OCTETS: Final = 16 * 1024
"""Octets given to and taken from OpenSSL at once: the content of one record (RFC 8446 section 5.1)."""

OUTPUT_OCTETS: Final = 64 * 1024
"""Octets taken from OpenSSL's output buffer at once; only a buffer size."""


class TLSTransport(asyncio.Transport):
    """Application data over `connection`, whose handshake is complete, carried by `below`.

    It takes the place of whatever protocol `below` had. `set_protocol` names who reads; until then nothing is read.
    `extra` adds to what `get_extra_info` tells; everything else is asked of `below`.
    """

    def __init__(
        self, connection: SSL.Connection, below: asyncio.Transport, *, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__({"sslcontext": connection.get_context(), **(extra or {})})
        self._connection = connection
        self._below = below
        self._protocol: asyncio.Protocol | None = None
        self._unsent = bytearray()
        self._reading = False
        self._closing = False
        self._ended = False
        self._failure: Exception | None = None
        self.closed: Final = asyncio.Event()
        """Set when the connection is gone and nothing of it is left open."""
        below.set_protocol(_Below(self))
        below.pause_reading()

    # asyncio.BaseTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's interface
        """Optional facts: those given as `extra`, else those of the transport below."""
        found = super().get_extra_info(name)
        return self._below.get_extra_info(name, default) if found is None else found

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let `protocol` read from now on. Its `connection_made` is its owner's to call, as asyncio has it."""
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"{type(protocol).__name__} is no asyncio.Protocol; give one that takes data_received.")
        self._protocol = protocol
        if not self._reading:
            self.resume_reading()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who reads."""
        if self._protocol is None:
            raise RuntimeError("this connection has no protocol yet; call set_protocol first")
        return self._protocol

    def is_closing(self) -> bool:
        """Whether no more can be written."""
        return self._closing

    def close(self) -> None:
        """Say close_notify, let what was written leave, then close."""
        if self._closing:
            return
        self._closing = True
        if not self._unsent:
            self._say_goodbye()
        self._below.close()

    def abort(self) -> None:
        """Close at once, whatever has not left."""
        self._closing = True
        self._below.abort()

    # asyncio.ReadTransport

    def is_reading(self) -> bool:
        """Whether data is being passed on."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Pass nothing on, and take nothing more from below, until `resume_reading`."""
        self._reading = False
        if not self._below.is_closing():
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Pass on what is there and what comes."""
        self._reading = True
        asyncio.get_running_loop().call_soon(self._deliver)
        if not self._below.is_closing():
            self._below.resume_reading()

    # asyncio.WriteTransport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send `data`."""
        if self._closing:
            return
        self._unsent += data
        self._push()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send all of these."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """No: a protocol that ends its side closes."""
        return False

    def get_write_buffer_size(self) -> int:
        """Octets that have not left."""
        return len(self._unsent) + self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """When writing is paused and resumed, in octets."""
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused and resumed, in octets."""
        self._below.set_write_buffer_limits(high, low)

    # From below

    def _received(self, data: bytes) -> None:
        self._connection.bio_write(data)
        self._deliver()

    def _deliver(self) -> None:
        """Pass on what can be decrypted now."""
        while self._reading and not self._closing and not self._ended and self._protocol is not None:
            try:
                data = self._connection.recv(CHUNK_OCTETS)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._ended = True
                if not self._protocol.eof_received():
                    self.close()
                return
            except SSL.Error:
                self._fail(ConnectionAbortedError("the peer broke the TLS protocol"))
                return
            self._protocol.data_received(data)
        self._push()

    def _push(self) -> None:
        """Encrypt what waits, and hand on what OpenSSL wants sent."""
        while self._unsent and not self._closing:
            try:
                sent = self._connection.send(bytes(self._unsent[:CHUNK_OCTETS]))
            except SSL.WantReadError:
                break  # the peer wants new keys first (TLS 1.2 renegotiation); it goes on with what it sends next
            except SSL.Error:
                self._fail(ConnectionAbortedError("TLS could not go on"))
                return
            del self._unsent[:sent]
        self._flush()

    def _flush(self) -> None:
        while True:
            try:
                self._below.write(self._connection.bio_read(OUTPUT_OCTETS))
            except SSL.WantReadError:
                return

    def _say_goodbye(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.Error:
            return
        self._flush()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._flush()  # the alert that says why
        self.abort()

    def _cut_off(self) -> None:
        """The peer sends no more on TCP; without close_notify that is no end of data."""
        if not self._ended and not self._closing:
            self._failure = ConnectionAbortedError("the connection ended without close_notify")
            self.abort()

    def _lost(self, error: Exception | None) -> None:
        self._closing = True
        self.closed.set()
        if self._protocol is not None:
            self._protocol.connection_lost(self._failure or error)

    def _pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def _resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()


class _Below(asyncio.Protocol):
    """What the transport below tells, passed up."""

    def __init__(self, above: TLSTransport) -> None:
        self._above = above

    def data_received(self, data: bytes) -> None:
        self._above._received(data)  # noqa: SLF001 - two halves of one thing

    def eof_received(self) -> bool:
        self._above._cut_off()  # noqa: SLF001 - as above
        return True  # closing is the half above's decision

    def connection_lost(self, exc: Exception | None) -> None:
        self._above._lost(exc)  # noqa: SLF001 - as above

    def pause_writing(self) -> None:
        self._above._pause_writing()  # noqa: SLF001 - as above

    def resume_writing(self) -> None:
        self._above._resume_writing()  # noqa: SLF001 - as above
