"""Networks of a log: names without addresses, samples that a flood cannot bend, and one device apart from a network."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.model import Category, Confidence, EndpointName, Verdict
from detector.origin import Claims, Family, Offer
from detector.origin.logs import Entry
from detector.origin.networks import CLIENTS_MAX, COMBINATIONS_MAX, UNKNOWN, Extent, Networks, Share, network_of
from detector.origin.reports import Log, of_log, of_network
from detector.origin.sessions import OWN_NETWORKS_MIN
from detector.report import headline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.origin.networks import Network

KEY = bytes(range(32))
CHROMIUM = Claims(family=Claims.of("Mozilla/5.0 (X11) Chrome/150.0.0.0").family, major=150)
FIREFOX = Claims.of("Mozilla/5.0 (Windows NT 10.0; rv:144.0) Gecko/20100101 Firefox/144.0")
OWN = Offer.of_lists(
    cipher_suites=(0x0A0A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F),
    groups=(0x1A1A, 29, 23, 24),
    extensions=(0x2A2A, 0, 27),
)
FIREFOXES = Offer.of_lists(
    cipher_suites=(0x1301, 0x1303, 0x1302, 0xC02B), groups=(29, 23, 24, 25, 256, 257), extensions=(0, 23, 27, 28, 34)
)
PROXYS = Offer.of_lists(cipher_suites=(0x1302, 0x1303, 0x9E, 0xC023), groups=(29, 23, 30), extensions=(0, 22, 49))
LOG = Log(
    site=EndpointName(host="exam.example.edu", port=443, category=Category.EXAM),
    started=dt.datetime(2026, 11, 30, tzinfo=dt.UTC),
    finished=dt.datetime(2026, 11, 30, 1, tzinfo=dt.UTC),
    version="0",
)


def entry(offer: Offer, claims: Claims = CHROMIUM, address: str = "192.0.2.1", account: str = "") -> Entry:
    identifier = {id(OWN): b"own", id(PROXYS): b"proxy", id(FIREFOXES): b"firefox"}.get(id(offer), repr(offer).encode())
    return Entry(offer, identifier, claims, address, account, "")


def counted(entries: Iterable[Entry], *, clients_max: int = CLIENTS_MAX) -> Networks:
    networks = Networks(KEY, clients_max=clients_max)
    for one in entries:
        networks.add(one)
    return networks


def only(networks: Networks) -> Network:
    (found,) = networks.found()
    return found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:1:2::1", "2001:db8:1:ffff::9", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.77", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("no address", "", True),
    ],
)
def test_what_is_one_network(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a column of the table
    """A /24 of IPv4 and a /48 of IPv6 are one network; what is no address belongs to none."""
    assert (network_of(one) == network_of(other)) is same
    names = {network.name for network in counted([entry(OWN, address=one), entry(OWN, address=other)]).found()}
    assert len(names) == 1 + (not same)


def test_names_depend_on_the_key_alone() -> None:
    """The same key gives the same names in every run, another key gives others; no name is the unknown network's."""
    entries = [entry(OWN, address=f"192.0.{part}.1") for part in range(50)]
    first, again = ([one.name for one in counted(entries).found()] for _ in range(2))
    other = Networks(KEY[::-1])
    for one in entries:
        other.add(one)
    assert first == again
    assert set(first).isdisjoint(one.name for one in other.found())
    assert UNKNOWN not in first


def test_nothing_that_is_kept_has_an_address_or_an_account() -> None:
    """Neither an address nor an account is in what a log leaves behind, but in the cache of the last addresses."""
    networks = counted(entry(PROXYS, address="198.51.100.23", account="account-4711") for _ in range(3))
    kept = pickle.dumps((list(networks.found()), networks._networks, networks.share()))
    for secret in (b"198.51", b"account-4711", bytes((198, 51, 100))):
        assert secret not in kept


def test_one_offer_under_two_families_is_probable() -> None:
    """Two people of one network with browsers of different families and one offer: probable; in two networks, not."""
    people = [entry(PROXYS, CHROMIUM, account="a"), entry(PROXYS, FIREFOX, account="b")]
    together = counted(people)
    assert only(together).judgment.reason == "one-offer-several-browsers"
    assert only(together).judgment.confidence is Confidence.PROBABLE
    apart = counted([people[0], people[1]._replace(address="203.0.113.1")])
    assert {one.judgment.reason for one in apart.found()} == {"impossible-offer"}
    unplaced = counted(one._replace(address="") for one in people)
    assert only(unplaced).judgment.reason == "impossible-offer"


def test_scripts_in_the_pages_prove_it() -> None:
    """Two engines behind one offer, and browsers with their own offers in other networks: proven, with no front."""
    people = [
        entry(PROXYS, CHROMIUM, account="a")._replace(engine=Family.CHROMIUM),
        entry(PROXYS, FIREFOX, account="b")._replace(engine=Family.FIREFOX),
    ]
    before = [one._replace(engine=None) for one in people]
    own = [entry(OWN, address=f"10.0.{number}.1", account=f"{number}") for number in range(OWN_NETWORKS_MIN)]
    school, *_ = counted([*before, *people, *own]).found()
    assert school.judgment.confidence is Confidence.PROVEN
    without, *_ = counted([*before, *own]).found()
    assert without.judgment.confidence is Confidence.PROBABLE


