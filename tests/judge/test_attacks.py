"""What an interceptor can try to come out clean, or milder: none of it helps him.

Each kind of attack is tried in every form that it has, where nothing is known of the endpoint, where its identity is
stated, and where its pins were learned from the genuine chain.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from detector_testing.pki import sct_list_of
from support.odd_keys import GOST_2012, rewritten
from support.worlds import (
    DAY,
    EXAM,
    FOR_MAIL,
    LMS,
    SEARCH,
    below,
    crowded,
    dated,
    in_name_of,
    know_key,
    logged,
    said,
    sent,
    timestamps,
)

from detector.knowledge import data_set
from detector.knowledge.catalogue.entries import ProductCategory
from detector.knowledge.roots import Installed, split_certifi
from detector.model import Confidence, Outcome, Result, RootOrigin, Verdict
from detector.pins.learn import learn
from detector.trust.ct_logs import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import CA
    from support.worlds import Chain

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint
    from detector.trust.ct_logs import LogList

HOSTS: Final = (EXAM, LMS, SEARCH)


def grade(result: Result) -> int:
    """How grave a result is: clean, inconclusive, possible, probable, proven."""
    if result.confidence is not None:
        return 2 + list(Confidence).index(result.confidence)
    return int(result.verdict is Verdict.INCONCLUSIVE)


@pytest.fixture(scope="module")
def learned(world: World) -> dict[str, Endpoint]:
    """Pin files' endpoints as learned from the genuine servers."""
    return {host: learn(world.case(host, world.pki.issue([host]))) for host in HOSTS}


class TestLoggedWithoutAPathThatClientsTake:
    """Logs take what leads to some root, without asking whether a client would; a timestamp is worth no path."""

    KNOWN: Final = ("nothing", "stated", "learned")
    FORMS: Final[dict[str, tuple[str, str, str]]] = {
        "below an installed root": ("added-root", "identity-substituted", "identity-substituted"),
        "below an unknown root": ("private-chain", "identity-substituted", "identity-substituted"),
        "its CA left out": ("incomplete-chain", "incomplete-chain", "pin-mismatch"),
        "below a sub-CA that may have no CA below": ("defective-chain", "defective-chain", "defective-chain"),
        "below a sub-CA for other names": ("defective-chain", "defective-chain", "defective-chain"),
        "below a sub-CA for mail": ("defective-chain", "defective-chain", "defective-chain"),
        "below a sub-CA for mail, its root installed": (
            "defective-chain",
            "identity-substituted",
            "identity-substituted",
        ),
        "with the key of a public server": ("private-chain", "identity-substituted", "identity-substituted"),
        "by a CA with a public one's name": ("private-chain", "identity-substituted", "identity-substituted"),
    }
    """How the timestamps were had, and the rule where nothing is known, where it is stated, and with learned pins."""

    def chain(self, form: str, world: World) -> tuple[Chain, dict[str, Any]]:
        pki, ca = world.pki, world.pki.private_ca("Campus Web Filter CA")
        public, mail = pki.root_b, in_name_of(ca, pki.root_b, purposes=FOR_MAIL)
        installed: dict[str, Any] = {"machine": (ca.certificate,)}
        issuer: CA = {
            "below a sub-CA that may have no CA below": in_name_of(ca, below(public, "Shallow CA", path_length=0)),
            "below a sub-CA for other names": in_name_of(ca, public, only_under="example.net"),
            "below a sub-CA for mail": mail,
            "below a sub-CA for mail, its root installed": mail,
            "with the key of a public server": below(pki.intermediate_ec, "www.example.net", is_ca=False),
            "by a CA with a public one's name": pki.private_ca(pki.intermediate_ec.subject),
        }.get(form, ca)
        leaf = logged(pki, issuer, EXAM)
        if form == "its CA left out":
            return leaf.chain[:1], {}
        chain = (*leaf.chain, ca.certificate) if "installed" in form or "unknown root" in form else leaf.chain
        if form == "by a CA with a public one's name":
            chain = (*leaf.chain, issuer.certificate)
        return chain, installed if "installed" in form else {}

    @pytest.mark.parametrize("form", FORMS)
    def test_never_clean(self, form: str, world: World, learned: dict[str, Endpoint]) -> None:
        """By the rule that is written, and graver where more is known."""
        chain, machine = self.chain(form, world)
        context = world.context(**machine)
        cases = [
            world.case(EXAM, chain, context=context),
            world.case(EXAM, chain, context=context, roots=("Exemplar Root X2",)),
            _as(learned[EXAM], world.case(EXAM, chain, context=context)),
        ]
        results = [world.judge(case)[0] for case in cases]
        assert tuple(str(result.reason) for result in results) == self.FORMS[form]
        assert grade(results[0]) >= 2
        assert grade(results[1]) >= grade(results[0])
        assert grade(results[2]) >= grade(results[0])


