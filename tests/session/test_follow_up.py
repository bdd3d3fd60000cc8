"""Follow-up probes over real sockets: issuers, control requests, HTTP dates and canaries, only where they can help."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Script, serve_files, serve_middlebox, serve_origin, serve_script
from detector_testing.pki import sct_list_of

from detector import Detector, Endpoint
from detector.judge.evidence import EndpointEvidence
from detector.knowledge import data_set
from detector.model import Category, Observation, Outcome, PortalOutcome, Result
from detector.session import follow_up
from detector.session.follow_up import Canaries, Control, one_per_operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from conftest import World
    from detector_testing import PrivatePKI
    from detector_testing.pki import CA

    Settings = Callable[..., dict[str, Any]]
    Where = dict[tuple[str, int], tuple[str, int]]

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
CA_HOST, CHECK = "ca.example.com", "check.example.com"
AIA = (f"http://{CA_HOST}/issuing.der",)
CONTROL = Control(f"http://{CHECK}/here", status=200, body=b"success\n")
STATED = ("Exemplar Root A",)


def canary(name: str, **more: Any) -> Endpoint:  # noqa: ANN401 - fields of Endpoint
    """A canary of an operator that runs a CA of its own."""
    return Endpoint(host=f"{name}.example.net", operator=name, canary=True, runs_ca=True, roots=STATED, **more)


CANARIES = tuple(map(canary, ("one", "two", "three", "four")))


def reported(results: Sequence[Result]) -> list[tuple[str, str, str | None]]:
    return [(result.endpoint.host.partition(".")[0], result.reason, result.confidence) for result in results]


async def test_forgotten_intermediate_is_fetched(pki: PrivatePKI, settings_of: Settings) -> None:
    """A server that forgot its intermediate is cleared by fetching it, and left open without; no canary is asked."""
    incomplete = pki.issue([EXAM], aia=AIA)
    async with (
        serve_origin(incomplete.with_chain(incomplete.leaf)) as origin,
        serve_files({"/issuing.der": pki.intermediate_ec.certificate}) as files,
    ):
        where = {(EXAM, 443): origin.address, (CA_HOST, 80): files.address}
        settings = settings_of(resolve=where, offline=False, control=None, canaries=CANARIES)
        fetched = await Detector(**settings).check([EXAM])
        offline = await Detector(**settings_of(resolve=where)).check([EXAM])
    assert (reported(fetched.results), fetched.verdict) == ([("exam", "logged", None)], "clean")
    assert reported(offline.results) == [("exam", "incomplete-chain", "possible")]
    assert [request.target for request in files.requests] == ["/issuing.der"]


async def test_omitted_issuer_is_no_excuse_once_fetched(pki: PrivatePKI, settings_of: Settings) -> None:
    """A forger with copied timestamps and an omitted issuer is proven once its own CA answers."""
    genuine, ca = pki.issue([EXAM]), pki.private_ca("Filter CA")
    forged = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf), aia=AIA)
    async with (
        serve_origin(forged.with_chain(forged.leaf)) as origin,
        serve_files({"/issuing.der": ca.certificate}) as files,
    ):
        where = {(EXAM, 443): origin.address, (CA_HOST, 80): files.address}
        endpoint = Endpoint(host=EXAM, roots=STATED)
        subject = Detector(**settings_of(endpoint, resolve=where, offline=False, control=None))
        report = await subject.check()
    assert reported(report.results) == [("exam", "identity-substituted", "proven")]


async def test_garbage_from_the_issuer_address_changes_nothing(pki: PrivatePKI, settings_of: Settings) -> None:
    """What is fetched is never trusted: garbage, or a stranger's CA, leaves the question open."""
    incomplete = pki.issue([EXAM], aia=AIA)
    for content in (b"garbage", pki.private_ca("Stranger").certificate, b"\0" * 300_000):
        async with (
            serve_origin(incomplete.with_chain(incomplete.leaf)) as origin,
            serve_files({"/issuing.der": content}) as files,
        ):
            where = {(EXAM, 443): origin.address, (CA_HOST, 80): files.address}
            report = await Detector(**settings_of(resolve=where, offline=False, control=None)).check([EXAM])
        assert report.results[0].reason == "incomplete-chain"


