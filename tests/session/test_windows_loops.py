"""The library and the command line on event loops without what those of Windows lack: processes, readers, signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from detector_testing import serve_middlebox, serve_origin, serve_proxy
from support.command import clean_environment
from support.command import run as run_command
from support.silent_server import silent_server
from support.windows_loops import COMMAND, LOOPS, ProactorLoop, SelectorLoop
from support.witnesses import signing_key, witness_of

import detector
from detector import Category, Detector, Endpoint
from detector.exam import Action, Policy
from detector.guard import Guard
from detector.guard.connector import GuardedConnector
from detector.model import Assurance, Route
from detector.probe.routes.resolving import AsyncLookup, CachingResolver
from detector.scan.processes import ProcessError, WorkerPool
from detector.scan.work import WorkerConfig
from detector.session.settings import NetworkSettings
from detector.trust.envelope import public_key_of
from detector.trust.key_files import create_signing_key
from detector.watch.metrics import WatchMetrics, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from conftest import World
    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]
    Run = Callable[[Coroutine[None, None, None]], list[str]]

EXAM, LMS = "exam.example.edu", "lms.example.org"
TESTS: Final = Path(__file__).resolve().parent.parent


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in one of these loops, and returns the calls that it refused."""

    def start(main: Coroutine[None, None, None]) -> list[str]:
        with asyncio.Runner(loop_factory=request.param) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, LOOPS)
            runner.run(main)
            return loop.refused

    return start


def test_check_and_gate(run: Run, pki: PrivatePKI, settings_of: Settings) -> None:
    """A clean network is clean and its exam may begin; a decrypted one is proven, and the exam is blocked."""

    async def main() -> None:
        issued = {host: pki.issue([host]) for host in (EXAM, LMS)}
        stated = tuple(sorted(settings_of()["roots"].labels))
        endpoints = [Endpoint(host=host, roots=stated, category=Category.EXAM) for host in issued]
        async with serve_origin(issued) as origin:
            where = {(host, 443): origin.address for host in issued}
            async with serve_middlebox(pki.private_ca("Campus Filter CA"), upstream=where) as box:
                routes: tuple[tuple[dict[str, Any], str, Action], ...] = (
                    ({"resolve": where}, "clean", Action.ALLOW),
                    ({"proxy": box.url}, "middleware", Action.BLOCK),
                )
                for route, verdict, action in routes:
                    settings = settings_of(*endpoints, **route)
                    async with Detector(**settings) as subject:
                        assert (await subject.check()).verdict == verdict
                    assert (await detector.exam.gate(policy=Policy(deadline=20.0), **settings)).action is action

    assert run(main()) == []


def test_proxy_files_are_evaluated(run: Run, pki: PrivatePKI, settings_of: Settings, tmp_path: Path) -> None:
    """A PAC file chooses the proxy: evaluated in a process, or in a thread where the loop cannot start one."""

    async def main() -> None:
        async with (
            serve_origin(pki.issue([EXAM])) as origin,
            serve_proxy(upstream={(EXAM, 443): origin.address}) as way,
        ):
            file = tmp_path / "proxy.pac"
            file.write_text(f"function FindProxyForURL(u, h) {{ return 'PROXY 127.0.0.1:{way.port}' }}", "utf-8")
            async with Detector(**settings_of(proxy=f"pac:{file}")) as subject:
                report = await subject.check([EXAM])
            assert (report.verdict, report.results[0].observation.route) == ("clean", Route.HTTP_CONNECT)

    assert set(run(main())) <= {"subprocess_exec"}


def test_scan_with_c_ares(run: Run, pki: PrivatePKI, settings_of: Settings) -> None:
    """Names are resolved by c-ares, which watches sockets of its own, and many targets are probed."""

    async def main() -> None:
        names = CachingResolver(AsyncLookup())
        async with serve_origin(pki.issue(["localhost"])) as origin:
            targets = [f"localhost:{origin.port}"] * 20
            async with Detector(**settings_of(resolver=names)) as subject:
                found = [result.verdict async for result in subject.scan(targets)]
        await names.close()
        assert found == ["clean"] * 20

    assert run(main()) == []


