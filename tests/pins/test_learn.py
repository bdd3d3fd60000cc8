"""Tests of detector.pins.learn. Room: pins; pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from detector_testing.pki import generate_key
from support.data_sets import with_parts

from detector.errors import LearnError
from detector.judge.evidence import EndpointEvidence
from detector.knowledge import catalogue, data_set
from detector.knowledge.catalogue import Field
from detector.model import Endpoint, RecordedIdentity
from detector.pins import learn, learn_all
from detector.trust.certificate import Certificate
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import PrivatePKI
    from detector_testing.pki import CA

    from detector.trust.paths import Path

HOSTS = ("exam.example.edu", "lms.example.org", "search.example.com")
EXAM = HOSTS[0]


def accepted(case: EndpointEvidence) -> tuple[Path, ...]:
    """The paths of a case that a client takes."""
    return case.chain.accepted if case.chain is not None else ()


def box_below_root(pki: PrivatePKI) -> CA:
    """A middlebox's own CA below one of the test PKI's roots."""
    return dataclasses.replace(pki.root_b.subordinate("Other Customer CA"), public_profile=True)


def keys(pki: PrivatePKI) -> set[bytes]:
    """The keys of the test PKI's roots."""
    return {pki.root_a.spki_sha256, pki.root_b.spki_sha256}


class TestPublic:
    def test_logged_chain_is_public_and_gives_leaf_and_ca(self, world: World) -> None:
        """The leaf's key comes first, the CA's follows, no root's and no invented backup."""
        issued = world.pki.issue([EXAM])
        learned = learn(world.case(EXAM, issued, operator="Example Exams"))
        assert learned == Endpoint(
            host=EXAM,
            operator="Example Exams",
            pins=(issued.spki_sha256, world.pki.intermediate_ec.spki_sha256),
            identity=RecordedIdentity.PUBLIC,
        )

    def test_no_roots_key_is_ever_learned(self, world: World) -> None:
        """Neither from the anchor nor from a cross-signed certificate of a root's key in the middle of a path."""
        issued = world.pki.issue([EXAM], cross_signed=True)
        one_root = from_der([world.pki.root_a.certificate], name="root A alone")
        for roots in (world.roots, one_root):
            case = world.case(EXAM, issued)
            case = EndpointEvidence(case.endpoint, case.observation, case.context._replace(roots=roots))
            assert any(len(path.certificates) > 3 for path in accepted(case))
            pinned = set(learn(case).pins)
            assert not pinned & {key for key in keys(world.pki) if key in roots.keys}
            assert issued.spki_sha256 in pinned

    def test_root_of_another_time_is_known(self, world: World) -> None:
        """A cross-signed root that the roots in use do not have is a root all the same."""
        issued = world.pki.issue([EXAM], cross_signed=True)
        case = world.case(EXAM, issued)
        (root,) = (r for r in data_set.shipped().known_roots.roots if r.label == "ISRG Root X1")
        former = msgspec.structs.replace(root, spki_sha256=world.pki.root_b.spki_sha256.hex())
        data = with_parts(known_roots=msgspec.structs.replace(data_set.shipped().known_roots, roots=(former,)))
        context = case.context._replace(data=data, roots=from_der([world.pki.root_a.certificate], name="root A alone"))
        learned = learn(EndpointEvidence(case.endpoint, case.observation, context))
        assert learned.pins == (issued.spki_sha256, world.pki.intermediate_ec.spki_sha256)

    @pytest.mark.parametrize("how", [{"scts": 0}, {"scts": 1}, {"bad_sct_signature": True}, {"foreign_sct": True}])
    def test_unlogged_chain_is_unknown(self, world: World, how: dict[str, Any]) -> None:
        """Only what was accepted and logged is recorded as public, and a note says so."""
        (learned,) = learn_all([world.case(EXAM, world.pki.issue([EXAM], **how))])
        assert learned.endpoint.identity is RecordedIdentity.UNKNOWN
        assert any("identity unknown" in note for note in learned.notes)

    def test_another_ca_below_the_same_root_fits_no_learned_pin(self, world: World) -> None:
        """A middlebox with a CA of its own below the root that the genuine chain has must not fit."""
        pins = learn(world.case(EXAM, world.pki.issue([EXAM]))).pins
        forged = accepted(world.case(EXAM, box_below_root(world.pki).issue([EXAM])))
        assert forged
        assert not [c for path in forged for c in path.certificates if c.spki_sha256 in pins]

    def test_what_the_operator_gave_is_kept(self, world: World) -> None:
        """Backup pins and witnesses are nobody's to learn; canaries are the knowledge's alone."""
        given: dict[str, Any] = {"backup_pins": (b"b" * 32,), "witness": (b"w" * 32,), "certificates": (b"c" * 32,)}
        learned = learn(world.case(EXAM, world.pki.issue([EXAM]), canary=True, runs_ca=True, **given))
        assert (learned.backup_pins, learned.witness, learned.certificates) == ((b"b" * 32,), (b"w" * 32,), ())
        assert (learned.canary, learned.runs_ca) == (False, False)

    def test_backup_that_came_into_use_is_none(self, world: World) -> None:
        """A key that is in the chain backs up nothing."""
        issued = world.pki.issue([EXAM])
        learned = learn(world.case(EXAM, issued, backup_pins=(issued.spki_sha256, b"b" * 32)))
        assert learned.backup_pins == (b"b" * 32,)


