"""Impossibilities: what contradicts a family, and that nothing a browser varies does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from build_client_hellos import PROGRAMS, capture
from hypothesis import given
from hypothesis import strategies as st
from support.offers import FAMILIES, as_of, browsers, client, current, offer_of, others, recorded
from support.system import program

from detector.knowledge.data_set import shipped
from detector.model import Hello
from detector.origin import Verdict, judge, rules
from detector.origin.assess import contradicted
from detector.origin.claims import Claims, Family
from detector.origin.offer import LIST_MAX, Offer
from detector.origin.rules import AHEAD_MAX, contradictions

if TYPE_CHECKING:
    from detector.knowledge.browser_offers import RecordedOffer

C, F, S = FAMILIES
DATA: Final = shipped().browser_offers
PARTS: Final = ("cipher_suites", "groups", "extensions", "signature_schemes")
RESERVED: Final = {name: f"reserved_{name}" for name in PARTS[:3]}
VARIES: Final[dict[str, tuple[int, ...]]] = {
    "cipher_suites": (0x1301, 0x1302, 0x1303),
    "groups": (0x11EC, 0x6399, 0x11ED, 0x11EB, 0x202),
    "extensions": (0, 5, 10, 11, 13, 16, 18, 21, 23, 35, 41, 42, 43, 44, 45, 51, 51764, 65037, 65281),
    "signature_schemes": (0x0904, 0x0905, 0x0906, 0x0807, 0x0403),
}
"""What versions, settings, field trials, session resumption and the request's name add or remove: TLS 1.3, post-quantum
groups, Encrypted ClientHello, trust anchors, pre-shared keys, early data, cookies, padding, OCSP, SCTs, ALPN."""

BROKEN: Final = {
    ("mitmproxy", C): "no-reserved-values cipher-suite-never-offered group-never-offered extension-never-sent "
    "signature-scheme-never-offered no-certificate-compression",
    ("mitmproxy", F): "cipher-suite-never-offered group-never-offered extension-never-sent "
    "signature-scheme-never-offered no-record-size-limit",
    ("Go 1.19", C): "no-reserved-values cipher-suite-never-offered group-never-offered no-certificate-compression",
    ("Go 1.19", F): "cipher-suite-never-offered no-record-size-limit no-finite-field-groups",
    ("Go 1.19", S): "no-reserved-values no-certificate-compression",
    ("uv 0.13.9", C): "no-reserved-values cipher-suite-never-offered no-certificate-compression",
    ("uv 0.13.9", F): "cipher-suite-never-offered no-record-size-limit no-finite-field-groups",
    ("uv 0.13.9", S): "no-reserved-values cipher-suite-never-offered no-certificate-compression",
    ("nginx", S): "no-reserved-values cipher-suite-never-offered group-never-offered extension-never-sent "
    "signature-scheme-never-offered no-certificate-compression",
    ("Chromium 156.0", F): "reserved-values extension-never-sent no-record-size-limit no-finite-field-groups",
    ("Chromium 156.0", S): "extension-never-sent",
    ("Firefox ESR", C): "no-reserved-values cipher-suite-never-offered group-never-offered extension-never-sent",
    ("Firefox ESR", S): "no-reserved-values group-never-offered extension-never-sent",
    ("safari_26.0_iOS", C): "cipher-suite-never-offered group-never-offered",
    ("safari_26.0_iOS", F): "reserved-values cipher-suite-never-offered no-record-size-limit no-finite-field-groups",
}
"""The rules that a ClientHello breaks under a family."""


def broken(offer: Offer, claims: Claims) -> set[str]:
    """The names of the rules that an offer breaks."""
    return {one.rule for one in contradictions(offer, claims, DATA)}


@pytest.mark.parametrize(("name", "family"), BROKEN)
def test_what_contradicts(name: str, family: Family) -> None:
    """A ClientHello breaks exactly these rules of a family."""
    assert broken(client(name), current(family)) == set(BROKEN[name, family].split())


@pytest.mark.parametrize("one", browsers(), ids=lambda one: one.client)
def test_browsers_do_not_contradict_themselves(one: RecordedOffer) -> None:
    """No recorded browser breaks a rule of its own family, in its version or the newest."""
    for claims in (Claims(family=one.family, major=one.major), current(one.family)):
        if not (one.client.startswith("safari_15.3") and claims.major != one.major):  # a system that 18 does not run on
            assert broken(offer_of(one), claims) == set()
    assert judge(offer_of(one), Claims(family=one.family, major=one.major)).verdict is Verdict.NOTHING_SEEN


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("one", others(), ids=lambda one: one.client)
def test_other_clients_contradict_every_family(one: RecordedOffer, family: Family) -> None:
    """Every recorded client that is no browser breaks rules of two independent parts of every family."""
    assert len(contradictions(offer_of(one), current(family), DATA)) > 1


@given(st.data(), st.sampled_from(browsers()))
def test_what_a_browser_varies(data: st.DataObject, one: RecordedOffer) -> None:
    """Whatever a browser adds, leaves out or orders differently, it does not contradict itself."""
    changed: dict[str, object] = {}
    for part in PARTS:
        own: tuple[int, ...] = getattr(one, part)
        removed = data.draw(st.sets(st.sampled_from(VARIES[part])))
        added = data.draw(st.lists(st.sampled_from(VARIES[part]), unique=True))
        kept = [number for number in own if number not in removed] + [number for number in added if number not in own]
        changed[part] = tuple(data.draw(st.permutations(kept)))
    if one.family is F:  # settings of single cipher suites
        suites = data.draw(st.lists(st.sampled_from((*one.cipher_suites, 0x000A, 0x0033, 0x0039)), unique=True))
        changed["cipher_suites"] = tuple(suites)
        if data.draw(st.booleans()):  # the largest version is TLS 1.2
            changed |= {"groups": (29, 23, 24, 25), "cipher_suites": tuple(set(suites) - {0x1301, 0x1302, 0x1303})}
        elif not {256, 257} & set(one.groups):
            return
    offer = msgspec.structs.replace(offer_of(one), **changed)
    assert broken(offer, Claims(family=one.family, major=one.major)) == set()


@given(st.data(), st.sampled_from(recorded()), st.sampled_from(FAMILIES))
def test_less_is_never_worse(data: st.DataObject, one: RecordedOffer, family: Family) -> None:
    """Taking parts of an offer away, or the ends of its lists, never adds a contradiction or raises a confidence."""
    offer, claims = offer_of(one), current(family)
    for part in data.draw(st.sets(st.sampled_from(PARTS))):
        missing = {part: None} | ({RESERVED[part]: None} if part in RESERVED else {})
        less = msgspec.structs.replace(offer, **missing)
        assert broken(less, claims) <= broken(offer, claims)
        assert _severity(less, claims) <= _severity(offer, claims)
        offer = less
    cut = data.draw(st.integers(0, 20))
    ends = {part: getattr(offer, part)[:cut] for part in PARTS if getattr(offer, part) is not None}
    less = msgspec.structs.replace(offer, **ends, is_cut=True)
    assert broken(less, claims) <= broken(offer, claims)


def _severity(offer: Offer, claims: Claims) -> int:
    confidence = judge(offer, claims).confidence
    return 0 if confidence is None else 1 + ["possible", "probable", "proven"].index(confidence)


@given(st.sampled_from(recorded()), st.none() | st.integers(0, 9999))
def test_an_unknown_family_contradicts_nothing(one: RecordedOffer, major: int | None) -> None:
    """Whatever is offered, a family that is not known, or has no version, is not contradicted."""
    assert judge(offer_of(one), Claims(major=major)).verdict is Verdict.NOTHING_SEEN
    for family in FAMILIES:
        assert judge(offer_of(one), Claims(family=family)).verdict is Verdict.NOTHING_SEEN


def test_an_empty_offer_contradicts_nothing() -> None:
    """Where nothing was seen of a ClientHello, nothing follows."""
    for family in FAMILIES:
        assert broken(Offer(), current(family)) == set()


@pytest.mark.parametrize("rule", rules.TABLE, ids=lambda rule: rule.name)
def test_every_rule_is_needed(rule: rules.Impossibility, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule is broken by some ClientHello under each of its families, and missed when it is switched off."""

    def breakers(family: Family) -> set[str]:
        return {one for one, offer in offers.items() if rule.name in broken(offer, current(family))}

    offers = {one.client: offer_of(one) for one in recorded()}
    offers["nobody's"] = Offer.of_lists(cipher_suites=[0x1301] * (LIST_MAX + 1))
    before = {family: breakers(family) for family in rule.floors}
    assert all(before.values())
    plans = {
        family: plan._replace(rules=tuple(one for one in plan.rules if one[0] is not rule))
        for family, plan in rules._PLANS.items()
    }
    monkeypatch.setattr(rules, "_PLANS", plans)
    assert not any(breakers(family) for family in rule.floors)