def _as(endpoint: Endpoint, case: EndpointEvidence) -> EndpointEvidence:
    """The same observation of an endpoint of which this is known."""
    return type(case)(endpoint, case.observation, case.context, others=case.others)


class TestDeadLogs:
    """Keys of logs that nobody guards any more, and timestamps that no browser counts."""

    def lists(self, world: World) -> dict[str, LogList]:
        """Lists in which the first two logs are what no browser counts today."""
        now = world.pki.now

        def every(**facts: Any) -> LogList:  # noqa: ANN401 - fields of Log
            logs = {key: msgspec.structs.replace(log, **facts) for key, log in world.logs.logs.items()}
            return msgspec.structs.replace(world.logs, logs=logs)

        return {
            "retired long ago": every(retired=now - 3000 * DAY),
            "retired yesterday": every(retired=now - 2 * DAY),
            "another year's shard": every(shard=Shard(now - 800 * DAY, now - 400 * DAY)),
            "one operator": every(operator="One Operator"),
            "never accepted": msgspec.structs.replace(world.logs, logs={}, untrusted=world.logs.logs),
            "not listed": msgspec.structs.replace(world.logs, logs={}),
        }

    @pytest.mark.parametrize(
        "how",
        [
            "retired long ago",
            "retired yesterday",
            "another year's shard",
            "one operator",
            "never accepted",
            "not listed",
        ],
    )
    def test_logs_that_count_for_nothing(self, how: str, world: World, learned: dict[str, Endpoint]) -> None:
        """A mis-issuing sub-CA is possible with such timestamps, and probable where pins were learned."""
        box = below(world.pki.root_b, "Other Customer CA")
        context = world.context(logs=self.lists(world)[how])
        case = world.case(EXAM, logged(world.pki, box, EXAM), context=context)
        assert said(world.judge(case)[0]) == ("possible", "public-unlogged")
        assert said(world.judge(_as(learned[EXAM], case))[0]) == ("probable", "public-unlogged")

    @pytest.mark.parametrize("when", [dt.datetime(2001, 1, 1, tzinfo=dt.UTC), -33, 2, 400])
    def test_impossible_times(self, when: dt.datetime | int, world: World) -> None:
        """Before there were logs, before the leaf, and in the future, by days from now."""
        at = when if isinstance(when, dt.datetime) else world.pki.now + when * DAY
        box = below(world.pki.root_b, "Other Customer CA")
        leaf = box.issue([EXAM], sct_list=timestamps(world.pki.ct_logs[:2], at))
        assert said(world.one(EXAM, leaf)) == ("possible", "public-unlogged")

    def test_a_private_ca_is_private_whatever_it_signs(self, world: World) -> None:
        """With every kind of timestamp, known and junk, the root decides; unrelated operators make it no milder."""
        ca, pki = world.pki.private_ca("Campus Web Filter CA"), world.pki
        kinds = [pki.ct_logs[:2], pki.ct_logs, pki.unknown_logs[:2], [pki.ct_logs[0], pki.unknown_logs[0]]]
        for logs in kinds:
            chains = {host: (*logged(pki, ca, host, logs).chain, ca.certificate) for host in HOSTS}
            for machine, reason in (((), "one-private-signer"), ((ca.certificate,), "added-root")):
                results = world.judge(*(world.case(host, chains[host], machine=machine) for host in HOSTS))
                assert {said(result) for result in results} == {("possible", reason)}

    @pytest.mark.parametrize("days", [0, 30, 180, 186, 400, 3650])
    @pytest.mark.parametrize("scts", [0, 1])
    def test_the_age_of_the_list_clears_nothing(self, days: int, scts: int, world: World) -> None:
        """Too few timestamps are too few by a list of any age; by the same issuer for three operators, probable."""
        box, pki = below(world.pki.root_b, "Other Customer CA"), world.pki
        context = world.context(logs=world.logs.as_of((pki.now - days * DAY).date()))
        listed = msgspec.structs.replace(context.logs, logs=world.logs.logs)
        leaves = {
            host: box.issue([host], sct_list=timestamps(pki.ct_logs[:scts], pki.now - DAY) if scts else None)
            for host in HOSTS
        }
        for known in (context, context._replace(logs=listed)):
            cases = [world.case(host, leaves[host], context=known) for host in HOSTS]
            assert said(world.judge(cases[0])[0]) == ("possible", "public-unlogged")
            assert {said(result) for result in world.judge(*cases)} == {("probable", "public-unlogged")}


