"""The verdict on a network: the gravest endpoint, how much is covered, and who appears to be behind it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.results import BANK, clean, intercepted, possible, result, silent
from support.worlds import EXAM, LMS, SEARCH, named, sent

from detector.judge.network import Tally, decide_network, interceptors, report
from detector.model import (
    Attribution,
    Category,
    Confidence,
    Coverage,
    ManagedBy,
    Reason,
    Scope,
    UnfollowedProxy,
    Verdict,
)

if TYPE_CHECKING:
    from conftest import World

    from detector.model import Result

HOSTS: Final = ("a.example", "b.example", "c.example", "d.example", "e.example", "f.example")
PROBABLE: Final = Confidence.PROBABLE


def numbered(*results: Result) -> list[Result]:
    """These results, each of an endpoint of its own."""
    return [
        msgspec.structs.replace(one, endpoint=msgspec.structs.replace(one.endpoint, host=host))
        for one, host in zip(results, HOSTS, strict=False)
    ]


CLEAN, SILENT, POSSIBLE = clean("x"), silent("x"), possible("x")
LIKELY, PROVEN = intercepted("x", confidence=PROBABLE), intercepted("x")
SILENT_EXAM = silent("x", Category.EXAM)


def by_another_route(one: Result, reason: UnfollowedProxy = UnfollowedProxy.FILE_FAULTY) -> Result:
    """This result, of a probe that did not follow the machine's proxy setting."""
    return msgspec.structs.replace(one, observation=msgspec.structs.replace(one.observation, unfollowed_proxy=reason))


UNFOLLOWED = by_another_route(CLEAN)


@pytest.mark.parametrize(
    ("results", "named", "verdict", "confidence", "scope"),
    [
        ([], (), "inconclusive", None, "none"),
        ([CLEAN], (), "clean", None, "none"),
        ([CLEAN, CLEAN], (), "clean", None, "none"),
        ([SILENT], (), "inconclusive", None, "none"),
        ([CLEAN, SILENT], (), "clean", None, "none"),
        ([CLEAN, SILENT], ("b.example:443",), "inconclusive", None, "none"),
        ([CLEAN, SILENT], ("a.example:443",), "clean", None, "none"),
        ([CLEAN, SILENT_EXAM], (), "inconclusive", None, "none"),
        ([UNFOLLOWED], (), "inconclusive", None, "none"),
        ([CLEAN, UNFOLLOWED], (), "inconclusive", None, "none"),
        ([CLEAN, by_another_route(SILENT)], (), "inconclusive", None, "none"),
        ([UNFOLLOWED, by_another_route(LIKELY)], (), "middleware", "probable", "selective"),
        ([CLEAN, POSSIBLE], (), "middleware", "possible", "uncertain"),
        ([POSSIBLE, SILENT_EXAM], (), "middleware", "possible", "uncertain"),
        ([POSSIBLE, LIKELY], (), "middleware", "probable", "selective"),
        ([LIKELY, SILENT], (), "middleware", "probable", "all"),
        ([LIKELY, PROVEN], (), "middleware", "proven", "all"),
        ([CLEAN, POSSIBLE, PROVEN], (), "middleware", "proven", "selective"),
        ([PROVEN, SILENT_EXAM], (), "middleware", "proven", "all"),
    ],
)
def test_what_the_endpoints_say_together(
    results: list[Result], named: tuple[str, ...], verdict: str, confidence: str | None, scope: str
) -> None:
    """The gravest endpoint; else inconclusive where something that matters is open; whatever the order."""
    for order in itertools.permutations(numbered(*results)):
        decision = decide_network(order, named=named)
        assert (decision.verdict, decision.confidence, decision.scope) == (verdict, confidence, scope)


