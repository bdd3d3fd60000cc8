"""Checks of what is expected of an endpoint: `identity`, `pin`, `place`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.worlds import DAY, EXAM, LMS, below, know_key, of_check, outcomes

from detector.judge.checks import identity, pin, place
from detector.knowledge import data_set
from detector.knowledge.catalogue.entries import ProductCategory
from detector.model import Outcome, RecordedIdentity, Route

if TYPE_CHECKING:
    from conftest import World

    from detector.judge.evidence import EndpointEvidence

I, P = identity.Outcome, pin.Outcome  # noqa: E741 - as the table calls them
HERE, ELSEWHERE = "93.184.216.34:443", "[2606:2800:220:1::1]:443"


@pytest.fixture
def silent(world: World) -> EndpointEvidence:
    """A connection that showed no certificate."""
    return world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False, canary=True)


class TestIdentity:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """Each source of knowledge says so, several may, and nothing known is said as well."""
        pki = world.pki
        forged, genuine = pki.private_ca("Filter CA").issue([EXAM]), pki.issue([EXAM])
        root = (pki.private_ca("Campus CA").certificate,)
        there = {"address": HERE}

        def case(**more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
            return world.case(EXAM, forged, **more)

        worlds = [
            ([I.STATED], case(canary=True)),
            ([I.STATED], case(roots=("Exemplar Root X2",))),
            ([I.PINNED_PUBLIC], case(pins=(b"\1" * 32,), identity=RecordedIdentity.PUBLIC)),
            ([I.PINNED_PUBLIC], case(backup_pins=tuple(data_set.shipped().known_roots.keys)[:1])),
            ([I.PINNED_PUBLIC], case(pins=tuple(data_set.shipped().intermediates.keys)[:1])),
            ([I.PINNED_PUBLIC], case(certificates=tuple(data_set.shipped().intermediates.certificates)[:1])),
            ([I.SEEN_IN_RUN], case(seen=there, others=[world.observed(genuine, address=ELSEWHERE)])),
            ([I.SEEN_AT_SAME_ADDRESS, I.SEEN_IN_RUN], case(seen=there, others=[world.observed(genuine, address=HERE)])),
            ([I.SEEN_BEFORE], case(context=world.context(seen_before=frozenset({f"{EXAM}:443"})))),
            ([I.DECLARED], case(private_roots=root)),
            ([I.STATED, I.DECLARED], case(private_roots=root, canary=True)),
            ([I.UNKNOWN], case()),
            ([I.UNKNOWN], case(pins=(b"\1" * 32,))),
            ([I.UNKNOWN], case(context=world.context(seen_before=frozenset({f"{EXAM}:8443"})))),
        ]
        for expected, evidence in worlds:
            assert outcomes(identity, evidence) == expected
        assert {outcome for expected, _ in worlds for outcome in expected} == set(I)
        assert outcomes(identity, silent) == []

    def test_expired_pins_leave_the_identity(self, world: World) -> None:
        """That the pins are old does not change what the genuine chain leads to."""
        yesterday = (world.pki.now - DAY).date()
        pins: dict[str, Any] = {"pins": (b"\1" * 32,), "identity": RecordedIdentity.PUBLIC, "expires": yesterday}
        assert outcomes(identity, world.case(EXAM, world.pki.issue([EXAM]), **pins)) == [I.PINNED_PUBLIC]

    @pytest.mark.parametrize(
        "how", ["unproved", "unlogged", "another name", "private", "declared", "of another witness", "unreadable time"]
    )
    def test_what_is_not_seen_as_genuine(self, how: str, world: World) -> None:
        """Only what is clean as pinned, logged or witnessed, with its key proved, is seen."""
        pki, ca = world.pki, world.pki.private_ca("Campus CA")
        genuine, root = pki.issue([EXAM]), (ca.certificate,)
        other = {
            "unproved": world.observed(genuine, key_proved=False, outcome=Outcome.RESET),
            "unlogged": world.observed(pki.issue([EXAM], scts=0)),
            "another name": world.observed(pki.issue([LMS])),
            "private": world.observed(pki.self_signed([EXAM])),
            "declared": world.observed(ca.issue([EXAM])),
            "of another witness": world.observed(pki.issue([EXAM], bad_sct_signature=True)),
            "unreadable time": world.observed([b"\x30\x00"]),
        }[how]
        found = outcomes(identity, world.case(EXAM, pki.private_ca("Filter CA").issue([EXAM]), others=[other]))
        assert found == [I.UNKNOWN]
        declared = world.case(EXAM, pki.self_signed([EXAM]), others=[other], private_roots=root)
        assert outcomes(identity, declared) == [I.DECLARED]

    def test_a_pinned_leaf_is_seen_whatever_its_chain(self, world: World) -> None:
        """The endpoint's own pinned key, proved by another probe, is the genuine one."""
        own = world.pki.self_signed([EXAM])
        forged = world.pki.private_ca("Filter CA").issue([EXAM])
        case = world.case(EXAM, forged, others=[world.observed(own)], pins=(own.spki_sha256,))
        assert outcomes(identity, case) == [I.SEEN_IN_RUN]


