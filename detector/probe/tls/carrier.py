"""Carries one handshake over a transport, and puts what it showed into an observation.

Room: probe. Opens nothing: whoever connects gives the transport. Judges nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from detector.model import Observation, Outcome
from detector.probe import outcomes
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from detector.model import Route
    from detector.probe.routes.dialing import Journal

    from .openssl import Handshaking

HTTP_1_1: Final = (b"http/1.1",)
"""What is offered (RFC 7301) where HTTP follows: a witness is asked in HTTP/1.1, and a middlebox that were given the
choice of h2 could keep us from asking."""


def observe(handshake: Handshaking, route: Route, journal: Journal, outcome: Outcome) -> Observation:
    """Put what is known now into an observation; `outcome` counts where the handshake has none of its own."""
    facts = handshake.facts(outcome)
    return Observation(
        outcome=facts.outcome,
        key_proved=facts.key_proved,
        route=journal.route or route,
        hello=handshake.hello,
        engine=handshake.engine,
        ja3=handshake.ja3,
        proxy=journal.proxy,
        proxy_file=journal.proxy_file,
        address=journal.address,
        asked_for=journal.asked_for,
        tls_version=facts.tls_version,
        cipher=facts.cipher,
        group=facts.group,
        alpn=facts.alpn,
        alert=facts.alert,
        server_hello=facts.server_hello,
        chain=tuple(Certificate.read(der).presented() for der in facts.chain),
        handshake_signature=handshake.signature,
        sct_list=facts.sct_list,
        ocsp_response=facts.ocsp_response,
        scts_carried=facts.scts_carried,
        timings_ms=dict(journal.timings_ms),
    )


class Carrier(asyncio.Protocol):
    """Carries a handshake over a transport. `settled` is set when there is an outcome, `closed` when it is gone."""

    def __init__(self, handshake: Handshaking, journal: Journal) -> None:
        self._handshake = handshake
        self._journal = journal
        self._begun = 0.0
        self._transport: asyncio.Transport | None = None
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the ClientHello."""
        self._begun = self._journal.clock()
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
        """Record the time from the first flight until now."""
        self._journal.timings_ms[phase] = round((self._journal.clock() - self._begun) * 1000, 3)

    def eof_received(self) -> None:
        """Take note that the peer sends no more; returning None closes the transport."""
        self._handshake.ended(Outcome.CLOSED)
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._handshake.ended(outcomes.of_lost_connection(exc if isinstance(exc, OSError) else None))
        self.closed.set()
        self._check()

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _check(self) -> None:
        if self._handshake.finished and not self.settled.is_set():
            self.settled.set()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()  # what comes next is for who goes on, if anybody does