class TestRefusals:
    def test_nothing_seen(self, world: World) -> None:
        """Without a certificate there is nothing to learn."""
        with pytest.raises(LearnError, match="no readable certificate"):
            learn(world.case(EXAM, []))

    def test_key_not_proved(self, world: World) -> None:
        """Anybody can send another's chain."""
        with pytest.raises(LearnError, match="did not prove"):
            learn(world.case(EXAM, world.pki.issue([EXAM]), key_proved=False))

    def test_another_host(self, world: World) -> None:
        """A portal's certificate is not the endpoint's."""
        with pytest.raises(LearnError, match="another host"):
            learn(world.case(EXAM, world.pki.issue([HOSTS[1]])))

    def test_out_of_date(self, world: World) -> None:
        """What is expired is about to be replaced."""
        with pytest.raises(LearnError, match="not valid at this time"):
            learn(world.case(EXAM, world.pki.issue([EXAM]), at=world.pki.now + dt.timedelta(days=2000)))

    def test_private_chain_unless_asked(self, world: World) -> None:
        """A private PKI is learned when asked for: with its CAs below the top, and of unknown identity."""
        top = world.pki.private_ca("Campus Root")
        campus = top.subordinate("Campus Issuing CA")
        issued = campus.issue([EXAM])
        case = world.case(EXAM, issued.with_chain(*issued.chain, top.certificate))
        with pytest.raises(LearnError, match="no public root"):
            learn(case)
        learned = learn(case, allow_private=True)
        assert learned.identity is RecordedIdentity.UNKNOWN
        assert learned.pins == (issued.spki_sha256, campus.spki_sha256)

    def test_chain_that_no_client_takes(self, world: World) -> None:
        """A public root above is not enough, and the refusal says what is wrong with the chain."""
        case = world.case(EXAM, world.pki.issue([EXAM], not_after=world.pki.now + dt.timedelta(days=900)))
        assert case.chain is not None
        assert case.chain.public
        with pytest.raises(LearnError, match=r"no client would accept this chain: The certificate .*[^.]\.$"):
            learn(case)
        assert learn(case, allow_private=True).identity is RecordedIdentity.UNKNOWN

    def test_roots_own_key(self, world: World) -> None:
        """A server that serves with its root's key would be pinned by a key that clears nothing."""
        own = world.pki.self_signed([EXAM])
        case = world.case(EXAM, own)
        roots = from_der([*(root.certificate.der for root in world.roots.roots), own.leaf], name="with the server's")
        with pytest.raises(LearnError, match="that of a root"):
            learn(EndpointEvidence(case.endpoint, case.observation, case.context._replace(roots=roots)))

    @pytest.mark.parametrize("field", [Field.SHA256, Field.SPKI_SHA256])
    @pytest.mark.parametrize("allow_private", [False, True])
    def test_catalogued_key(
        self,
        world: World,
        field: Field,
        allow_private: bool,  # noqa: FBT001 - a parameter of a table of cases
    ) -> None:
        """A key that the catalogue knows is others' too, below a public root as well."""
        issuer = Certificate.read(world.pki.intermediate_ec.certificate)
        digest = issuer.sha256 if field is Field.SHA256 else issuer.spki_sha256
        assert digest is not None
        entry = msgspec.structs.replace(
            data_set.shipped().catalogue.entries[0],
            facts=(catalogue.Fact(field=field, match=catalogue.Match.EXACT, value=digest.hex()),),
        )
        context = world.context()._replace(data=with_parts(catalogue=catalogue.Catalogue([entry])))
        with pytest.raises(LearnError, match=entry.vendor):
            learn(world.case(EXAM, world.pki.issue([EXAM]), context=context), allow_private=allow_private)


