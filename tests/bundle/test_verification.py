"""Bundles assessed again: what follows from the bytes is said, what was claimed is compared, nothing is believed.

Room: tests of bundle. In memory.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.bundle_recordings import (
    ADDRESS,
    EXAM,
    KEY,
    LMS,
    PUBLIC,
    SEARCH,
    STRANGER,
    packed,
    recorded,
    remade,
    report_on,
    texts,
    verify,
    with_its_ca,
)
from support.stored_sets import install, part

from detector import bundle
from detector.bundle.form import AnswerLeftOut
from detector.bundle.verification import Conclusion, SignatureState, Unverifiable
from detector.errors import BundleError
from detector.judge.evidence import EndpointEvidence
from detector.judge.recorded import KeyEvidence
from detector.judge.table import RULE_OF
from detector.knowledge import data_set
from detector.knowledge.age import CHANGES, differing, of_roots, used
from detector.knowledge.data_set import PARTS
from detector.model import (
    Endpoint,
    Engine,
    FailedAttempt,
    HandshakeSignature,
    Hello,
    KnowledgeKind,
    Locality,
    MachineRoot,
    Outcome,
    PortalObservation,
    PortalOutcome,
    Reason,
    RecordedIdentity,
    RootOrigin,
    Route,
    ServerDate,
    UnfollowedProxy,
    WitnessObservation,
    WitnessOutcome,
)
from detector.pins import shared_pins
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of
from detector.trust.roots import from_der
from detector.witness.server import proxy_headers

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI

ROOTS = ("Exemplar Root A",)
EXPORTER = bytes(range(100, 132))
NONCE = bytes(32)


def unverified(verification: bundle.Verification) -> set[Unverifiable]:
    return {word.ground for word in verification.words}


class TestSame:
    def test_clean(self, world: World, pki: PrivatePKI) -> None:
        """Pinned and logged endpoints are assessed as they were, from signatures that were checked again."""
        exam, lms = pki.issue([EXAM]), pki.issue([LMS], key="rsa")
        data = packed(recorded(world, EXAM, exam, pins=(exam.spki_sha256,)), recorded(world, LMS, lms))
        verification = verify(world, data)
        assert (verification.conclusion, verification.reasons) == (Conclusion.HOLDS, ())
        assert [(check.judged.reason, check.key) for check in verification.endpoints] == [
            ("pinned", "verified"),
            ("logged", "verified"),
        ]
        assert verification.signature is SignatureState.SIGNED
        assert verification.report.vantage == "room 12"
        assert unverified(verification) == {Unverifiable.CAPTURE, Unverifiable.TIME, Unverifiable.EXPECTATIONS}

    def test_intercepted(self, world: World, pki: PrivatePKI) -> None:
        """A CA that takes the place of a public one is proven again, and named by its issuer."""
        ca = pki.private_ca("School Filter CA")
        substituted = recorded(world, EXAM, with_its_ca(ca, EXAM), roots=ROOTS)
        verification = verify(world, packed(substituted, recorded(world, LMS, with_its_ca(ca, LMS))))
        assert verification.conclusion is Conclusion.HOLDS
        assert [check.judged.reason for check in verification.endpoints] == [
            "identity-substituted",
            "signer-substitutes-elsewhere",
        ]
        assert [i.issuer for i in verification.report.interceptors] == ["CN=School Filter CA"]

    def test_machine_root(self, world: World, pki: PrivatePKI) -> None:
        """Of the machine's roots only those that a path ends in are recorded; they are used again, on word."""
        ca, other = pki.private_ca("School Filter CA"), pki.private_ca("Printer CA")
        case = recorded(world, EXAM, ca.issue([EXAM]), machine=(ca.certificate, other.certificate))
        verification = verify(world, packed(case))
        assert (verification.conclusion, verification.endpoints[0].judged.reason) == (Conclusion.HOLDS, "added-root")
        assert [word.endpoints for word in verification.words if word.ground is Unverifiable.MACHINE_ROOTS] == [
            (f"{EXAM}:443",)
        ]
        part = bundle.read(packed(case)).parts[0].content
        assert part is not None
        assert part.machine_roots == (MachineRoot(der=ca.certificate, origin=RootOrigin.ADDED),)  # type: ignore[union-attr] # part 1 is an endpoint

    def test_fetched_issuer(self, world: World, pki: PrivatePKI) -> None:
        """An issuer that had to be fetched is in the bundle, so the verdict that needed it comes out again."""
        issued = pki.issue([EXAM], aia=("http://ca.example.com/issuer.der",))
        alone = issued.with_chain(issued.leaf)
        case = recorded(world, EXAM, alone, fetched=[pki.intermediate_ec.certificate])
        assert verify(world, packed(case)).endpoints[0].judged.reason == "logged"

    def test_portal_and_dates(self, world: World, pki: PrivatePKI) -> None:
        """Control requests are parts of their own, used again, and left on the recorder's claim."""
        hotspot = recorded(world, EXAM, pki.private_ca("Hotspot CA").issue(["login.hotspot.example"]))
        portal = PortalObservation(outcome=PortalOutcome.REDIRECTED, url="http://check.example.com/", status=302)
        dates = (ServerDate(host=LMS, said=world.pki.now, ours=world.pki.now),)
        cases = [
            type(hotspot)(c.endpoint, c.observation, c.context._replace(portal=portal, dates=dates)) for c in [hotspot]
        ]
        verification = verify(world, packed(*cases))
        (check,) = verification.endpoints
        assert verification.conclusion is Conclusion.HOLDS
        assert check.judged.reason == "wrong-name"
        (result,) = verification.report.results
        assert "captive-portal" in {finding.check for finding in result.findings}
        assert (verification.report.portal, "clock" in {f.check for f in result.findings}) == (portal, False)
        assert Unverifiable.CONTROL_REQUESTS in unverified(verification)
        without = verify(world, bundle.redact(packed(*cases), ["portal"]))
        assert without.conclusion is Conclusion.INCOMPLETE

    def test_nothing_presented(self, world: World, pki: PrivatePKI) -> None:
        """An outage is recorded and assessed as an outage."""
        nothing = {"outcome": Outcome.CONNECT_REFUSED, "key_proved": False, "chain": (), "handshake_signature": None}
        verification = verify(world, packed(recorded(world, EXAM, pki.issue([EXAM]), seen=nothing)))
        assert (verification.conclusion, verification.endpoints[0].judged.reason) == (
            Conclusion.HOLDS,
            "no-certificate",
        )

    def test_asked_for_by_name(self, world: World, pki: PrivatePKI) -> None:
        """That an inconclusive endpoint counted, because it was asked for by name, is not lost."""
        nothing = {"outcome": Outcome.DEADLINE, "key_proved": False, "chain": (), "handshake_signature": None}
        cases = (recorded(world, EXAM, pki.issue([EXAM])), recorded(world, LMS, pki.issue([LMS]), seen=nothing))
        for named, verdict in (((), "clean"), ((f"{LMS}:443",), "inconclusive")):
            verification = verify(world, packed(*cases, named=named))
            assert verification.conclusion is Conclusion.HOLDS
            assert verification.report.verdict == verdict

    def test_recorded_time_counts(self, world: World, pki: PrivatePKI) -> None:
        """A bundle is assessed at its own time, unless the reader asks what another time would have made of it."""
        issued = pki.issue([EXAM])
        data = packed(recorded(world, EXAM, issued, pins=(issued.spki_sha256,), expires=world.pki.now.date()))
        assert verify(world, data).conclusion is Conclusion.HOLDS
        later = verify(world, data, at=world.pki.now + dt.timedelta(days=2))
        assert (later.endpoints[0].claimed.reason, later.endpoints[0].judged.reason) == ("pinned", "logged")


