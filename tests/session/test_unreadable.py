"""Chains in a form that is not verified here: they are asked for again with a hello that offers only what is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Script, serve_proxy, serve_script
from support.odd_keys import GOST_SPKI, SM2_SM3, rewritten

from detector import Detector, Endpoint
from detector.model import Hello, Observation, Route
from detector.trust.certificate import Certificate
from detector.trust.signature import READABLE_DEPTH_MAX, is_readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import Issued, PrivatePKI

    from detector.model import Result

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"


def unreadable(issued: Issued) -> Script:
    """A server that presents its chain with a leaf that is signed by SM2, as far as it says."""
    leaf = rewritten(issued.leaf, algorithm=SM2_SM3)
    return dataclasses.replace(Script.genuine(issued), certificates=(leaf, *issued.chain[1:]))


def observations(result: Result) -> list[Observation]:
    return [result.observation, *result.other_observations]


async def test_a_genuine_server_sends_the_other_chain(pki: PrivatePKI, settings_of: Settings) -> None:
    """Who has two chains sends the readable one to a client that asks for it: then nothing else counts."""
    issued = pki.issue([EXAM])
    async with serve_script([unreadable(issued), Script.genuine(issued)]) as server:
        subject = Detector(**settings_of(Endpoint(host=EXAM, roots=("A",)), resolve={(EXAM, 443): server.address}))
        (result,) = (await subject.check()).results
    assert (result.verdict, result.reason, server.connections) == ("clean", "logged", 2)
    assert {seen.hello for seen in observations(result)} == {Hello.BROWSER, Hello.READABLE}
    assert result.observation.hello is Hello.READABLE


@pytest.mark.parametrize("hello", ["browser", "firefox", "openssl"])
async def test_every_first_hello_is_followed_by_a_readable_one(
    hello: str, pki: PrivatePKI, settings_of: Settings
) -> None:
    """Whichever hello was chosen: the second probe offers what can be verified, and its answer takes the place."""
    issued = pki.issue([EXAM])
    async with serve_script([unreadable(issued), Script.genuine(issued)]) as server:
        subject = Detector(**settings_of(hello=hello, resolve={(EXAM, 443): server.address}))
        (result,) = (await subject.check([EXAM])).results
    assert (result.verdict, result.reason, server.connections) == ("clean", "logged", 2)
    assert [seen.hello for seen in observations(result)] == [Hello.READABLE, Hello(hello)]


async def test_what_stays_unreadable_accuses_mildly(pki: PrivatePKI, settings_of: Settings) -> None:
    """Where the endpoint's genuine chain is known to be a public one; else it is left open. Never clean."""
    issued = pki.issue([EXAM])
    for roots, verdict, reason in (
        (("A",), "middleware", "unreadable-persists"),
        ((), "inconclusive", "unreadable"),
    ):
        async with serve_script([unreadable(issued)] * 2) as server:
            subject = Detector(**settings_of(Endpoint(host=EXAM, roots=roots), resolve={(EXAM, 443): server.address}))
            (result,) = (await subject.check()).results
        assert (result.verdict, result.reason, server.connections) == (verdict, reason, 2)
        assert result.confidence in {None, "possible"}


async def test_an_interceptor_that_offers_something_else_is_found(pki: PrivatePKI, settings_of: Settings) -> None:
    """A forger gains nothing by an unreadable chain first: what comes second is assessed like any other."""
    forged = pki.private_ca("Filter CA").issue([EXAM])
    async with serve_script([unreadable(pki.issue([EXAM])), Script.genuine(forged)]) as server:
        subject = Detector(**settings_of(Endpoint(host=EXAM, roots=("A",)), resolve={(EXAM, 443): server.address}))
        (result,) = (await subject.check()).results
    assert (result.reason, result.confidence) == ("identity-substituted", "proven")


async def test_a_scan_asks_again_as_well(pki: PrivatePKI, settings_of: Settings) -> None:
    """Streams probe as checks do."""
    issued = pki.issue([EXAM])
    async with serve_script([unreadable(issued), Script.genuine(issued)]) as server:
        subject = Detector(**settings_of(resolve={(EXAM, 443): server.address}))
        results = [result async for result in subject.scan([EXAM])]
    assert [result.reason for result in results] == ["logged"]


async def test_every_route_is_asked_again_on_its_own(pki: PrivatePKI, settings_of: Settings) -> None:
    """The second probe takes the route of the first, through the same proxy."""
    issued = pki.issue([EXAM])
    async with (
        serve_script([unreadable(issued), Script.genuine(issued)]) as server,
        serve_script([unreadable(issued), Script.genuine(issued)]) as behind,
        serve_proxy(upstream={(EXAM, 443): behind.address, server.address: behind.address}) as proxy,
    ):
        settings = settings_of(route="direct,proxy", proxy=proxy.url, resolve={(EXAM, 443): server.address})
        (result,) = (await Detector(**settings).check([EXAM])).results
    again = [seen.route for seen in observations(result) if seen.hello is Hello.READABLE]
    assert sorted(again) == [Route.DIRECT, Route.HTTP_CONNECT]
    assert (result.verdict, result.reason) == ("clean", "logged")


async def test_readable_chains_are_asked_for_once(pki: PrivatePKI, settings_of: Settings) -> None:
    """Every usual server is spared the second connection."""
    for issued in (pki.issue([EXAM]), pki.issue([EXAM], key="rsa"), pki.private_ca("Filter CA").issue([EXAM])):
        async with serve_script(Script.genuine(issued)) as server:
            await Detector(**settings_of(resolve={(EXAM, 443): server.address})).check([EXAM])
        assert server.connections == 1


def test_what_is_readable(pki: PrivatePKI) -> None:
    """By form: algorithms of all but self-issued certificates, and the keys of CAs, as far up as a path may go."""
    leaf, ca = map(Certificate.read, pki.issue([EXAM]).chain[:2])
    root = Certificate.read(pki.root_a.certificate)
    odd_leaf, odd_ca, odd_root = (Certificate.read(rewritten(c.der, algorithm=SM2_SM3)) for c in (leaf, ca, root))
    assert is_readable([leaf, ca, root])
    assert is_readable([leaf, ca, odd_root])
    assert is_readable([Certificate.read(rewritten(leaf.der, key=GOST_SPKI)), ca])
    assert is_readable([leaf, *[ca] * READABLE_DEPTH_MAX, odd_ca])
    assert not is_readable([odd_leaf, ca])
    assert not is_readable([leaf, odd_ca])
    assert not is_readable([leaf, Certificate.read(rewritten(ca.der, key=GOST_SPKI))])
    assert not is_readable([Certificate.read(b"garbage")])
    assert is_readable([])