@pytest.mark.parametrize(
    ("body", "outcome"), [(b"success\n", PortalOutcome.OPEN), (b"<html>Sign in", PortalOutcome.CONTENT_MISMATCH)]
)
@pytest.mark.parametrize("public", [False, True])
async def test_control_request(
    body: bytes, outcome: PortalOutcome, *, public: bool, pki: PrivatePKI, settings_of: Settings
) -> None:
    """Where certificates are for another name, of any CA, the control request reveals a portal."""
    hotspot = (pki if public else pki.private_ca("Hotspot CA")).issue(["login.hotspot.example"])
    async with serve_origin(hotspot) as origin, serve_files({"/here": body}) as files:
        where = {(EXAM, 443): origin.address, (CHECK, 80): files.address}
        subject = Detector(**settings_of(resolve=where, offline=False, control=CONTROL, canaries=CANARIES))
        report = await subject.check([EXAM])
    assert report.portal is not None
    assert report.portal.outcome == outcome
    assert reported(report.results) == [("exam", "wrong-name", "possible")]  # a wrong name asks for no canary
    found = {finding.check for finding in report.results[0].findings}
    assert ("captive-portal" in found) == (outcome is not PortalOutcome.OPEN)


async def test_filter_that_blocks_the_control_request_is_no_portal(pki: PrivatePKI, settings_of: Settings) -> None:
    """Who forges the right name for each host stays an interceptor, whatever its block page looks like."""
    ca = pki.private_ca("Filter CA")
    async with serve_origin(ca.issue([EXAM])) as exam, serve_files({"/here": b"blocked"}) as files:
        where = {(EXAM, 443): exam.address, (CHECK, 80): files.address}
        subject = Detector(
            **settings_of(Endpoint(host=EXAM, roots=STATED), resolve=where, offline=False, control=CONTROL)
        )
        report = await subject.check()
    assert report.confidence == "proven"
    assert {i.category for i in report.interceptors} == {"unknown"}