@pytest.mark.parametrize(
    ("results", "coverage"),
    [
        ([CLEAN, SILENT], Coverage.CLEAR),
        ([SILENT], Coverage.UNKNOWN),
        ([POSSIBLE], Coverage.UNCERTAIN),
        ([POSSIBLE, CLEAN], Coverage.UNCERTAIN),
        ([LIKELY, SILENT], Coverage.DECRYPTED),
        ([PROVEN, CLEAN], Coverage.MIXED),
        ([PROVEN, POSSIBLE], Coverage.MIXED),
    ],
)
def test_coverage_of_a_category(results: list[Result], coverage: Coverage) -> None:
    """Below `probable` a category is uncertain; from there on it is decrypted, wholly or in part."""
    bank = clean(BANK, Category.BANK)
    decision = decide_network([*numbered(*results), bank])
    assert decision.coverage == {Category.BANK: Coverage.CLEAR, Category.OTHER: coverage}


def test_why_the_proxy_setting_was_not_followed() -> None:
    """Any observation of an endpoint counts, and the decision says why."""
    further = msgspec.structs.replace(CLEAN, other_observations=(UNFOLLOWED.observation,))
    for results, reason in (
        ([CLEAN, SILENT], None),
        ([CLEAN, further], UnfollowedProxy.FILE_FAULTY),
        ([UNFOLLOWED, by_another_route(CLEAN, UnfollowedProxy.EXTRA_MISSING)], UnfollowedProxy.EXTRA_MISSING),
    ):
        for order in itertools.permutations(numbered(*results)):
            assert decide_network(order).unfollowed_proxy is reason


KINDS: Final = (CLEAN, SILENT, POSSIBLE, LIKELY, PROVEN, SILENT_EXAM, clean("x", Category.EXAM), UNFOLLOWED)


@given(st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(KINDS), st.booleans())))
def test_counting_one_after_the_other_is_counting_all(steps: list[tuple[str, Result, bool]]) -> None:
    """Amended results take the place of earlier ones, and what is asked at any time is that of the latest ones."""
    asked = {"a.example:443"}
    tally, latest = Tally(asked), dict[str, "Result"]()
    for host, kind, ask in steps:
        one = msgspec.structs.replace(kind, endpoint=msgspec.structs.replace(kind.endpoint, host=host))
        tally.add(one, latest.get(host))
        latest[host] = one
        if ask:
            assert tally.decision() == decide_network(latest.values(), named=asked)
    assert tally.decision() == decide_network(latest.values(), named=asked)
    assert sum(map(tally.count, Verdict)) == len(latest)


def test_endpoints_that_are_named_one_by_one() -> None:
    """Where the names are too many to keep, each result says whether it was asked for, and so does its amendment."""
    for named_one, verdict in ((False, Verdict.CLEAN), (True, Verdict.INCONCLUSIVE)):
        tally = Tally()
        open_one, done = silent(LMS), clean(LMS)
        tally.add(clean(EXAM))
        tally.add(open_one, named=named_one)
        assert tally.decision().verdict is verdict
        tally.add(done, open_one, named=named_one)
        assert tally.decision().verdict is Verdict.CLEAN


