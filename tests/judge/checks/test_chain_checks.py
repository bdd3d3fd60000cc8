"""Checks of the presented chain: its class, its roots, what it imitates, and whether it was logged."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from detector_testing import generate_key
from detector_testing.der import children
from detector_testing.pki import encode_tls_scts, sct_list_of
from support.data_sets import with_parts
from support.odd_keys import GOST_2012, ec_spki, rewritten
from support.worlds import (
    DAY,
    EXAM,
    FOR_MAIL,
    below,
    crowded,
    dated,
    in_name_of,
    logged,
    named,
    of_check,
    outcomes,
    spent,
    without,
)

from detector.judge.checks import chain, expected_root, forged_issuer, machine_root, private_origin, transparency
from detector.knowledge import data_set
from detector.model import Engine, Outcome, RootOrigin
from detector.trust.certificate import Certificate
from detector.trust.intermediates import Intermediates
from detector.trust.roots import Roots, from_der
from detector.trust.spki import read as read_spki

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import CA
    from support.worlds import Chain

    from detector.judge.evidence import EndpointEvidence

C = chain.Outcome


@pytest.fixture
def silent(world: World) -> EndpointEvidence:
    """A connection that showed no certificate."""
    return world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False)


class TestChain:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """Each class, why its path is not taken, and what was left open."""
        pki = world.pki
        ca, genuine = pki.private_ca("Campus CA"), pki.issue([EXAM])
        forged = (*ca.issue([EXAM]).chain, ca.certificate)
        mail = in_name_of(ca, pki.root_b, purposes=FOR_MAIL).issue([EXAM])
        long_ago = pki.issue([EXAM], not_before=pki.now - 99 * DAY, not_after=pki.now - 9 * DAY)
        installed: dict[str, Any] = {"machine": (ca.certificate,)}
        shipped = world.context(machine=(ca.certificate,), origin=RootOrigin.SHIPPED)
        retired = world.context(roots=without(world.roots, pki.root_b))
        stale = world.context(roots=dated(world.roots, 300, pki))
        late = logged(pki, ca, EXAM)
        worlds = [
            ((C.ACCEPTED,), world.case(EXAM, genuine)),
            ((C.DECLARED,), world.case(EXAM, forged, private_roots=(ca.certificate,))),
            ((C.DECLARED, C.NOT_TAKEN), world.case(EXAM, weak(ca), private_roots=(ca.certificate,))),
            ((C.RETIRED,), world.case(EXAM, genuine, context=retired)),
            ((C.RETIRED, C.DATES_FORBID), world.case(EXAM, long_ago)),
            ((C.DEFECTIVE, C.NOT_TAKEN), world.case(EXAM, mail)),
            ((C.DEFECTIVE, C.ADDED, C.NOT_TAKEN), world.case(EXAM, (*mail.chain, ca.certificate), **installed)),
            ((C.ADDED,), world.case(EXAM, forged, **installed)),
            ((C.UNFAMILIAR,), world.case(EXAM, forged, context=shipped)),
            ((C.UNREADABLE,), world.case(EXAM, (rewritten(genuine.leaf, algorithm=GOST_2012), *genuine.chain[1:]))),
            ((C.INCOMPLETE,), world.case(EXAM, genuine.chain[:1])),
            ((C.ISSUER_NOT_REPORTED,), world.case(EXAM, genuine.chain[:1], seen={"engine": Engine.BROWSER})),
            ((C.PRIVATE,), world.case(EXAM, forged)),
            ((C.PRIVATE, C.EXCEEDED), world.case(EXAM, crowded(pki, EXAM))),
            (
                (C.PRIVATE, C.POSTPONED),
                world.case(EXAM, crowded(pki, EXAM, keys=12), context=world.context(budget=spent())),
            ),
            ((C.PRIVATE, C.STALE_ROOTS), world.case(EXAM, (*late.chain, ca.certificate), context=stale)),
        ]
        for expected, case in worlds:
            assert outcomes(chain, case) == list(expected)
        assert {outcome for expected, _ in worlds for outcome in expected} == set(C)
        assert outcomes(chain, silent) == []

    def test_the_finding_names_roots_and_signers(self, world: World) -> None:
        """A reader learns which root, by which certificates, and of a private chain which keys signed."""
        ca = world.pki.private_ca("Campus CA")
        (public,) = of_check(chain, world.case(EXAM, world.pki.issue([EXAM])))
        assert public.data["roots"] == ["Exemplar Root X2"]
        assert [len(path) for path in public.data["paths"]] == [3]
        (private,) = of_check(chain, world.case(EXAM, (*ca.issue([EXAM]).chain, ca.certificate)))
        assert (private.data["issuer"], private.data["issuing_keys"]) == ("CN=Campus CA", [ca.spki_sha256.hex()])

    def test_every_reason_is_in_the_data(self, world: World) -> None:
        """The sentence is for people; the data has each refusal with the certificate it is about."""
        weak = world.pki.issue([EXAM], key="rsa1024", not_after=world.pki.now + 1000 * DAY)
        (_, refused) = of_check(chain, world.case(EXAM, weak))
        assert refused.data == {
            "refusals": [{"reason": "weak-key", "depth": 0}, {"reason": "lifetime", "depth": 0}],
        }
        assert "too weak" in refused.summary


def weak(ca: CA) -> tuple[bytes, ...]:
    """What no client takes from this CA: a key that is too short."""
    return (*ca.issue([EXAM], key="rsa1024").chain, ca.certificate)


class TestTransparency:
    def test_every_outcome(self, world: World) -> None:
        """Logged, of logs the list cannot know, not logged, and not to be seen here; without a path nothing is said."""
        pki, old = world.pki, world.context(logs=_aged(world, 200))
        worlds = {
            transparency.Outcome.LOGGED: world.case(EXAM, pki.issue([EXAM])),
            transparency.Outcome.UNKNOWABLE: world.case(EXAM, pki.issue([EXAM], foreign_sct=True), context=old),
            transparency.Outcome.UNLOGGED: world.case(EXAM, pki.issue([EXAM], scts=0)),
            transparency.Outcome.NOT_CARRIED: world.case(EXAM, pki.issue([EXAM], scts=0), seen={"scts_carried": False}),
        }
        assert {outcome: outcomes(transparency, case) for outcome, case in worlds.items()} == {o: [o] for o in worlds}
        assert set(worlds) == set(transparency.Outcome)
        private = logged(pki, pki.private_ca("Filter CA"), EXAM)
        assert outcomes(transparency, world.case(EXAM, private)) == []

    @pytest.mark.parametrize(
        "issue",
        [
            {"scts": 0},
            {"scts": 1},
            {"scts": 2, "bad_sct_signature": True},
            {"scts": 2, "foreign_sct": True},
            {"scts": 2, "not_after": 300},
        ],
        ids=str,
    )
    def test_less_than_browsers_ask_for_is_unlogged(self, issue: dict[str, Any], world: World) -> None:
        """No timestamp, one, false ones, ones of unknown logs, and two where a long life asks for three."""
        if "not_after" in issue:
            issue = {**issue, "not_before": world.pki.now - DAY, "not_after": world.pki.now + 190 * DAY}
        case = world.case(EXAM, world.pki.issue([EXAM], **issue))
        assert outcomes(transparency, case) == [transparency.Outcome.UNLOGGED]

    def test_no_age_of_the_list_excuses_the_lack_of_timestamps(self, world: World) -> None:
        """A leaf without any is unlogged by a list of yesterday and by one of ten years ago."""
        for days in (0, 100, 186, 400, 3650):
            case = world.case(EXAM, world.pki.issue([EXAM], scts=0), context=world.context(logs=_aged(world, days)))
            assert outcomes(transparency, case) == [transparency.Outcome.UNLOGGED]

    def test_timestamps_outside_the_certificate(self, world: World) -> None:
        """In the TLS extension and in stapled OCSP, of this observation or another of the same leaf."""
        pki = world.pki
        plain, other = pki.issue([EXAM], scts=0), pki.issue([EXAM], scts=0)
        carried = {
            "sct_list": encode_tls_scts(pki.scts_of(plain.leaf)),
            "ocsp_response": pki.intermediate_ec.ocsp_response(plain.leaf, scts=pki.scts_of(plain.leaf)),
        }
        for name, data in carried.items():
            assert outcomes(transparency, world.case(EXAM, plain, seen={name: data})) == ["logged"]
            others = [world.observed(plain, **{name: data})]
            assert outcomes(transparency, world.case(EXAM, plain, others=others)) == ["logged"]
            assert outcomes(transparency, world.case(EXAM, other, seen={name: data})) == ["unlogged"]
            assert outcomes(transparency, world.case(EXAM, other, others=others)) == ["unlogged"]

    def test_one_observation_that_could_carry_them_settles_it(self, world: World) -> None:
        """What a pasted chain could not show, another connection with the same leaf would have."""
        plain = world.pki.issue([EXAM], scts=0)
        case = world.case(EXAM, plain, seen={"scts_carried": False}, others=[world.observed(plain)])
        assert outcomes(transparency, case) == ["unlogged"]

    def test_every_timestamp_is_in_the_data(self, world: World) -> None:
        """A reader sees each with its log and what came of it."""
        (finding,) = of_check(transparency, world.case(EXAM, world.pki.issue([EXAM], bad_sct_signature=True)))
        assert {(s["status"], s["operator"]) for s in finding.data["scts"]} == {
            ("invalid-signature", "Arbor Logs"),
            ("invalid-signature", "Bedrock Transparency"),
        }


def _aged(world: World, days: int) -> Any:  # noqa: ANN401 - a LogList
    return world.logs.as_of((world.pki.now - days * DAY).date())


class TestExpectedRoot:
    def test_every_outcome(self, world: World) -> None:
        """The root that is listed, another public one; silent without a list, and without a public path."""
        issued = world.pki.issue([EXAM])
        expected, other = world.case(EXAM, issued, roots=("Exemplar Root X2",)), world.case(EXAM, issued, roots=("R",))
        assert outcomes(expected_root, expected) == [expected_root.Outcome.EXPECTED]
        assert outcomes(expected_root, other) == [expected_root.Outcome.OTHER_PUBLIC_ROOT]
        assert world.judge(other)[0].verdict == "clean"
        assert outcomes(expected_root, world.case(EXAM, issued)) == []
        forged = world.pki.private_ca("CA").issue([EXAM])
        assert outcomes(expected_root, world.case(EXAM, forged, roots=("Exemplar Root X2",))) == []


class TestMachineRoot:
    def test_every_outcome(self, world: World) -> None:
        """Added by a person or a policy, of unknown origin, and made when it came; public and declared ones are not."""
        pki, ca = world.pki, world.pki.private_ca("Filter CA", not_before=world.pki.now - 30 * DAY)
        issued, root = ca.issue([EXAM]), (ca.certificate,)

        def found(origin: RootOrigin, **more: Any) -> list[str]:  # noqa: ANN401 - fields of Context
            context = world.context(machine=root, origin=origin, **more)
            return outcomes(machine_root, world.case(EXAM, issued, context=context))

        made = {"installed_at": {Certificate.read(ca.certificate).sha256: pki.now - 30 * DAY}.get}
        assert found(RootOrigin.ADDED) == found(RootOrigin.POLICY) == [machine_root.Outcome.ADDED]
        assert found(RootOrigin.UNKNOWN) == found(RootOrigin.SHIPPED) == [machine_root.Outcome.UNFAMILIAR]
        assert found(RootOrigin.ADDED, **made) == [machine_root.Outcome.ADDED, machine_root.Outcome.MADE_HERE]
        assert found(RootOrigin.UNKNOWN, **made) == [machine_root.Outcome.UNFAMILIAR]
        assert outcomes(machine_root, world.case(EXAM, issued)) == []
        assert outcomes(machine_root, world.case(EXAM, issued, machine=root, private_roots=root)) == []
        assert outcomes(machine_root, world.case(EXAM, pki.issue([EXAM]), machine=(pki.root_b.certificate,))) == []

    @pytest.mark.parametrize(("days", "here"), [(0, True), (1, True), (30, False), (-9, False), (None, False)])
    def test_a_root_that_was_rolled_out_was_not_made_here(self, days: int | None, here: bool, world: World) -> None:  # noqa: FBT001 - a parameter of a table of cases
        """Within two days of its making it was; years after, before it existed, or who knows when it was not."""
        made = world.pki.now - 30 * DAY
        ca = world.pki.private_ca("Filter CA", not_before=made)
        known = {} if days is None else {Certificate.read(ca.certificate).sha256: made + days * DAY}
        context = world.context(machine=(ca.certificate,), installed_at=known.get)
        found = outcomes(machine_root, world.case(EXAM, ca.issue([EXAM]), context=context))
        assert (machine_root.Outcome.MADE_HERE in found) is here

    def test_an_added_root_goes_before_an_unfamiliar_one(self, world: World) -> None:
        """Of two roots that a chain leads to, the one that somebody put there is named."""
        ca, other = world.pki.private_ca("Filter CA"), world.pki.private_ca("Old Root")
        cross = in_name_of(ca, other)
        machine = Roots(
            (
                *from_der([other.certificate], name="", origin=RootOrigin.SHIPPED).roots,
                *from_der([ca.certificate], name="", origin=RootOrigin.POLICY).roots,
            ),
            name="machine",
            version="",
        )
        context = world.context(machine_roots=lambda: machine)
        (finding,) = of_check(machine_root, world.case(EXAM, cross.issue([EXAM]), context=context))
        assert (finding.outcome, finding.data["root"], finding.data["origin"]) == ("added", "Filter CA", "policy")
        assert "a policy" in finding.summary


class TestForgedIssuer:
    def test_every_outcome(self, world: World) -> None:
        """A public CA's name and key identifier: not signed by it, borne by another key, or with other parameters."""
        pki = world.pki
        copy = pki.private_ca(copy_from=pki.root_b.certificate)
        point = read_spki(Certificate.read(pki.root_b.certificate).spki or b"").key
        curve = rewritten(copy.certificate, key=ec_spki(b"\x30\x03\x02\x01\x01", point))
        worlds = {
            forged_issuer.Outcome.NOT_SIGNED_BY: world.case(EXAM, copy.issue([EXAM])),
            forged_issuer.Outcome.OTHER_KEY: world.case(EXAM, below_copy(copy)),
            forged_issuer.Outcome.OTHER_PARAMETERS: world.case(
                EXAM, (pki.private_ca("Any CA").issue([EXAM]).leaf, curve)
            ),
        }
        found = {outcome: outcomes(forged_issuer, case) for outcome, case in worlds.items()}
        assert found == {outcome: [outcome] for outcome in forged_issuer.Outcome}

    def test_a_public_intermediate_is_known_by_its_certificate(self, world: World) -> None:
        """Who copies an intermediate is found out where its genuine certificate is sent along, and only there."""
        pki = world.pki
        copied = pki.private_ca(copy_from=pki.intermediate_ec.certificate).issue([EXAM])
        genuine = pki.intermediate_ec.certificate
        assert outcomes(forged_issuer, world.case(EXAM, (copied.leaf, genuine))) == ["not-signed-by"]
        assert outcomes(forged_issuer, world.case(EXAM, copied)) == []

    def test_a_listed_intermediate_needs_no_root_above_it(self, world: World) -> None:
        """An intermediate below another one is known by a list of certificates, not by one of keys."""
        deep = below(world.pki.intermediate_ec, "Deep CA")
        copied = world.pki.private_ca(copy_from=deep.certificate).issue([EXAM])
        read = Certificate.read(deep.certificate)
        assert read.spki_sha256 is not None
        for listed, expected in (
            (Intermediates(), []),
            (Intermediates(keys=frozenset({read.spki_sha256})), []),
            (Intermediates(certificates=frozenset({read.sha256})), ["not-signed-by"]),
        ):
            context = world.context(data=with_parts(intermediates=listed))
            case = world.case(EXAM, (copied.leaf, deep.certificate), context=context)
            assert outcomes(forged_issuer, case) == expected

    @pytest.mark.parametrize("how", ["genuine", "declared", "name alone", "no key identifier", "own private CA"])
    def test_innocent_chains(self, how: str, world: World) -> None:
        """What is accepted or declared, a CA with a public one's name and a key identifier of its own, a new key."""
        pki = world.pki
        copy = pki.private_ca(copy_from=pki.root_b.certificate)
        old = pki.private_ca("Campus CA")
        renewed = pki.private_ca("Campus CA", key_identifier=old.key_identifier)
        case = {
            "genuine": world.case(EXAM, pki.issue([EXAM], cross_signed=True)),
            "declared": world.case(EXAM, copy.issue([EXAM]), private_roots=(copy.certificate,)),
            "name alone": world.case(EXAM, pki.private_ca(pki.root_b.subject).issue([EXAM])),
            "no key identifier": world.case(EXAM, dataclasses.replace(copy, key_identifier=None).issue([EXAM])),
            "own private CA": world.case(EXAM, (renewed.issue([EXAM]).leaf, old.certificate)),
        }[how]
        assert outcomes(forged_issuer, case) == []

    def test_a_crowd_of_public_names_costs_little(self, world: World) -> None:
        """However many certificates are sent, sixteen are examined."""
        pki = world.pki
        copy = pki.private_ca(copy_from=pki.root_b.certificate)
        strangers = [pki.private_ca(f"CA {number}").certificate for number in range(forged_issuer.CERTIFICATES_MAX)]
        forged = below(copy, "Sub CA").certificate
        leaf = pki.private_ca("Any CA").issue([EXAM]).leaf
        assert outcomes(forged_issuer, world.case(EXAM, (leaf, *strangers[:14], forged))) == ["not-signed-by"]
        assert outcomes(forged_issuer, world.case(EXAM, (leaf, *strangers, forged))) == []


