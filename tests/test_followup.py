"""Second looks over real sockets: fetched issuers, control requests and HTTP dates, made only where they can help."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from detector import Detector, Endpoint
from detector.second_look import Control
from detector.testing import Script, serve_files, serve_origin, serve_script
from detector.testing.pki import sct_list_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
CA, CHECK = "ca.example.com", "check.example.com"
AIA = (f"http://{CA}/issuing.der",)
CONTROL = Control(f"http://{CHECK}/here", status=200, body=b"success\n")


async def test_forgotten_intermediate_is_fetched(pki: PrivatePKI, settings_of: Settings) -> None:
    """A server that forgot its intermediate is cleared by fetching it, and left open without."""
    incomplete = pki.issue([EXAM], aia=AIA)
    async with (
        serve_origin(incomplete.with_chain(incomplete.leaf)) as origin,
        serve_files({"/issuing.der": pki.intermediate_ec.certificate}) as files,
    ):
        where = {(EXAM, 443): origin.address, (CA, 80): files.address}
        fetched = await Detector(**settings_of(resolve=where, offline=False, control=None)).check([EXAM])
        offline = await Detector(**settings_of(resolve=where)).check([EXAM])
    assert (fetched.results[0].row, fetched.verdict) == (10, "clean")
    assert (offline.results[0].row, offline.confidence) == (16, "possible")
    assert [request.target for request in files.requests] == ["/issuing.der"]


async def test_omitted_issuer_is_no_excuse_once_fetched(pki: PrivatePKI, settings_of: Settings) -> None:
    """A forger with copied timestamps and an omitted issuer is proven once its own CA answers."""
    genuine, ca = pki.issue([EXAM]), pki.private_ca("Filter CA")
    forged = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf), aia=AIA)
    async with (
        serve_origin(forged.with_chain(forged.leaf)) as origin,
        serve_files({"/issuing.der": ca.certificate}) as files,
    ):
        where = {(EXAM, 443): origin.address, (CA, 80): files.address}
        endpoint = Endpoint(host=EXAM, pins=(genuine.spki_sha256,))
        subject = Detector(**settings_of(endpoint, resolve=where, offline=False, control=None))
        report = await subject.check()
    assert (report.results[0].row, report.confidence) == (17, "proven")


async def test_garbage_from_the_issuer_address_changes_nothing(pki: PrivatePKI, settings_of: Settings) -> None:
    """What is fetched is never trusted: garbage, or a stranger's CA, leaves the question open."""
    incomplete = pki.issue([EXAM], aia=AIA)
    for content in (b"garbage", pki.private_ca("Stranger").certificate, b"\0" * 300_000):
        async with (
            serve_origin(incomplete.with_chain(incomplete.leaf)) as origin,
            serve_files({"/issuing.der": content}) as files,
        ):
            where = {(EXAM, 443): origin.address, (CA, 80): files.address}
            report = await Detector(**settings_of(resolve=where, offline=False, control=None)).check([EXAM])
        assert report.results[0].row == 16


@pytest.mark.parametrize(("body", "outcome"), [(b"success\n", "open"), (b"<html>Sign in", "content-mismatch")])
async def test_control_request(body: bytes, outcome: str, pki: PrivatePKI, settings_of: Settings) -> None:
    """Where certificates are for another name, the control request tells a portal from another cause."""
    hotspot = pki.private_ca("Hotspot CA").issue(["login.hotspot.example"])
    async with serve_origin(hotspot) as origin, serve_files({"/here": body}) as files:
        where = {(EXAM, 443): origin.address, (CHECK, 80): files.address}
        subject = Detector(**settings_of(resolve=where, offline=False, control=CONTROL))
        report = await subject.check([EXAM])
    (result,) = report.results
    assert report.portal is not None
    assert report.portal.outcome == outcome
    assert result.attribution is not None
    assert (result.attribution.category == "captive-portal") == (outcome != "open")
    assert ("sign in" in result.advice) == (outcome != "open")


async def test_filter_that_blocks_the_control_request_is_no_portal(pki: PrivatePKI, settings_of: Settings) -> None:
    """Who forges the right name for each host stays an interceptor, whatever its block page looks like."""
    ca = pki.private_ca("Filter CA")
    async with (
        serve_origin(ca.issue([EXAM])) as exam,
        serve_origin(ca.issue([LMS])) as lms,
        serve_files({"/here": b"blocked"}) as files,
    ):
        where = {(EXAM, 443): exam.address, (LMS, 443): lms.address, (CHECK, 80): files.address}
        report = await Detector(**settings_of(resolve=where, offline=False, control=CONTROL)).check([EXAM, LMS])
    assert report.confidence == "proven"
    assert {i.category for i in report.interceptors} == {"unknown"}


async def test_clean_network_is_asked_nothing(pki: PrivatePKI, settings_of: Settings) -> None:
    """Where everything is genuine no second look is made."""
    async with serve_origin(pki.issue([EXAM], aia=AIA)) as origin, serve_files({"/here": b"x"}) as files:
        where = {(EXAM, 443): origin.address, (CHECK, 80): files.address, (CA, 80): files.address}
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


async def test_wrong_clock_is_told_by_http_dates(pki: PrivatePKI, settings_of: Settings) -> None:
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
            **settings_of(*endpoints, resolve=where, offline=False, control=None),
            clock=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=3650),
        )
        report = await subject.check()
    assert [(r.row, r.reason) for r in report.results] == [(8, "clock-skew")] * 2