def test_rules_of_a_family_are_independent() -> None:
    """No two rules of a family read the same part."""
    for family in FAMILIES:
        parts = [rule.part for rule in rules.TABLE if family in rule.floors]
        assert len(parts) == len(set(parts))


@pytest.mark.parametrize("family", FAMILIES)
def test_versions_that_the_data_does_not_know(family: Family) -> None:
    """Claims far above the data break only what does not depend on it, and claims below break nothing."""
    sets, offer = DATA.families[family], client("mitmproxy")
    last = sets.last + AHEAD_MAX[family]
    timeless = set() if family is F else {"no-reserved-values"}
    assert broken(offer, Claims(family=family, major=last)) == broken(offer, current(family))
    assert broken(offer, Claims(family=family, major=last + 1)) == timeless
    assert broken(offer, Claims(family=family, major=sets.first - 1)) == set()


FUTURES: Final = {
    "Chromium 131": ({C: 131}, C),
    "Chromium 118": ({C: 118}, C),
    "Chromium 150": ({C: 150}, C),
    "Firefox 133": ({F: 133}, F),
    "Firefox 144": ({F: 144}, F),
    "Safari 17": ({S: 17}, S),
    "Safari 15": ({S: 15}, S),
}


@pytest.mark.parametrize("name", FUTURES)
def test_the_future_is_not_accused(name: str) -> None:
    """Data that ends at a version accuses no later version of the family."""
    newest, family = FUTURES[name]
    data = as_of(newest)
    later = [one for one in browsers() if one.family is family and (one.major or 0) > newest[family]]
    assert data.families[family].last == newest[family]
    assert later
    for one in later:
        assert contradicted(offer_of(one), Claims(family=family, major=one.major), data) == ()
    for one in others():  # and still sees who is no browser
        assert contradicted(offer_of(one), Claims(family=family, major=newest[family] + 1), data)


