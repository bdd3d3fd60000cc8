"""What a reporter keeps and sends, and that none of it names a person, a machine or a network.

Room: tests of outbox. The collector is a real HTTPS server on loopback.
"""

from __future__ import annotations

import base64
import datetime as dt
import errno
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from detector_testing import Response, serve_origin
from outbox.test_contents import cases
from outbox.test_store import opened
from support.bundle_recordings import EXAM, packed, recorded, report_on, texts
from support.collect_receiver import HOST, NOW, Receiver, connectors_to, settings_in
from support.command import in_thread

from detector.errors import InputError, NoRoomError
from detector.exam.decision import Decision, decide
from detector.exam.policy import Policy
from detector.model import (
    Attribution,
    Finding,
    Hop,
    HopAnswer,
    HopsObservation,
    HopTrace,
    Meaning,
    ProbeKind,
    ProxyObservation,
    ProxyScheme,
    ResolutionObservation,
    ResolutionOutcome,
    Route,
    Scope,
    Verdict,
)
from detector.outbox import Reporter, reporter
from detector.outbox.submission import Kind
from detector.watch.events import NetworkStanding, WatchEvent, WatchKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import World
    from detector_testing import Origin, PrivatePKI

    from detector.model import Result

USER, MACHINE, PLACE = "hans.meier", "hans-pc", "dorm B, room 12"
LOCAL, ROUTER, GATEWAY, PUBLIC = "10.66.77.88", "10.66.77.1", "198.51.100.17", "81.2.69.160"
STUDENT = "student-4711"
NAMES = (USER, MACHINE, PLACE, "10.66.77", GATEWAY, PUBLIC, STUDENT, "proxy.lan", "8.8.4.4", "hotel.lan", "resolver")
"""What is put into every input, and must be in nothing that is kept or sent."""


@pytest.fixture
def receiver(pki: PrivatePKI) -> Iterator[tuple[Receiver, Origin]]:
    """A collector, served in a thread."""
    receiver = Receiver()
    with in_thread(serve_origin(pki.issue([HOST]), handler=receiver)) as origin:
        yield receiver, origin


def reporting(world: World, origin: Origin, folder: Path, **more: Any) -> Reporter:  # noqa: ANN401 - arguments of Reporter
    """A reporter to the collector, of a student on a local network."""
    known: dict[str, Any] = {
        "student": STUDENT,
        "connectors": connectors_to(world, origin.address),
        "networks": lambda: {"ipv4": LOCAL},
        "clock": lambda: NOW,
    }
    return Reporter(settings_in(folder), **(known | more))


def identifying_result(world: World, pki: PrivatePKI) -> Result:
    """A result with something that names somebody in every field that can."""
    hop = Hop(number=1, answer=HopAnswer.TIME_EXCEEDED, router=ROUTER, round_trip_ms=1.5)
    hops = HopsObservation(
        port=443, traces=(HopTrace(port=443, asked=ProbeKind.CONNECT, hops=(hop,)),), names_routers=True, connect_ms=2.0
    )
    seen = {
        "route": Route.HTTP_CONNECT,
        "proxy": ProxyObservation(scheme=ProxyScheme.HTTP, host="proxy.lan", port=3128),
        "proxy_file": f"http://wpad.{MACHINE}.lan/{USER}.pac",
        "address": f"{LOCAL}:3128",
        "asked_for": f"{PUBLIC}:443",
        "resolution": ResolutionObservation(
            resolver=f"https://resolver.lan/{USER}",
            outcome=ResolutionOutcome.ANSWERED,
            system=(PUBLIC,),
            other=(LOCAL,),
        ),
        "hops": hops,
        "timings_ms": {"connect": 3.0, "resolve": 1.0},
    }
    report = report_on([recorded(world, EXAM, pki.private_ca("Filter CA").issue([EXAM]), seen=seen)])
    finding = Finding(
        check="place", outcome="public", says=Meaning.NEUTRAL, summary=f"{USER} at {LOCAL}", data={"router": ROUTER}
    )
    return msgspec.structs.replace(
        report.results[0],
        findings=(*report.results[0].findings, finding),
        advice=f"{USER}, leave {PLACE}.",
        attribution=Attribution(product="Filter", issuer=f"CN={MACHINE}", basis=f"at {GATEWAY}"),
    )


def identifying_event(result: Result) -> WatchEvent:
    """An event of a watch with the same."""
    network = NetworkStanding(
        verdict=Verdict.CLEAN, confidence=None, scope=Scope.NONE, clean=1, middleware=0, inconclusive=0, unjudged=0
    )
    return WatchEvent(
        sequence=1,
        kind=WatchKind.APPEARED,
        at=NOW,
        elapsed=1.0,
        vantage=PLACE,
        summary=f"{USER} on {MACHINE}",
        endpoint=result.endpoint,
        network=network,
        result=result,
    )


def decision_on(world: World, pki: PrivatePKI) -> Decision:
    """The decision of a gate on a network with a sign-in page, at private addresses and through a proxy."""
    found = cases(world, pki)
    report = msgspec.structs.replace(report_on(found), vantage=PLACE)
    decided = decide(Policy(name="finals"), report)
    return Decision(
        action=decided.action,
        reasons=decided.reasons,
        message=decided.message,
        language="en",
        policy="finals",
        report=report,
        evidence=packed(*found),
    )


def unwrapped(data: bytes) -> str:
    """Every text in some JSON, with what is wrapped in base64 and JSON."""
    return "\n".join(texts(msgspec.json.decode(data)))