class TestIssuersThatNoClientTakes:
    """CAs that an institution can really hold below a public root, each with valid timestamps."""

    KINDS: Final[dict[str, tuple[str, str]]] = {
        "for mail": ("possible", "defective-chain"),
        "for code": ("possible", "defective-chain"),
        "for OCSP": ("possible", "defective-chain"),
        "for clients": ("possible", "defective-chain"),
        "expired": ("inconclusive", "expired"),
        "of next year": ("inconclusive", "expired"),
        "no CA at all": ("possible", "private-chain"),
        "with a weak key": ("possible", "defective-chain"),
        "signing with SHA-1": ("possible", "defective-chain"),
        "leaf that is a CA": ("possible", "defective-chain"),
        "leaf expired three years ago": ("inconclusive", "expired"),
        "leaf of ten years": ("possible", "defective-chain"),
    }

    def leaf(self, kind: str, world: World) -> Chain:
        pki, eku = world.pki, ExtendedKeyUsageOID
        root, now = pki.root_b, pki.now
        issuers: dict[str, Callable[[], CA]] = {
            "for mail": lambda: below(root, "Example University S/MIME CA", purposes=FOR_MAIL),
            "for code": lambda: below(root, "Example Code CA", purposes=[eku.CODE_SIGNING]),
            "for OCSP": lambda: below(root, "Example OCSP CA", purposes=[eku.OCSP_SIGNING]),
            "for clients": lambda: below(root, "Example Client CA", purposes=[eku.CLIENT_AUTH]),
            "expired": lambda: below(root, "Exemplar Legacy CA 2015", days=(-4000, -2000)),
            "of next year": lambda: below(root, "Next CA", days=(300, 900)),
            "no CA at all": lambda: below(root, "Example Server", is_ca=False),
            "with a weak key": lambda: below(root, "Example Weak CA", key="rsa1024"),
            "signing with SHA-1": lambda: dataclasses.replace(pki.intermediate_rsa, signature_hash="sha1"),
        }
        if kind in issuers:
            return logged(pki, issuers[kind](), EXAM)
        if kind == "leaf that is a CA":
            return below(pki.intermediate_ec, EXAM).chain
        long_ago: dict[str, Any] = {"not_before": now - 1200 * DAY, "not_after": now - 1100 * DAY}
        dates = long_ago if "expired" in kind else {"not_after": now + 3650 * DAY}
        return logged(pki, pki.intermediate_ec, EXAM, **dates)

    @pytest.mark.parametrize("kind", KINDS)
    def test_never_clean(self, kind: str, world: World, learned: dict[str, Endpoint]) -> None:
        """Another purpose, another time, a wrong form: nothing of it clears, pinned or not."""
        chain = self.leaf(kind, world)
        result = world.one(EXAM, chain)
        assert said(result) == self.KINDS[kind]
        pinned = world.judge(_as(learned[EXAM], world.case(EXAM, chain)))[0]
        assert pinned.verdict is not Verdict.CLEAN
        assert grade(pinned) >= grade(result)