def test_watch_with_metrics(run: Run, pki: PrivatePKI, settings_of: Settings) -> None:
    """A watch reports what it sees, and hands out metrics."""

    async def main() -> None:
        async with serve_origin(pki.issue([EXAM])) as origin:
            endpoint = Endpoint(host=EXAM)
            metrics = WatchMetrics([endpoint])
            async with (
                serve(metrics) as (host, port),
                Detector(**settings_of(endpoint, resolve={(EXAM, 443): origin.address})) as subject,
                contextlib.aclosing(subject.watch(interval=0.1, duration=5.0, on_probe=metrics.probed)) as events,
            ):
                first = await anext(events)
                async with aiohttp.ClientSession() as client, client.get(f"http://{host}:{port}/metrics") as answer:
                    text = await answer.text()
        assert first.network.verdict == "clean"
        assert f'tls_detector_endpoint_verdict{{endpoint="{EXAM}:443",verdict="clean"}} 1.0' in text

    assert run(main()) == []


def test_witness_and_guard(run: Run, world: World, pki: PrivatePKI, settings_of: Settings) -> None:
    """A witness serves on this loop and is asked from it; a guarded client refuses a private chain."""

    async def main() -> None:
        key, issued = signing_key(), pki.issue([EXAM])
        endpoint = Endpoint(host=EXAM, witness=(public_key_of(key),))
        async with witness_of(issued, keys=(key,)) as witness:
            settings = settings_of(endpoint, resolve={(EXAM, 443): witness.address})
            async with Detector(**settings) as subject:
                report = await subject.check()
        assert report.results[0].assurance is Assurance.WITNESSED
        guard = Guard(pins=[], roots=world.roots, logs=world.logs)
        async with serve_origin(pki.private_ca().issue([EXAM])) as forged:
            connector = GuardedConnector(guard, proxy="none", resolve={(EXAM, 443): forged.address})
            async with aiohttp.ClientSession(connector=connector) as client:
                with pytest.raises(detector.guard.CertificateError):
                    await client.get(f"https://{EXAM}/")

    assert run(main()) == []


def test_a_scan_in_processes_says_what_it_needs() -> None:
    """Where the loop starts no processes, a pool of them is refused with one sentence."""

    async def main() -> None:
        pool = WorkerPool(2, WorkerConfig(network=NetworkSettings(proxy="none", offline=True)))
        with pytest.raises(ProcessError, match=r"cannot start processes.*ProactorEventLoop"):
            async with pool:
                pass

    with asyncio.Runner(loop_factory=SelectorLoop) as runner:
        runner.run(main())


SERVED: Final[dict[str, tuple[tuple[str, ...], int]]] = {
    "watch": (("watch", "127.0.0.1:1", "--proxy", "none", "--offline", "--metrics", "127.0.0.1:{}"), 3),
    "witness serve": (
        *(("witness", "serve", "--certificate", "c", "--key", "k", "--signing-key", "s", "--port", "{}"),),
        0,
    ),
    "fleet scheduler": (("fleet", "scheduler", "--tls", "f", "--host", "127.0.0.1", "--port", "{}"), 143),
}
"""Commands that run until they are ended, and their exit code then."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("loop", LOOPS)
def test_commands_end_in_order(
    name: str, loop: type[SelectorLoop | ProactorLoop], pki: PrivatePKI, tmp_path: Path
) -> None:
    """A signal ends them without a handler of the loop, with what they say at the end and no traceback."""
    issued = pki.issue([EXAM])
    (tmp_path / "c").write_bytes(issued.chain_pem)
    (tmp_path / "k").write_bytes(issued.key_pem)
    (tmp_path / "k").chmod(0o600)
    create_signing_key(tmp_path / "s")
    run_command("fleet", "certificates", str(tmp_path / "f"), "--host", "127.0.0.1")
    words, code = SERVED[name]
    with silent_server() as (port, _):
        pass  # its port is free again
    process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-c", COMMAND, loop.__name__, *(word.format(port) for word in words)],
        cwd=tmp_path,
        env=clean_environment() | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()  # it serves
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, first + rest
    assert "Traceback" not in first + rest
