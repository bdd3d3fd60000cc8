"""Sessions of a network: one offer under several browsers, and what explains it otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.offers import FAMILIES, browsers, client, current, offer_of, others

from detector.model import Alternative, encode
from detector.origin import Claims, Family, Offer, Session, judge_sessions, sessions
from detector.origin.sessions import ACCOUNTS_MAX, OFFERS_MAX, OWN_NETWORKS_MIN, Sessions, is_comparable, key_of

if TYPE_CHECKING:
    import random

    from detector.origin import Judgment

C, F, S = FAMILIES
OWN: Final = {C: "Chromium 156.0", F: "Firefox ESR", S: "safari_26.0_iOS"}


def session(  # noqa: PLR0913 - what a session has, the rest by keyword
    offer: str | Offer,
    family: Family,
    account: str | None,
    *,
    network: str = "school",
    engine: Family | None = None,
    headers: tuple[str, ...] = (),
) -> Session:
    """A session of this client under the newest version of a family."""
    seen = client(offer) if isinstance(offer, str) else offer
    return Session(network=network, account=account, offer=seen, claims=current(family), engine=engine, headers=headers)


def home(family: Family = C, network: str = "home") -> Session:
    """A session of a browser with its own ClientHello."""
    return session(OWN[family], family, "somebody", network=network)


HOMES: Final = [home(network=f"home {number}") for number in range(OWN_NETWORKS_MIN)]
"""Enough networks whose browsers arrive with their own."""


def school(*sessions: Session, nothing_in_between: bool = False) -> Judgment:
    """The judgment of the network named "school"."""
    found = judge_sessions(sessions, nothing_in_between=nothing_in_between)
    return next(one.judgment for one in found if one.network == "school")


def seen(*sessions: Session, nothing_in_between: bool = False) -> tuple[str | None, str]:
    """Confidence and reason for that network."""
    found = school(*sessions, nothing_in_between=nothing_in_between)
    return found.confidence, found.reason


SHARED: Final = "one-offer-several-browsers"
OFFER: Final = "impossible-offer"
MITM: Final = "mitmproxy"


@pytest.mark.parametrize("product", [one.client for one in others()])
def test_one_offer_under_two_browsers(product: str) -> None:
    """A program's ClientHello under two families, of two people who signed in, is probable."""
    assert seen(session(product, C, "a"), session(product, F, "b")) == ("probable", SHARED)


def test_with_engines() -> None:
    """With scripts that saw both engines it is proven, once no front of the site can explain it."""
    two = session(MITM, C, "a", engine=C), session(MITM, F, "b", engine=F)
    assert seen(*two) == ("probable", SHARED)
    assert seen(*two, nothing_in_between=True) == ("proven", SHARED)
    assert seen(*two, *HOMES) == ("proven", SHARED)
    assert school(*two, *HOMES).alternatives == ()
    assert seen(*two, *HOMES[1:]) == ("probable", SHARED)
    one = session(MITM, C, "a", engine=C), session(MITM, F, "b")
    assert seen(*one, *HOMES) == ("probable", SHARED)


def test_engines_that_contradict_the_claim_prove_nothing() -> None:
    """A script that saw another engine than the User-Agent names shows a changed User-Agent."""
    assert seen(session(MITM, C, "a", engine=F), session(MITM, F, "b", engine=F), home()) == ("probable", SHARED)


def test_who_signed_in_counts() -> None:
    """One person with two browsers, and sessions without a sign-in, are no two people."""
    one_person = session(MITM, C, "a", engine=C), session(MITM, F, "a", engine=F)
    nobody = session(MITM, C, None), session(MITM, F, None)
    assert seen(*one_person, *HOMES)[1] == OFFER
    assert seen(*nobody)[1] == OFFER


def test_two_families_are_needed() -> None:
    """The same ClientHello in many sessions of one family stays what one session is."""
    many = [session("Go 1.19", C, f"account {number}") for number in range(20)]
    assert seen(*many) == ("probable", OFFER)


