"""The request to a witness, on the connection that was just probed (docs/witness.md).

Room: probe. Uses a connection it is given; what comes back goes into the observation unchanged.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import WitnessObservation, WitnessOutcome
from detector.model.validate import HTTPS_PORT
from detector.probe.routes import Timeouts, host_port
from detector.trust.witness_statement import ANSWER_BYTES_MAX, NONCE_BYTES, request_target

from .client import FetchOutcome, Limits, ask_over, request_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.model import Endpoint
    from detector.probe.tls.fallback import Opened
    from detector.probe.tls.transport import TLSTransport

LIMITS: Final = Limits(body_bytes=ANSWER_BYTES_MAX)

_OUTCOMES: Final = {
    FetchOutcome.ANSWERED: WitnessOutcome.ANSWERED,
    FetchOutcome.NOT_HTTP: WitnessOutcome.NOT_HTTP,
    FetchOutcome.TOO_LARGE: WitnessOutcome.TOO_LARGE,
    FetchOutcome.UNREACHABLE: WitnessOutcome.CLOSED,
}


async def with_witness(
    opened: Opened,
    endpoint: Endpoint,
    *,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Opened:
    """Ask the witness of `endpoint` over an open connection, and add its answer to the observation.

    Arguments as `client.probe`. The connection stays open where it can carry another request.
    """
    if (connection := opened.connection) is None:
        return opened
    nonce, exporter = secrets.token_bytes(NONCE_BYTES), opened.handshake.channel_binding()
    hello = opened.handshake.client_hello
    begun = clock()
    if exporter is None:
        seen = WitnessObservation(outcome=WitnessOutcome.NO_BINDING, nonce=nonce)
    else:
        until = asyncio.get_running_loop().time() + (timeouts or Timeouts()).witness
        until = until if deadline is None else min(until, deadline)
        seen = await ask_witness(connection, endpoint, nonce=nonce, until=until)
    seen = msgspec.structs.replace(
        seen, exporter=exporter, client_hello_sha256=None if hello is None else hashlib.sha256(hello).hexdigest()
    )
    timings = {**opened.observation.timings_ms, "witness": round((clock() - begun) * 1000, 3)}
    return opened._replace(observation=msgspec.structs.replace(opened.observation, witness=seen, timings_ms=timings))


async def ask_witness(
    connection: TLSTransport, endpoint: Endpoint, *, nonce: bytes, until: float
) -> WitnessObservation:
    """Ask over `connection` and wait for the answer no longer than loop time `until`.

    The connection stays open and belongs to the caller. It can carry another request only when the outcome is
    `answered` and it is not closing. Raises nothing for reasons of the peer.
    """
    name = endpoint.host.rstrip(".")
    host = name if name.isascii() else name.encode("idna").decode("ascii")
    authority = host_port(host, endpoint.port)
    if endpoint.port == HTTPS_PORT:
        authority = authority.removesuffix(f":{HTTPS_PORT}")
    request = request_for(
        authority, request_target(nonce), ("Accept", "application/json"), ("Cache-Control", "no-store")
    )
    answer = await ask_over(connection, request, limits=LIMITS, until=until)
    if answer.outcome is None:
        return WitnessObservation(outcome=WitnessOutcome.TIMEOUT, nonce=nonce)
    if not answer.leaves_reusable:
        connection.close()
    status = None if answer.head is None else answer.head.status_code
    return WitnessObservation(outcome=_OUTCOMES[answer.outcome], nonce=nonce, status=status, body=answer.body)
