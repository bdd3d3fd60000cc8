"""What a server pays for comparing its requests with their ClientHellos: processor time, in microseconds.

    python -m benchmark.origin_requests

Connections with and without the capture alternate, and the median of each counts: what the machine does meanwhile hits
both. `tests/origin/test_costs.py` holds the requests to their limits.
"""

from __future__ import annotations

import contextlib
import ssl
import statistics
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from detector_testing import PrivatePKI

from detector.origin import Claims, Offer, judge
from detector.origin.capture import HelloCapture
from detector.origin.requests import Requests
from detector.probe.tls.native import NativeHandshake

if TYPE_CHECKING:
    from collections.abc import Callable

HOST: Final = "exam.example.edu"
AGENT: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
)
HEADERS: Final = (
    ("host", HOST),
    ("user-agent", AGENT),
    ("sec-ch-ua", '"Chromium";v="150", "Google Chrome";v="150", "Not;A=Brand";v="8"'),
    *((f"header-{number}", "value") for number in range(12)),
)
"""As many headers as a browser sends."""
PEER: Final = "192.0.2.1"
HANDSHAKES: Final = 400
RECORDS: Final = 500
REPEATED: Final = 1000
SAMPLES: Final = 5
"""How often each is measured: a median of several hundred short ones, the fastest of a few long ones."""
MICROSECONDS: Final = 1e6


class ConnectionCosts(NamedTuple):
    """Microseconds of the server's processor time, without and with the capture."""

    handshake: float
    handshake_captured: float
    record: float
    record_captured: float


class RequestCosts(NamedTuple):
    """Microseconds of processor time."""

    first: float
    contradicted: float
    later: float
    parsed: float


def chromes_hello() -> bytes:
    """Return a ClientHello as Chrome sends it."""
    handshake = NativeHandshake(HOST)
    handshake.start()
    assert handshake.client_hello is not None  # noqa: S101 - `start` above makes it; the assertion narrows the type for mypy
    return handshake.client_hello


def openssls_hello() -> bytes:
    """Return a ClientHello as interceptors send it."""
    outgoing = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()[5:]


def cost(work: Callable[[], object]) -> float:
    """Return the processor time of one repetition of something short."""
    best = float("inf")
    for _ in range(SAMPLES):
        begun = time.process_time()
        for _ in range(REPEATED):
            work()
        best = min(best, time.process_time() - begun)
    return best / REPEATED * MICROSECONDS


def of_requests() -> RequestCosts:
    """Measure requests: a browser's, one under its name, and an offer that is parsed."""
    hello, known = chromes_hello(), Requests()
    offer, claims = Offer.of_hello(hello), Claims.of(AGENT)
    others = openssls_hello()
    return RequestCosts(
        cost(lambda: Requests().assess(hello, PEER, HEADERS)),
        cost(lambda: Requests().assess(others, PEER, HEADERS)),
        cost(lambda: known.assess(hello, PEER, HEADERS)),
        cost(lambda: judge(offer, claims)),
    )


class _Ends:
    """A connection in memory, and the processor time that its server took."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        self._inputs = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._outputs = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._inputs[0], self._outputs[0], server_hostname=HOST)
        self.server = server.wrap_bio(self._inputs[1], self._outputs[1], server_side=True)

    def carry(self) -> None:
        self._inputs[1].write(self._outputs[0].read())
        self._inputs[0].write(self._outputs[1].read())

    def shake_hands(self) -> float:
        spent, waiting = 0.0, [self.client, self.server]
        while waiting:
            for end in tuple(waiting):
                begun = time.process_time()
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    waiting.remove(end)
                spent += time.process_time() - begun if end is self.server else 0.0
                self.carry()
        return spent

    def exchange(self) -> float:
        spent = 0.0
        for _ in range(RECORDS):
            self.client.write(b"x" * 500)
            self.carry()
            begun = time.process_time()
            self.server.read()
            spent += time.process_time() - begun
        return spent


def of_connections() -> ConnectionCosts:
    """Measure handshakes and records."""
    pki = PrivatePKI.create()
    client, plain, captured = ssl.create_default_context(), *(_server(pki) for _ in range(2))
    pki.configure_trust(client)
    capture = HelloCapture()
    if (problem := capture.install(captured)) is not None:
        raise SystemExit(problem)
    handshakes: dict[ssl.SSLContext, list[float]] = {plain: [], captured: []}
    records: dict[ssl.SSLContext, list[float]] = {plain: [], captured: []}
    for number in range(HANDSHAKES):
        for context in (plain, captured):
            ends = _Ends(client, context)
            handshakes[context].append(ends.shake_hands() * MICROSECONDS)
            if number % 20 == 0:
                records[context].append(ends.exchange() / RECORDS * MICROSECONDS)
    return ConnectionCosts(
        *(statistics.median(handshakes[context]) for context in (plain, captured)),
        *(statistics.median(records[context]) for context in (plain, captured)),
    )


def _server(pki: PrivatePKI) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pki.issue([HOST]).configure_cert(context)
    return context


def main() -> None:
    """Print the table."""
    connections, requests = of_connections(), of_requests()
    rows = {
        "handshake": f"{connections.handshake:.0f}, with the capture {connections.handshake_captured:.0f}",
        "record that is read": f"{connections.record:.2f}, with the capture {connections.record_captured:.2f}",
        "first request of a browser, from the ClientHello's bytes": f"{requests.first:.0f}",
        "the same where OpenSSL's ClientHello contradicts it": f"{requests.contradicted:.0f}",
        "later request on the same connection": f"{requests.later:.1f}",
        "assessment alone, of an offer that is parsed": f"{requests.parsed:.1f}",
    }
    print("| at the server | µs of processor time |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows.items()))


if __name__ == "__main__":
    main()