class TestPin:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """Nothing pinned, expired, the leaf's key, a CA's, a root's, none, and one that another probe excuses."""
        pki = world.pki
        issued, other = pki.issue([EXAM]), pki.issue([EXAM])
        ca, root, leaf = pki.intermediate_ec.spki_sha256, pki.root_b.spki_sha256, issued.spki_sha256
        shared = world.context(shared_pins=frozenset({leaf}))
        yesterday = (pki.now - DAY).date()
        seen = [world.observed(other)]
        worlds = [
            ([P.NONE], world.case(EXAM, issued)),
            ([P.EXPIRED], world.case(EXAM, issued, pins=(leaf,), expires=yesterday)),
            ([P.LEAF], world.case(EXAM, issued, pins=(leaf,), expires=pki.now.date())),
            ([P.LEAF], world.case(EXAM, issued, backup_pins=(leaf,))),
            ([P.LEAF], world.case(EXAM, issued, certificates=(_hash(world, issued.leaf),))),
            ([P.LEAF_NOT_ITS_OWN], world.case(EXAM, issued, pins=(leaf,), context=shared)),
            ([P.CA], world.case(EXAM, issued, pins=(ca,))),
            ([P.LEAF, P.CA], world.case(EXAM, issued, pins=(leaf, ca))),
            ([P.PATH], world.case(EXAM, issued, pins=(root,))),
            ([P.MISMATCH], world.case(EXAM, issued, pins=(b"\1" * 32,))),
            ([P.EXCUSED], world.case(EXAM, issued, pins=(other.spki_sha256,), others=seen)),
            ([P.EXCUSED], world.case(EXAM, pki.issue([EXAM], key="rsa"), pins=(ca,), others=seen)),
        ]
        for expected, case in worlds:
            assert outcomes(pin, case) == expected
        assert {outcome for expected, _ in worlds for outcome in expected} == set(P)
        assert outcomes(pin, silent) == []

    def test_a_root_clears_nothing_even_where_it_is_known_only_here(self, world: World) -> None:
        """Neither a root of the list in use nor one of the shipped knowledge is a CA that identifies the endpoint."""
        pki = world.pki
        own = below(pki.root_b, "Exam CA")
        pins: dict[str, Any] = {"pins": (pki.root_b.spki_sha256, own.spki_sha256)}
        assert outcomes(pin, world.case(EXAM, pki.issue([EXAM]), **pins)) == [P.PATH]
        logged = own.issue([EXAM])
        assert outcomes(pin, world.case(EXAM, logged, **pins)) == [P.CA]

    def test_a_pinned_ca_counts_on_an_accepted_path_only(self, world: World) -> None:
        """A private CA's pinned key is on the path, and clears nothing."""
        ca = world.pki.private_ca("Campus CA")
        case = world.case(EXAM, (*ca.issue([EXAM]).chain, ca.certificate), pins=(ca.spki_sha256,))
        assert outcomes(pin, case) == [P.PATH]

    def test_what_is_merely_present_matches_nothing(self, world: World) -> None:
        """A genuine chain behind a forged leaf is on no path from it (CVE-2016-2402)."""
        genuine = world.pki.issue([EXAM])
        forged = world.pki.private_ca("Filter CA").issue([EXAM])
        pins = (genuine.spki_sha256, world.pki.intermediate_ec.spki_sha256)
        case = world.case(EXAM, (*forged.chain, *genuine.chain), pins=pins)
        assert outcomes(pin, case) == [P.MISMATCH]

    def test_a_catalogue_key_is_nobodys_own(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pin that is a known interception key, learned behind one, does not clear."""
        issued = world.pki.self_signed([EXAM])
        know_key(monkeypatch, issued.spki_sha256, ProductCategory.NETWORK_APPLIANCE)
        assert outcomes(pin, world.case(EXAM, issued, pins=(issued.spki_sha256,))) == [P.LEAF_NOT_ITS_OWN]

    @pytest.mark.parametrize("how", ["unlogged here", "private here", "unproved there", "other pins there"])
    def test_what_is_no_excuse(self, how: str, world: World) -> None:
        """Both are needed: pins matched by another probe that is genuine, and a logged leaf here."""
        pki = world.pki
        pinned, other = pki.issue([EXAM]), pki.issue([EXAM])
        here: Any = {"unlogged here": pki.issue([EXAM], scts=0), "private here": pki.self_signed([EXAM])}.get(
            how, other
        )
        there = world.observed(pinned, key_proved=how != "unproved there")
        if how == "other pins there":
            there = world.observed(pki.issue([EXAM]))
        case = world.case(EXAM, here, pins=(pinned.spki_sha256,), others=[there])
        assert outcomes(pin, case) == [P.MISMATCH]

    def test_the_file_is_named_without_its_folders(self, world: World) -> None:
        """A report names no place on the reader's machine."""
        case = world.case(EXAM, world.pki.issue([EXAM]), pins=(b"\1" * 32,), source="/home/someone/pins.toml")
        (finding,) = of_check(pin, case)
        assert finding.data["source"] == "pins.toml"
        assert finding.data["pins"] == ["sha256/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="]


def _hash(world: World, certificate: bytes) -> bytes:
    return world.case(EXAM, [certificate]).presented[0].sha256


class TestPlace:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            (HERE, "public"),
            (ELSEWHERE, "public"),
            ("10.1.2.3:443", "private-address"),
            ("[fe80::1%eth0]:443", "private-address"),
            ("[fd00::7]:443", "private-address"),
            ("127.0.0.1:443", "private-address"),
            ("100.64.1.1:443", "private-address"),
            (None, "unknown"),
        ],
    )
    def test_addresses(self, address: str | None, expected: str, world: World) -> None:
        """What is answered at an address of a private network is another machine on every network."""
        case = world.case(EXAM, world.pki.issue([EXAM]), seen={"route": Route.DIRECT, "address": address})
        assert outcomes(place, case) == [place.Outcome(expected)]

    def test_through_a_proxy_it_is_what_the_proxy_was_asked_for(self, world: World) -> None:
        """The proxy's own address says nothing; a name that it resolves leaves the address unknown."""
        for asked, expected in ((HERE, "public"), ("10.1.2.3:443", "private-address"), (f"{EXAM}:443", "unknown")):
            seen = {"route": Route.HTTP_CONNECT, "address": "10.9.9.9:3128", "asked_for": asked}
            assert outcomes(place, world.case(EXAM, world.pki.issue([EXAM]), seen=seen)) == [expected]

    def test_an_address_that_was_given(self, world: World, silent: EndpointEvidence) -> None:
        """The caller and the pin file know which machine they mean, a private address or not."""
        private = {"route": Route.DIRECT, "address": "10.1.2.3:443"}
        given = world.context(given=frozenset({f"{EXAM}:443"}))
        issued = world.pki.issue([EXAM])
        assert outcomes(place, world.case(EXAM, issued, seen=private, context=given)) == [place.Outcome.GIVEN]
        assert outcomes(place, world.case(EXAM, issued, seen=private, address=("10.1.2.3", 443))) == ["given"]
        assert outcomes(place, silent) == []

    def test_names_that_mean_this_network(self, world: World) -> None:
        """Private and reserved names are other servers elsewhere, which matters for chains that may be accused."""
        for host, private in (("lms.internal", True), ("shop.test", True), ("10.0.0.7", True), ("8.8.8.8", False)):
            case = world.case(host, world.pki.self_signed([host]), seen={"address": HERE})
            found = [place.Outcome.PUBLIC, *[place.Outcome.PRIVATE_NAME] * private]
            assert outcomes(place, case) == found
            accepted = world.case(host, world.pki.issue([host]), seen={"address": HERE})
            assert outcomes(place, accepted) == [place.Outcome.PUBLIC]