class TestRun:
    def test_public_cas_may_be_common(self, world: World) -> None:
        """Unrelated hosts have one public CA all the time, and their own leaf keys."""
        issued = [world.pki.issue([host]) for host in HOSTS]
        learned = learn_all([world.case(host, leaf) for host, leaf in zip(HOSTS, issued, strict=True)])
        ca = world.pki.intermediate_ec.spki_sha256
        assert [found.endpoint.pins for found in learned] == [(leaf.spki_sha256, ca) for leaf in issued]
        assert not any(found.notes for found in learned)

    def test_leaf_key_of_a_cdn_is_left_out(self, world: World) -> None:
        """One certificate for unrelated operators is a CDN's: its key is not the endpoint's."""
        one = world.pki.issue(HOSTS)
        learned = learn_all([world.case(host, one) for host in HOSTS])
        for found in learned:
            assert found.endpoint.pins == (world.pki.intermediate_ec.spki_sha256,)
            assert any("left out" in note for note in found.notes)

    def test_one_operators_hosts_may_share_a_leaf(self, world: World) -> None:
        """A wildcard's key is the operator's."""
        one = world.pki.issue(["*.example.edu"])
        learned = learn_all([world.case(host, one) for host in ("exam.example.edu", "lms.example.edu")])
        assert all(one.spki_sha256 in found.endpoint.pins for found in learned)

    @pytest.mark.parametrize("one_leaf_key", [False, True])
    @pytest.mark.parametrize("sends_ca", [False, True])
    def test_interceptor_is_not_learned_even_when_asked(
        self,
        world: World,
        one_leaf_key: bool,  # noqa: FBT001 - a parameter of a table of cases
        sends_ca: bool,  # noqa: FBT001 - a parameter of a table of cases
    ) -> None:
        """A private key on unrelated hosts is an interceptor's, whether it sends its CA or has one leaf key for all."""
        box = world.pki.private_ca("Filter CA", one_leaf_key=one_leaf_key)
        cases = []
        for host in HOSTS:
            issued = box.issue([host])
            cases.append(world.case(host, issued.with_chain(*issued.chain, *[box.certificate] * sends_ca)))
        if not (one_leaf_key or sends_ca):
            assert len(learn_all(cases, allow_private=True)) == len(HOSTS), "nothing of it shows in keys"
            return
        with pytest.raises(LearnError, match="other operators"):
            learn_all(cases, allow_private=True)

    def test_unlogged_sub_ca_of_a_box_is_not_learned(self, world: World) -> None:
        """A CA below a public root that signs for unrelated operators and logs nothing is a middlebox's."""
        box = box_below_root(world.pki)
        cases = [world.case(host, box.issue([host])) for host in HOSTS]
        assert all(map(accepted, cases))
        with pytest.raises(LearnError, match="other operators"):
            learn_all(cases)

    def test_one_refusal_learns_nothing(self, world: World) -> None:
        """A file with half of the endpoints would be mistaken for the whole."""
        good = world.case(EXAM, world.pki.issue([EXAM]))
        bad = world.case(HOSTS[1], world.pki.private_ca().issue([HOSTS[1]]))
        with pytest.raises(LearnError, match=HOSTS[1]):
            learn_all([good, bad])

    def test_campus_of_several_names_is_learned_one_at_a_time(self, world: World) -> None:
        """Where one institution has several domains, the refusal says what to do, and that works."""
        campus = world.pki.private_ca("Campus CA", key=generate_key())
        cases = []
        for host in HOSTS[:2]:
            issued = campus.issue([host])
            cases.append(world.case(host, issued.with_chain(*issued.chain, campus.certificate)))
        with pytest.raises(LearnError) as caught:
            learn_all(cases, allow_private=True)
        assert "one at a time" in caught.value.advice
        assert all(learn(case, allow_private=True).pins for case in cases)