class TestWhatWasKnown:
    """What was known of an endpoint decides how sure a verdict is: it is recorded, and left on the recorder's claim."""

    @pytest.mark.parametrize(
        ("known", "before", "after"),
        [
            ({"canary": True}, ("private-chain", "possible"), ("identity-substituted", "proven")),
            ({"identity": "public"}, ("private-chain", "possible"), ("identity-substituted", "probable")),
            (
                {"identity": "public", "address_given": True},
                ("private-chain", "possible"),
                ("identity-substituted", "proven"),
            ),
            ({"seen_before": True}, ("private-chain", "possible"), ("identity-substituted", "possible")),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_identity_and_address(
        self,
        known: dict[str, Any],
        before: tuple[str, str],
        after: tuple[str, str],
        world: World,
        pki: PrivatePKI,
    ) -> None:
        """A private chain at a private address, by what is known of the endpoint."""
        forged, at_home = pki.private_ca("Filter CA").issue([EXAM]), {"address": "192.168.1.7:443"}
        of_endpoint: dict[str, Any] = {
            name: RecordedIdentity.PUBLIC if name == "identity" else value
            for name, value in known.items()
            if name in {"canary", "identity"}
        }
        plain = recorded(world, EXAM, forged, seen=at_home)
        case = recorded(world, EXAM, forged, seen=at_home, **of_endpoint)
        context = case.context._replace(
            given={f"{EXAM}:443"} if "address_given" in known else (),
            seen_before={f"{EXAM}:443"} if "seen_before" in known else (),
        )
        case = case.with_more(context)
        for one, expected in ((plain, before), (case, after)):
            verification = verify(world, packed(one))
            (check,) = verification.endpoints
            assert verification.conclusion is Conclusion.HOLDS
            assert (check.judged.reason, check.judged.confidence) == expected
        assert Unverifiable.EXPECTATIONS not in unverified(verify(world, packed(plain)))
        assert Unverifiable.EXPECTATIONS in unverified(verification)

    def test_shared_leaf_key(self, world: World, pki: PrivatePKI) -> None:
        """A leaf's key that other operators pin too clears nothing, there and here; the others' names stay out."""
        ca = pki.private_ca("Filter CA")
        issued = ca.issue([EXAM])
        case = recorded(world, EXAM, issued, pins=(issued.spki_sha256,))
        assert verify(world, packed(case)).report.verdict == "clean"
        pinned = [case.endpoint, Endpoint(host=LMS, pins=(issued.spki_sha256,))]
        shared = case.with_more(case.context._replace(shared_pins=shared_pins(pinned)))
        data = packed(shared)
        verification = verify(world, data)
        assert (verification.conclusion, verification.report.verdict) == (Conclusion.HOLDS, "middleware")
        assert not any(LMS in text for text in texts(data))
        assert verify(world, data, pins=[case.endpoint]).report.verdict == "clean"
        assert verify(world, data, pins=pinned).report.verdict == "middleware"

    def test_assessed_in_part_is_no_contradiction(self, world: World, pki: PrivatePKI) -> None:
        """What the recorder had no time to judge comes out graver here, and the recorder said so."""

        def claim(manifest: dict[str, Any], contents: dict[str, Any]) -> None:
            contents["endpoint-1"]["claimed"] = {"verdict": "inconclusive", "reason": "budget-spent"}
            manifest["claimed"] = {"verdict": "inconclusive", "scope": "none", "inconclusive_counts": False}

        forged = recorded(world, EXAM, pki.private_ca("Filter CA").issue([EXAM]))
        verification = verify(world, remade(packed(forged), claim))
        assert verification.conclusion is Conclusion.INCOMPLETE
        assert f"claimed not assessed ({RULE_OF[Reason.BUDGET_SPENT].why.rstrip('.')})" in verification.reasons[0]


class TestKeys:
    def test_any_given_key_will_do(self, world: World, pki: PrivatePKI) -> None:
        """Of several keys given one must have signed; that is what a rotation needs."""
        data = packed(recorded(world, EXAM, pki.issue([EXAM])))
        assert verify(world, data, keys=(public_key_of(STRANGER), PUBLIC)).signature is SignatureState.SIGNED

    def test_other_key_or_none(self, world: World, pki: PrivatePKI) -> None:
        """A bundle of somebody else's or nobody's does not hold, with a key or without, and is not called false."""
        case = recorded(world, EXAM, pki.issue([EXAM]))
        for keys, state in (((), SignatureState.UNSIGNED), ((STRANGER,), SignatureState.UNKNOWN_KEY)):
            for given in ((PUBLIC,), ()):
                verification = verify(world, packed(case, keys=keys), keys=given)
                assert (verification.conclusion, verification.signature) == (Conclusion.NOT_VOUCHED, state)
                assert not verification.holds
        assert verify(world, packed(case), keys=()).conclusion is Conclusion.NOT_VOUCHED

    def test_signing_later(self, world: World, pki: PrivatePKI) -> None:
        """A second signature stands next to the first; a wrong one among them spoils the bundle."""
        data = bundle.sign(packed(recorded(world, EXAM, pki.issue([EXAM]))), [STRANGER])
        verification = verify(world, data)
        assert [(s.verifies, s.given) for s in verification.signatures] == [(True, True), (True, False)]
        assert verification.conclusion is Conclusion.HOLDS
        file = msgspec.json.decode(data)
        file["envelope"]["signatures"][1]["sig"] = file["envelope"]["signatures"][0]["sig"]
        spoiled = verify(world, msgspec.json.encode(file))
        assert (spoiled.conclusion, spoiled.signature) == (Conclusion.FAILS, SignatureState.BAD)

    def test_signing_what_was_changed_is_refused(self, world: World, pki: PrivatePKI) -> None:
        """Nobody signs a manifest that its parts do not fit."""
        file = msgspec.json.decode(packed(recorded(world, EXAM, pki.issue([EXAM]))))
        file["parts"][0]["content"] += " "
        with pytest.raises(BundleError, match="endpoint-1 was changed"):
            bundle.sign(msgspec.json.encode(file), [STRANGER])


class TestHandshake:
    """`key_proved` is checked, not believed."""

    def test_wrong_signature_is_a_contradiction(self, world: World, pki: PrivatePKI) -> None:
        """A genuine chain with somebody else's handshake signature never comes out clean, signed or not."""
        issued, other = pki.issue([EXAM]), pki.issue([LMS])
        wrong = recorded(world, LMS, other).observation.handshake_signature
        case = recorded(world, EXAM, issued, seen={"handshake_signature": wrong})
        assert report_on([case]).verdict == "clean"
        verification = verify(world, packed(case))
        (check,) = verification.endpoints
        assert (verification.conclusion, check.key) == (Conclusion.FAILS, KeyEvidence.CONTRADICTED)
        assert (check.judged.reason, check.judged.verdict) == ("key-not-proved", "inconclusive")

    def test_contradicted_interception_is_not_proven(self, world: World, pki: PrivatePKI) -> None:
        """A forged chain whose handshake signature is wrong accuses at most as a chain alone does."""
        ca = pki.private_ca("Filter CA")
        wrong = recorded(world, LMS, ca.issue([LMS])).observation.handshake_signature
        cases = [
            recorded(world, host, ca.issue([host]), seen={"handshake_signature": wrong}, roots=ROOTS)
            for host in (EXAM, SEARCH)
        ]
        verification = verify(world, packed(*cases))
        assert verification.conclusion is Conclusion.FAILS
        assert {check.claimed.confidence for check in verification.endpoints} == {"proven"}
        assert {check.judged.confidence for check in verification.endpoints} == {"probable"}

    def test_replay_is_verified(self, world: World, pki: PrivatePKI) -> None:
        """A chain called replayed has a signature that is not its key's; where it is, it accuses nobody."""
        issued, other = pki.issue([EXAM]), pki.issue([LMS])
        called = {"outcome": Outcome.SIGNATURE_WRONG, "key_proved": False}
        wrong = recorded(world, LMS, other).observation.handshake_signature
        replayed = verify(world, packed(recorded(world, EXAM, issued, seen={**called, "handshake_signature": wrong})))
        assert (replayed.conclusion, replayed.endpoints[0].judged.reason) == (Conclusion.HOLDS, "replayed-chain")
        invented = verify(world, packed(recorded(world, EXAM, issued, seen=called)))
        (check,) = invented.endpoints
        assert (invented.conclusion, check.key) == (Conclusion.FAILS, KeyEvidence.CONTRADICTED)
        assert (check.claimed.verdict, check.judged.verdict) == ("middleware", "inconclusive")

    def test_no_signature_rests_on_the_signer(self, world: World, pki: PrivatePKI) -> None:
        """Where RSA key exchange signs nothing, a known signer's claim is taken and listed, a stranger's is not."""
        silent = {"handshake_signature": None, "tls_version": "TLSv1.2", "cipher": "TLS_RSA_WITH_AES_128_GCM_SHA256"}
        case = recorded(world, EXAM, pki.issue([EXAM]), seen=silent)
        signed = verify(world, packed(case))
        assert (signed.conclusion, signed.endpoints[0].key) == (Conclusion.HOLDS, KeyEvidence.WORD)
        assert Unverifiable.KEY_POSSESSION in unverified(signed)
        for keys in ((), (STRANGER,)):
            assert verify(world, packed(case, keys=keys), keys=()).conclusion is Conclusion.INCOMPLETE

    def test_tls_1_3_always_signs(self, world: World, pki: PrivatePKI) -> None:
        """A record of TLS 1.3 without its signature proves nothing, no matter who signed the bundle."""
        case = recorded(world, EXAM, pki.issue([EXAM]), seen={"handshake_signature": None})
        verification = verify(world, packed(case))
        (check,) = verification.endpoints
        assert (verification.conclusion, check.key) == (Conclusion.FAILS, KeyEvidence.UNSIGNED)
        assert (check.claimed.reason, check.judged.reason) == ("logged", "key-not-proved")

    @pytest.mark.parametrize("decrypted", [False, True])
    def test_browser_is_taken_at_its_word(self, world: World, pki: PrivatePKI, *, decrypted: bool) -> None:
        """What a browser reported gives the same result again, and the reader learns that it rests on a word."""
        genuine, forged = pki.issue([EXAM]), with_its_ca(pki.private_ca("Filter CA"), EXAM)
        browser = {"engine": Engine.BROWSER, "handshake_signature": None, "route": Route.NONE}
        report = recorded(world, EXAM, forged if decrypted else genuine, seen=browser).observation
        case = recorded(world, EXAM, genuine, roots=("Exemplar Root X2",)).with_further([report])
        (result,) = report_on([case]).results
        assert result.confidence == ("probable" if decrypted else None)
        verification = verify(world, packed(case))
        assert (verification.conclusion, verification.endpoints[0].key) == (Conclusion.HOLDS, KeyEvidence.WORD)

    def test_signature_over_something_else(self, world: World, pki: PrivatePKI) -> None:
        """The key's signature over what is no handshake of that version proves nothing of a handshake."""
        issued = pki.issue([EXAM])
        genuine = recorded(world, EXAM, issued).observation.handshake_signature
        assert genuine is not None
        for seen in (
            {"tls_version": "TLSv1.2"},
            {"tls_version": "TLSv1.2", "server_hello": bytes(80)},
            {"handshake_signature": msgspec.structs.replace(genuine, signed=genuine.signed[:-1])},
            {"handshake_signature": HandshakeSignature(scheme=0x0403, signed=b"", signature=genuine.signature)},
        ):
            assert verify(world, packed(recorded(world, EXAM, issued, seen=seen))).conclusion is Conclusion.FAILS


class TestClaims:
    """What was claimed is compared with what comes out, field by field."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("verdict", "inconclusive"),
            ("reason", "pinned"),
            ("confidence", "proven"),
            ("assurance", "witnessed"),
            ("alternatives", ["captive-portal"]),
            ("attribution", {"product": "Other Product", "managed_by": "attacker"}),
        ],
    )
    def test_another_claim(self, field: str, value: object, world: World, pki: PrivatePKI) -> None:
        """Anyone who signs something else than the evidence says is contradicted, with both rules."""

        def claim(_: dict[str, Any], contents: dict[str, Any]) -> None:
            contents["endpoint-1"]["claimed"][field] = value

        verification = verify(world, remade(packed(recorded(world, EXAM, pki.issue([EXAM]))), claim))
        assert verification.conclusion is Conclusion.FAILS
        assert any(difference.startswith(field) for difference in verification.endpoints[0].differences)
        assert f"({RULE_OF[Reason.LOGGED].why.rstrip('.')})" in verification.reasons[0]

    @pytest.mark.parametrize(
        "claimed", [{"verdict": "middleware"}, {"scope": "all"}, {"confidence": "proven"}], ids=lambda c: next(iter(c))
    )
    def test_another_network(self, claimed: dict[str, str], world: World, pki: PrivatePKI) -> None:
        """The network's verdict is a claim of its own."""

        def claim(manifest: dict[str, Any], _: dict[str, Any]) -> None:
            manifest["claimed"].update(claimed)

        verification = verify(world, remade(packed(recorded(world, EXAM, pki.issue([EXAM]))), claim))
        assert verification.conclusion is Conclusion.FAILS
        assert not verification.network.same

    def test_other_roots_are_reported(self, world: World, pki: PrivatePKI) -> None:
        """Another verdict by other roots is no fault of the bundle, and the reason names the roots the recorder had."""
        data = packed(recorded(world, EXAM, pki.issue([EXAM])))
        verification = verify(world, data, roots=from_der([], name="no roots"))
        assert verification.recorded.others == (KnowledgeKind.ROOTS,)
        assert verification.conclusion is Conclusion.ASSESSED_OTHERWISE  # without a path no timestamp is worth anything
        verification = bundle.verify(data, keys=(PUBLIC,))
        assert verification.conclusion is Conclusion.ASSESSED_OTHERWISE
        assert "The recorder used other knowledge (public roots test roots); use the same" in " ".join(
            verification.reasons
        )

    @pytest.mark.parametrize(
        ("kind", "changes"),
        [
            (KnowledgeKind.CATALOGUE, True),
            (KnowledgeKind.INTERMEDIATES, True),
            (KnowledgeKind.REVOCATIONS, True),
            (KnowledgeKind.CLIENT_HELLOS, False),
            (KnowledgeKind.BROWSER_OFFERS, False),
        ],
    )
    def test_what_another_part_changes(
        self,
        kind: KnowledgeKind,
        changes: bool,  # noqa: FBT001 - a parameter of a table of cases
        world: World,
        pki: PrivatePKI,
        tmp_path: Path,
    ) -> None:
        """A false claim is excused only by a part that can change an assessment of what was recorded."""

        def claim(manifest: dict[str, Any], _: dict[str, Any]) -> None:
            manifest["claimed"].update(verdict="middleware")

        install(tmp_path, {PARTS[kind].name: part(kind)})
        genuine = packed(recorded(world, EXAM, pki.issue([EXAM])))
        read: dict[str, Any] = {"keys": (PUBLIC,), "roots": world.roots, "logs": world.logs, "known": tmp_path}
        honest = bundle.verify(genuine, **read)
        assert honest.recorded.others == (kind,)
        assert honest.conclusion is Conclusion.HOLDS
        assert CHANGES.get(kind, "which changes nothing") in differing(honest.recorded.others)
        false = bundle.verify(remade(genuine, claim), **read)
        assert false.conclusion is (Conclusion.ASSESSED_OTHERWISE if changes else Conclusion.FAILS)

    def test_other_logs_excuse_no_change(self, world: World, pki: PrivatePKI) -> None:
        """With other logs another verdict is left open; a changed part or a wrong signature is not."""
        logs = msgspec.structs.replace(world.logs, logs={})
        data = packed(recorded(world, EXAM, pki.issue([EXAM])))
        assert verify(world, data, logs=logs).conclusion is Conclusion.ASSESSED_OTHERWISE
        file = msgspec.json.decode(data)
        file["parts"][0]["content"] += " "
        assert verify(world, msgspec.json.encode(file), logs=logs).conclusion is Conclusion.FAILS

    def test_other_knowledge_never_makes_it_hold(self, world: World, pki: PrivatePKI) -> None:
        """A forger who names other roots is left open too, and never holds."""

        def claim(manifest: dict[str, Any], contents: dict[str, Any]) -> None:
            contents["endpoint-1"]["claimed"]["verdict"] = "inconclusive"
            manifest["knowledge"][0]["sha256"] = "0" * 64

        data = packed(recorded(world, EXAM, pki.issue([EXAM])))
        for keys in ((), (STRANGER,)):
            assert verify(world, remade(data, claim, keys=keys)).conclusion is Conclusion.ASSESSED_OTHERWISE

    def test_own_pins_for_another_reason(self, world: World, pki: PrivatePKI) -> None:
        """The same verdict for another reason, because the reader's pins fit, is no failure and is explained."""
        issued = pki.issue([EXAM])
        verification = verify(
            world, packed(recorded(world, EXAM, issued)), pins=[Endpoint(host=EXAM, pins=(issued.spki_sha256,))]
        )
        assert verification.conclusion is Conclusion.ASSESSED_OTHERWISE
        assert [check.judged.assurance for check in verification.endpoints] == ["pinned"]
        assert any("Your own pins were used" in reason for reason in verification.reasons)

    @pytest.mark.parametrize("pinned", [EXAM, LMS])
    @pytest.mark.parametrize("claimed", [{"verdict": "middleware", "confidence": "proven"}, {"scope": "all"}])
    def test_own_pins_excuse_no_other_network(
        self, claimed: dict[str, str], pinned: str, world: World, pki: PrivatePKI
    ) -> None:
        """A network's verdict that the claims on its own endpoints do not give is false, whatever the reader pins."""

        def claim(manifest: dict[str, Any], _: dict[str, Any]) -> None:
            manifest["claimed"].update(claimed)

        issued = {host: pki.issue([host]) for host in (EXAM, LMS)}
        pins = (issued[EXAM].spki_sha256,)
        data = packed(recorded(world, EXAM, issued[EXAM], pins=pins), recorded(world, LMS, issued[LMS]))
        own = [Endpoint(host=pinned, pins=(issued[pinned].spki_sha256,))]
        expected = Conclusion.HOLDS if pinned == EXAM else Conclusion.ASSESSED_OTHERWISE
        assert verify(world, data, pins=own).conclusion is expected
        verification = verify(world, remade(data, claim), pins=own)
        assert verification.conclusion is Conclusion.FAILS
        assert any(reason.startswith("The network was called") for reason in verification.reasons)

    def test_own_pins_instead_of_recorded_ones(self, world: World, pki: PrivatePKI) -> None:
        """A declared root that only the recorder knows of does not clear an interceptor by the reader's own pins."""
        ca = pki.private_ca("Filter CA")
        case = recorded(world, EXAM, ca.issue([EXAM]), private_roots=(ca.certificate,))
        assert verify(world, packed(case)).report.verdict == "clean"
        own = [Endpoint(host=EXAM, pins=(pki.issue([EXAM]).spki_sha256,))]
        verification = verify(world, packed(case), pins=own)
        assert (verification.conclusion, verification.report.verdict) == (Conclusion.FAILS, "middleware")
        assert Unverifiable.EXPECTATIONS in unverified(verify(world, packed(case)))
        assert Unverifiable.EXPECTATIONS not in unverified(verification)

    def test_identity_of_roots_and_logs(self, world: World) -> None:
        """The hash names the set: neither the order nor the name of a file has a say in it; no folder is named."""
        turned = from_der([r.certificate.der for r in reversed(world.roots.roots)], name="/home/zacharias/campus.pem")
        assert of_roots(turned).sha256 == of_roots(world.roots).sha256
        assert of_roots(turned).name == "campus.pem"
        added = world.roots.with_added(from_der([], name=r"C:\Users\zacharias\more.pem"))
        assert of_roots(added).name == "test roots + more.pem"
        fewer = msgspec.structs.replace(world.logs, logs={}, name="/home/zacharias/logs.json")
        data = data_set.shipped()
        ours, theirs = (used(world.roots, logs, data)[1] for logs in (world.logs, fewer))
        assert ours.sha256 != theirs.sha256
        assert theirs.name == "logs.json"


class TestRedaction:
    @pytest.fixture
    def network(self, world: World, pki: PrivatePKI) -> bytes:
        """One private CA, of which the second endpoint alone shows that it takes the place of a public one."""
        ca = pki.private_ca("School Filter CA")
        exam, lms = with_its_ca(ca, EXAM), with_its_ca(ca, LMS)
        return packed(recorded(world, EXAM, exam), recorded(world, LMS, lms, roots=ROOTS))

    def test_one_of_two_endpoints(self, network: bytes, world: World) -> None:
        """What is left does not show what both showed, and that is said: it is not held for false."""
        verification = verify(world, bundle.redact(network, ["endpoint-2"]))
        (check,) = verification.endpoints
        assert verification.conclusion is Conclusion.INCOMPLETE
        assert verification.signature is SignatureState.SIGNED
        assert (check.claimed.confidence, check.judged.confidence) == ("proven", "possible")
        assert "Evidence was removed (endpoint-2)" in verification.reasons[0]
        assert [(p.name, p.state) for p in verification.parts if p.state != "intact"] == [("endpoint-2", "redacted")]

    def test_contradiction_is_no_matter_of_redaction(self, world: World, pki: PrivatePKI) -> None:
        """Taking something out does not excuse a handshake signature that is wrong."""
        wrong = recorded(world, LMS, pki.issue([LMS])).observation.handshake_signature
        bad = recorded(world, EXAM, pki.issue([EXAM]), seen={"handshake_signature": wrong})
        data = bundle.redact(packed(bad, recorded(world, LMS, pki.issue([LMS]))), ["endpoint-2"])
        assert verify(world, data).conclusion is Conclusion.FAILS

    def test_what_no_verdict_rests_on(self, network: bytes, world: World) -> None:
        """Vantage and circumstances can go: the verdict holds, and where the interceptor stands is not compared."""
        data = bundle.redact(network, ["vantage", "circumstances-1", "circumstances-2"])
        verification = verify(world, data)
        assert (verification.conclusion, verification.report.vantage) == (Conclusion.HOLDS, "")
        assert b"room 12" not in data
        assert ADDRESS.encode() not in data

    def test_where_it_was_answered_decides_how_sure_it_is(self, world: World, pki: PrivatePKI) -> None:
        """A private address is a reason for less: without it the verdict is another one, and that is said."""
        forged = pki.private_ca("Filter CA").issue([EXAM])
        at_home = {"address": "192.168.1.7:443"}
        data = packed(recorded(world, EXAM, forged, seen=at_home, identity=RecordedIdentity.PUBLIC))
        assert verify(world, data).conclusion is Conclusion.HOLDS
        without = verify(world, bundle.redact(data, ["circumstances-1"]))
        assert without.conclusion is Conclusion.INCOMPLETE
        assert without.endpoints[0].differences[:1] == ("confidence",)

    def test_where_probes_led_decides_between_them(self, world: World, pki: PrivatePKI) -> None:
        """Probes of one endpoint are compared by where they led: taken out, the verdict can no longer be reached."""
        forged = recorded(world, EXAM, pki.private_ca("Filter CA").issue([EXAM]))
        genuine = recorded(world, EXAM, pki.issue([EXAM]), seen={"route": Route.QUIC})
        case = EndpointEvidence(forged.endpoint, forged.observation, forged.context, (), (genuine.observation,))
        data = packed(case)
        whole = verify(world, data)
        assert (whole.conclusion, whole.report.results[0].reason) == (Conclusion.HOLDS, "identity-substituted")
        assert whole.report.results[0].confidence == "proven"
        assert whole.report.results[0].other_observations == (genuine.observation,)
        without = verify(world, bundle.redact(data, ["circumstances-1"]))
        assert without.conclusion is Conclusion.INCOMPLETE

    def test_hellos_and_earlier_connections(self, world: World, pki: PrivatePKI) -> None:
        """What was sent and what failed before is evidence, without addresses; the verdict follows from it again."""
        failed = FailedAttempt(outcome=Outcome.TLS_ALERT, hello=Hello.BROWSER, address=ADDRESS)
        small = FailedAttempt(outcome=Outcome.RESET, hello=Hello.OPENSSL, small_hello=False, address=ADDRESS)
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"hello": Hello.WIDEST, "earlier": (failed,)}, "other-hello"),
            ({"hello": Hello.OPENSSL, "small_hello": True, "earlier": (small,)}, "logged"),
            ({"unfollowed_proxy": UnfollowedProxy.EXTRA_MISSING}, "logged"),
        )
        for seen, reason in cases:
            data = packed(recorded(world, EXAM, pki.issue([EXAM]), seen=seen))
            verification = verify(world, data)
            (result,) = verification.report.results
            assert (verification.conclusion, result.reason) == (Conclusion.HOLDS, reason)
            for name, value in seen.items():
                if name != "earlier":
                    assert getattr(result.observation, name) == value
            assert [one.address for one in result.observation.earlier] == [None] * len(seen.get("earlier", ()))
            assert verification.report.verdict == ("clean" if "small_hello" in seen else "inconclusive")
            without = verify(world, bundle.redact(data, ["circumstances-1"]))
            assert without.report.results[0].reason == reason

    def test_everything(self, network: bytes, world: World) -> None:
        """A bundle of which nothing is left shows nothing but what was signed."""
        names = [part.entry.name for part in bundle.read(network).parts]
        verification = verify(world, bundle.redact(network, names))
        assert verification.conclusion is Conclusion.INCOMPLETE
        assert verification.report.verdict == "inconclusive"
        assert bundle.redact(bundle.redact(network, names), names) == bundle.redact(network, names)

    def test_name_of_no_part(self, network: bytes) -> None:
        """A part that is not there cannot be taken out; the message lists those that are."""
        with pytest.raises(BundleError, match=r"'endpoint-3'.*endpoint-1"):
            bundle.redact(network, ["endpoint-3"])

    def test_salts_hide_what_was_taken_out(self, world: World, pki: PrivatePKI) -> None:
        """The same evidence has other digests in every bundle: nobody finds what was taken out by trying."""
        case = recorded(world, EXAM, pki.issue([EXAM]))
        digests = [{part.entry.sha256 for part in bundle.read(packed(case)).parts} for _ in range(2)]
        assert not digests[0] & digests[1]

    def test_where_an_interceptor_is(self, world: World, pki: PrivatePKI) -> None:
        """Locality rests on circumstances: with them it is compared, and another one is a difference."""
        ca = pki.private_ca("Own CA")
        installed = world.context(machine=(ca.certificate,))._replace(installed_at=lambda _: world.pki.now)
        seen = recorded(world, EXAM, ca.issue([EXAM]), roots=ROOTS)
        case = type(seen)(seen.endpoint, seen.observation, installed)
        data = packed(case)
        verification = verify(world, data)
        assert verification.conclusion is Conclusion.HOLDS
        attribution = verification.endpoints[0].judged.attribution
        assert attribution is not None

        def elsewhere(_: dict[str, Any], contents: dict[str, Any]) -> None:
            contents["endpoint-1"]["claimed"]["attribution"]["locality"] = Locality.NETWORK

        assert verify(world, remade(data, elsewhere)).endpoints[0].differences == ("attribution.locality",)
        lost = bundle.redact(remade(data, elsewhere), ["circumstances-1"])
        assert verify(world, lost).conclusion is Conclusion.HOLDS


