"""An established TLS connection as an asyncio transport: what comes after a handshake, on either side.

Room: probe. Wraps a transport that is already connected; opens nothing and judges nothing.

asyncio's own TLS verifies during its handshake, keeps no record of what was presented and has no exporter, so it cannot
carry a connection that was captured first. This one takes OpenSSL's connection over memory buffers as the handshake
left it, and gives it to any `asyncio.Protocol`: the client that asks a witness, the witness's HTTP server, the guarded
connector.

How a connection ends, and what the protocol is told:

=======================================  =====================================================================
the peer says close_notify               `eof_received`; unless that returns true, close_notify is answered
the TCP connection ends without it       `connection_lost` with ConnectionAbortedError: otherwise anybody on the
                                         way could cut an answer short unnoticed (RFC 8446 section 6.1)
the peer breaks TLS                      an alert is sent; `connection_lost` with ConnectionAbortedError
`close`                                  what was written and close_notify leave; `connection_lost(None)`
`abort`                                  nothing leaves any more; `connection_lost(None)`
=======================================  =====================================================================

Renegotiation is for the contexts of both sides to refuse (SSL.OP_NO_RENEGOTIATION), and they do.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Never

from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CHUNK_OCTETS: Final = 16 * 1024
"""Octets given to and taken from OpenSSL at once: the content of one record (RFC 8446 section 5.1)."""

OUTPUT_OCTETS: Final = 64 * 1024
"""Octets taken from OpenSSL's output buffer at once; only a buffer size."""

LAST_WORDS_SECONDS: Final = 1.0
"""Time for an alert to leave once the connection has failed. It fits any socket buffer; this only bounds a peer that
stopped reading."""


class TLSTransport(asyncio.Transport):
    """Application data over `connection`, whose handshake is complete, carried by `below`.

    It takes the place of whatever protocol `below` had. `set_protocol` names who reads; until then nothing is read.
    `extra` adds to what `get_extra_info` tells; everything else is asked of `below`. Closing takes as long as the peer
    takes to read what was written: who must not wait for that aborts.
    """

    def __init__(
        self, connection: SSL.Connection, below: asyncio.Transport, *, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__({"sslcontext": connection.get_context(), **(extra or {})})
        self._connection = connection
        self._below = below
        self._protocol: asyncio.Protocol | None = None
        self._below_is_full = False
        self._reading = False
        self._closing = False
        self._ended = False
        self._below_ended = False
        self._failure: Exception | None = None
        self._last_words: asyncio.TimerHandle | None = None
        self._octets_handed_down = 0
        self._octets_arrived = 0
        self.closed: Final = asyncio.Event()
        """Set when the connection is gone and nothing of it is left open."""
        below.set_protocol(_Below(self))
        below.pause_reading()

    @property
    def octets_arrived(self) -> int:
        """Octets of TLS that came from the peer since the handshake; grows while the peer is alive."""
        return self._octets_arrived

    @property
    def octets_left(self) -> int:
        """Octets of TLS that have left for the peer since the handshake; stands still when the peer does not read."""
        return self._octets_handed_down - self._below.get_write_buffer_size()

    # asyncio.BaseTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's interface
        """Optional facts: those given as `extra`, else those of the transport below."""
        found = super().get_extra_info(name)
        return self._below.get_extra_info(name, default) if found is None else found

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let `protocol` read from now on. Its `connection_made` is its owner's to call, as asyncio has it.

        Reading is resumed where it was paused: a pause between two protocols keeps what comes for the second. A
        protocol that comes when the connection is already lost is told so, in the next turn of the loop, and one that
        comes while nothing leaves is told to pause writing.
        """
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"{type(protocol).__name__} is no asyncio.Protocol; give one that takes data_received.")
        self._protocol = protocol
        if self.closed.is_set():
            asyncio.get_running_loop().call_soon(protocol.connection_lost, self._failure)
            return
        if self._below_is_full:
            protocol.pause_writing()
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
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()
        self._flush()
        self._below.close()

    def abort(self) -> None:
        """Close at once, whatever has not left."""
        self._closing = True
        if not self.closed.is_set():  # asyncio's own transports do not bear it afterwards
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
        octets = bytes(data)
        start = 0
        try:
            while start < len(octets):
                start += self._connection.send(octets[start : start + CHUNK_OCTETS])
        except SSL.Error:  # on memory buffers nothing but a connection that is broken, or wants to renegotiate
            self._fail(ConnectionAbortedError("TLS could not go on"))
            return
        self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send all of these."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """No: a protocol that ends its side closes."""
        return False

    def get_write_buffer_size(self) -> int:
        """Octets that have not left."""
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """When writing is paused and resumed, in octets."""
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused and resumed, in octets."""
        self._below.set_write_buffer_limits(high, low)

    @property
    def _sendfile_compatible(self) -> Never:
        """What `loop.sendfile` asks of a transport: answer as uvloop does, so that callers fall back to `write`."""
        raise NotImplementedError("files are sent through write: they have to be encrypted")

    # From below

    def _received(self, data: bytes) -> None:
        self._octets_arrived += len(data)
        if self._ended or self._closing:
            return  # nobody will read it, so nobody keeps it
        self._connection.bio_write(data)
        self._deliver()

    def _deliver(self) -> None:
        """Pass on what can be decrypted now, and what that makes OpenSSL say."""
        while self._listener is not None and not self._ended:
            try:
                data = self._connection.recv(CHUNK_OCTETS)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._ended = True
                with self._nothing_half_open():
                    keep_open = self._listener.eof_received()
                if not keep_open:
                    self.close()
                return
            except SSL.Error:
                self._fail(ConnectionAbortedError("the peer broke the TLS protocol"))
                return
            with self._nothing_half_open():
                self._listener.data_received(data)
        self._flush()
        if self._below_ended and self._listener is not None and not self._ended:
            self._fail(ConnectionAbortedError("the connection ended without close_notify"))

    @property
    def _listener(self) -> asyncio.Protocol | None:
        """Who wants to hear now."""
        return self._protocol if self.is_reading() else None

    @contextlib.contextmanager
    def _nothing_half_open(self) -> Iterator[None]:
        """Cut the connection when the protocol fails; its exception is its owner's to see."""
        try:
            yield
        except BaseException:  # whatever it is: nothing is swallowed
            self.abort()
            raise

    def _flush(self) -> None:
        """Hand on what OpenSSL wants sent."""
        while True:
            try:
                output = self._connection.bio_read(OUTPUT_OCTETS)
            except SSL.WantReadError:
                return
            self._octets_handed_down += len(output)
            self._below.write(output)

    def _fail(self, error: Exception) -> None:
        """Close with the alert that says why, and with no patience for who does not read it."""
        if self._closing:
            return
        self._failure = error
        self._closing = True
        self._flush()
        self._below.close()
        self._last_words = asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self._below.abort)

    def _cut_off(self) -> None:
        """The peer sends no more on TCP; without close_notify that is no end of data."""
        self._below_ended = True
        self._deliver()

    def _lost(self, error: Exception | None) -> None:
        self._closing = True
        self._failure = self._failure or error
        if self._last_words is not None:
            self._last_words.cancel()
        self.closed.set()
        if self._protocol is not None:
            self._protocol.connection_lost(self._failure)

    def _pause_writing(self) -> None:
        self._below_is_full = True
        if self._protocol is not None:
            self._protocol.pause_writing()

    def _resume_writing(self) -> None:
        self._below_is_full = False
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
