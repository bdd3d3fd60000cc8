"""The public API as a type checker sees it. Never run: mypy reads it with the rest."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, assert_type

import aiohttp

import detector
from detector.guard import Guard, GuardedConnector, MiddlewareDetected, guarded_context, refusal_behind

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


async def reports() -> None:
    report = await detector.check(["exam.example.edu"], pins="pins/", deadline=3.0)
    assert_type(report, detector.Report)
    assert_type(report.verdict, detector.Verdict)
    assert_type(report.confidence, detector.Confidence | None)
    assert_type(report.results, tuple[detector.Result, ...])
    report.raise_for_middleware(at_least=detector.Confidence.PROVEN)


async def streams(targets: AsyncIterator[str | detector.Endpoint]) -> None:
    async with detector.Detector(proxy="none") as subject:
        assert_type(await subject.check(), detector.Report)
        async for result in subject.scan(targets):
            assert_type(result, detector.Result)
        async for event in subject.watch(["exam.example.edu"], interval=60.0, duration=3600.0):
            assert_type(event, detector.WatchEvent)
            assert_type(event.kind, detector.WatchKind)


async def settings(network: detector.NetworkSettings) -> None:
    subject = detector.Detector(network=network, pins=[detector.Endpoint(host="exam.example.edu")], hello="both")
    assert_type(subject.network, detector.NetworkSettings)
    assert_type(subject.expectations, detector.Expectations)
    await detector.check(quic=True, resolve=["exam.example.edu:443:127.0.0.1:8443"])
    await detector.exam.gate(quic=True, route="direct,proxy", proxy="env", all_addresses=True)
    await detector.check(route="none", speed=3)  # type: ignore[call-arg] # no such option
    Guard(machine="none")  # type: ignore[call-arg] # no such option
    detector.Detector(hello="mosaic")  # type: ignore[arg-type] # not one of the choices


def synchronous(policy: detector.exam.Policy) -> None:
    assert_type(detector.sync.check(["exam.example.edu"], proxy="none"), detector.Report)
    assert_type(detector.sync.gate(policy=policy, offline=True), detector.exam.Decision)


def offline(chain: list[bytes]) -> detector.Result:
    return detector.examine(chain, host="exam.example.edu", at=dt.datetime.now(dt.UTC), key_proved=False)


async def gates(policy: detector.exam.Policy) -> None:
    decision = await detector.exam.gate(["exam.example.edu"], policy=policy, pins="pins/", deadline=3.0)
    assert_type(decision, detector.exam.Decision)
    assert_type(decision.action, detector.exam.Action)
    assert_type(decision.reasons, tuple[detector.exam.Reason, ...])
    assert_type(detector.exam.decide(policy, decision.report).message, str)


async def guarded() -> None:
    guard = Guard("exam-policy.toml", pins="pins/")
    assert_type(guard.policy, detector.exam.Policy)
    async with aiohttp.ClientSession(connector=GuardedConnector(guard, proxy="env", limit=10)) as session:
        try:
            await session.get("https://exam.example.edu/")
        except MiddlewareDetected as refusal:
            assert_type(refusal.report, detector.Report)
        except detector.errors.GuardError as refusal:
            assert_type(refusal_behind(refusal), detector.errors.GuardError | None)


def context() -> ssl.SSLContext:
    return guarded_context(port=443)