def test_a_browser_on_ios_may_use_its_makers_stack() -> None:
    """Under CriOS, Apple's and Chromium's ClientHellos contradict nothing, and everybody else's contradicts."""
    claims = Claims(family=S, major=26, maker_ships=C)
    assert judge(client("safari_26.0_iOS"), claims).verdict is Verdict.NOTHING_SEEN
    assert judge(client("Chromium 156.0"), claims).verdict is Verdict.NOTHING_SEEN
    assert judge(client("Firefox ESR"), claims).verdict is Verdict.MIDDLEWARE
    assert judge(client("Go 1.19"), claims).verdict is Verdict.MIDDLEWARE


def test_finite_field_groups_on_linux() -> None:
    """A policy of a Linux system removes groups from Firefox, so that their absence contradicts nothing there."""
    without = msgspec.structs.replace(client("Firefox ESR"), groups=(0x11EC, 29, 23, 24, 25))
    assert broken(without, current(F)) == {"no-finite-field-groups"}
    assert broken(without, msgspec.structs.replace(current(F), is_linux=True)) == set()


SETTINGS: Final = {
    (Hello.FIREFOX, "TLS 1.2"): 'user_pref("security.tls.version.max", 3);',
    (Hello.FIREFOX, "post-handshake authentication"): 'user_pref("security.tls.enable_post_handshake_auth", true);',
    (Hello.FIREFOX, "old versions"): 'user_pref("security.tls.version.enable-deprecated", true);',
    (Hello.FIREFOX, "nothing"): "",
    (Hello.BROWSER, "TLS 1.2"): "--ssl-version-max=tls1.2",
    (Hello.BROWSER, "TLS 1.3"): "--ssl-version-min=tls1.3",
    (Hello.BROWSER, "nothing"): "--incognito",
}


@pytest.mark.lab
@pytest.mark.parametrize(("hello", "name"), SETTINGS)
async def test_installed_browsers(hello: Hello, name: str) -> None:
    """The installed browsers do not contradict themselves, under settings that change their ClientHello."""
    program(PROGRAMS[hello])
    family = {Hello.BROWSER: C, Hello.FIREFOX: F}[hello]
    for connection in await capture(hello, SETTINGS[hello, name], count=1):
        offer = Offer.of_hello(connection.first)
        assert broken(offer, current(family)) == set()
        assert offer.reserved_cipher_suites is offer.reserved_groups is (hello is Hello.BROWSER)