class TestLearnedPins:
    """What `pins learn` writes makes no interceptor milder, in whatever form he comes."""

    @pytest.mark.parametrize(
        ("form", "alone", "pinned"),
        [
            ("another customer's sub-CA", ("possible", "public-unlogged"), ("probable", "public-unlogged")),
            ("another customer's sub-CA, logged", ("logged", "logged"), ("possible", "pin-mismatch")),
            ("a private CA", ("possible", "private-chain"), ("proven", "identity-substituted")),
            ("self-signed", ("possible", "private-chain"), ("proven", "identity-substituted")),
            ("an installed root", ("possible", "added-root"), ("proven", "identity-substituted")),
            ("an unfamiliar root", ("possible", "unfamiliar-root"), ("probable", "unfamiliar-root")),
            ("a copied leaf alone", ("possible", "incomplete-chain"), ("possible", "pin-mismatch")),
            ("an unreadable algorithm", ("inconclusive", "unreadable"), ("possible", "pin-mismatch")),
            ("another name", ("possible", "wrong-name"), ("possible", "wrong-name")),
        ],
    )
    def test_with_pins_never_milder(
        self, form: str, alone: tuple[str, str], pinned: tuple[str, str], world: World, learned: dict[str, Endpoint]
    ) -> None:
        """Alone and with the pins that were learned from the genuine server."""
        pki, ca = world.pki, world.pki.private_ca("Campus Web Filter CA")
        box, genuine = below(pki.root_b, "Other Customer CA"), pki.issue([EXAM])
        unknown = world.context(machine=(ca.certificate,), origin=RootOrigin.UNKNOWN)
        installed = world.context(machine=(ca.certificate,), origin=RootOrigin.POLICY)
        copied = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf))
        case = {
            "another customer's sub-CA": world.case(EXAM, box.issue([EXAM])),
            "another customer's sub-CA, logged": world.case(EXAM, logged(pki, box, EXAM)),
            "a private CA": world.case(EXAM, sent(ca, EXAM)),
            "self-signed": world.case(EXAM, pki.self_signed([EXAM])),
            "an installed root": world.case(EXAM, sent(ca, EXAM), context=installed),
            "an unfamiliar root": world.case(EXAM, sent(ca, EXAM), context=unknown),
            "a copied leaf alone": world.case(EXAM, copied.chain[:1]),
            "an unreadable algorithm": world.case(
                EXAM, (rewritten(genuine.leaf, algorithm=GOST_2012), *genuine.chain[1:])
            ),
            "another name": world.case(EXAM, box.issue([LMS])),
        }[form]
        results = [world.judge(one)[0] for one in (case, _as(learned[EXAM], case))]
        assert [said(result) for result in results] == [alone, pinned]

    def test_roots_are_no_pins(self, learned: dict[str, Endpoint], world: World) -> None:
        """Neither the root's key nor a key that unrelated hosts share is among what is learned."""
        keys = {*learned[EXAM].pins, *learned[EXAM].backup_pins}
        assert keys
        assert not keys & {world.pki.root_a.spki_sha256, world.pki.root_b.spki_sha256}

    def test_several_operators_with_pins(self, world: World, learned: dict[str, Endpoint]) -> None:
        """Three operators behind one unlogged sub-CA: probable with pins and without, never clean."""
        box = below(world.pki.root_b, "Other Customer CA")
        cases = [world.case(host, box.issue([host])) for host in HOSTS]
        for network in (cases, [_as(learned[case.endpoint.host], case) for case in cases]):
            assert {said(result) for result in world.judge(*network)} == {("probable", "public-unlogged")}


