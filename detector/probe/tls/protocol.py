"""The asyncio protocol that carries one handshake over a transport.

Room: probe. Opens nothing: the dialer supplies the transport.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from detector.model import Outcome
from detector.probe import outcomes

if TYPE_CHECKING:
    from detector.probe.routes.dialing import ConnectionRecord

    from .engine import ClientHandshake


class HandshakeProtocol(asyncio.Protocol):
    """Carries a handshake. `settled` is set when there is an outcome, `closed` when the connection is gone."""

    def __init__(self, handshake: ClientHandshake, record: ConnectionRecord) -> None:
        self._handshake = handshake
        self._record = record
        self._begun = 0.0
        self._transport: asyncio.Transport | None = None
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the ClientHello."""
        self._begun = self._record.clock()
        self._transport = cast("asyncio.Transport", transport)  # not every loop's derives from asyncio's class
        self._send(self._handshake.start())

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the handshake and its answer to the peer."""
        seen_before = self._handshake.certificates_seen
        self._send(self._handshake.receive(data))
        if self._handshake.certificates_seen and not seen_before:
            self.note("certificate")
        self._check()

    def note(self, phase: str) -> None:
        """Record the time since the first flight as that of `phase`."""
        self._record.note(phase, self._begun)

    def eof_received(self) -> None:
        """End the handshake; returning None closes the transport."""
        self._handshake.connection_closed(Outcome.CLOSED)
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the handshake."""
        self._handshake.connection_closed(outcomes.of_lost_connection(exc if isinstance(exc, OSError) else None))
        self.closed.set()
        self._check()

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _check(self) -> None:
        if self._handshake.finished and not self.settled.is_set():
            self.settled.set()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()  # what comes next is for the next user of the connection, if any