def test_developer_tools_and_changed_user_agents() -> None:
    """A browser that names another one is possible, alone and with those that do not."""
    for own, other in ((C, S), (F, C), (S, F)):
        spoofed = session(OWN[own], other, "b")
        assert seen(spoofed) == ("possible", OFFER)
        assert seen(session(OWN[own], own, "a"), spoofed) == ("possible", SHARED)
        assert Alternative.SPOOFED_USER_AGENT in school(session(OWN[own], own, "a"), spoofed).alternatives


def test_a_browsers_offer_in_place_of_all_others() -> None:
    """Three people's Firefox with Chromium's ClientHello is probable, and possible where another has its own."""
    replaced = session(OWN[C], C, "a"), *(session(OWN[C], F, account) for account in "bcd")
    assert seen(*replaced) == ("probable", SHARED)
    assert seen(*replaced[:-1]) == ("possible", SHARED)
    assert seen(*replaced, session(OWN[F], F, "e")) == ("possible", SHARED)
    engines = session(OWN[C], C, "a", engine=C), session(OWN[C], F, "b", engine=F)
    assert seen(*engines, *HOMES) == ("proven", SHARED)


def test_a_script_excuses_a_changed_user_agent_alone() -> None:
    """Three telephones of developer tools are three while scripts see the browser; no script excuses nobody's offer."""
    own = session(OWN[C], C, "teacher", engine=C)
    shown = [session(OWN[C], S, account, engine=C) for account in "abc"]
    assert seen(own, *shown, *HOMES) == ("possible", SHARED)
    assert seen(own, *shown[1:], session(OWN[C], S, "a"), session(OWN[C], S, "d"), *HOMES)[0] == "possible"
    assert seen(own, *(session(OWN[C], S, account) for account in "abc"), *HOMES) == ("probable", SHARED)
    proxied = [session("mitmproxy", family, account, engine=S) for family, account in ((C, "a"), (F, "b"))]
    assert seen(*proxied, *HOMES) == ("probable", SHARED)


def test_a_browser_under_two_other_names() -> None:
    """A browser that names two others, as a site's developers let it, is no program's ClientHello."""
    assert seen(session(OWN[F], C, "a"), session(OWN[F], S, "b")) == ("possible", SHARED)


def test_a_front_of_the_site() -> None:
    """A front that ends TLS for everybody accuses no network, also with two people who pass it by."""
    fronted = [
        session("HAProxy", family, f"{network} {family}", network=network, engine=family)
        for network in ("school", "home", "office")
        for family in FAMILIES
    ]
    assert seen(*fronted) == ("possible", SHARED)
    assert seen(*fronted, *HOMES[:2]) == ("possible", SHARED)
    assert Alternative.FRONT_OF_THE_OPERATOR in school(*fronted).alternatives
    assert seen(*fronted, nothing_in_between=True) == ("proven", SHARED)


def test_one_product_in_two_networks() -> None:
    """Networks that share a product are probable once browsers elsewhere arrive with their own, and not proven."""
    both = [
        session("Squid", family, f"{network} {family}", network=network, engine=family)
        for network in ("school", "another school")
        for family in (C, F)
    ]
    assert seen(*both) == ("possible", SHARED)
    assert seen(*both, *HOMES[:2]) == ("possible", SHARED)  # a site's own people, past its front
    assert seen(*both, *HOMES) == ("probable", SHARED)
    assert seen(*both, home(network="another school")) == ("probable", SHARED)  # a front would hide that browser, too


def test_a_browser_on_ios_with_its_makers_stack() -> None:
    """CriOS with Chromium's stack, next to Chromium, shares no ClientHello between families."""
    ios = Claims(family=S, major=26, maker_ships=C)
    two = session(OWN[C], C, "a"), Session(network="school", account="b", offer=client(OWN[C]), claims=ios)
    assert seen(*two) == (None, "nothing-seen")