class TestInterceptors:
    def hosts(self, *results: Result) -> list[tuple[str, ...]]:
        return [tuple(name.partition(":")[0] for name in party.endpoints) for party in interceptors(results)]

    def test_five_cas_and_one_server_key(self, world: World) -> None:
        """One interceptor that has a CA for each kind of certificate and one leaf key is one party."""
        key = world.pki.issue([EXAM]).key
        hosts = [f"canary{number}.example.net" for number in range(5)]
        cases = [
            world.case(host, sent(world.pki.private_ca(f"Box CA {number}"), host, key=key), canary=True)
            for number, host in enumerate(hosts)
        ]
        results = world.judge(*cases)
        assert {result.confidence for result in results} == {"proven"}
        assert self.hosts(*results) == [tuple(hosts)]

    def test_one_ca_and_a_key_for_each_host(self, world: World) -> None:
        """The usual interceptor, with other issuers' names in its leaves, is one party by its signing key."""
        ca = world.pki.private_ca("Box CA")
        results = world.judge(*(world.case(h, sent(ca, h), canary=True) for h in (EXAM, LMS)))
        renamed = [
            msgspec.structs.replace(one, attribution=Attribution(issuer=f"CN={number}"))
            for number, one in enumerate(results)
        ]
        assert self.hosts(*renamed) == [(EXAM, LMS)]

    def test_leaves_alone_are_grouped_by_their_issuers_name(self, world: World) -> None:
        """Where no signer is known, the name that all leaves give is what they have in common."""
        ca, other = world.pki.private_ca("Box CA"), world.pki.private_ca("Other CA")
        hosts = {EXAM: ca, LMS: ca, SEARCH: other}
        results = world.judge(*(world.case(host, one.issue([host]), canary=True) for host, one in hosts.items()))
        assert self.hosts(*results) == [(EXAM, LMS), (SEARCH,)]

    def test_several_products(self, world: World) -> None:
        """A filter on the device and a proxy of the institution are two parties, each with its endpoints."""
        mitmproxy = world.pki.private_ca(named(O="mitmproxy", CN="mitmproxy"))
        fortinet = world.pki.private_ca(named(C="US", O="Fortinet", CN="FortiGate CA"))
        hosts = {EXAM: fortinet, LMS: mitmproxy, SEARCH: fortinet}
        parties = interceptors(world.judge(*(world.case(host, sent(ca, host)) for host, ca in hosts.items())))
        assert [party.endpoints for party in parties] == [(f"{LMS}:443",), (f"{EXAM}:443", f"{SEARCH}:443")]
        assert [str(party.vendor).split()[0] for party in parties] == ["mitmproxy", "Fortinet"]

    def test_a_products_name_is_that_of_the_whole_party(self, world: World) -> None:
        """Where one endpoint shows whose box it is, the others behind its key are its too."""
        key = world.pki.issue([EXAM]).key
        plain = world.case(EXAM, sent(world.pki.private_ca("Renamed CA"), EXAM, key=key), canary=True)
        marked = world.case(LMS, sent(world.pki.private_ca(named(O="mitmproxy", CN="mitmproxy")), LMS, key=key))
        (party,) = interceptors(world.judge(plain, marked))
        assert (party.endpoints, "mitmproxy" in str(party.product)) == ((f"{EXAM}:443", f"{LMS}:443"), True)

    def test_what_is_only_possible_has_no_party(self, world: World) -> None:
        """Nobody is named below `probable`, and nobody where all is clean."""
        ca = world.pki.private_ca("Campus CA")
        results = world.judge(world.case(EXAM, sent(ca, EXAM)), world.case(LMS, world.pki.issue([LMS])))
        assert interceptors(results) == ()

    def test_a_link_found_late_joins_what_was_apart(self) -> None:
        """Two parties turn out to be one when an endpoint has marks of both."""
        one, other = (Attribution(issuer=f"CN={name}", managed_by=ManagedBy.UNKNOWN) for name in "AB")
        first, second = intercepted(EXAM, attribution=one), intercepted(LMS, attribution=other)
        third = msgspec.structs.replace(
            intercepted(SEARCH, attribution=other),
            observation=first.observation,
        )
        assert self.hosts(first, second) == [(EXAM,), (LMS,)]
        assert self.hosts(first, second, third) == [(EXAM, LMS, SEARCH)]


def test_the_report_is_of_these_results(world: World) -> None:
    """Verdict, coverage and parties are those of its results, and it says what it was assessed with."""
    results = world.judge(world.case(EXAM, world.pki.issue([EXAM]), category=Category.EXAM))
    made = report(
        results,
        world.context(),
        started=world.pki.now,
        finished=world.pki.now,
        vantage="test",
        version="0",
        named=[f"{LMS}:443"],
    )
    assert (made.verdict, made.scope, made.interceptors) == (Verdict.CLEAN, Scope.NONE, ())
    assert made.coverage == {Category.EXAM: Coverage.CLEAR}
    assert [(str(one.kind), one.name) for one in made.knowledge][:2] == [("roots", "test roots"), ("logs", "test logs")]
    open_one = result(LMS, Verdict.INCONCLUSIVE, Reason.EXPIRED)
    assert decide_network([*results, open_one], named=[f"{LMS}:443"]).verdict is Verdict.INCONCLUSIVE
