"""What a program waits for at exam start, from within: `python -m benchmark.exam warm ROUNDS|fresh`.

Room: scripts. A process of its own, told where the endpoints are as JSON on standard input. Prints one line of JSON.

`warm` alternates `check()` of eight endpoints with a floor: the same connections, a recorded hello each, read until the
server's flight is there. `fresh` takes the time of each phase in a process that has imported nothing yet.
"""

import time

BEGUN = time.perf_counter()

import asyncio  # noqa: E402 - the clock starts before anything is imported
import json  # noqa: E402 - as above
import sys  # noqa: E402 - as above
from typing import TYPE_CHECKING, Any  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Endpoint, Report

QUIET = 0.3
"""Seconds of silence after which a flight is taken for complete, when its length is first found out."""
SLACK = 64
"""Octets by which flights differ: each signature has a length of its own."""


class _Flight(asyncio.Protocol):
    """Sends a recorded hello and waits for so many octets."""

    def __init__(self, hello: bytes, octets: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seen = 0
        self._hello = hello
        self._octets = octets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire: Any = transport
        wire.write(self._hello)
        self.transport = wire

    def data_received(self, data: bytes) -> None:
        self.seen += len(data)
        if self.seen >= self._octets and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionResetError("the server ended the recorded exchange"))


async def _exchange(endpoint: "Endpoint", hello: bytes, octets: float) -> int:
    host, port = endpoint.address or (endpoint.host, endpoint.port)
    loop = asyncio.get_running_loop()
    _, flight = await loop.create_connection(lambda: _Flight(hello, octets), host, port)
    if octets == float("inf"):
        await asyncio.sleep(QUIET)
    else:
        await flight.done
    flight.done.cancel()
    flight.transport.abort()
    return flight.seen


def _expect_clean(report: "Report") -> None:
    if report.verdict != "clean" or any(one.assurance != "pinned" for one in report.results):
        raise RuntimeError(f"the check said {report.verdict}: {[one.advice for one in report.results]}")


async def warm(told: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Milliseconds of `check()` and of the floor, in alternation, the first of each left out."""
    from benchmark.clients import detector_for, pinned_endpoints  # noqa: PLC0415 - not before the clock has started
    from detector.probe.tls.native import NativeHandshake  # noqa: PLC0415 - as above

    endpoints = pinned_endpoints(told)
    detector = detector_for(told, "auto", len(endpoints))
    hellos = [NativeHandshake(endpoint.host).start() for endpoint in endpoints]
    pairs = list(zip(endpoints, hellos, strict=True))
    lengths = await asyncio.gather(*(_exchange(endpoint, hello, float("inf")) for endpoint, hello in pairs))
    checks, floors = [], []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        await asyncio.gather(*(_exchange(*pair, octets - SLACK) for pair, octets in zip(pairs, lengths, strict=True)))
        floors.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        report = await detector.check(endpoints)
        checks.append((time.perf_counter() - begun) * 1000)
        _expect_clean(report)
    return {"check_ms": checks[1:], "floor_ms": floors[1:]}


def fresh(told: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each phase, in the order in which they come."""
    started = time.perf_counter()
    import detector  # noqa: F401, PLC0415 - this is what is measured

    imported = time.perf_counter()
    from benchmark.clients import detector_for, pinned_endpoints  # noqa: PLC0415 - as above

    endpoints = pinned_endpoints(told)
    made = detector_for(told, "auto", len(endpoints))
    ready = time.perf_counter()
    report = asyncio.run(made.check(endpoints))
    done = time.perf_counter()
    _expect_clean(report)

    def latest(phase: str) -> float:
        return max(one.observation.timings_ms.get(phase, 0.0) for one in report.results)

    connect, certificate, handshake = (latest(phase) for phase in ("connect", "certificate", "handshake"))
    check = (done - ready) * 1000
    return {
        "import asyncio and json": (started - BEGUN) * 1000,
        "import detector": (imported - started) * 1000,
        "read roots, logs and pins": (ready - imported) * 1000,
        "connect (the slowest endpoint)": connect,
        "to the certificate (the slowest)": certificate,
        "to the end of the handshake (the slowest)": handshake,
        "judge, load what is needed, all else": check - connect - handshake,
        "check() as a whole": check,
    }


def main(arguments: "Sequence[str]") -> int:
    """Read the command line and standard input, and run."""
    told = json.load(sys.stdin)
    said = fresh(told) if arguments[0] == "fresh" else asyncio.run(warm(told, int(arguments[1])))
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
