"""What is reported and what is not: the state machine alone, fed with assessed worlds."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for one call here
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.profiles import examples
from support.simulation import short

from detector.model import Category, Confidence, Endpoint, Outcome, Verdict
from detector.watch.events import Standing, WatchEvent, WatchKind, watch_event_schema
from detector.watch.state import INTERCEPTORS_MAX, VANISHED_AFTER, VANISHED_AFTER_MOST, Moment, Watch, WatchSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import World
    from detector_testing import CA, Issued

    from detector.judge.evidence import EndpointEvidence

EXAM, LMS, BANK = "exam.example.edu", "lms.example.org", "bank.example.net"
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


class Room:
    """One watch, and evidence to feed it with. Of `EXAM` the public roots are stated, of other hosts nothing."""

    def __init__(self, world: World, *hosts: str, named: bool = True) -> None:
        endpoints = [Endpoint(host=host) for host in hosts]
        self.watch = Watch(endpoints, named=[e.name for e in endpoints] if named else [], vantage="room 12")
        self.world = world
        self.filter = world.pki.private_ca("Campus Filter CA", one_leaf_key=True)
        self._issued = {host: world.pki.issue([host]) for host in hosts}
        self._forged = {host: self.filter.issue([host]) for host in hosts}
        self.seconds = 0.0

    def clean(self, host: str) -> EndpointEvidence:
        return self._case(host, self._issued[host])

    def _case(self, host: str, presented: Issued) -> EndpointEvidence:
        return self.world.case(host, presented, roots=tuple(self.world.roots.labels) if host == EXAM else ())

    def forged(self, host: str, ca: CA | None = None) -> EndpointEvidence:
        return self._case(host, self._forged[host] if ca is None else ca.issue([host]))

    def lost(self, host: str, outcome: Outcome = Outcome.CONNECT_TIMEOUT) -> EndpointEvidence:
        return self.world.case(host, [], outcome=outcome, key_proved=False)

    def cut(self, host: str) -> EndpointEvidence:
        """The genuine chain, and then nothing: the key is not proved."""
        return self.world.case(host, self._issued[host], outcome=Outcome.HANDSHAKE_TIMEOUT, key_proved=False)

    def probe(self, *cases: EndpointEvidence, company: Sequence[EndpointEvidence] = ()) -> list[WatchEvent]:
        """Probe some endpoints a minute later."""
        self.seconds += 60
        return self.watch.add(cases, Moment(NOON + dt.timedelta(seconds=self.seconds), self.seconds), company)

    def reported(self, *cases: EndpointEvidence) -> list[str]:
        return short(self.probe(*cases))


@pytest.fixture
def pair(world: World) -> Room:
    room = Room(world, EXAM, LMS)
    assert room.reported(room.clean(EXAM), room.clean(LMS)) == ["baseline"]
    return room


def test_nothing_changed_is_nothing_reported(pair: Room) -> None:
    """Probes that show what was known are silent."""
    for _ in range(5):
        assert pair.reported(pair.clean(EXAM)) == []
        assert pair.reported(pair.clean(LMS), pair.clean(EXAM)) == []


def test_baseline_waits_for_every_endpoint(world: World) -> None:
    """The first event on the whole comes when all were assessed; until then the network is not called clean."""
    room = Room(world, EXAM, LMS, BANK)
    assert room.reported(room.clean(EXAM)) == []
    (appeared,) = room.probe(room.forged(LMS))
    assert (appeared.kind, appeared.before, appeared.network.unjudged) == ("appeared", None, 1)
    assert room.reported(room.lost(BANK)) == []
    *_, baseline = room.probe(room.lost(BANK))
    assert (baseline.kind, baseline.network.verdict) == ("baseline", "middleware")


def test_network_is_not_clean_before_everything_was_probed(world: World) -> None:
    """One clean endpoint of three clears nothing."""
    room = Room(world, EXAM, LMS, BANK, named=False)
    room.probe(room.clean(EXAM), room.lost(LMS))
    (event,) = room.probe(room.lost(LMS))
    assert (event.kind, event.network.verdict, event.network.unjudged) == ("inconclusive", "inconclusive", 1)


def test_appeared_at_first_sight(pair: Room) -> None:
    """One forged chain is reported at once, with the evidence, and between which probes it happened.

    While it is only possible, nobody is named.
    """
    (event,) = pair.probe(pair.forged(LMS))
    assert (event.kind, event.sequence, event.network.verdict) == ("appeared", 2, "middleware")
    assert event.before is not None
    assert event.after is not None
    assert (event.before.verdict, event.before.assurance) == ("clean", "logged")
    assert (event.after.verdict, event.after.confidence, event.after.issuer) == (
        "middleware",
        "possible",
        None,
    )
    assert event.after.reason == "identity-substituted"  # it had a genuine certificate a minute before
    assert "split-horizon" in event.result.alternatives if event.result else False
    assert event.last_look == NOON + dt.timedelta(seconds=60)
    assert event.at == NOON + dt.timedelta(seconds=120)
    assert event.result is not None
    assert event.result.observation.chain


def test_what_others_show_strengthens(pair: Room) -> None:
    """The same private issuer in the place of a stated public root proves the first, without a new probe of it."""
    pair.probe(pair.forged(LMS))
    events = pair.probe(pair.forged(EXAM))
    assert short(events) == [f"appeared {EXAM}", f"strengthened {LMS}"]
    assert [event.after.confidence for event in events if event.after] == ["proven", "proven"]


def test_proven_stays_proven(pair: Room) -> None:
    """When the other endpoint is left alone again, what was proven here stays proven."""
    pair.probe(pair.forged(LMS), pair.forged(EXAM))
    for _ in range(VANISHED_AFTER - 1):
        assert pair.reported(pair.clean(EXAM), pair.forged(LMS)) == []
    (vanished,) = pair.probe(pair.clean(EXAM), pair.forged(LMS))
    assert (vanished.kind, vanished.network.confidence) == ("vanished", "proven")
    assert pair.reported(pair.forged(LMS)) == []


def canary(world: World, name: str, presented: Issued) -> EndpointEvidence:
    """A canary that a follow-up probed."""
    host, stated = f"{name}.example.net", tuple(world.roots.labels)
    return world.case(host, presented, operator=name, canary=True, runs_ca=True, roots=stated)


def test_canaries_of_a_follow_up_are_company(pair: Room, world: World) -> None:
    """They make what is said of endpoint and network surer; no events are about them, and they go when all is well."""
    forged = pair.filter.issue(["one.example.net"])
    (event,) = pair.probe(pair.forged(LMS), company=[canary(world, "one", forged)])
    assert event.after is not None
    assert (event.endpoint and event.endpoint.host, event.after.confidence) == (LMS, "proven")
    assert (event.network.confidence, event.network.middleware) == ("proven", 1)
    for _ in range(VANISHED_AFTER - 1):
        assert pair.reported(pair.clean(LMS)) == []
    (event,) = pair.probe(pair.clean(LMS))
    assert (event.kind, event.network.verdict, event.network.confidence) == ("vanished", "clean", None)


def test_clean_canaries_do_not_count(world: World) -> None:
    """Whatever a follow-up finds clean, an endpoint that is open stays open."""
    room = Room(world, EXAM, named=False)
    genuine = world.pki.issue(["one.example.net"])
    room.probe(room.cut(EXAM), company=[canary(world, "one", genuine)])
    events = room.probe(room.cut(EXAM), company=[canary(world, "one", genuine)])
    assert {event.network.verdict for event in events} == {"inconclusive"}


def test_canaries_of_another_network_say_nothing(pair: Room, world: World) -> None:
    """Once the machine has moved, what canaries showed before counts no more."""
    forged = world.pki.private_ca("Hall CA").issue(["one.example.net"])
    (event,) = pair.probe(pair.forged(LMS), company=[canary(world, "one", forged)])
    assert event.network.confidence == "proven"
    moved = pair.watch.passed(WatchKind.NETWORK_CHANGE, Moment(NOON, 300.0))
    assert moved.network.confidence != "proven"


def test_vanished_needs_several_clean_probes(pair: Room) -> None:
    """An interceptor is not gone because one connection got through."""
    pair.probe(pair.forged(EXAM))
    for _ in range(VANISHED_AFTER - 1):
        assert pair.reported(pair.clean(EXAM)) == []
    (event,) = pair.probe(pair.clean(EXAM))
    assert (event.kind, event.network.verdict) == ("vanished", "clean")
    assert event.before is not None
    assert event.before.verdict is Verdict.MIDDLEWARE


def test_what_comes_back_needs_longer_to_be_gone(pair: Room) -> None:
    """Each return doubles the clean probes that clear, up to a bound: every k-th connection is not many recoveries."""
    needed = []
    for _ in range(7):
        assert pair.reported(pair.forged(EXAM)) == [f"appeared {EXAM}"]
        probes = 1
        while not pair.reported(pair.clean(EXAM)):
            probes += 1
        needed.append(probes)
    assert needed == [3, 6, 12, 24, 48, 48, VANISHED_AFTER_MOST]


def test_an_unassessed_probe_does_not_count_towards_gone(pair: Room) -> None:
    """A failed comparison never becomes clean: the clean probes must be in a row."""
    pair.probe(pair.forged(EXAM))
    pair.probe(pair.clean(EXAM))
    pair.probe(pair.clean(EXAM))
    assert pair.reported(pair.lost(EXAM)) == []
    pair.probe(pair.clean(EXAM))
    assert pair.reported(pair.clean(EXAM)) == []
    assert pair.reported(pair.clean(EXAM)) == [f"vanished {EXAM}"]


def test_changed_interceptor(pair: Room, world: World) -> None:
    """Another issuer on the same endpoint is reported with both; taking turns is reported once each."""
    pair.probe(pair.forged(EXAM))
    other = world.pki.private_ca("Night Shift CA")
    (event,) = pair.probe(pair.forged(EXAM, other))
    assert (event.kind, event.before and event.before.issuer, event.after and event.after.issuer) == (
        "changed-interceptor",
        "CN=Campus Filter CA",
        "CN=Night Shift CA",
    )
    assert pair.reported(pair.forged(EXAM)) == []
    assert pair.reported(pair.forged(EXAM, other)) == []


def test_a_new_key_under_the_old_name_is_another_interceptor(pair: Room, world: World) -> None:
    """Two installations of one product are told apart by their keys; a new leaf under the same key is no news."""
    pair.probe(pair.forged(EXAM))
    assert pair.reported(pair.forged(EXAM, pair.filter)) == []
    assert pair.reported(pair.forged(EXAM, world.pki.private_ca("Campus Filter CA"))) == [f"changed-interceptor {EXAM}"]


def test_interceptors_remembered_are_bounded(pair: Room, world: World) -> None:
    """A new CA for every connection is reported, and no more is kept than the latest few."""
    for number in range(INTERCEPTORS_MAX + 4):
        assert len(pair.reported(pair.forged(EXAM, world.pki.private_ca(f"CA of shift {chr(65 + number)}")))) == 1
    assert len(pair.watch._states[f"{EXAM}:443"]._met) == INTERCEPTORS_MAX


def test_one_lost_probe_is_not_reported(pair: Room) -> None:
    """It is asked for again; only a second one in a row is an event, and coming back is one too."""
    assert pair.reported(pair.lost(EXAM)) == []
    assert [e.host for e in pair.watch.doubtful] == [EXAM]
    assert pair.reported(pair.clean(EXAM)) == []
    assert pair.watch.doubtful == ()
    pair.probe(pair.lost(EXAM))
    (event,) = pair.probe(pair.lost(EXAM))
    assert (event.kind, event.network.verdict, event.network.inconclusive) == ("inconclusive", "inconclusive", 1)
    assert pair.watch.doubtful == ()
    assert pair.reported(pair.lost(EXAM)) == []
    assert pair.reported(pair.clean(EXAM)) == [f"recovered {EXAM}"]


def test_another_reason_is_reported_when_it_lasts(pair: Room) -> None:
    """Handshakes that are cut short are other news than a server that is down."""
    pair.probe(pair.lost(EXAM))
    pair.probe(pair.lost(EXAM))
    assert pair.reported(pair.cut(EXAM)) == []
    (event,) = pair.probe(pair.cut(EXAM))
    assert event.after is not None
    assert (event.kind, event.after.reason) == ("inconclusive", "key-not-proved")


def test_outage_while_decrypted(pair: Room) -> None:
    """An interceptor that was seen before an outage and after it is one that recovered, not a new one."""
    pair.probe(pair.forged(EXAM))
    pair.probe(pair.lost(EXAM))
    (event,) = pair.probe(pair.lost(EXAM))
    assert (event.kind, event.network.verdict) == ("inconclusive", "inconclusive")
    (event,) = pair.probe(pair.forged(EXAM))
    assert (event.kind, event.network.verdict) == ("recovered", "middleware")


def test_clean_after_an_outage_does_not_clear_an_interceptor_at_once(pair: Room) -> None:
    """From decrypted over unreachable to clean takes as many clean probes as without the outage."""
    pair.probe(pair.forged(EXAM))
    pair.probe(pair.lost(EXAM))
    pair.probe(pair.lost(EXAM))
    assert pair.reported(pair.clean(EXAM)) == []
    assert pair.reported(pair.clean(EXAM)) == []
    (event,) = pair.probe(pair.clean(EXAM))
    assert event.before is not None
    assert (event.kind, event.before.verdict) == ("vanished", "middleware")


def test_network_lost_is_one_event(pair: Room) -> None:
    """Where nothing answers anywhere, that is reported once, and so is the return."""
    assert pair.reported(pair.lost(EXAM)) == []
    (event,) = pair.probe(pair.lost(LMS), pair.lost(EXAM))
    assert (event.kind, event.network.verdict) == ("network-lost", "inconclusive")
    assert pair.reported(pair.lost(LMS), pair.lost(EXAM)) == []
    assert pair.watch.doubtful == ()
    (event,) = pair.probe(pair.clean(LMS))
    assert (event.kind, event.network.clean) == ("network-back", 0)
    assert pair.reported(pair.clean(EXAM)) == []
    assert pair.watch._network().verdict is Verdict.CLEAN


def test_what_stays_away_when_the_network_is_back_is_reported(pair: Room) -> None:
    """An endpoint that went down with the network and does not come back with it gets its own event."""
    pair.probe(pair.lost(EXAM), pair.lost(LMS))
    assert pair.reported(pair.lost(EXAM), pair.lost(LMS)) == ["network-lost"]
    assert pair.reported(pair.clean(LMS)) == ["network-back"]
    assert pair.reported(pair.lost(EXAM)) == []
    assert [e.host for e in pair.watch.doubtful] == [EXAM]
    assert pair.reported(pair.lost(EXAM)) == [f"inconclusive {EXAM}"]
    assert pair.reported(pair.clean(EXAM)) == [f"recovered {EXAM}"]


def test_another_network_that_decrypts(pair: Room) -> None:
    """An interceptor met when the network returns is reported at once."""
    pair.probe(pair.lost(EXAM), pair.lost(LMS))
    pair.probe(pair.lost(EXAM), pair.lost(LMS))
    assert pair.reported(pair.forged(LMS)) == ["network-back", f"appeared {LMS}"]


def test_somebody_answers_is_not_an_outage(pair: Room) -> None:
    """A portal that speaks no TLS is an answer: each endpoint is reported by itself."""
    pair.probe(pair.lost(EXAM, Outcome.NOT_TLS), pair.lost(LMS))
    reported = pair.reported(pair.lost(EXAM, Outcome.NOT_TLS), pair.lost(LMS))
    assert reported == [f"inconclusive {EXAM}", f"inconclusive {LMS}"]


def test_one_endpoint_is_no_network(world: World) -> None:
    """With a single endpoint there is nothing to tell an outage of the network by."""
    room = Room(world, EXAM)
    room.probe(room.clean(EXAM))
    room.probe(room.lost(EXAM))
    assert room.reported(room.lost(EXAM)) == [f"inconclusive {EXAM}"]


def test_weaker_evidence_is_reported_once(world: World) -> None:
    """Pinned, then only logged (the pins ran out): reported. Logged, then pinned again: no news."""
    room = Room(world, EXAM)
    issued = world.pki.issue([EXAM])
    pins = (issued.spki_sha256,)
    room.probe(world.case(EXAM, issued, pins=pins))
    (event,) = room.probe(world.case(EXAM, issued))
    assert (event.kind, event.before and event.before.assurance, event.after and event.after.assurance) == (
        "weakened",
        "pinned",
        "logged",
    )
    assert room.reported(world.case(EXAM, issued, pins=pins)) == []
    assert room.reported(world.case(EXAM, issued)) == []


def test_an_unknown_endpoint_is_a_fault_of_the_caller(pair: Room, world: World) -> None:
    """What is not watched cannot be probed."""
    with pytest.raises(KeyError):
        pair.probe(world.case("other.example.com", []))


def test_seen() -> None:
    """The result of a watch: the worst it reported, and clean only without gap or doubt."""
    room = {"clean": 1, "middleware": 0, "inconclusive": 0, "unjudged": 0, "scope": "none"}

    def event(kind: WatchKind, verdict: Verdict, confidence: Confidence | None = None) -> WatchEvent:
        return msgspec.convert(
            {
                "sequence": 1,
                "kind": kind,
                "at": NOON,
                "elapsed": 0.0,
                "summary": "",
                "network": {**room, "verdict": verdict, "confidence": confidence},
            },
            WatchEvent,
        )

    def verdict_of(*events: WatchEvent) -> tuple[Verdict, Confidence | None]:
        seen = WatchSummary()
        for one in events:
            seen.note(one)
        return seen.verdict, seen.confidence

    begin = event(WatchKind.BASELINE, Verdict.CLEAN)
    end = event(WatchKind.ENDED, Verdict.CLEAN)
    doubt = event(WatchKind.INCONCLUSIVE, Verdict.INCONCLUSIVE)
    proven = event(WatchKind.APPEARED, Verdict.MIDDLEWARE, Confidence.PROVEN)
    possible = event(WatchKind.APPEARED, Verdict.MIDDLEWARE, Confidence.POSSIBLE)
    assert verdict_of() == ("inconclusive", None)
    assert verdict_of(doubt, begin, end) == ("clean", None)
    assert verdict_of(begin, doubt, end) == ("inconclusive", None)
    assert verdict_of(begin, event(WatchKind.GAP, Verdict.CLEAN), end) == ("inconclusive", None)
    assert verdict_of(begin, proven, possible, end) == ("middleware", "proven")
    assert verdict_of(possible, begin, end) == ("middleware", "possible")


GOLDEN = Path(__file__).with_name("golden.jsonl")


def test_golden_lines(world: World) -> None:
    """The JSON of events, exactly but for the certificates in `result`, which are checked by their schema."""
    room = Room(world, EXAM, LMS)
    events = [*room.probe(room.clean(EXAM), room.clean(LMS)), *room.probe(room.forged(EXAM))]
    events.append(room.watch.passed(WatchKind.GAP, Moment(NOON + dt.timedelta(minutes=10), 600.0001), 480.25))
    for event in events:
        jsonschema.validate(json.loads(event.to_json()), watch_event_schema())
        assert msgspec.json.decode(event.to_json(), type=WatchEvent) == event
    lines = [msgspec.structs.replace(event, result=None).to_json().decode() + "\n" for event in events]
    assert "".join(lines) == GOLDEN.read_text("utf-8")


def test_still_down_after_an_outage_is_reported(world: World) -> None:
    """The network came back without one endpoint: that is reported, with what was known of it before the outage."""
    room = Room(world, EXAM, LMS)
    room.probe(room.clean(EXAM), room.clean(LMS))
    room.probe(room.lost(EXAM), room.lost(LMS))
    (lost,) = room.probe(room.lost(EXAM), room.lost(LMS))
    (back,) = room.probe(room.clean(LMS), room.lost(EXAM))
    assert (lost.kind, back.kind) == (WatchKind.NETWORK_LOST, WatchKind.NETWORK_BACK)
    (down,) = room.probe(room.lost(EXAM))
    assert down.kind is WatchKind.INCONCLUSIVE
    assert down.before is not None
    assert down.after is not None
    assert (down.before.verdict, down.after.verdict) == (Verdict.CLEAN, Verdict.INCONCLUSIVE)


def test_weaker_after_an_outage_is_reported(world: World) -> None:
    """A clean endpoint that comes back on weaker evidence than it had before the outage."""
    room = Room(world, EXAM, LMS)
    issued = world.pki.issue([EXAM])
    room.probe(world.case(EXAM, issued, pins=(issued.spki_sha256,)), room.clean(LMS))
    for _ in range(2):
        room.probe(room.lost(EXAM), room.lost(LMS))
    kinds = [event.kind for event in room.probe(world.case(EXAM, issued), room.clean(LMS))]
    assert kinds == [WatchKind.NETWORK_BACK, WatchKind.WEAKENED]


LOOKS = st.lists(
    st.tuples(st.sampled_from([EXAM, LMS]), st.sampled_from(["clean", "forged", "lost", "cut"])), max_size=40
)


@given(probes=LOOKS)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens(probes: list[tuple[str, str]], world: World) -> None:
    """The rules that hold for every sequence of probes."""
    room = Room(world, EXAM, LMS)
    decrypted: set[str] = set()
    reported: dict[str, Standing | None] = {}
    clean_probes = dict.fromkeys((EXAM, LMS), 0)
    sequence = 0
    for host, what in probes:
        events = room.probe(getattr(room, what)(host))
        clean_probes[host] = clean_probes[host] + 1 if what == "clean" else 0
        kinds = [event.kind for event in events if event.endpoint and event.endpoint.host == host]
        if what == "forged" and host not in decrypted:
            assert WatchKind.APPEARED in kinds  # at first sight, always
        for event in events:
            assert event.sequence == sequence + 1
            sequence = event.sequence
            assert event.summary.endswith(".")
            assert event.kind is not WatchKind.VANISHED or clean_probes[host] >= VANISHED_AFTER
            if event.endpoint is not None:
                assert event.before != event.after
                if event.kind is not WatchKind.VANISHED:
                    assert event.before == reported.get(event.endpoint.host, event.before)
                reported[event.endpoint.host] = event.after
                if event.kind is WatchKind.APPEARED:
                    assert event.endpoint.host not in decrypted
                    decrypted.add(event.endpoint.host)
                if event.kind is WatchKind.VANISHED:
                    decrypted.remove(event.endpoint.host)
            reported_lost = event.network.inconclusive + event.network.unjudged
            if event.network.verdict is Verdict.CLEAN:
                assert not decrypted
                assert reported_lost == 0  # both are named
        assert room.watch._network().middleware <= len(decrypted)


def test_categories_count_as_in_a_report(world: World) -> None:
    """A canary that cannot be assessed leaves the network clean unless it was asked for by name; an exam does not."""
    for category, verdict in ((Category.CANARY, "clean"), (Category.EXAM, "inconclusive")):
        watch = Watch([Endpoint(host=EXAM, category=category), Endpoint(host=LMS)])
        lost = world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False, category=category)
        watch.add([lost], Moment(NOON, 0))
        events = watch.add([lost, world.case(LMS, world.pki.issue([LMS]))], Moment(NOON, 1))
        assert events[-1].network.verdict == verdict
