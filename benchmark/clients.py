"""The contenders in Python: `python -m benchmark.clients KIND --count N`, with settings as JSON on standard input.

A process of its own, so that its CPU and memory can be measured. Every probe is a new connection and a full handshake;
an incomplete one ends the process with a message. The process prints one line of JSON.
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

    Attempt = Callable[[str, int], Awaitable[None]]

FILES: Final = 65536
"""Limit of open files to request: enough for 20,000 connections and a relay with two ends."""
CHAIN: Final = 3
"""Certificates the origin presents."""


class IncompleteError(RuntimeError):
    """A probe that did not complete."""


def raise_file_limit() -> int:
    """Raise the limit of open files as far as possible, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (FILES, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def probing(engine: str, settings: dict[str, Any]) -> Callable[[Endpoint], Awaitable[None]]:
    """Return a function that probes an endpoint with one engine."""
    from detector.model import Engine, Outcome  # noqa: PLC0415 - only where it is the contender
    from detector.probe import DirectDialer, Timeouts, probe  # noqa: PLC0415 - as above
    from detector.probe.tls import native  # noqa: PLC0415 - as above

    native.prepare()
    dialer, limits = DirectDialer(), Timeouts(connect=settings["patience"], handshake=settings["patience"])

    async def attempt(endpoint: Endpoint) -> None:
        seen = (await probe(endpoint, dialer=dialer, timeouts=limits, engine=Engine(engine))).single
        if seen.outcome is not Outcome.COMPLETE or not seen.key_proved or len(seen.chain) != CHAIN:
            raise IncompleteError(f"{seen.outcome}, key proved: {seen.key_proved}, {len(seen.chain)} certificates")

    return attempt


def probing_one(engine: str, settings: dict[str, Any]) -> Attempt:
    """Return the same function, for one host at any address."""
    from detector.model import Endpoint  # noqa: PLC0415 - as above

    attempt = probing(engine, settings)
    return lambda address, port: attempt(Endpoint(host=settings["host"], address=(address, port)))


def streams(settings: dict[str, Any]) -> Attempt:
    """Return a client on the standard library's `asyncio.open_connection` with TLS."""
    context = _plain_context()

    async def attempt(address: str, port: int) -> None:
        _, writer = await asyncio.open_connection(
            address, port, ssl=context, server_hostname=settings["host"], ssl_handshake_timeout=settings["patience"]
        )
        _hash_chain(writer.get_extra_info("ssl_object"))
        writer.transport.abort()

    return attempt


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


def memory(settings: dict[str, Any]) -> Attempt:
    """Return a client on the standard library's `ssl`, on memory BIOs in an asyncio protocol."""
    context = _plain_context()

    async def attempt(address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: _OverMemory(context, settings["host"]), address, port)
        await protocol.done

    return attempt


def _plain_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # captured, not assessed, as everywhere here
    return context


def _hash_chain(connection: ssl.SSLObject) -> None:
    # The public API returns the whole chain from Python 3.13 on, before that the leaf.
    whole = getattr(connection, "get_unverified_chain", None)
    chain = [connection.getpeercert(binary_form=True) or b""] if whole is None else whole()
    for certificate in chain:
        hashlib.sha256(certificate).digest()


async def attempt_many(
    attempt: Callable[..., Awaitable[None]], places: Iterable[tuple[Any, ...]], count: int, concurrency: int
) -> list[float]:
    """Call `attempt` `count` times with the arguments in `places` in turn; returns the milliseconds of each call."""
    source, took = itertools.islice(itertools.cycle(places), count), []

    async def work() -> None:
        for place in source:
            begun = time.perf_counter()
            await attempt(*place)
            took.append((time.perf_counter() - begun) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, count)):
            group.create_task(work())
    return took


