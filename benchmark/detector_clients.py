"""The detector as contender: `python -m benchmark.detector_clients KIND:HELLO --count N`, settings on standard input.

What a kind needs is imported before its first connection, so that it counts as start-up.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final

from benchmark.attempts import CHAIN, IncompleteError, attempt_many, main, measured
from benchmark.detectors import detector_for, pinned_endpoints
from detector.model import Endpoint, Hello, Outcome
from detector.probe import DirectDialer, Timeouts, probe
from detector.session import preload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmark.attempts import Attempt


def probing(hello: str, settings: dict[str, Any]) -> Callable[[Endpoint], Awaitable[None]]:
    """Return a function that probes an endpoint with one hello."""
    preload.probing()
    dialer, limits = DirectDialer(), Timeouts(connect=settings["patience"], handshake=settings["patience"])

    async def attempt(endpoint: Endpoint) -> None:
        seen = (await probe(endpoint, dialer=dialer, timeouts=limits, hello=Hello(hello))).single
        if seen.outcome is not Outcome.COMPLETE or not seen.key_proved or len(seen.chain) != CHAIN:
            raise IncompleteError(f"{seen.outcome}, key proved: {seen.key_proved}, {len(seen.chain)} certificates")

    return attempt


def probing_one(hello: str, settings: dict[str, Any]) -> Attempt:
    """Return the same function, for one host at any address."""
    attempt = probing(hello, settings)
    return lambda address, port: attempt(Endpoint(host=settings["host"], address=(address, port)))


async def scan_many(settings: dict[str, Any], count: int, concurrency: int, *, seen_before: bool) -> None:
    """Run `Detector.scan` over the origin's endpoints: public path, pins, SCTs and verdict of each."""
    endpoints = pinned_endpoints(settings)
    if not seen_before and count > len(endpoints):
        raise IncompleteError(f"a first contact with {count} endpoints needs {count}, there are {len(endpoints)}")

    preload.everything()
    detector = detector_for(settings, concurrency)
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


KINDS: Final = ("probe", "probe-seen", "scan-seen", "scan-first")


async def run(kind: str, settings: dict[str, Any], count: int, concurrency: int) -> dict[str, Any]:
    """Run a client; returns its report."""
    name, _, hello = kind.partition(":")
    if name == "probe":
        return await measured(probing_one(hello, settings), settings, count, concurrency)
    begun = time.perf_counter()
    if name == "probe-seen":
        again, places = probing(hello, settings), [(endpoint,) for endpoint in pinned_endpoints(settings)]
        await attempt_many(again, places, len(places), concurrency)
        await attempt_many(again, places, count, concurrency)
    else:
        await scan_many(settings, count, concurrency, seen_before=name == "scan-seen")
    return {"completed": count, "wall_s": time.perf_counter() - begun}


if __name__ == "__main__":
    raise SystemExit(main(run, KINDS))