def test_nothing_names_anybody(
    world: World, pki: PrivatePKI, receiver: tuple[Receiver, Origin], tmp_path: Path
) -> None:
    """With names, addresses and places in every input, none is in the files of the outbox or with the collector."""
    got, origin = receiver
    result = identifying_result(world, pki)
    inputs = "\n".join(
        (*texts(msgspec.json.decode(msgspec.json.encode(identifying_event(result)))), STUDENT, "8.8.4.4")
    )
    assert [name for name in NAMES if name not in inputs and name != "hotel.lan"] == []
    got.answer = lambda _: Response(status=503)
    with reporting(world, origin, tmp_path) as reporter:
        reporter.result(result)
        reporter.event(identifying_event(result))
        reporter.decision(decision_on(world, pki))
        reporter.bundle(packed(*cases(world, pki)))
    files = [path.read_bytes() for path in (tmp_path / "outbox").rglob("*.json")]
    assert len(files) == 5  # and when the collector is tried again
    got.answer = lambda _: None
    later = reporting(world, origin, tmp_path, clock=lambda: NOW + dt.timedelta(hours=1))
    with later:
        later.start()
    assert sorted(one.kind for one in got.submissions.values()) == sorted(
        (Kind.SCAN_RESULT, Kind.WATCH_EVENT, Kind.GATE_DECISION, Kind.BUNDLE)
    )
    kept = "\n".join(map(unwrapped, (*files, *got.bodies)))
    assert [name for name in NAMES if name in kept] == []
    headers = " ".join(value for request in origin.requests for _, value in request.headers)
    assert [name for name in NAMES if name in headers] == []


def test_endpoints_of_one_network_are_not_reported(
    world: World, pki: PrivatePKI, receiver: tuple[Receiver, Origin], tmp_path: Path
) -> None:
    """A result on a private name or an address is not sent at all; nothing is kept of it."""
    got, origin = receiver
    with reporting(world, origin, tmp_path) as reporter:
        for host in (f"{MACHINE}.local", LOCAL, "printer", PUBLIC):
            reporter.result(report_on([recorded(world, host, pki.issue([host]))]).results[0])
    assert (got.bodies, opened(tmp_path / "outbox").status().waiting) == ([], 0)


def test_a_student_is_a_keyed_hash(
    world: World, pki: PrivatePKI, receiver: tuple[Receiver, Origin], tmp_path: Path
) -> None:
    """Two reports of a student have one pseudonym, those of another have another; without a key there is none."""
    got, origin = receiver
    result = identifying_result(world, pki)
    for student in (STUDENT, "another"):
        with reporting(world, origin, tmp_path, student=student) as reporter:
            reporter.result(result)
    students = {one.student for one in got.submissions.values()}
    assert len(students - {None}) == 2
    assert len({one.network for one in got.submissions.values()} - {None}) == 1
    with pytest.raises(InputError, match="pseudonym_key"):
        Reporter(settings_in(tmp_path, pseudonym_key=None), student=STUDENT)
    with reporting(world, origin, tmp_path, student=None) as reporter:
        reporter.result(result)
    assert None in {one.student for one in got.submissions.values()}


def test_a_large_chain_hides_only_itself(
    world: World, pki: PrivatePKI, receiver: tuple[Receiver, Origin], tmp_path: Path
) -> None:
    """A peer that sends megabytes of certificates loses its own part of the evidence; the rest arrives and is read."""
    got, origin = receiver
    usual = cases(world, pki)
    issued = pki.private_ca("Filter CA").issue(["big.example.net"])
    junk = base64.b64encode(os.urandom(3_000_000))
    large = recorded(world, "big.example.net", issued.with_chain(issued.leaf, junk))
    with reporting(world, origin, tmp_path) as reporter:
        reporter.bundle(packed(*usual, large))
    (submission,) = got.submissions.values()
    content = unwrapped(bytes(submission.content))
    assert (EXAM in content, "big.example.net" in content) == (True, False)


def test_a_full_disk_is_reported_once_and_stops_nothing(
    world: World,
    pki: PrivatePKI,
    receiver: tuple[Receiver, Origin],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the disk does not take is a problem that is reported; the caller goes on."""
    _, origin = receiver
    problems: list[Exception] = []
    reporter = reporting(world, origin, tmp_path, on_problem=problems.append)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with reporter:
        reporter.result(identifying_result(world, pki))
    assert [type(problem) for problem in problems] == [NoRoomError]


def test_more_at_once_than_the_disk_takes_is_counted(
    world: World,
    pki: PrivatePKI,
    receiver: tuple[Receiver, Origin],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reports beyond the bound are dropped, and the outbox says how many."""
    _, origin = receiver
    monkeypatch.setattr(reporter, "AHEAD_MAX", 0)
    with reporting(world, origin, tmp_path) as reports:
        for _ in range(3):
            reports.result(identifying_result(world, pki))
    assert opened(tmp_path / "outbox").status().dropped == {"busy": 3}


@pytest.mark.parametrize("answer", [lambda _: Response(status=503), lambda _: Response(body=b"OK")])
def test_what_was_not_received_stays(
    answer: Callable[[Any], Response], world: World, pki: PrivatePKI, receiver: tuple[Receiver, Origin], tmp_path: Path
) -> None:
    """The end of the program waits a bounded time; what has no receipt by then is there for the next one."""
    got, origin = receiver
    got.answer = answer
    with reporting(world, origin, tmp_path) as reports:
        reports.result(identifying_result(world, pki))
    assert opened(tmp_path / "outbox").status().waiting == 1
