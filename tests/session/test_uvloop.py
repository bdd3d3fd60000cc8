"""The library inside a program that runs uvloop, whose transports derive from none of asyncio's classes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from detector_testing import Script, serve_middlebox, serve_origin, serve_proxy, serve_script
from support.addresses import Fault
from support.boxes import serve_box

from detector import Detector, Endpoint
from detector.guard import CertificateError, Guard
from detector.guard.connector import GuardedConnector

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from conftest import World
    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
EXAM, LMS = "exam.example.edu", "lms.example.org"


def run(main: Coroutine[None, None, None]) -> None:
    """Run a coroutine to its end in a loop of uvloop's."""
    import uvloop  # noqa: PLC0415 - Windows has no uvloop, and skips

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_clean_network(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings) -> None:
    """Checked and scanned, directly and through a proxy over TCP and over TLS."""

    async def main() -> None:
        issued = {host: pki.issue([host]) for host in (EXAM, LMS)}
        async with serve_origin(issued, max_version=version) as origin:
            where = {(host, 443): origin.address for host in (EXAM, LMS)}
            async with (
                serve_proxy(upstream=where) as proxy,
                serve_proxy(upstream=where, tls=pki.issue(["127.0.0.1"])) as secure,
            ):
                variants: tuple[dict[str, Any], ...] = (
                    {"proxy": "none", "resolve": where},
                    {"proxy": proxy.url},
                    {"proxy": secure.url},
                )
                for variant in variants:
                    async with Detector(**settings_of(**variant)) as subject:
                        assert (await subject.check([EXAM, LMS])).verdict == "clean"
                        found = [result.verdict async for result in subject.scan([EXAM, LMS] * 5)]
                    assert found == ["clean"] * 10

    run(main())


def test_an_intercepted_network(pki: PrivatePKI, settings_of: Settings) -> None:
    """Proven, as with any loop."""

    async def main() -> None:
        issued = {host: pki.issue([host]) for host in (EXAM, LMS)}
        stated = tuple(sorted(settings_of()["roots"].labels))
        endpoints = [Endpoint(host=host, roots=stated) for host in issued]
        async with serve_origin(issued) as origin:
            where = {(host, 443): origin.address for host in (EXAM, LMS)}
            async with (
                serve_middlebox(pki.private_ca("Campus Filter CA"), upstream=where) as box,
                Detector(**settings_of(*endpoints, proxy=box.url)) as subject,
            ):
                report = await subject.check()
        assert (report.verdict, report.confidence) == ("middleware", "proven")

    run(main())


def test_servers_that_break_off(pki: PrivatePKI, settings_of: Settings) -> None:
    """A reset after any number of bytes is an outcome, and silence costs the deadline."""

    async def main() -> None:
        genuine = Script.genuine(pki.issue([EXAM]))
        scripts = [dataclasses.replace(genuine, reset_after=raw) for raw in range(0, 3000, 250)]
        for script in (*scripts, Script.silence()):
            async with serve_script(script) as server:
                settings = settings_of(resolve={(EXAM, 443): server.address})
                async with Detector(**settings) as subject:
                    result = (await subject.check([EXAM], deadline=1.0)).results[0]
            assert result.observation.outcome in {"reset", "deadline", "complete"}

    run(main())


def test_the_guard(world: World, pki: PrivatePKI) -> None:
    """aiohttp on uvloop: a genuine server is talked to, a server with a private chain gets nothing."""

    async def main() -> None:
        guard = Guard(pins=[], roots=world.roots, logs=world.logs)
        async with serve_origin(pki.issue([EXAM])) as origin, serve_origin(pki.private_ca().issue([EXAM])) as forged:
            for server, trusted in ((origin, True), (forged, False)):
                connector = GuardedConnector(guard, proxy="none", resolve={(EXAM, 443): server.address})
                async with aiohttp.ClientSession(connector=connector) as client:
                    if trusted:
                        async with client.post(f"https://{EXAM}/", data=b"answers" * 100_000) as response:
                            assert response.status == 200
                    else:
                        with pytest.raises(CertificateError):
                            await client.post(f"https://{EXAM}/", data=b"answers")
            await forged.settled()
            assert forged.requests == []

    run(main())


@pytest.mark.parametrize("fault", Fault)
def test_second_tries(fault: Fault, pki: PrivatePKI, settings_of: Settings) -> None:
    """A box that cannot take a large hello is passed, and no connection of a cancelled check is left."""

    async def main() -> None:
        async with serve_origin(pki.issue([EXAM])) as origin, serve_box(origin.address, fault) as box:
            async with Detector(**settings_of(resolve={(EXAM, 443): box.address})) as subject:
                result = (await subject.check([EXAM], deadline=6.0)).results[0]
                assert (result.verdict, result.observation.small_hello) == ("clean", True)
                task = asyncio.create_task(subject.check([EXAM], deadline=30.0))
                await asyncio.sleep(0.05)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            async with asyncio.timeout(20):
                await box.settled()

    run(main())
