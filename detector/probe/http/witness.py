"""Asks a witness on the connection that was just probed (docs/witness.md).

Room: probe. Uses a connection it is given; judges nothing: what came back goes into the observation as it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import h11

from detector.model import WitnessObservation, WitnessOutcome
from detector.trust.witness_statement import ANSWER_BYTES_MAX, request_target

from .client import HEAD_OCTETS_DEFAULT, USER_AGENT, Answer, FetchOutcome, Limits

if TYPE_CHECKING:
    from detector.model import Endpoint
    from detector.probe.tls.transport import TLSTransport

HTTPS_PORT: Final = 443
"""Default port of an https URL (RFC 9110 section 4.2.2)."""

LIMITS: Final = Limits(head_octets=HEAD_OCTETS_DEFAULT, body_octets=ANSWER_BYTES_MAX)

_OUTCOMES: Final = {
    FetchOutcome.ANSWERED: WitnessOutcome.ANSWERED,
    FetchOutcome.NOT_HTTP: WitnessOutcome.NOT_HTTP,
    FetchOutcome.TOO_LARGE: WitnessOutcome.TOO_LARGE,
    FetchOutcome.UNREACHABLE: WitnessOutcome.CLOSED,
}


async def ask_witness(
    connection: TLSTransport, endpoint: Endpoint, *, nonce: bytes, until: float
) -> WitnessObservation:
    """Ask over `connection` and wait for the answer no longer than loop time `until`.

    The connection stays open and belongs to the caller, who sets the next protocol or closes it. It can carry another
    request only when the outcome is `answered` and it is not closing. Raises nothing for reasons of the peer.
    """
    answer = Answer(_request(endpoint, nonce), LIMITS)
    asking = _Asking(answer)
    connection.set_protocol(asking)
    connection.write(answer.request)
    try:
        async with asyncio.timeout_at(until):
            await asking.settled.wait()
    except TimeoutError:
        return WitnessObservation(outcome=WitnessOutcome.TIMEOUT, nonce=nonce)
    if not answer.leaves_reusable:
        connection.close()
    outcome = _OUTCOMES[answer.outcome or FetchOutcome.UNREACHABLE]
    status = None if answer.head is None else answer.head.status_code
    return WitnessObservation(outcome=outcome, nonce=nonce, status=status, body=answer.body)


def _request(endpoint: Endpoint, nonce: bytes) -> h11.Request:
    name = endpoint.host.rstrip(".")
    host = name if name.isascii() else name.encode("idna").decode("ascii")
    authority = f"[{host}]" if ":" in host else host
    if endpoint.port != HTTPS_PORT:
        authority += f":{endpoint.port}"
    headers = [
        ("Host", authority),
        ("User-Agent", USER_AGENT),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("Cache-Control", "no-store"),
    ]
    return h11.Request(method="GET", target=request_target(nonce), headers=headers)


class _Asking(asyncio.Protocol):
    """Reads one answer; `settled` is set when there is one, or when there will be none."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.settled: Final = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._answer.receive(data)
        self._check()

    def eof_received(self) -> None:
        self._answer.ended()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that no more comes; cut off without close_notify, a body without a length is not whole."""
        if exc is None:
            self._answer.ended()
        self.settled.set()

    def _check(self) -> None:
        if self._answer.outcome is not None:
            self.settled.set()