def below_copy(copy: CA) -> tuple[bytes, ...]:
    """A leaf of a CA with the name and the key identifier of a public root, issued by an unknown CA."""
    return (*dataclasses.replace(copy, key_identifier=None).issue([EXAM]).chain, _certified_by_nobody(copy))


def _certified_by_nobody(ca: CA) -> bytes:
    """This CA's name, key identifier and key in a certificate whose issuer nobody has."""
    nobody = generate_key("ec")
    genuine = x509.load_der_x509_certificate(ca.certificate)
    builder = (
        x509.CertificateBuilder()
        .subject_name(ca.subject)
        .issuer_name(named(CN="Nobody"))
        .public_key(ca.key.public_key())
        .serial_number(7)
        .not_valid_before(genuine.not_valid_before_utc)
        .not_valid_after(genuine.not_valid_after_utc)
    )
    for extension in genuine.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(nobody, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class TestPrivateOrigin:
    def test_every_outcome(self, world: World) -> None:
        """Which kind of server presents such a chain, and whether the genuine one is sent behind it."""
        pki, campus = world.pki, world.pki.private_ca("Campus CA")
        genuine, private = pki.issue([EXAM]), (campus.issue([EXAM]).leaf, campus.certificate)
        subject = x509.load_der_x509_certificate(data_set.shipped().root_certificates[0]).subject
        worlds: list[tuple[list[str], Chain]] = [
            (["self-signed"], pki.self_signed([EXAM])),
            (["private-ca"], private),
            (["issuer-absent"], private[:1]),
            (["towards-public-root"], below(pki.private_ca(subject), "Some CA").issue([EXAM]).chain[:2]),
            (["private-ca", "genuine-chain-behind"], (*private, *genuine.chain)),
            ([], genuine),
        ]
        for expected, presented in worlds:
            assert outcomes(private_origin, world.case(EXAM, presented)) == expected
        assert {outcome for expected, _ in worlds for outcome in expected} == set(private_origin.Outcome)
        installed = world.case(EXAM, private, machine=(campus.certificate,))
        assert outcomes(private_origin, installed) == ["private-ca"]

    def test_the_root_is_named(self, world: World) -> None:
        """A chain that stops below a root of the public lists says which one it names."""
        label, subject = (
            data_set.shipped().known_roots.roots[0].label,
            x509.load_der_x509_certificate(data_set.shipped().root_certificates[0]).subject,
        )
        issuing = below(world.pki.private_ca(subject), "Some CA")
        (finding,) = of_check(private_origin, world.case(EXAM, issuing.issue([EXAM]).chain[:2]))
        assert label in finding.summary

    def test_what_stands_behind_must_be_for_this_host_and_be_taken(self, world: World) -> None:
        """Another host's chain, one that no client takes, and one too far behind are not named."""
        pki, private = world.pki, world.pki.private_ca("Campus CA").issue([EXAM])
        strangers = [pki.private_ca(f"CA {number}").certificate for number in range(private_origin.BEHIND_MAX)]
        for behind in (
            pki.issue(["www.example.org"]).chain,
            pki.issue([EXAM], key="rsa1024").chain,
            (*strangers, *pki.issue([EXAM]).chain),
        ):
            assert "genuine-chain-behind" not in outcomes(private_origin, world.case(EXAM, (*private.chain, *behind)))

    def test_copied_timestamps_change_nothing(self, world: World) -> None:
        """Timestamps lifted from the genuine leaf do not make a private chain another one."""
        genuine, ca = world.pki.issue([EXAM]), world.pki.private_ca("Filter CA")
        forged = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf))
        assert len(children(forged.leaf)) == 3
        assert outcomes(private_origin, world.case(EXAM, (forged.leaf, ca.certificate))) == ["private-ca"]
