"""The contenders that are Python: `python -m benchmark.clients KIND --count N`, told the rest on standard input.

Room: scripts. Runs as a process of its own, so that its CPU and memory are its own. Every look is a new connection and
a full handshake; one that is not complete ends the process with a sentence. JSON comes in, and one line of it goes out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import itertools
import json
import resource
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from detector.model import Endpoint
    from detector.session.session import Detector

    Look = Callable[[str, int], Awaitable[None]]

FILES: Final = 65536
"""Open files that are asked for: room for 20,000 connections and a relay with two ends."""
CHAIN: Final = 3
"""Certificates the origin presents."""


class IncompleteError(RuntimeError):
    """A look that did not do all of its work."""


def raise_file_limit() -> int:
    """As many open files as may be had, and how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (FILES, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def probing(engine: str, told: dict[str, Any]) -> Callable[[Endpoint], Awaitable[None]]:
    """`detector.probe.probe`, with one of its engines."""
    from detector.model import Engine, Outcome  # noqa: PLC0415 - only where it is the contender
    from detector.probe import DirectDialer, Timeouts, probe  # noqa: PLC0415 - as above
    from detector.probe.tls import native  # noqa: PLC0415 - as above

    native.prepare()
    dialer, limits = DirectDialer(), Timeouts(connect=told["patience"], handshake=told["patience"])

    async def look(endpoint: Endpoint) -> None:
        seen = (await probe(endpoint, dialer=dialer, timeouts=limits, engine=Engine(engine))).single
        if seen.outcome is not Outcome.COMPLETE or not seen.key_proved or len(seen.chain) != CHAIN:
            raise IncompleteError(f"{seen.outcome}, key proved: {seen.key_proved}, {len(seen.chain)} certificates")

    return look


def probing_one(engine: str, told: dict[str, Any]) -> Look:
    """The same, of one host at whatever address."""
    from detector.model import Endpoint  # noqa: PLC0415 - as above

    look = probing(engine, told)
    return lambda address, port: look(Endpoint(host=told["host"], address=(address, port)))


def streams(told: dict[str, Any]) -> Look:
    """The standard library's `asyncio.open_connection` with TLS."""
    context = _plain_context()

    async def look(address: str, port: int) -> None:
        _, writer = await asyncio.open_connection(
            address, port, ssl=context, server_hostname=told["host"], ssl_handshake_timeout=told["patience"]
        )
        _hash_chain(writer.get_extra_info("ssl_object"))
        writer.transport.abort()

    return look


class _OverMemory(asyncio.Protocol):
    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(IncompleteError("the connection ended early"))

    def _go_on(self) -> None:
        if self.done.done():
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(self._outgoing.read())
        else:
            self._transport.write(self._outgoing.read())
            _hash_chain(self._tls)
            self.done.set_result(None)
            self._transport.close()


def memory(told: dict[str, Any]) -> Look:
    """The standard library's `ssl` on memory BIOs below an asyncio protocol."""
    context = _plain_context()

    async def look(address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: _OverMemory(context, told["host"]), address, port)
        await protocol.done

    return look


def _plain_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as everywhere here: captured, not judged
    return context


def _hash_chain(connection: ssl.SSLObject) -> None:
    # The whole chain has a public name from Python 3.13 on; before, the leaf is all that the public API gives.
    whole = getattr(connection, "get_unverified_chain", None)
    chain = [connection.getpeercert(binary_form=True) or b""] if whole is None else whole()
    for certificate in chain:
        hashlib.sha256(certificate).digest()


async def look_many(
    look: Callable[..., Awaitable[None]], places: Iterable[tuple[Any, ...]], count: int, concurrency: int
) -> list[float]:
    """Look `count` times, so many at once, at places told by the arguments of `look`; the milliseconds of each."""
    source, took = itertools.islice(itertools.cycle(places), count), []

    async def work() -> None:
        for place in source:
            begun = time.perf_counter()
            await look(*place)
            took.append((time.perf_counter() - begun) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, count)):
            group.create_task(work())
    return took


