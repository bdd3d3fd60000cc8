"""Generated chains through the pure pipeline: every rule of the table, each of its grades, what is said and to whom."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from detector_testing import generate_key
from detector_testing.pki import sct_list_of
from hypothesis import given
from hypothesis import strategies as st
from support.odd_keys import GOST_2012, rewritten
from support.worlds import (
    DAY,
    EXAM,
    FOR_MAIL,
    LMS,
    PINNED_WITNESS,
    SEARCH,
    below,
    crowded,
    dated,
    know_key,
    logged,
    named,
    said,
    sent,
    spent,
    timestamps,
    without,
    witnessed,
)

from detector.judge import assess
from detector.judge.network import report
from detector.judge.table import TABLE
from detector.knowledge.catalogue.entries import ProductCategory
from detector.model import (
    Engine,
    FailedAttempt,
    Hello,
    Outcome,
    PortalObservation,
    PortalOutcome,
    RecordedIdentity,
    Report,
    Result,
    RootOrigin,
    Route,
    Verdict,
    WitnessOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import World
    from detector_testing import CA, PrivatePKI
    from detector_testing.pki import CTLog
    from support.worlds import Chain

    from detector.judge.evidence import Context, EndpointEvidence
    from detector.model import Observation

CANARY: Final = "canary.example.net"
PUBLIC: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": "93.184.216.34:443"}
PRIVATE: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": "10.1.2.3:443"}
LEARNED: Final[dict[str, Any]] = {"pins": (b"\1" * 32,), "identity": RecordedIdentity.PUBLIC}
STALE_PINS: Final[dict[str, Any]] = {"pins": (b"\1" * 32,)}
FULL: Final = (FailedAttempt(outcome=Outcome.RESET, hello=Hello.BROWSER, address="93.184.216.34:443"),)
SMALL: Final[dict[str, Any]] = {"hello": Hello.BROWSER, "small_hello": True}
EARLIER: Final = (FailedAttempt(outcome=Outcome.TLS_ALERT, hello=Hello.FIREFOX),)

WORLDS: Final[dict[str, tuple[str, str, str]]] = {
    "a witness sees our session": ("witnessed", "witnessed", ""),
    "a witness sees our session, another key signed": ("witnessed", "witnessed", ""),
    "a witness sees another session": ("proven", "witness-differs", ""),
    "a witness sees another session of a wrong name": ("proven", "witness-differs", ""),
    "a witness behind the operator's front": ("probable", "witness-differs", "front-of-the-operator"),
    "a witness that ends TLS itself": ("proven", "witness-differs", ""),
    "the leaf is pinned": ("pinned", "pinned", ""),
    "the leaf is pinned, for another name": ("pinned", "pinned", ""),
    "a canary is private": ("proven", "identity-substituted", ""),
    "a canary is private, key not proved": ("probable", "identity-substituted", "wrong-server"),
    "a canary is private and exceeds our limits": ("probable", "identity-substituted", ""),
    "a canary below an added root": ("proven", "identity-substituted", ""),
    "a canary below an added root, roots stale": ("probable", "identity-substituted", ""),
    "roots stated in the file": ("proven", "identity-substituted", ""),
    "learned pins": ("proven", "identity-substituted", ""),
    "learned pins that expired": ("proven", "identity-substituted", ""),
    "learned pins at a private address": ("probable", "identity-substituted", "split-horizon private-pki"),
    "learned pins at a private address that was given": ("proven", "identity-substituted", ""),
    "learned pins at a private address, a canary too": ("proven", "identity-substituted", ""),
    "seen by another probe": ("proven", "identity-substituted", ""),
    "seen by another probe, here at a private address": (
        "possible",
        "identity-substituted",
        "split-horizon private-pki",
    ),
    "seen at this very private address": ("proven", "identity-substituted", ""),
    "seen in the history": ("possible", "identity-substituted", "split-horizon private-pki"),
    "seen in the history, in company": ("probable", "identity-substituted", "split-horizon private-pki"),
    "rivals with one server key": ("proven", "rivals-share-a-signer", ""),
    "rivals with one unfamiliar issuer": ("proven", "rivals-share-a-signer", ""),
    "the signer of a substituted canary": ("proven", "signer-substitutes-elsewhere", ""),
    "the signer of a substituted canary, key not proved": (
        "probable",
        "signer-substitutes-elsewhere",
        "wrong-server",
    ),
    "the leaf key of a substituted canary": ("proven", "signer-substitutes-elsewhere", ""),
    "the root of a substituted canary": ("probable", "signer-substitutes-elsewhere", "private-pki"),
    "the root of a substituted canary, private name": ("possible", "signer-substitutes-elsewhere", "private-pki"),
    "an interception key below a public root": ("proven", "interception-key", ""),
    "a genuine chain, another key signed": ("probable", "replayed-chain", "wrong-server"),
    "a product's name": ("probable", "product-mark", "private-pki"),
    "a root's name and key identifier": ("probable", "forged-issuer", "defective-server"),
    "below a CA for mail": ("possible", "defective-chain", "defective-server"),
    "a canary below a CA for mail": ("probable", "defective-chain", "defective-server"),
    "public and unlogged": ("possible", "public-unlogged", "scts-outside-certificate"),
    "public and unlogged, stale pins": ("probable", "public-unlogged", "scts-outside-certificate"),
    "public and unlogged, two operators": ("probable", "public-unlogged", "scts-outside-certificate"),
    "an added root": ("possible", "added-root", "private-pki development-ca"),
    "an added root, in company": ("probable", "added-root", "private-pki development-ca"),
    "an added root, in company, private address": ("possible", "added-root", "private-pki development-ca"),
    "one private CA for two operators": ("possible", "one-private-signer", "private-pki"),
    "one private CA for two operators, in company": ("probable", "one-private-signer", "private-pki"),
    "one server key for two operators": ("possible", "one-private-signer", "private-pki"),
    "two operators lack one issuer": ("possible", "forgotten-by-everybody", "incomplete-chain stale-roots"),
    "two operators lack one issuer, in company": (
        "probable",
        "forgotten-by-everybody",
        "incomplete-chain stale-roots",
    ),
    "stale pins, logged": ("possible", "pin-mismatch", "pin-rotation public-ca-misissuance"),
    "stale pins, private": ("possible", "pin-mismatch", "pin-rotation private-pki"),
    "stale pins, self-signed": ("possible", "pin-mismatch", "pin-rotation self-signed-origin"),
    "stale pins, private, in company": ("probable", "pin-mismatch", "pin-rotation private-pki"),
    "stale pins, declared": ("possible", "pin-mismatch", "pin-rotation"),
    "stale pins of a public CA, no client takes it": ("probable", "defective-chain", "defective-server"),
    "stale pins, excused by another probe": ("logged", "logged", ""),
    "an unfamiliar root": ("possible", "unfamiliar-root", "stale-roots private-pki"),
    "an unfamiliar root above a canary": ("probable", "unfamiliar-root", "stale-roots private-pki"),
    "an unreadable canary": ("possible", "unreadable-persists", "unreadable-algorithm"),
    "unreadable, in company": ("possible", "unreadable-persists", "unreadable-algorithm"),
    "another name": ("possible", "wrong-name", "captive-portal block-page wrong-server"),
    "another name on a canary": ("possible", "wrong-name", "captive-portal block-page wrong-server"),
    "another name, marked and pinned": ("possible", "wrong-name", "captive-portal block-page wrong-server"),
    "a public leaf alone": ("possible", "incomplete-chain", "incomplete-chain"),
    "a private CA": ("possible", "private-chain", "private-pki stale-roots incomplete-chain"),
    "self-signed": ("possible", "private-chain", "self-signed-origin"),
    "self-signed behind a portal": ("possible", "private-chain", "captive-portal self-signed-origin"),
    "a pinned CA": ("pinned", "pinned-ca", ""),
    "a pinned CA, timestamps not to be seen": ("pinned", "pinned-ca", ""),
    "public and logged": ("logged", "logged", ""),
    "public and logged, its root pinned": ("logged", "logged", ""),
    "public and logged, expired pins": ("logged", "logged", ""),
    "a declared root": ("declared", "declared", ""),
    "a declared root that is installed too": ("declared", "declared", ""),
    "another hello in the browser's place": ("inconclusive", "other-hello", ""),
    "another hello in its place, the leaf pinned": ("inconclusive", "other-hello", ""),
    "another hello in its place, forged": ("proven", "identity-substituted", ""),
    "a smaller hello of the same client": ("logged", "logged", ""),
    "nothing was seen but over QUIC": ("inconclusive", "other-hello", ""),
    "nothing was seen": ("inconclusive", "no-certificate", ""),
    "others spent the time": ("inconclusive", "budget-spent", ""),
    "a wrong clock": ("inconclusive", "clock-wrong", ""),
    "a declared root that intercepts": ("inconclusive", "declared-root-intercepts", ""),
    "a declared root, no client takes it": ("inconclusive", "declared-not-accepted", ""),
    "an expired leaf": ("inconclusive", "expired", ""),
    "an expired sub-CA": ("inconclusive", "expired", ""),
    "a former root": ("inconclusive", "retired", ""),
    "a former root above a canary": ("inconclusive", "retired", ""),
    "an algorithm nobody reads": ("inconclusive", "unreadable", ""),
    "public and logged, key not proved": ("inconclusive", "key-not-proved", ""),
    "pinned, key not proved": ("inconclusive", "key-not-proved", ""),
    "public and logged, common name only": ("inconclusive", "name-not-confirmed", ""),
    "a silent witness, timestamps not to be seen": ("inconclusive", "witness-silent", ""),
    "a silent witness, logged": ("logged", "logged", ""),
    "timestamps not to be seen": ("inconclusive", "scts-not-carried", ""),
    "a browser reports what is genuine": ("inconclusive", "browser-reported", ""),
    "a browser reports a pinned private leaf": ("inconclusive", "browser-reported", ""),
    "a browser reports a leaf alone": ("inconclusive", "issuer-not-reported", ""),
    "a browser reports a private leaf alone": ("probable", "identity-substituted", "wrong-server"),
    "timestamps of logs younger than the list": ("inconclusive", "stale-knowledge", ""),
    "a new root, roots stale": ("inconclusive", "stale-knowledge", ""),
    "a new root above a canary, roots stale": ("inconclusive", "stale-knowledge", ""),
    "a new root in the system's store, roots stale": ("inconclusive", "stale-knowledge", ""),
    "a new root, roots stale, stale pins": ("possible", "pin-mismatch", "pin-rotation private-pki"),
}
"""What is presented where: how sure the result is or on what it rests, its rule, and what else could explain it."""


class Endpoints:
    """The networks of the table; the first endpoint of each is the one that is meant."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pki = world.pki
        self.filter = world.pki.private_ca("Filter CA")
        self.installed: dict[str, Any] = {"machine": (self.filter.certificate,)}
        self.mail = below(world.pki.root_b, "Mail CA", purposes=FOR_MAIL)
        self.box = below(world.pki.root_b, "Other Customer CA")
        unreadable = world.pki.issue([EXAM])
        self.unreadable = (rewritten(unreadable.leaf, algorithm=GOST_2012), *unreadable.chain[1:])

    def case(self, chain: Chain, host: str = EXAM, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
        return self.world.case(host, chain, **{"seen": PUBLIC, **more})

    def forged(self, host: str = EXAM, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
        """What the filter presents for a host."""
        return self.case(sent(self.filter, host), host, **more)

    def canary(self, ca: CA | None = None, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
        """A canary that is substituted, by the filter or another CA."""
        return self.case(sent(ca or self.filter, CANARY), CANARY, canary=True, **more)

    def company(self) -> EndpointEvidence:
        """A canary that is substituted by something that has nothing to do with anybody."""
        return self.canary(self.pki.private_ca("Somebody's CA"))

    def seen(self, *there: dict[str, Any]) -> list[Observation]:
        """What other probes saw: the genuine chain."""
        return [self.world.observed(self.pki.issue([EXAM]), **facts) for facts in there]

    def stale(self, **more: Any) -> Context:  # noqa: ANN401 - as `World.context`
        """Lists of a year ago, for a leaf that is a month old."""
        return self.world.context(
            roots=dated(self.world.roots, 365, self.pki),
            logs=self.world.logs.as_of((self.pki.now - 365 * DAY).date()),
            **more,
        )

    def late(self, *, known: bool = False, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
        """A leaf below a root that is younger than the list, with timestamps of logs that it cannot know.

        Whether it is `known`, in a store that does not say where it comes from.
        """
        new = self.pki.private_ca("New Public Root")
        leaf = logged(self.pki, below(new, "New Issuing CA"), EXAM, _foreign(self.pki))
        context = self.stale(machine=(new.certificate,) if known else (), origin=RootOrigin.UNKNOWN)
        return self.case(leaf, context=context, **more)

    def settled(self) -> dict[str, list[EndpointEvidence]]:
        """What settles an observation, and witnesses."""
        genuine, private = self.pki.issue([EXAM]), self.pki.self_signed([EXAM])
        other = {**PUBLIC, **witnessed(b"\3" * 32)}
        wrong: dict[str, Any] = {"key_proved": False, "outcome": Outcome.SIGNATURE_WRONG}
        return {
            "a witness sees our session": [self.forged(**PINNED_WITNESS, seen={**PUBLIC, **witnessed()})],
            "a witness sees our session, another key signed": [
                self.forged(**PINNED_WITNESS, **wrong, seen={**PUBLIC, **witnessed()})
            ],
            "a witness sees another session": [self.forged(**PINNED_WITNESS, seen=other)],
            "a witness sees another session of a wrong name": [
                self.case(self.pki.self_signed([LMS]), **PINNED_WITNESS, seen=other)
            ],
            "a witness behind the operator's front": [self.case(genuine, **PINNED_WITNESS, seen=other)],
            "a witness that ends TLS itself": [self.case(genuine, **PINNED_WITNESS, witness_is_end=True, seen=other)],
            "the leaf is pinned": [self.case(private, pins=(private.spki_sha256,))],
            "the leaf is pinned, for another name": [self.case(private, LMS, pins=(private.spki_sha256,))],
        }

    def substituted(self) -> dict[str, list[EndpointEvidence]]:
        """`identity-substituted` in each of its grades."""
        unproved: dict[str, Any] = {"key_proved": False, "outcome": Outcome.RESET}
        before = self.world.context(seen_before=frozenset({f"{EXAM}:443"}))
        stale = self.stale(machine=(self.filter.certificate,))
        late = (logged(self.pki, self.filter, EXAM, _foreign(self.pki)).leaf, self.filter.certificate)
        return {
            "a canary is private": [self.forged(canary=True)],
            "a canary is private, key not proved": [self.forged(canary=True, **unproved)],
            "a canary is private and exceeds our limits": [self.case(crowded(self.pki, EXAM), canary=True)],
            "a canary below an added root": [self.forged(canary=True, **self.installed)],
            "a canary below an added root, roots stale": [self.case(late, canary=True, context=stale)],
            "roots stated in the file": [self.forged(roots=("Exemplar Root X2",))],
            "learned pins": [self.forged(**LEARNED)],
            "learned pins that expired": [self.forged(**LEARNED, expires=(self.pki.now - DAY).date())],
            "learned pins at a private address": [self.forged(**LEARNED, seen=PRIVATE)],
            "learned pins at a private address that was given": [
                self.forged(**LEARNED, seen=PRIVATE, address=("10.1.2.3", 443))
            ],
            "learned pins at a private address, a canary too": [
                self.forged(**LEARNED, seen=PRIVATE),
                self.company(),
            ],
            "seen by another probe": [self.forged(others=self.seen({"route": Route.QUIC}))],
            "seen by another probe, here at a private address": [
                self.forged(seen=PRIVATE, others=self.seen({**PUBLIC, "hello": Hello.OPENSSL}))
            ],
            "seen at this very private address": [
                self.forged(seen=PRIVATE, others=self.seen({**PRIVATE, "hello": Hello.OPENSSL}))
            ],
            "seen in the history": [self.forged(context=before)],
            "seen in the history, in company": [self.forged(context=before), self.company()],
        }

    def shared(self) -> dict[str, list[EndpointEvidence]]:
        """Keys and signers that more than one endpoint has."""
        pki, key = self.pki, generate_key("ec")
        google: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Google"}
        amazon: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Amazon"}
        unfamiliar = self.world.context(machine=(self.filter.certificate,), origin=RootOrigin.UNKNOWN)
        root = pki.private_ca("Filter Root")
        one, other = below(root, "Issuing CA 1"), below(root, "Issuing CA 2")
        below_root: dict[str, Any] = {"machine": (root.certificate,)}
        reused = dataclasses.replace(self.filter, leaf_key=key)
        return {
            "rivals with one server key": [
                self.case(pki.issue([EXAM], key=key), **google),
                self.case(pki.issue([LMS], key=key), LMS, **amazon),
            ],
            "rivals with one unfamiliar issuer": [
                self.forged(**google, context=unfamiliar),
                self.forged(LMS, **amazon, context=unfamiliar),
            ],
            "the signer of a substituted canary": [self.forged(), self.canary()],
            "the signer of a substituted canary, key not proved": [
                self.forged(key_proved=False, outcome=Outcome.RESET),
                self.canary(),
            ],
            "the leaf key of a substituted canary": [
                self.case(pki.private_ca("Another CA").issue([EXAM], key=key)),
                self.canary(reused),
            ],
            "the root of a substituted canary": [
                self.case(one.issue([EXAM]), **below_root),
                self.canary(other, **below_root),
            ],
            "the root of a substituted canary, private name": [
                self.case(one.issue(["exam.internal"]), "exam.internal", **below_root),
                self.canary(other, **below_root),
            ],
            "public and unlogged, two operators": [
                self.case(self.box.issue([EXAM])),
                self.case(self.box.issue([LMS]), LMS),
            ],
            "one private CA for two operators": [self.forged(), self.forged(LMS)],
            "one private CA for two operators, in company": [self.forged(), self.forged(LMS), self.company()],
            "one server key for two operators": [
                self.case(pki.private_ca("CA one").issue([EXAM], key=key)),
                self.case(pki.private_ca("CA two").issue([LMS], key=key), LMS),
            ],
            "two operators lack one issuer": [
                self.case(pki.issue([EXAM]).chain[:1]),
                self.case(pki.issue([LMS]).chain[:1], LMS),
            ],
            "two operators lack one issuer, in company": [
                self.case(pki.issue([EXAM]).chain[:1]),
                self.case(pki.issue([LMS]).chain[:1], LMS),
                self.company(),
            ],
        }

    def marked(self) -> dict[str, list[EndpointEvidence]]:
        """Marks, defects, and what is unlogged or added."""
        pki, genuine = self.pki, self.pki.issue([EXAM])
        wrong: dict[str, Any] = {"key_proved": False, "outcome": Outcome.SIGNATURE_WRONG}
        mitmproxy = pki.private_ca(named(O="mitmproxy", CN="mitmproxy"))
        unknown = self.world.context(machine=(self.filter.certificate,), origin=RootOrigin.UNKNOWN)
        return {
            "an interception key below a public root": [self.case(logged(pki, self.box, EXAM))],
            "a genuine chain, another key signed": [self.case(genuine, **wrong)],
            "a product's name": [self.case(mitmproxy.issue([EXAM]))],
            "a root's name and key identifier": [
                self.case(pki.private_ca(copy_from=pki.root_b.certificate).issue([EXAM]))
            ],
            "below a CA for mail": [self.case(self.mail.issue([EXAM]))],
            "a canary below a CA for mail": [self.case(self.mail.issue([EXAM]), canary=True)],
            "public and unlogged": [self.case(self.box.issue([EXAM]))],
            "public and unlogged, stale pins": [self.case(self.box.issue([EXAM]), **STALE_PINS)],
            "an added root": [self.forged(**self.installed)],
            "an added root, in company": [self.forged(**self.installed), self.company()],
            "an added root, in company, private address": [
                self.forged(**self.installed, seen=PRIVATE),
                self.company(),
            ],
            "stale pins, logged": [self.case(genuine, **STALE_PINS)],
            "stale pins, private": [self.forged(**STALE_PINS)],
            "stale pins, self-signed": [self.case(pki.self_signed([EXAM]), **STALE_PINS)],
            "stale pins, private, in company": [self.forged(**STALE_PINS), self.company()],
            "stale pins, declared": [self.forged(**STALE_PINS, private_roots=(self.filter.certificate,))],
            "stale pins of a public CA, no client takes it": [self.case(self.mail.issue([EXAM]), **LEARNED)],
            "stale pins, excused by another probe": [
                self.case(pki.issue([EXAM]), pins=(genuine.spki_sha256,), others=[self.world.observed(genuine)])
            ],
            "an unfamiliar root": [self.forged(context=unknown)],
            "an unfamiliar root above a canary": [self.forged(context=unknown, canary=True)],
            "an unreadable canary": [self.case(self.unreadable, canary=True)],
            "unreadable, in company": [self.case(self.unreadable), self.company()],
        }

    def named(self) -> dict[str, list[EndpointEvidence]]:
        """Names, and what remains of private chains."""
        pki, genuine = self.pki, self.pki.issue([EXAM])
        portal = PortalObservation(outcome=PortalOutcome.REDIRECTED, url="http://check.example/204")
        page = pki.private_ca(named(O="mitmproxy", CN="mitmproxy")).issue(["page.example.net"])
        return {
            "another name": [self.case(pki.issue([LMS]))],
            "another name on a canary": [self.case(page, canary=True), self.company()],
            "another name, marked and pinned": [self.case(page, **LEARNED, **self.installed)],
            "a public leaf alone": [self.case(genuine.chain[:1])],
            "a private CA": [self.forged()],
            "self-signed": [self.case(pki.self_signed([EXAM]))],
            "self-signed behind a portal": [
                self.case(pki.self_signed([EXAM]), context=self.world.context(portal=portal))
            ],
        }

    def cleared(self) -> dict[str, list[EndpointEvidence]]:
        """What clears, and what almost does."""
        pki, genuine, plain = self.pki, self.pki.issue([EXAM]), self.pki.issue([EXAM], scts=0)
        unseen: dict[str, Any] = {"seen": {**PUBLIC, "scts_carried": False}}
        declared: dict[str, Any] = {"private_roots": (self.filter.certificate,)}
        unproved: dict[str, Any] = {"key_proved": False, "outcome": Outcome.RESET}
        own = self.filter.issue([EXAM])
        reported: dict[str, Any] = {"seen": {**PUBLIC, "engine": Engine.BROWSER, "scts_carried": False}}
        old: dict[str, Any] = {"not_before": pki.now - 99 * DAY, "not_after": pki.now - 9 * DAY}
        gone = self.world.context(roots=without(self.world.roots, pki.root_b))
        silent = {**PUBLIC, **witnessed(outcome=WitnessOutcome.TIMEOUT, body=b"", status=None)}
        common = pki.intermediate_ec.issue([], subject_cn=EXAM, sct_list=timestamps(pki.ct_logs[:2], pki.now - DAY))
        far = pki.now + 4000 * DAY
        return {
            "a pinned CA": [self.case(genuine, pins=(pki.intermediate_ec.spki_sha256,))],
            "a pinned CA, timestamps not to be seen": [
                self.case(plain, pins=(pki.intermediate_ec.spki_sha256,), **unseen)
            ],
            "public and logged": [self.case(genuine)],
            "public and logged, its root pinned": [self.case(genuine, pins=(pki.root_b.spki_sha256,))],
            "public and logged, expired pins": [self.case(genuine, **LEARNED, expires=(pki.now - DAY).date())],
            "a declared root": [self.forged(**declared)],
            "a declared root that is installed too": [self.forged(**declared, **self.installed)],
            "another hello in the browser's place": [self.case(genuine, seen={**PUBLIC, "earlier": EARLIER})],
            "another hello in its place, the leaf pinned": [
                self.case(genuine, pins=(genuine.spki_sha256,), seen={**PUBLIC, "earlier": EARLIER})
            ],
            "another hello in its place, forged": [self.forged(seen={**PUBLIC, "earlier": EARLIER}, canary=True)],
            "a smaller hello of the same client": [self.case(genuine, seen={**PUBLIC, "earlier": FULL, **SMALL})],
            "nothing was seen": [self.case([], canary=True, **unproved)],
            "nothing was seen but over QUIC": [self.case([], **unproved, others=self.seen({"route": Route.QUIC}))],
            "others spent the time": [
                self.case(crowded(pki, EXAM, keys=12), canary=True, context=self.world.context(budget=spent()))
            ],
            "a wrong clock": [self.case(genuine, at=far), self.case(pki.issue([LMS]), LMS, at=far)],
            "a declared root that intercepts": [self.forged(**declared), self.canary()],
            "a declared root, no client takes it": [self.case(sent(self.filter, EXAM, key="rsa1024"), **declared)],
            "an expired leaf": [self.case(pki.issue([EXAM], **old))],
            "an expired sub-CA": [self.case(below(pki.root_b, "Old CA", days=(-900, -200)).issue([EXAM]))],
            "a former root": [self.case(genuine, context=gone)],
            "a former root above a canary": [self.case(genuine, context=gone, canary=True)],
            "an algorithm nobody reads": [self.case(self.unreadable)],
            "public and logged, key not proved": [self.case(genuine, **unproved)],
            "pinned, key not proved": [self.case(genuine, pins=(genuine.spki_sha256,), **unproved)],
            "public and logged, common name only": [self.case(common)],
            "a silent witness, timestamps not to be seen": [
                self.case(plain, **PINNED_WITNESS, seen={**silent, "scts_carried": False})
            ],
            "a silent witness, logged": [self.case(genuine, **PINNED_WITNESS, seen=silent)],
            "a browser reports what is genuine": [self.case(genuine, **reported)],
            "a browser reports a pinned private leaf": [self.case(own, **reported, pins=(own.spki_sha256,))],
            "a browser reports a leaf alone": [self.case(genuine.chain[:1], **reported, **LEARNED)],
            "a browser reports a private leaf alone": [self.case(own.chain[:1], **reported, **LEARNED)],
            "timestamps not to be seen": [self.case(plain, **unseen)],
            "timestamps of logs younger than the list": [
                self.case(pki.issue([EXAM], foreign_sct=True), context=self.stale())
            ],
            "a new root, roots stale": [self.late()],
            "a new root above a canary, roots stale": [self.late(canary=True)],
            "a new root in the system's store, roots stale": [self.late(known=True)],
            "a new root, roots stale, stale pins": [self.late(**STALE_PINS)],
        }


def _foreign(pki: PrivatePKI) -> Sequence[CTLog]:
    return pki.unknown_logs[:2]


@pytest.fixture(scope="module")
def networks(world: World) -> dict[str, list[EndpointEvidence]]:
    endpoints = Endpoints(world)
    parts = (
        endpoints.settled(),
        endpoints.substituted(),
        endpoints.shared(),
        endpoints.marked(),
        endpoints.named(),
        endpoints.cleared(),
    )
    return {name: network for part in parts for name, network in part.items()}


@pytest.fixture(scope="module")
def results(networks: dict[str, list[EndpointEvidence]], world: World) -> dict[str, Result]:
    """The result of the first endpoint of each network."""
    with pytest.MonkeyPatch.context() as patch:
        box = networks["an interception key below a public root"][0].presented[1].spki_sha256
        assert box is not None
        found = {name: world.judge(*network)[0] for name, network in networks.items()}
        know_key(patch, box, ProductCategory.NETWORK_APPLIANCE)
        marked = networks["an interception key below a public root"][0]
        fresh = marked.with_observation(marked.observation)
        return {**found, "an interception key below a public root": world.judge(fresh)[0]}


def test_every_world_has_its_result(results: dict[str, Result]) -> None:
    """Each network comes out as written."""
    found = {name: (*said(result), " ".join(result.alternatives)) for name, result in results.items()}
    assert {name: result for name, result in found.items() if result != WORLDS.get(name)} == {}
    assert set(found) == set(WORLDS)


def test_every_rule_is_reached() -> None:
    """No rule of the table is out of reach of a real chain."""
    assert {reason for _, reason, _ in WORLDS.values()} == {str(rule.reason) for rule in TABLE}


def test_verdicts_go_with_what_they_rest_on(results: dict[str, Result]) -> None:
    """Middleware has a confidence, clean an assurance, inconclusive neither."""
    for result in results.values():
        assert (result.confidence is not None) == (result.verdict is Verdict.MIDDLEWARE)
        assert (result.assurance is not None) == (result.verdict is Verdict.CLEAN)


def test_parties_are_named_from_probable_on(results: dict[str, Result]) -> None:
    """Below that nobody is named, whatever mark there is; from there on somebody always is, product or issuer."""
    for name, result in results.items():
        named_one = result.confidence is not None and result.confidence != "possible"
        assert (result.attribution is not None) == named_one, name


def test_advice_goes_to_those_who_can_act(results: dict[str, Result]) -> None:
    """Whatever is not clean has advice for the student, without a gap left to fill in."""
    for name, result in results.items():
        assert bool(result.advice) == (result.verdict is not Verdict.CLEAN), name
        assert not any("{" in words for words in result.advice_for.values()), name


class TestAttribution:
    def test_a_known_product(self, results: dict[str, Result]) -> None:
        """A strong mark names product and vendor, on what it rests, and where such products stand."""
        attribution = results["a product's name"].attribution
        assert attribution is not None
        assert "mitmproxy" in str(attribution.product)
        assert attribution.issuer == "CN=mitmproxy,O=mitmproxy"
        assert attribution.basis.startswith("catalogue: ")

    def test_a_known_key(self, results: dict[str, Result]) -> None:
        """A key names its product below a public root, too."""
        attribution = results["an interception key below a public root"].attribution
        assert attribution is not None
        assert (attribution.product, attribution.category) == ("Example Box", "network-appliance")

    def test_an_unknown_one(self, results: dict[str, Result]) -> None:
        """Nobody known: the issuer as presented, and the institution, which manages what nobody else does."""
        attribution = results["a canary is private"].attribution
        assert attribution is not None
        assert (attribution.product, attribution.issuer) == (None, "CN=Filter CA")
        assert attribution.managed_by == "institution"

    def test_who_signs_in_a_public_cas_name(self, results: dict[str, Result]) -> None:
        """An institution has no reason to: nobody knows who manages that, and IT is not asked to exempt anything."""
        result = results["a root's name and key identifier"]
        assert result.attribution is not None
        assert result.attribution.managed_by == "unknown"
        assert "Do not use this network" in result.advice
        assert not any("xempt" in words for words in result.advice_for.values())

    def test_a_weak_mark_names_nobody(self, world: World) -> None:
        """What only supports other evidence is part of the basis, and no product."""
        mkcert = named(O="mkcert development CA")
        result = world.one(EXAM, world.pki.private_ca(mkcert).issue([EXAM]), canary=True)
        assert result.attribution is not None
        assert (result.attribution.product, result.attribution.managed_by) == (None, "institution")
        assert "mkcert" in result.attribution.basis


class TestObservations:
    def test_the_gravest_observation_decides(self, world: World) -> None:
        """A genuine direct probe does not excuse a decrypted proxy, nor a browser's hello, in whatever order."""
        forged = sent(world.pki.private_ca("Filter CA"), EXAM)
        genuine = world.pki.issue([EXAM])
        for variant in ({"route": Route.HTTP_CONNECT}, {"route": Route.DIRECT, "hello": Hello.OPENSSL}):
            for first, other in ((genuine, forged), (forged, genuine)):
                facts = ({"route": Route.DIRECT, "address": PUBLIC["address"]}, {**PUBLIC, **variant})
                forged_at = facts[first is genuine]
                others = [world.observed(other, **facts[1])]
                result = world.one(EXAM, first, seen=facts[0], others=others, canary=True)
                assert said(result) == ("proven", "identity-substituted")
                assert result.observation.route is forged_at["route"]
                assert result.observation.hello is forged_at.get("hello", Hello.BROWSER)
                assert result.observation.chain[0].der == forged[0]
                assert [len(one.chain) for one in result.other_observations] == [2]

    @pytest.mark.parametrize(
        "variant", [{"route": Route.QUIC}, {"route": Route.HTTP_CONNECT}, {"hello": Hello.OPENSSL}]
    )
    def test_silence_spoils_nothing(self, variant: dict[str, Any], world: World) -> None:
        """QUIC without an answer, a proxy that is gone, a browser that is reset: what the default probe saw counts."""
        gone = {**PUBLIC, "key_proved": False, "outcome": Outcome.RESET, **variant}
        result = world.one(EXAM, world.pki.issue([EXAM]), seen=PUBLIC, others=[world.observed([], **gone)])
        assert said(result) == ("logged", "logged")

    def test_another_service_on_the_udp_port(self, world: World) -> None:
        """A QUIC server under a name of its own leaves the endpoint clean."""
        other = world.observed(world.pki.self_signed(["vpn.example.net"]), **{**PUBLIC, "route": Route.QUIC})
        assert said(world.one(EXAM, world.pki.issue([EXAM]), seen=PUBLIC, others=[other])) == ("logged", "logged")

    def test_a_readable_chain_for_who_asks(self, world: World) -> None:
        """A genuine server sends a readable chain to a hello that offers nothing else; then the other says nothing."""
        issued = world.pki.issue([EXAM])
        unreadable = (rewritten(issued.leaf, algorithm=GOST_2012), *issued.chain[1:])
        readable = {**PUBLIC, "hello": Hello.READABLE}
        for answer, expected in (
            (world.observed(issued, **readable), ("logged", "logged")),
            (world.observed(unreadable, **readable), ("possible", "unreadable-persists")),
            (
                world.observed([], **readable, key_proved=False, outcome=Outcome.TLS_ALERT),
                ("possible", "unreadable-persists"),
            ),
            (world.observed(issued, **{**readable, "route": Route.HTTP_CONNECT}), ("possible", "unreadable-persists")),
            (world.observed(world.pki.self_signed([EXAM]), **readable), ("proven", "identity-substituted")),
        ):
            result = world.one(EXAM, unreadable, seen=PUBLIC, others=[answer], canary=True)
            assert said(result) == expected

    def test_certificates_of_a_cdn_differ(self, world: World) -> None:
        """RSA for one hello, ECDSA for another, a third one over QUIC: all logged, all clean."""
        others = [
            world.observed(world.pki.issue([EXAM], key="rsa"), **PUBLIC, hello=Hello.OPENSSL),
            world.observed(world.pki.issue([EXAM]), **{**PUBLIC, "route": Route.QUIC}),
        ]
        assert said(world.one(EXAM, world.pki.issue([EXAM]), seen=PUBLIC, others=others)) == ("logged", "logged")

    def test_between_equals_the_rule_that_is_read_first(self, world: World) -> None:
        """Of two observations that are as grave, the one with the better reason is shown."""
        ca, key = world.pki.private_ca("Filter CA"), generate_key("ec")
        canary = world.case(CANARY, sent(ca, CANARY), canary=True)
        google: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Google"}
        amazon: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Amazon"}
        shared = world.pki.issue([EXAM], key=key)
        one = world.case(EXAM, shared, others=[world.observed(sent(ca, EXAM))], **google)
        other = world.case(LMS, world.pki.issue([LMS], key=key), **amazon)
        result = world.judge(one, other, canary)[0]
        assert said(result) == ("proven", "identity-substituted")
        assert said(world.judge(world.case(EXAM, shared, **google), other)[0]) == ("proven", "rivals-share-a-signer")


class TestForgeries:
    """What an interceptor copies, appends or leaves out."""

    @pytest.fixture
    def forge(self, world: World) -> Callable[..., Result]:
        ca, genuine = world.pki.private_ca("Filter CA"), world.pki.issue([EXAM])
        copied = sct_list_of(genuine.leaf)
        leaf = ca.issue(copy_from=genuine.leaf, sct_list=copied).leaf
        chains: dict[str, tuple[bytes, ...]] = {
            "alone": (leaf,),
            "with its CA": (leaf, ca.certificate),
            "with the genuine intermediates": (leaf, *genuine.chain[1:]),
            "with the genuine chain": (leaf, ca.certificate, *genuine.chain),
            "the CA's name copied": (
                world.pki.private_ca(copy_from=world.pki.intermediate_ec.certificate)
                .issue(copy_from=genuine.leaf, sct_list=copied)
                .leaf,
                *genuine.chain[1:],
            ),
            "below the genuine leaf": (
                below(dataclasses.replace(ca, key=genuine.key, subject=_subject(genuine.leaf)), EXAM).certificate,
                *genuine.chain,
            ),
            "garbage": (b"\x30\x82\xff\xff" + bytes(99), *genuine.chain),
        }

        def assessed(how: str, **known: Any) -> Result:  # noqa: ANN401 - as `World.case`
            return world.one(EXAM, chains[how], seen=PUBLIC, **known)

        return assessed

    @pytest.mark.parametrize(
        ("how", "unknown", "learned"),
        [
            ("alone", "incomplete-chain", ("possible", "pin-mismatch")),
            ("with its CA", "private-chain", ("proven", "identity-substituted")),
            ("with the genuine intermediates", "incomplete-chain", ("possible", "pin-mismatch")),
            ("with the genuine chain", "private-chain", ("proven", "identity-substituted")),
            ("the CA's name copied", "forged-issuer", ("proven", "identity-substituted")),
            ("below the genuine leaf", "private-chain", ("proven", "identity-substituted")),
            ("garbage", "wrong-name", ("possible", "wrong-name")),
        ],
    )
    def test_never_clean(self, how: str, unknown: str, learned: tuple[str, str], forge: Callable[..., Result]) -> None:
        """Whatever is copied or sent behind the forged leaf, nothing clears it, and learned pins make it graver."""
        result = forge(how)
        assert result.verdict is Verdict.MIDDLEWARE
        assert result.reason == unknown
        assert said(forge(how, **LEARNED)) == learned


def _subject(certificate: bytes) -> x509.Name:
    return x509.load_der_x509_certificate(certificate).subject


@pytest.fixture(scope="module")
def mixed(world: World) -> list[EndpointEvidence]:
    """A network with honest, forged, pinned and declared endpoints that mean something for each other."""
    pki, ca = world.pki, world.pki.private_ca("Filter CA")
    learned: dict[str, Any] = {**LEARNED, "seen": PRIVATE}
    return [
        world.case(EXAM, pki.issue([EXAM]), seen=PUBLIC),
        world.case(LMS, sent(ca, LMS), seen=PUBLIC),
        world.case(SEARCH, sent(pki.private_ca("Other CA"), SEARCH), **learned),
        world.case(CANARY, sent(ca, CANARY), seen=PUBLIC, canary=True),
        world.case("portal.example.net", sent(ca, "portal.example.net"), private_roots=(ca.certificate,)),
    ]


@given(order=st.permutations(range(5)))
def test_order_of_endpoints_does_not_matter(world: World, mixed: list[EndpointEvidence], order: list[int]) -> None:
    """Every endpoint gets the same result whatever the order of the list."""
    expected = {result.endpoint.name: result for result in world.judge(*mixed)}
    assert {r.endpoint.name: said(r) for r in expected.values()} == {
        f"{EXAM}:443": ("logged", "logged"),
        f"{LMS}:443": ("proven", "signer-substitutes-elsewhere"),
        f"{SEARCH}:443": ("proven", "identity-substituted"),
        f"{CANARY}:443": ("proven", "identity-substituted"),
        "portal.example.net:443": ("inconclusive", "declared-root-intercepts"),
    }
    assert {r.endpoint.name: r for r in world.judge(*(mixed[i] for i in order))} == expected


def test_no_endpoints_no_results() -> None:
    """An empty network has no results."""
    assert assess.assess_all([]) == ()


def test_the_report_survives_json(world: World, results: dict[str, Result]) -> None:
    """Everything that was assessed goes into the JSON and comes back out of it."""
    made = report(
        list(results.values()),
        world.context(),
        started=world.pki.now,
        finished=world.pki.now,
        vantage="test",
        version="0",
    )
    assert Report.from_json(made.to_json()) == made
