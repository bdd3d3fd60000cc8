"""An established TLS connection as an asyncio transport, on either side.

Room: probe. Wraps a transport that is already connected.

asyncio's own TLS verifies during its handshake, keeps no record of what was presented and has no exporter, so it cannot
carry a connection that was captured first. This one continues OpenSSL's connection over memory buffers after the
handshake, for any `asyncio.Protocol`: the client that asks a witness, the witness's HTTP server, the guarded connector.

How a connection ends, and how the protocol learns of it:

=======================================  =====================================================================
the peer sends close_notify              `eof_received`; unless that returns true, close_notify is answered
the TCP connection ends without it       `connection_lost` with ConnectionAbortedError: otherwise anybody on the
                                         path could truncate an answer unnoticed (RFC 8446 section 6.1)
the peer breaks TLS                      an alert is sent; `connection_lost` with ConnectionAbortedError
`close`                                  pending data and close_notify are sent; `connection_lost(None)`
`abort`                                  nothing more is sent; `connection_lost(None)`
=======================================  =====================================================================

The contexts of both sides refuse renegotiation (SSL.OP_NO_RENEGOTIATION).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Never

from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHUNK_BYTES: Final = 16 * 1024  # passed to and from OpenSSL at once: one record (RFC 8446 section 5.1)
OUTPUT_BYTES: Final = 64 * 1024  # bytes taken from OpenSSL's output buffer at once; only a buffer size

ALERT_SECONDS: Final = 1.0
"""Time to send an alert once the connection has failed. It fits any socket buffer; this only bounds a peer that stopped
reading."""


def pending_output(connection: SSL.Connection) -> bytes:
    """Return everything that OpenSSL wants sent."""
    pieces = []
    while True:
        try:
            pieces.append(connection.bio_read(OUTPUT_BYTES))
        except SSL.WantReadError:
            return b"".join(pieces)


class TLSTransport(asyncio.Transport, asyncio.Protocol):
    """Application data over `connection`, whose handshake is complete, carried by the transport `below`.

    It replaces the protocol of `below`. Nothing is read until `set_protocol`. `extra` adds to `get_extra_info`, which
    otherwise asks `below`. Closing takes as long as the peer takes to read what was written; `abort` does not wait.
    """

    def __init__(
        self, connection: SSL.Connection, below: asyncio.Transport, *, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__({"sslcontext": connection.get_context(), **(extra or {})})
        self._connection = connection
        self._below = below
        self._protocol: asyncio.Protocol | None = None
        self._below_full = False
        self._reading = False
        self._closing = False
        self._eof = False
        self._below_eof = False
        self._failure: Exception | None = None
        self._alert_timer: asyncio.TimerHandle | None = None
        self._bytes_passed_down = 0
        self.bytes_received = 0
        """Bytes of TLS received since the handshake; grows while the peer is alive."""
        self.closed: Final = asyncio.Event()
        """Set when the connection is gone and nothing of it is left open."""
        below.set_protocol(self)
        below.pause_reading()

    @property
    def bytes_sent(self) -> int:
        """Bytes of TLS sent since the handshake; does not grow while the peer does not read."""
        return self._bytes_passed_down - self._below.get_write_buffer_size()

    # asyncio.BaseTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's interface
        """Return a fact given as `extra`, else one of the transport below."""
        found = super().get_extra_info(name)
        return self._below.get_extra_info(name, default) if found is None else found

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass data to `protocol` from now on, and resume reading. The caller calls its `connection_made`.

        A pause between two protocols keeps what arrives for the second. If the connection is already lost, the
        protocol's `connection_lost` is called in the next iteration of the loop; while sending stalls, it is paused.
        """
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"{type(protocol).__name__} is not an asyncio.Protocol; pass one that has data_received.")
        self._protocol = protocol
        if self.closed.is_set():
            asyncio.get_running_loop().call_soon(protocol.connection_lost, self._failure)
            return
        if self._below_full:
            protocol.pause_writing()
        if not self._reading:
            self.resume_reading()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that reads."""
        if self._protocol is None:
            raise RuntimeError("this connection has no protocol yet; call set_protocol first")
        return self._protocol

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._closing

    def close(self) -> None:
        """Send what was written and close_notify, then close."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()
        self._flush()
        self._below.close()

    def abort(self) -> None:
        """Close at once, dropping what has not been sent."""
        self._closing = True
        if not self.closed.is_set():  # asyncio's own transports fail afterwards
            self._below.abort()

    # asyncio.ReadTransport

    def is_reading(self) -> bool:
        """Whether data is passed to the protocol."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Pass nothing on and read nothing from below until `resume_reading`."""
        self._reading = False
        if not self._below.is_closing():
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Pass on what has arrived and what arrives."""
        self._reading = True
        asyncio.get_running_loop().call_soon(self._deliver)
        if not self._below.is_closing():
            self._below.resume_reading()

    # asyncio.WriteTransport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send `data`."""
        if self._closing:
            return
        plaintext = bytes(data)
        start = 0
        try:
            while start < len(plaintext):
                start += self._connection.send(plaintext[start : start + CHUNK_BYTES])
        except SSL.Error:  # on memory buffers only a connection that is broken, or wants to renegotiate
            self._fail(ConnectionAbortedError("TLS could not continue"))
            return
        self._flush()

    def can_write_eof(self) -> bool:
        """No: a protocol ends its side by closing."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that have not been sent."""
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits at which writing resumes and pauses, in bytes."""
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits at which writing pauses and resumes, in bytes."""
        self._below.set_write_buffer_limits(high, low)

    @property
    def _sendfile_compatible(self) -> Never:
        """Read by `loop.sendfile`; answered as uvloop does, so that callers fall back to `write`."""
        raise NotImplementedError("files have to be encrypted: send them with write")

    # asyncio.Protocol, of the transport below

    def data_received(self, data: bytes) -> None:
        """Decrypt and pass on."""
        self.bytes_received += len(data)
        if self._eof or self._closing:
            return  # nobody will read it
        self._connection.bio_write(data)
        self._deliver()

    def _deliver(self) -> None:
        """Pass on what can be decrypted now, and send what OpenSSL answers."""
        while self._listener is not None and not self._eof:
            try:
                data = self._connection.recv(CHUNK_BYTES)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._eof = True
                with self._abort_on_error():
                    keep_open = self._listener.eof_received()
                if not keep_open:
                    self.close()
                return
            except SSL.Error:
                self._fail(ConnectionAbortedError("the peer broke the TLS protocol"))
                return
            with self._abort_on_error():
                self._listener.data_received(data)
        self._flush()
        if self._below_eof and self._listener is not None and not self._eof:
            self._fail(ConnectionAbortedError("the connection ended without close_notify"))

    @property
    def _listener(self) -> asyncio.Protocol | None:
        """The protocol, while it reads."""
        return self._protocol if self.is_reading() else None

    @contextlib.contextmanager
    def _abort_on_error(self) -> Iterator[None]:
        """Abort the connection when the protocol raises; its exception passes."""
        try:
            yield
        except BaseException:  # whatever it is: nothing is swallowed
            self.abort()
            raise

    def _flush(self) -> None:
        if output := pending_output(self._connection):
            self._bytes_passed_down += len(output)
            self._below.write(output)

    def _fail(self, error: Exception) -> None:
        """Close with the alert that says why, waiting only briefly for the peer to read it."""
        if self._closing:
            return
        self._failure = error
        self._closing = True
        self._flush()
        self._below.close()
        self._alert_timer = asyncio.get_running_loop().call_later(ALERT_SECONDS, self._below.abort)

    def eof_received(self) -> bool:
        """Note that the peer sends no more on TCP; without close_notify that is not the end of data."""
        self._below_eof = True
        self._deliver()
        return True  # this transport decides when to close

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is gone, and why."""
        self._closing = True
        self._failure = self._failure or exc
        if self._alert_timer is not None:
            self._alert_timer.cancel()
        self.closed.set()
        if self._protocol is not None:
            self._protocol.connection_lost(self._failure)

    def pause_writing(self) -> None:
        """Pass on that the buffer below is full."""
        self._below_full = True
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the buffer below has room again."""
        self._below_full = False
        if self._protocol is not None:
            self._protocol.resume_writing()