def detector_for(settings: dict[str, Any], engine: str, concurrency: int) -> Detector:
    """A detector that holds the origin's PKI for the public one."""
    from detector.model import Engine  # noqa: PLC0415 - as above
    from detector.pins import PinSet  # noqa: PLC0415 - only where it is the contender
    from detector.session.session import Detector  # noqa: PLC0415 - as above

    return Detector(
        pins=PinSet(name="none", endpoints=()),
        roots=settings["roots"],
        logs=settings["logs"],
        proxy="none",
        offline=True,
        engine=Engine(engine),
        concurrency=concurrency,
    )


def pinned_endpoints(settings: dict[str, Any]) -> tuple[Endpoint, ...]:
    """Return an endpoint for every certificate of the origin, its key pinned."""
    from detector.model import Endpoint  # noqa: PLC0415 - as above

    address = (str(settings["many"][0]), int(settings["many"][1]))
    return tuple(
        Endpoint(host=host, address=address, pins=(bytes.fromhex(settings["pins"][host]),))
        for host in settings["hosts"]
    )


async def scan_many(settings: dict[str, Any], engine: str, count: int, concurrency: int, *, seen_before: bool) -> None:
    """Run `Detector.scan` over the origin's endpoints: public path, pins, SCTs and verdict of each."""
    endpoints = pinned_endpoints(settings)
    if not seen_before and count > len(endpoints):
        raise IncompleteError(f"a first contact with {count} endpoints needs {count}, there are {len(endpoints)}")
    from detector.judge import assess  # noqa: F401, PLC0415 - belongs to the start-up
    from detector.probe.tls import native  # noqa: PLC0415 - as above
    from detector.trust import hostname  # noqa: PLC0415 - as above

    native.prepare()
    hostname.load()
    detector = detector_for(settings, engine, concurrency)
    if seen_before:
        await _scan(detector.scan(endpoints), len(endpoints))
    await _scan(detector.scan(itertools.islice(itertools.cycle(endpoints), count)), count)


async def _scan(results: AsyncIterator[Any], count: int) -> None:
    async for result in results:
        count -= 1
        if (result.verdict, result.assurance) != ("clean", "pinned"):
            raise IncompleteError(f"{result.endpoint.name}: {result.verdict}, {result.assurance}")
    if count:
        raise IncompleteError(f"{count} fewer results than endpoints")


KINDS: Final = ("memory", "streams", "probe", "probe-seen", "scan-seen", "scan-first")


async def run(kind: str, settings: dict[str, Any], count: int, concurrency: int) -> dict[str, Any]:
    """Run a client; returns its report."""
    settings.setdefault("patience", 30.0)
    name, _, engine = kind.partition(":")
    begun, took = time.perf_counter(), list[float]()
    if name.startswith("scan-"):
        await scan_many(settings, engine, count, concurrency, seen_before=name == "scan-seen")
    elif name == "probe-seen":
        again, places = probing(engine, settings), [(endpoint,) for endpoint in pinned_endpoints(settings)]
        await attempt_many(again, places, len(places), concurrency)
        await attempt_many(again, places, count, concurrency)
    else:
        attempt = (
            {"memory": memory, "streams": streams}[name](settings) if name != "probe" else probing_one(engine, settings)
        )
        addresses = [(str(address), int(port)) for address, port in settings["addresses"]]
        begun = time.perf_counter()
        took = sorted(await attempt_many(attempt, addresses, count, concurrency))
    printed: dict[str, Any] = {"completed": count, "wall_s": time.perf_counter() - begun}
    if took:
        printed |= {"p50_ms": took[(len(took) - 1) // 2], "p99_ms": took[(len(took) - 1) * 99 // 100]}
    return printed


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", help=f"one of {', '.join(KINDS)}; the detector's with a colon and the engine")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=32)
    options = parser.parse_args()
    raise_file_limit()
    try:
        printed = asyncio.run(run(options.kind, json.load(sys.stdin), options.count, options.concurrency))
    except (IncompleteError, OSError, ExceptionGroup) as error:
        first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        print(f"{options.kind}: {first!r}", file=sys.stderr)
        return 1
    print(json.dumps(printed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