def test_parts_that_browsers_share() -> None:
    """Cipher suites alone, which Tor Browser and Chromium share, make no two offers one."""
    suites = [Offer.of_lists(cipher_suites=client(name).cipher_suites, has_reserved=False) for name in ("tor", OWN[C])]
    assert len({key_of(one) for one in suites} - {None}) <= 2
    assert not any(map(is_comparable, suites))
    assert seen(session(suites[0], F, "a"), session(suites[1], C, "b")) == (None, "nothing-seen")


def test_no_two_families_share_an_offer() -> None:
    """No recorded ClientHello is that of two families."""
    families: dict[object, set[Family]] = {}
    for one in browsers():
        families.setdefault(key_of(offer_of(one)), set()).add(one.family)
    assert all(len(found) == 1 for found in families.values())


def test_a_header() -> None:
    """A header that only interceptors add is possible, with any browser and with none."""
    added = session(OWN[C], C, "a", headers=("Host", "X-BlueCoat-Via"))
    unknown = Session(network="school", offer=Offer(), claims=Claims(), headers=("x-bluecoat-via",))
    assert seen(added) == ("possible", "interceptor-header")
    assert seen(unknown) == ("possible", "interceptor-header")
    assert seen(session(OWN[C], C, "a", headers=("Via", "X-Forwarded-For"))) == (None, "nothing-seen")


def test_a_product_is_named_from_probable_on() -> None:
    """From probable on the one product that sends this is named; a library, and anything milder, names nobody."""
    named = school(session(MITM, C, "a"), session(MITM, F, "b")).attribution
    assert named is not None
    assert named.product == "mitmproxy"
    assert school(session("Go 1.19", C, "a"), session("Go 1.19", F, "b")).attribution is None
    assert school(session(OWN[C], S, "a")).attribution is None


@given(st.randoms(use_true_random=False))
def test_the_order_does_not_matter(shuffle: random.Random) -> None:
    """Sessions in any order give the same judgments."""
    many = [
        *(session(MITM, family, f"a {family}", engine=family) for family in FAMILIES),
        session(OWN[C], S, "b"),
        home(),
        home(F, "school"),
        session("Squid", C, None, network="office", headers=("X-MWG-Via",)),
    ]
    expected = {one.network: one for one in judge_sessions(many)}
    shuffle.shuffle(many)
    assert {one.network: one for one in judge_sessions(many)} == expected


def test_a_flood_does_not_hide_an_interceptor() -> None:
    """Inconspicuous offers make room for one that contradicts its browser."""
    own = client(OWN[C])
    quiet = [msgspec.structs.replace(own, groups=(29, 0xE000 + number)) for number in range(2 * OFFERS_MAX)]
    assessed = school(*[session(offer, C, "a") for offer in quiet], session(client("mitmproxy"), C, "b"))
    assert assessed.confidence == "probable"


def test_networks_and_offers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with much address space makes no more networks and offers than are followed."""
    monkeypatch.setattr(sessions, "NETWORKS_MAX", 4)
    monkeypatch.setattr(sessions, "FOLLOWED_MAX", 10)
    collected = Sessions()
    for number in range(100):
        offer = Offer.of_lists(cipher_suites=[0x1301 + number])
        collected.add(session(offer, F, "a", network=str(number % 8)))
    assert len(collected.judgments()) == 4
    assert sum(len(network.offers) for network in collected._networks.values()) == 10


def test_memory_is_bounded() -> None:
    """A network with any number of offers and accounts keeps a bounded number of each, and nobody's name comes out."""
    sessions = Sessions()
    for number in range(3 * OFFERS_MAX):
        offer = Offer.of_lists(cipher_suites=[0x1301, 0x2000 + number], groups=[29])
        for account in range(2 * ACCOUNTS_MAX):
            sessions.add(session(offer, C, f"person {account}"))
    (network,) = sessions._networks.values()
    assert len(network.offers) == OFFERS_MAX
    assert all(len(found) <= ACCOUNTS_MAX for one in network.offers.values() for found in one.accounts.values())
    (judgment,) = sessions.judgments()
    assert judgment.sessions == judgment.contradicting == 6 * OFFERS_MAX * ACCOUNTS_MAX
    assert b"person" not in encode(judgment)