class TestWitness:
    def asked(self, world: World, pki: PrivatePKI, *, saw: bytes = EXPORTER, **statement: Any) -> EndpointEvidence:  # noqa: ANN401 - fields of Statement
        """An endpoint whose witness says that it saw this exporter."""
        said = witness_statement.Statement(
            **{
                "nonce": witness_statement.encode_nonce(NONCE),
                "exporter": saw,
                "client_hello": witness_statement.HelloSeen(sha256="0" * 64),
                "time": world.pki.now,
                **statement,
            }
        )
        answer = WitnessObservation(
            outcome=WitnessOutcome.ANSWERED,
            nonce=NONCE,
            exporter=EXPORTER,
            status=200,
            body=witness_statement.sign(said, [STRANGER]),
        )
        return recorded(world, EXAM, pki.issue([EXAM]), seen={"witness": answer}, witness=(public_key_of(STRANGER),))

    def test_equal_and_different(self, world: World, pki: PrivatePKI) -> None:
        """The witness's signature is checked again; whose binding was ours rests on the recorder's claim."""
        for saw, reason in ((EXPORTER, "witnessed"), (bytes(32), "witness-differs")):
            verification = verify(world, packed(self.asked(world, pki, saw=saw)))
            assert (verification.conclusion, verification.endpoints[0].judged.reason) == (Conclusion.HOLDS, reason)
            assert Unverifiable.WITNESS_BINDING in unverified(verification)

    @pytest.mark.parametrize(
        "statement", [{"peer": "203.0.113.9:5000"}, {"proxy_headers": (("X-Forwarded-For", "10.1.2.3"),)}]
    )
    def test_answer_that_names_the_client(self, statement: dict[str, Any], world: World, pki: PrivatePKI) -> None:
        """An answer with the address of who asked is left out, and the bundle says that it shows less for it."""
        data = packed(self.asked(world, pki, saw=bytes(32), **statement))
        verification = verify(world, data)
        assert verification.conclusion is Conclusion.INCOMPLETE
        assert verification.endpoints[0].answer_left_out is AnswerLeftOut.NAMES_THE_CLIENT
        assert not any(address in part for address in ("203.0.113.9", "10.1.2.3") for part in texts(data))

    def test_via_names_nobody(self, world: World, pki: PrivatePKI) -> None:
        """A header that names the intermediary stays: it is evidence."""
        data = packed(self.asked(world, pki, proxy_headers=(("Via", "1.1 filter.example"),)))
        assert verify(world, data).conclusion is Conclusion.HOLDS

    def test_headers_named_without_their_values_stay(self, world: World, pki: PrivatePKI) -> None:
        """A witness signs what would tell of the client without its value; such an answer is evidence like others."""
        request = (("X-Forwarded-For", "10.1.2.3"), ("X-Authenticated-User", "zacharias"), ("X-BlueCoat-Via", "a1b2"))
        data = packed(self.asked(world, pki, proxy_headers=proxy_headers(request)))
        verification = verify(world, data)
        assert verification.conclusion is Conclusion.HOLDS
        assert verification.endpoints[0].answer_left_out is None
        assert not any(reported in part for reported in ("10.1.2.3", "zacharias") for part in texts(data))

    def test_unsigned_answer_is_left_out(self, world: World, pki: PrivatePKI) -> None:
        """What stands in a witness's place may be a page with the reader's name: it is not recorded, nor needed."""
        page = WitnessObservation(
            outcome=WitnessOutcome.ANSWERED,
            nonce=NONCE,
            exporter=EXPORTER,
            status=200,
            body=b"Hello zacharias, 10.1.2.3",
        )
        case = recorded(world, EXAM, pki.issue([EXAM]), seen={"witness": page}, witness=(public_key_of(STRANGER),))
        data = packed(case)
        verification = verify(world, data)
        assert (verification.conclusion, verification.endpoints[0].judged.reason) == (
            Conclusion.HOLDS,
            "logged",
        )
        assert verification.endpoints[0].answer_left_out is AnswerLeftOut.NOT_SIGNED

    def test_other_key_than_the_pinned_one(self, world: World, pki: PrivatePKI) -> None:
        """A witness's answer under a key that the reader's own pins do not have clears nothing by itself."""
        data = packed(self.asked(world, pki))
        verification = verify(world, data, pins=[Endpoint(host=EXAM, witness=(public_key_of(KEY),))])
        assert verification.endpoints[0].witness == "unknown-key"
        assert [result.assurance for result in verification.report.results] == ["logged"]