@pytest.mark.parametrize(
    ("contradicting", "clients", "extent"),
    [
        (0, 50, Extent.NOTHING),
        (1, 50, Extent.DEVICES),
        (13, 50, Extent.DEVICES),
        (14, 50, Extent.NETWORK),
        (3, 5, Extent.DEVICES),
        (4, 5, Extent.NETWORK),
        (37, 200, Extent.DEVICES),
        (38, 200, Extent.NETWORK),
    ],
)
def test_a_network_is_distinguished_from_single_devices(contradicting: int, clients: int, extent: Extent) -> None:
    """Where chance and the ordinary share of devices explain it, it is not the network's."""
    assert Share(contradicting, clients, signed_in=True).extent is extent


def test_a_few_devices_do_not_accuse_their_network() -> None:
    """Two of fifty with the same security software are possible for the network, and name no product there."""
    entries = [entry(OWN, account=f"own-{number}") for number in range(48)]
    entries += [entry(PROXYS, CHROMIUM, account="a"), entry(PROXYS, FIREFOX, account="b")]
    report = of_network(only(counted(entries)), LOG)
    assert (report.verdict, report.confidence, report.scope) == (Verdict.MIDDLEWARE, Confidence.POSSIBLE, "uncertain")
    assert report.results[0].alternatives[0] == "single-devices"
    assert report.interceptors == ()
    whole = of_log(counted(entries), LOG)
    assert (whole.confidence, whole.scope) == (Confidence.PROBABLE, "selective")


def test_nothing_seen_is_never_clean() -> None:
    """A log of browsers with their own hellos is inconclusive, and so is one with nothing in it."""
    for networks in (counted(entry(OWN, account=f"{number}") for number in range(20)), counted([])):
        report = of_log(networks, LOG)
        assert (report.verdict, report.results[0].reason) == (Verdict.INCONCLUSIVE, "nothing-seen")
        assert "which clears nobody" in headline(report)
        assert not {"clean", "clear"} & {str(coverage) for coverage in report.coverage.values()}


def test_accounts_count_where_there_are_any() -> None:
    """Requests before somebody signed in are not counted a second time as a client of their own."""
    entries = [entry(OWN, address=f"192.0.2.{number}") for number in range(30)]
    entries += [entry(PROXYS, account=f"{number}") for number in range(4)]
    assert only(counted(entries[:30])).share == Share(0, 30, signed_in=False)
    assert only(counted(entries)).share == Share(4, 4, signed_in=True)


def test_an_account_that_was_contradicted_once_stays_so() -> None:
    """The order of an account's requests does not matter."""
    entries = [entry(OWN, account="a"), entry(PROXYS, account="a"), entry(OWN, account="b")]
    assert only(counted(entries)).share[:2] == only(counted(entries[::-1])).share[:2] == (1, 2)


@given(st.integers(100, 2000), st.integers(1, 9))
def test_a_sample_keeps_the_share(clients: int, tenths: int) -> None:
    """With room for few clients the share stays, within what a sample of that size can say."""
    entries = [entry(PROXYS if number % 10 < tenths else OWN, account=f"account {number}") for number in range(clients)]
    share = only(counted(entries, clients_max=64)).share
    assert share.clients <= 64
    assert share.sampled & (share.sampled - 1) == 0
    assert share.clients * share.sampled == pytest.approx(clients, rel=0.75)
    assert share.contradicting / share.clients == pytest.approx(tenths / 10, abs=0.45)


def test_a_flood_thins_its_own_network() -> None:
    """A network that sends a hundred thousand invented clients leaves the sample of another one whole."""
    entries = [entry(PROXYS, address="198.51.100.1", account=f"seat {number}") for number in range(40)]
    entries += [entry(OWN, address="192.0.2.1", account=f"invented {number}") for number in range(20_000)]
    schools, flooding = sorted(counted(entries, clients_max=500).found(), key=lambda one: one.share.sampled)
    assert schools.share == Share(40, 40, signed_in=True)
    assert flooding.share.sampled > 1


def test_too_many_different_hellos_are_left_out_and_counted() -> None:
    """A client that sends a new hello each time fills its network's room alone, and what is left out is known."""
    flood = [
        entry(Offer.of_lists(cipher_suites=(0x0A0A, 0xE000 + number)), address="198.51.100.1") for number in range(1000)
    ]
    networks = counted([*flood, entry(PROXYS, account="a")])
    assert networks.left_out == 1000 - COMBINATIONS_MAX
    assert {one.judgment.confidence for one in networks.found()} >= {Confidence.PROBABLE}


def test_a_flood_does_not_hide_an_interceptor() -> None:
    """A network that sends many inconspicuous hellos first is assessed by what comes after them."""
    flood = [entry(Offer.of_lists(cipher_suites=(0x0A0A, 0x1301, 0xE000 + number))) for number in range(1000)]
    networks = counted([*flood, entry(PROXYS, account="a")])
    assert only(networks).judgment.confidence is Confidence.PROBABLE
    assert networks.left_out == 1000 - COMBINATIONS_MAX