class TestKnownKeys:
    """Interception CAs that a public CA had signed: the catalogue knows them by hash, whatever stands above."""

    @pytest.mark.parametrize(
        "how",
        ["logged", "unlogged", "pinned CA", "expired", "for mail", "declared", "stale roots", "private", "leaf pinned"],
    )
    def test_a_known_key_is_proven_on_any_path(self, how: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever path it has, its pins and its timestamps clear nothing."""
        pki = world.pki
        ca = {
            "expired": below(pki.root_b, "Known Sub CA", days=(-900, -200)),
            "for mail": below(pki.root_b, "Known Sub CA", purposes=FOR_MAIL),
            "declared": pki.private_ca("Known CA"),
            "private": pki.private_ca("Known CA"),
            "stale roots": below(pki.private_ca("New Root"), "Known Sub CA"),
        }.get(how) or below(pki.root_b, "Known Sub CA")
        know_key(monkeypatch, ca.spki_sha256, ProductCategory.STATE_INTERCEPTION)
        leaf = ca.issue([EXAM]) if how == "unlogged" else logged(pki, ca, EXAM)
        chain = leaf.chain if ca.certificate in leaf.chain else (*leaf.chain, ca.certificate)
        known: dict[str, dict[str, Any]] = {
            "pinned CA": {"pins": (ca.spki_sha256,)},
            "declared": {"private_roots": (ca.certificate,)},
            "stale roots": {"context": world.context(roots=dated(world.roots, 365, pki))},
        }
        result = world.one(EXAM, chain, **known.get(how, {}))
        assert said(result) == ("proven", "interception-key")
        assert result.attribution is not None
        assert result.attribution.product == "Example Box"

    def test_without_the_keys_proof_it_is_probable(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Anybody can show that chain."""
        ca = below(world.pki.root_b, "Known Sub CA")
        know_key(monkeypatch, ca.spki_sha256, ProductCategory.STATE_INTERCEPTION)
        unproved: dict[str, Any] = {"key_proved": False, "outcome": Outcome.RESET}
        assert said(world.one(EXAM, logged(world.pki, ca, EXAM), **unproved)) == ("probable", "interception-key")


class TestRootsThatSomebodyAppended:
    """Neither certifi's file nor a label in it makes a root public."""

    @pytest.mark.parametrize("label", [None, "Campus Web Filter CA", "ISRG Root X1", "GTS Root R1"])
    @pytest.mark.parametrize("version", ["2026.5.20", "2027.1.5", "2031.1.1"])
    def test_an_appended_root_clears_nothing(self, label: str | None, version: str, world: World) -> None:
        """With and without a label, of an older and a newer certifi: at most it was added by somebody."""
        ca = world.pki.private_ca("Campus Web Filter CA")
        heading = f'# Label: "{label}"\n'.encode() if label else b""
        bundle = split_certifi(
            b"\n" + heading + ca.pem, Installed(version, "recorded", 7, in_place=True), data_set.shipped().known_roots
        )
        machine = (*bundle.added.roots, *bundle.unconfirmed.roots)
        assert [root.certificate.der for root in machine] == [ca.certificate]
        context = world.context(machine_roots=lambda: bundle.added if bundle.added.roots else bundle.unconfirmed)
        for chain in (sent(ca, EXAM), (*logged(world.pki, ca, EXAM).chain, ca.certificate)):
            result = world.judge(world.case(EXAM, chain, context=context))[0]
            assert result.verdict is Verdict.MIDDLEWARE
            assert str(result.reason) in {"added-root", "unfamiliar-root"}


class TestCrowds:
    """More work than any genuine chain asks for, and more names than are read."""

    def test_what_exceeds_its_share_is_accused_all_the_same(self, world: World) -> None:
        """A stated endpoint behind a crowd of namesakes is probable; where nothing is known, possible."""
        chain = crowded(world.pki, EXAM)
        assert said(world.one(EXAM, chain, canary=True)) == ("probable", "identity-substituted")
        assert said(world.one(EXAM, chain)) == ("possible", "private-chain")

    def test_a_name_behind_very_many_others(self, world: World) -> None:
        """A leaf that hides its names is for this host where that accuses, and not where it clears."""
        many = [f"h{number}.example.org" for number in range(3000)]
        forged = world.pki.private_ca("Filter CA").issue([*many, EXAM], subject_cn="many")
        assert said(world.one(EXAM, forged, canary=True)) == ("probable", "identity-substituted")
        public = world.pki.intermediate_ec.issue([*many, EXAM], subject_cn="many")
        assert world.one(EXAM, public).verdict is not Verdict.CLEAN