def detector_for(told: dict[str, Any], engine: str, concurrency: int) -> Detector:
    """A detector that holds the origin's PKI for the public one."""
    from detector.pins import PinSet  # noqa: PLC0415 - only where it is the contender
    from detector.session.session import Detector  # noqa: PLC0415 - as above

    return Detector(
        pins=PinSet(name="none", endpoints=()),
        roots=told["roots"],
        logs=told["logs"],
        route="none",
        offline=True,
        engine=engine,
        concurrency=concurrency,
    )


def pinned_endpoints(told: dict[str, Any]) -> tuple[Endpoint, ...]:
    """An endpoint for every certificate of the origin, its key pinned."""
    from detector.model import Endpoint  # noqa: PLC0415 - as above

    address = (str(told["many"][0]), int(told["many"][1]))
    return tuple(
        Endpoint(host=host, address=address, pins=(bytes.fromhex(told["pins"][host]),)) for host in told["hosts"]
    )


async def scan_many(told: dict[str, Any], engine: str, count: int, concurrency: int, *, seen_before: bool) -> None:
    """`Detector.scan` over the origin's endpoints: public path, pins, SCTs and verdict of each."""
    endpoints = pinned_endpoints(told)
    if not seen_before and count > len(endpoints):
        raise IncompleteError(f"a first contact with {count} endpoints needs as many, there are {len(endpoints)}")
    from detector.judge import assess  # noqa: F401, PLC0415 - part of the start-up, whatever comes after
    from detector.probe.tls import native  # noqa: PLC0415 - as above
    from detector.trust import hostname  # noqa: PLC0415 - as above

    native.prepare()
    hostname.load()
    detector = detector_for(told, engine, concurrency)
    if seen_before:
        await _scan(detector.scan(endpoints), len(endpoints))
    await _scan(detector.scan(itertools.islice(itertools.cycle(endpoints), count)), count)


async def _scan(results: AsyncIterator[Any], count: int) -> None:
    async for result in results:
        count -= 1
        if (result.verdict, result.assurance) != ("clean", "pinned"):
            raise IncompleteError(f"{result.endpoint.name}: {result.verdict}, {result.assurance}")
    if count:
        raise IncompleteError(f"{count} results less than endpoints")


KINDS: Final = ("memory", "streams", "probe", "probe-seen", "scan-seen", "scan-first")


async def run(kind: str, told: dict[str, Any], count: int, concurrency: int) -> dict[str, Any]:
    """Do the work; gives what is printed."""
    told.setdefault("patience", 30.0)
    name, _, engine = kind.partition(":")
    begun, took = time.perf_counter(), list[float]()
    if name.startswith("scan-"):
        await scan_many(told, engine, count, concurrency, seen_before=name == "scan-seen")
    elif name == "probe-seen":
        again, places = probing(engine, told), [(endpoint,) for endpoint in pinned_endpoints(told)]
        await look_many(again, places, len(places), concurrency)
        await look_many(again, places, count, concurrency)
    else:
        look = {"memory": memory, "streams": streams}[name](told) if name != "probe" else probing_one(engine, told)
        addresses = [(str(address), int(port)) for address, port in told["addresses"]]
        begun = time.perf_counter()
        took = sorted(await look_many(look, addresses, count, concurrency))
    said: dict[str, Any] = {"completed": count, "wall_s": time.perf_counter() - begun}
    if took:
        said |= {"p50_ms": took[(len(took) - 1) // 2], "p99_ms": took[(len(took) - 1) * 99 // 100]}
    return said


def main() -> int:
    """Read the command line and standard input, and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", help=f"one of {', '.join(KINDS)}; ours with a colon and the engine")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=32)
    options = parser.parse_args()
    raise_file_limit()
    try:
        said = asyncio.run(run(options.kind, json.load(sys.stdin), options.count, options.concurrency))
    except (IncompleteError, OSError, ExceptionGroup) as error:
        first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        print(f"{options.kind}: {first!r}", file=sys.stderr)
        return 1
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