async def test_clean_network_is_asked_nothing(
    pki: PrivatePKI, settings_of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everything is genuine there is no follow-up, and what it would take is not even read."""
    monkeypatch.setattr("detector.session.settings.known_canaries", lambda _: pytest.fail("the canaries were read"))
    async with serve_origin(pki.issue([EXAM], aia=AIA)) as origin, serve_files({"/here": b"x"}) as files:
        where = {(EXAM, 443): origin.address, (CHECK, 80): files.address, (CA_HOST, 80): files.address}
        report = await Detector(**settings_of(resolve=where, offline=False, control=CONTROL)).check([EXAM])
    assert (report.verdict, report.portal, files.requests) == ("clean", None, [])


async def test_hanging_portal_costs_no_more_than_the_deadline(pki: PrivatePKI, settings_of: Settings) -> None:
    """A control request that hangs ends typed within the budget of the check."""
    forged = pki.private_ca("Hotspot CA").issue(["login.hotspot.example"])
    async with serve_origin(forged) as origin, serve_script(Script.silence()) as silent:
        where = {(EXAM, 443): origin.address, (CHECK, 80): silent.address}
        subject = Detector(**settings_of(resolve=where, offline=False, control=CONTROL))
        report = await subject.check([EXAM], deadline=2.0)
    assert report.portal is not None
    assert report.portal.outcome in {"unreachable", "failed"}
    assert (report.finished - report.started) < dt.timedelta(seconds=2.2)


async def test_wrong_clock_is_reported_by_http_dates(pki: PrivatePKI, settings_of: Settings) -> None:
    """With a clock ten years ahead and a private PKI, the dates of two servers tell that the clock is wrong."""
    campus = pki.private_ca("Campus CA", not_after=pki.now + dt.timedelta(days=300))
    async with (
        serve_origin(campus.issue([EXAM])) as exam,
        serve_origin(campus.issue([LMS])) as lms,
        serve_files({}) as files,
    ):
        where = {(EXAM, 443): exam.address, (LMS, 443): lms.address}
        where |= {(host, 80): files.address for host in (EXAM, LMS)}
        endpoints = [Endpoint(host=host, private_roots=(campus.certificate,)) for host in (EXAM, LMS)]
        subject = Detector(
            **settings_of(
                *endpoints,
                resolve=where,
                offline=False,
                control=None,
                clock=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=3650),
            )
        )
        report = await subject.check()
    assert [r.reason for r in report.results] == ["clock-wrong"] * 2


@contextlib.asynccontextmanager
async def intercepted(pki: PrivatePKI, ca: CA, *hosts: str, genuine: Sequence[str] = ()) -> AsyncIterator[Where]:
    """Where these hosts are: behind an interceptor, but for the genuine ones."""
    async with contextlib.AsyncExitStack() as stack:
        where = {}
        for host in hosts:
            forged = ca.issue([host])
            issued = pki.issue([host]) if host in genuine else forged.with_chain(forged.leaf, ca.certificate)
            where[host, 443] = (await stack.enter_async_context(serve_origin(issued))).address
        yield where


class TestCanaries:
    """Well-known servers of operators with CAs of their own, probed where something with a right name is open."""

    async def test_an_unknown_chain_gets_company(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """One private chain alone is a question; with a canary substituted on the same route it is an answer."""
        ca, hosts = pki.private_ca("Filter CA"), [endpoint.host for endpoint in CANARIES]
        async with intercepted(pki, ca, EXAM, *hosts) as where:
            settings = settings_of(resolve=where, offline=False, control=None)
            with_company = await Detector(**settings, canaries=CANARIES).check([EXAM])
            alone = await Detector(**settings, canaries=()).check([EXAM])
        assert reported(alone.results) == [("exam", "private-chain", "possible")]
        assert reported(with_company.results) == [
            ("exam", "signer-substitutes-elsewhere", "proven"),
            ("one", "identity-substituted", "proven"),
            ("two", "identity-substituted", "proven"),
        ]
        assert with_company.confidence == "proven"
        assert [result.endpoint.category for result in with_company.results] == ["other", "canary", "canary"]

    async def test_clean_canaries_clear_nothing(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Canaries of a follow-up count for what is grave; that they are clean makes no network clean."""
        hosts = [endpoint.host for endpoint in CANARIES]
        retired = pki.issue(
            [EXAM], not_before=pki.now - dt.timedelta(days=300), not_after=pki.now - dt.timedelta(days=9)
        )
        async with (
            intercepted(pki, pki.private_ca("unused"), *hosts, genuine=hosts) as where,
            serve_origin(retired) as origin,
        ):
            where[EXAM, 443] = origin.address
            settings = settings_of(Endpoint(host=EXAM), resolve=where, offline=False, control=None, canaries=CANARIES)
            report = await Detector(**settings).check()
            canaries_alone = await Detector(**settings).check(CANARIES[:2])
        assert canaries_alone.verdict == "clean"
        assert reported(report.results) == [("exam", "expired", None), ("one", "logged", None), ("two", "logged", None)]
        assert report.verdict == "inconclusive"

    async def test_those_that_were_probed_are_not_probed_again(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Two canaries of different operators among the endpoints are enough; of one operator, one more is asked."""
        hosts = [endpoint.host for endpoint in CANARIES]
        twin = canary("one", port=8443)
        async with intercepted(pki, pki.private_ca("Filter CA"), EXAM, *hosts, genuine=hosts) as where:
            where["one.example.net", 8443] = where["one.example.net", 443]
            settings = settings_of(resolve=where, offline=False, control=None, canaries=CANARIES)
            enough = await Detector(**settings).check([Endpoint(host=EXAM), *CANARIES[:2]])
            one_operator = await Detector(**settings).check([Endpoint(host=EXAM), CANARIES[0], twin])
        assert [name for name, *_ in reported(enough.results)] == ["exam", "one", "two"]
        assert [name for name, *_ in reported(one_operator.results)] == ["exam", "one", "one", "two"]

    async def test_one_that_does_not_answer_is_replaced(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A blocked canary is no answer; another operator's is asked, once."""
        hosts = [endpoint.host for endpoint in CANARIES[1:]]
        async with intercepted(pki, pki.private_ca("Filter CA"), EXAM, *hosts, genuine=hosts) as where:
            async with serve_origin(pki.issue(["unused.example.net"])) as gone:
                where["one.example.net", 443] = gone.address
            settings = settings_of(resolve=where, offline=False, control=None, canaries=CANARIES)
            report = await Detector(**settings).check([EXAM])
        assert [name for name, *_ in reported(report.results)] == ["exam", "one", "two", "three"]
        assert report.results[1].observation.outcome is Outcome.CONNECT_REFUSED

    async def test_offline_asks_for_none(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """`offline` probes what was asked for, and nothing else."""
        async with intercepted(pki, pki.private_ca("Filter CA"), EXAM) as where:
            subject = Detector(**settings_of(resolve=where, canaries=CANARIES))
            report = await subject.check([EXAM])
        assert subject.canaries() == ()
        assert [name for name, *_ in reported(report.results)] == ["exam"]

    async def test_silent_canaries_cost_no_more_than_the_deadline(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """What cannot be asked in time is in the report as that."""
        async with (
            intercepted(pki, pki.private_ca("Filter CA"), EXAM) as where,
            serve_script(Script.silence()) as silent,
        ):
            where |= {(endpoint.host, 443): silent.address for endpoint in CANARIES}
            settings = settings_of(resolve=where, offline=False, control=None, canaries=CANARIES)
            report = await Detector(**settings).check([EXAM], deadline=2.0)
        assert {result.observation.outcome for result in report.results[1:]} == {Outcome.DEADLINE}
        assert (report.finished - report.started) < dt.timedelta(seconds=2.2)

    async def test_they_take_the_same_route(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Behind a proxy the canaries are probed through it; what is direct says nothing of it."""
        hosts = [EXAM, *(endpoint.host for endpoint in CANARIES)]
        async with serve_origin({host: pki.issue([host]) for host in hosts}) as origin:
            where = {(host, 443): origin.address for host in hosts}
            async with serve_middlebox(pki.private_ca("Filter CA"), upstream=where) as box:
                settings = settings_of(proxy=box.url, offline=False, control=None, canaries=CANARIES)
                report = await Detector(**settings).check([EXAM])
        assert {result.observation.route for result in report.results} == {"http-connect"}
        assert report.confidence == "proven"

    async def test_a_stream_asks_once_and_amends(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The first result is by itself; once the canaries are in, it is given again, and so are others."""
        ca = pki.private_ca("Filter CA")
        hosts = [endpoint.host for endpoint in CANARIES]
        async with intercepted(pki, ca, EXAM, LMS, SEARCH, *hosts) as where:
            settings = settings_of(resolve=where, offline=False, canaries=CANARIES)
            results = [result async for result in Detector(**settings).scan([EXAM, LMS, SEARCH])]
        latest = {result.endpoint.host: result for result in results}
        assert [result.endpoint.host for result in results if not result.amends].count("one.example.net") == 1
        assert {latest[host].confidence for host in hosts[:2]} == {"proven"}
        assert {latest[host].reason for host in (EXAM, LMS, SEARCH)} == {"signer-substitutes-elsewhere"}
        assert set(latest) == {EXAM, LMS, SEARCH, *hosts[:2]}
        assert latest[EXAM].amends


def test_the_shipped_canaries_are_of_different_operators() -> None:
    """What a follow-up asks on the open network: one well-known host of each operator, with stated roots."""
    shipped = follow_up.known_canaries(data_set.shipped())
    assert [endpoint.operator for endpoint in shipped[:2]] == ["Google", "Amazon Web Services"]
    assert len({endpoint.operator for endpoint in shipped}) == len(shipped) >= 3
    assert all(endpoint.canary and endpoint.runs_ca and endpoint.roots for endpoint in shipped)
    assert {endpoint.category for endpoint in shipped} == {Category.CANARY}
    assert shipped[0].host == "www.google.com"


def test_canaries_are_chosen_by_what_is_intercepted_most() -> None:
    """Search before updates, whatever stands first; who runs no CA, or is of no known operator, is no choice."""
    endpoints = [
        canary("one", category=Category.CANARY),
        Endpoint(host="search.one.example", operator="one", canary=True, runs_ca=True, category=Category.SEARCH),
        Endpoint(host="nobody.example", canary=True, runs_ca=True),
        Endpoint(host="other.example", operator="other", canary=True),
    ]
    assert [endpoint.host for endpoint in one_per_operator(endpoints)] == ["search.one.example"]


def test_those_that_are_under_way_count(world: World, pki: PrivatePKI) -> None:
    """Nothing is asked twice at once; what does not answer is replaced, and long ago counts no more."""
    canaries = Canaries(lambda: CANARIES, again_after=60)
    open_case = world.case(EXAM, pki.private_ca("Filter CA").issue([EXAM]))
    assert canaries.wanted([open_case], 0) == CANARIES[:2]
    assert canaries.wanted([open_case], 1) == ()
    seen = [
        EndpointEvidence(
            CANARIES[0], world.case("one.example.net", pki.issue([CANARIES[0].host])).observation, world.context()
        ),
        EndpointEvidence(CANARIES[1], Observation(outcome=Outcome.RESET), world.context()),
    ]
    canaries.note(seen, 2)
    assert canaries.wanted([open_case], 3) == CANARIES[2:3]
    canaries.note([EndpointEvidence(CANARIES[2], Observation(outcome=Outcome.RESET), world.context())], 4)
    assert canaries.wanted([open_case], 5) == CANARIES[3:]
    canaries.note([EndpointEvidence(CANARIES[3], Observation(outcome=Outcome.RESET), world.context())], 6)
    assert canaries.wanted([open_case], 7) == ()
    assert canaries.wanted([open_case], 200) == CANARIES[:2]


def test_only_what_is_open_asks_for_canaries(world: World, pki: PrivatePKI) -> None:
    """Cleared, declared, wrongly named and silent endpoints do not; whatever else has a right name does."""
    campus = pki.private_ca("Campus CA")
    stale = pki.issue([EXAM])
    for case, asks in (
        (world.case(EXAM, pki.issue([EXAM])), False),
        (world.case(EXAM, campus.issue([EXAM]), private_roots=(campus.certificate,)), False),
        (world.case(EXAM, campus.issue([LMS])), False),
        (world.case(EXAM, [], outcome=Outcome.CONNECT_REFUSED), False),
        (world.case(EXAM, campus.issue([EXAM])), True),
        (world.case(EXAM, pki.issue([EXAM], scts=0)), True),
        (world.case(EXAM, pki.issue([EXAM]), key_proved=False), True),
        (world.case(EXAM, campus.issue([EXAM]), private_roots=(campus.certificate,), key_proved=False), True),
        (world.case(EXAM, stale, pins=(bytes(32),)), True),
    ):
        assert bool(Canaries(lambda: CANARIES).wanted([case], 0)) is asks
