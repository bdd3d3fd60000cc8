"""The delay at exam start, measured inside the process: `python -m benchmark.exam warm ROUNDS|fresh`.

A process of its own, with settings as JSON on standard input; prints one line of JSON. `warm` alternates `check()` of
eight endpoints with a floor: the same connections, each with a recorded hello, until the server's flight has arrived.
`fresh` times each phase in a process that has imported nothing yet.
"""

import time

BEGUN = time.perf_counter()

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Endpoint, Report

QUIET = 0.3
"""Seconds of silence that end a flight of unknown length."""
SLACK = 64
"""Bytes by which flights differ: signatures vary in length."""


class _Flight(asyncio.Protocol):
    """Sends a recorded hello and waits for `size` bytes."""

    def __init__(self, hello: bytes, size: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seen = 0
        self._hello = hello
        self._size = size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire: Any = transport
        wire.write(self._hello)
        self.transport = wire

    def data_received(self, data: bytes) -> None:
        self.seen += len(data)
        if self.seen >= self._size and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionResetError("the server closed during the recorded exchange"))


async def _exchange(endpoint: "Endpoint", hello: bytes, size: float) -> int:
    host, port = endpoint.address or (endpoint.host, endpoint.port)
    loop = asyncio.get_running_loop()
    _, flight = await loop.create_connection(lambda: _Flight(hello, size), host, port)
    if size == float("inf"):
        await asyncio.sleep(QUIET)
    else:
        await flight.done
    flight.done.cancel()
    flight.transport.abort()
    return flight.seen


def _expect_clean(report: "Report") -> None:
    if report.verdict != "clean" or any(one.assurance != "pinned" for one in report.results):
        raise RuntimeError(f"the verdict was {report.verdict}: {[one.advice for one in report.results]}")


async def warm(settings: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Return milliseconds of `check()` and of the floor, measured in alternation, without the first of each."""
    from benchmark.detectors import detector_for, pinned_endpoints
    from detector.probe.tls.native import NativeHandshake

    endpoints = pinned_endpoints(settings)
    detector = detector_for(settings, len(endpoints))
    hellos = [NativeHandshake(endpoint.host).start() for endpoint in endpoints]
    pairs = list(zip(endpoints, hellos, strict=True))
    lengths = await asyncio.gather(*(_exchange(endpoint, hello, float("inf")) for endpoint, hello in pairs))
    checks, floors = [], []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        await asyncio.gather(*(_exchange(*pair, size - SLACK) for pair, size in zip(pairs, lengths, strict=True)))
        floors.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        report = await detector.check(endpoints)
        checks.append((time.perf_counter() - begun) * 1000)
        _expect_clean(report)
    return {"check_ms": checks[1:], "floor_ms": floors[1:]}


def fresh(settings: dict[str, Any]) -> dict[str, Any]:
    """Return milliseconds of each phase, in order."""
    started = time.perf_counter()
    import detector  # noqa: F401 - importing it is the phase that is timed

    imported = time.perf_counter()
    from benchmark.detectors import detector_for, pinned_endpoints

    endpoints = pinned_endpoints(settings)
    made = detector_for(settings, len(endpoints))
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
        "assess, import, everything else": check - connect - handshake,
        "check() as a whole": check,
    }


def main(arguments: "Sequence[str]") -> int:
    """Run from the command line."""
    settings = json.load(sys.stdin)
    printed = fresh(settings) if arguments[0] == "fresh" else asyncio.run(warm(settings, int(arguments[1])))
    print(json.dumps(printed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
