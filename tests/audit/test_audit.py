"""The audit itself: what is beyond the public set, whose it is, and which verdict and exit code follow."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import pytest
from detector_testing.pki import distinguished_name

from detector.audit import AuditReport, InstalledRoot, Kind, Scanned, UnreadableStore, Verdict, audit
from detector.audit.audit import leaked_keys
from detector.knowledge import data_set
from detector.knowledge.catalogue import Catalogue, Entry, Fact, Field, Match, Role, Strength
from detector.knowledge.catalogue import Confidence as Founded
from detector.model import ManagedBy, RootOrigin, encode
from detector.trust.certificate import Certificate
from detector.trust.roots import Roots, from_der

if TYPE_CHECKING:
    from detector_testing import CA, PrivatePKI

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def hashes(ca: CA) -> tuple[str, str]:
    certificate = Certificate.read(ca.certificate)
    assert certificate.spki_sha256 is not None
    return certificate.sha256.hex(), certificate.spki_sha256.hex()


def entry(identifier: str, fact: Fact, **details: object) -> Entry:
    given: dict[str, object] = {
        "vendor": "Vendor",
        "product": "Product",
        "category": "adware-malware",
        "managed_by": ManagedBy.ATTACKER,
        "confidence": Founded.HIGH,
        "sources": ("test",),
    }
    return Entry(id=identifier, facts=(fact,), **{**given, **details})  # type: ignore[arg-type] # fields of Entry


def exact(field: Field, value: str, strength: Strength = Strength.STRONG) -> Fact:
    return Fact(field=field, match=Match.EXACT, value=value, strength=strength)


class Machine:
    """A machine with roots in its stores, audited against the test PKI's public roots."""

    def __init__(self, pki: PrivatePKI) -> None:
        self.public: Roots = from_der([pki.root_a.certificate, pki.root_b.certificate], name="test roots")
        self.roots: list[InstalledRoot] = [
            InstalledRoot(der=root.certificate, store="bundle") for root in (pki.root_a, pki.root_b)
        ]

    def install(self, ca: CA, store: str = "local", **details: object) -> Machine:
        self.roots.append(InstalledRoot(der=ca.certificate, store=store, **details))  # type: ignore[arg-type] # fields
        return self

    def audit(
        self, *entries: Entry, known: frozenset[bytes] = frozenset(), unreadable: tuple[UnreadableStore, ...] = ()
    ) -> AuditReport:
        return audit(
            Scanned(roots=tuple(self.roots), unreadable=unreadable),
            public=self.public,
            known=known,
            catalogue=Catalogue(entries) if entries else data_set.shipped().catalogue,
            at=AT,
        )


@pytest.fixture
def machine(pki: PrivatePKI) -> Machine:
    return Machine(pki)


def test_public_only(machine: Machine, pki: PrivatePKI) -> None:
    """Public roots are no finding, nor is the same public key in another certificate."""
    machine.install(pki.private_ca("Exemplar Root R1 (again)", key=pki.root_a.key))
    report = machine.audit()
    assert (report.verdict, report.beyond, report.trusted) == (Verdict.PUBLIC_ONLY, (), 3)
    assert [(s.store, s.trusted, s.beyond) for s in report.stores] == [("bundle", 2, 0), ("local", 1, 0)]
    unread = UnreadableStore(store="x", reason="cannot be read")
    assert machine.audit(unreadable=(unread,)).verdict is Verdict.INCOMPLETE


def test_unknown_root_once_with_all_its_stores(machine: Machine, pki: PrivatePKI) -> None:
    """A root nobody knows is listed once, with every store, the earliest time and its hashes."""
    ca = pki.private_ca("Campus CA")
    late, early = AT, AT - dt.timedelta(days=9)
    machine.install(ca, "bundle").install(ca, "local", origin=RootOrigin.ADDED, installed_at=late)
    machine.install(ca, "policy", origin=RootOrigin.POLICY, installed_at=early)
    report = machine.audit()
    (root,) = report.beyond
    assert (report.verdict, root.kind, root.known, root.leaked_key) == (
        Verdict.UNKNOWN_TRUSTED,
        Kind.UNKNOWN,
        None,
        None,
    )
    assert (root.sha256, root.spki_sha256) == hashes(ca)
    assert root.subject == "CN=Campus CA"
    assert root.stores == ("bundle", "local", "policy")
    assert root.origins == (RootOrigin.ADDED, RootOrigin.POLICY, RootOrigin.UNKNOWN)
    assert root.installed_at == early
    assert not root.expired


def test_known_interceptor_by_name(machine: Machine, pki: PrivatePKI) -> None:
    """A root that the shipped catalogue names strongly is an interceptor's, with vendor, product and manager."""
    ca = pki.private_ca(distinguished_name("Superfish, Inc.", "Superfish, Inc.", "US"))
    report = machine.install(ca).audit()
    (root,) = report.beyond
    assert (report.verdict, root.kind) == (Verdict.INTERCEPTOR_TRUSTED, Kind.INTERCEPTOR)
    assert root.known is not None
    assert (root.known.id, root.known.managed_by) == ("superfish", ManagedBy.ATTACKER)
    assert root.leaked_key is None, "a name does not prove that the key is the leaked one"


@pytest.mark.parametrize("field", [Field.SHA256, Field.SPKI_SHA256])
def test_leaked_key_by_hash(field: Field, machine: Machine, pki: PrivatePKI) -> None:
    """A root whose very certificate or key is in the catalogue's hashes, with a key that leaked, is the worst kind."""
    ca = pki.private_ca("Anything")
    value = hashes(ca)[field is Field.SPKI_SHA256]
    report = machine.install(ca).install(pki.private_ca("Other")).audit(entry("edellroot", exact(field, value)))
    assert report.verdict is Verdict.INTERCEPTOR_TRUSTED
    assert [root.kind for root in report.beyond] == [Kind.LEAKED_KEY, Kind.UNKNOWN]
    assert report.beyond[0].leaked_key == leaked_keys()["edellroot"]


def test_hash_without_a_leak_is_an_interceptor(machine: Machine, pki: PrivatePKI) -> None:
    """A vendor's own root, known by hash but with a key the vendor keeps, is not called leaked."""
    ca = pki.private_ca("Anything")
    report = machine.install(ca).audit(entry("zscaler-zia", exact(Field.SHA256, hashes(ca)[0])))
    assert [(r.kind, r.leaked_key) for r in report.beyond] == [(Kind.INTERCEPTOR, None)]


def test_local_and_weak_hits_do_not_accuse(machine: Machine, pki: PrivatePKI) -> None:
    """Development CAs, CAs for servers of their own and weak facts leave the verdict at unknown."""
    machine.install(pki.private_ca("Dev")).install(pki.private_ca("Own")).install(pki.private_ca("Weak"))
    report = machine.audit(
        entry("dev", exact(Field.CN, "Dev"), category="local-dev-ca", managed_by=ManagedBy.DEVELOPER),
        entry("own", exact(Field.CN, "Own"), role=Role.ORIGIN_CA),
        entry("weak", exact(Field.CN, "Weak", Strength.WEAK)),
    )
    assert report.verdict is Verdict.UNKNOWN_TRUSTED
    assert {r.known.id: r.kind for r in report.beyond if r.known} == {
        "dev": Kind.LOCAL_CA,
        "own": Kind.LOCAL_CA,
        "weak": Kind.UNKNOWN,
    }


def test_information_is_kept_apart(machine: Machine, pki: PrivatePKI) -> None:
    """What the system ships, what was public and what is refused is listed, and decides nothing."""
    system, former, refused = (pki.private_ca(name) for name in ("System", "Former", "Refused"))
    machine.install(system, "program", origin=RootOrigin.SHIPPED).install(former).install(refused, distrusted=True)
    _, spki_sha256 = hashes(former)
    known = frozenset({bytes.fromhex(spki_sha256)})
    report = machine.audit(entry("former", exact(Field.CN, "Former")), known=known)
    assert report.verdict is Verdict.PUBLIC_ONLY
    assert [[(r.subject, r.kind) for r in roots] for roots in (report.shipped, report.formerly_public)] == [
        [("CN=System", Kind.SHIPPED)],
        [("CN=Former", Kind.FORMERLY_PUBLIC)],
    ]
    assert [r.subject for r in report.distrusted] == ["CN=Refused"]
    assert report.trusted == 4


def test_one_trusting_store_is_enough(machine: Machine, pki: PrivatePKI) -> None:
    """Refusal in one store takes nothing from the trust of another, and an added copy makes a shipped root added."""
    ca = pki.private_ca("Both")
    machine.install(ca, "refusing", distrusted=True).install(ca, "program", origin=RootOrigin.SHIPPED)
    assert machine.audit().beyond == ()
    report = machine.install(ca, "added", origin=RootOrigin.ADDED).audit()
    assert [r.stores for r in report.beyond] == [("program", "added")]


def test_shipped_interceptors_are_not_excused(machine: Machine, pki: PrivatePKI) -> None:
    """That a root stands in the system's own program does not excuse a key that leaked."""
    ca = pki.private_ca("Preinstalled")
    machine.install(ca, "program", origin=RootOrigin.SHIPPED)
    report = machine.audit(entry("superfish", exact(Field.SHA256, hashes(ca)[0])))
    assert report.verdict is Verdict.INTERCEPTOR_TRUSTED


def test_expired_and_unreadable_roots(machine: Machine, pki: PrivatePKI) -> None:
    """An expired root says so; DER that is no certificate is listed by its hash."""
    old = pki.private_ca("Old", not_before=AT - dt.timedelta(days=9), not_after=AT - dt.timedelta(days=1))
    machine.install(old)
    machine.roots.append(InstalledRoot(der=b"\x30\x02\x30\x00", store="local"))
    unreadable, expired = machine.audit().beyond
    assert (expired.subject, expired.expired) == ("CN=Old", True)
    assert (unreadable.subject, unreadable.spki_sha256, unreadable.kind) == (None, None, Kind.UNKNOWN)
    assert len(unreadable.sha256) == 64


@pytest.mark.parametrize(
    ("common_name", "organization"),
    [
        ("mkcert lovelace@lovelace-laptop (Ada Lovelace)", "mkcert development CA"),
        ("Charles Proxy CA (1 Jan 2026, lovelace-laptop.local)", "XK72 Ltd"),
    ],
)
def test_nothing_about_the_person(common_name: str, organization: str, machine: Machine, pki: PrivatePKI) -> None:
    """What developers' tools write into their CA about user and host does not reach the report."""
    report = machine.install(pki.private_ca(distinguished_name(common_name, organization))).audit()
    (root,) = report.beyond
    assert root.known is not None
    assert "lovelace" not in encode(report).decode().lower()


def test_report_survives_json(machine: Machine, pki: PrivatePKI) -> None:
    """JSON reads back to the same report, in hyphenated lower case."""
    report = machine.install(pki.private_ca("Campus CA"), installed_at=AT).audit()
    text = encode(report)
    assert msgspec.json.decode(text, type=AuditReport) == report
    assert b'"verdict":"unknown-trusted"' in text
    assert b'"at":"2026-11-01T00:00:00Z"' in text


def test_no_public_root_is_accused() -> None:
    """Against the shipped catalogue, no root of certifi, trusted with nothing public, is called an interceptor's."""
    roots = data_set.shipped().public_roots()
    scanned = Scanned(roots=tuple(InstalledRoot(der=r.certificate.der, store="bundle") for r in roots.roots))
    nothing = from_der([], name="none")
    report = audit(scanned, public=nothing, known=frozenset(), catalogue=data_set.shipped().catalogue, at=AT)
    assert {root.kind for root in report.beyond} == {Kind.UNKNOWN}
    assert (
        audit(
            scanned,
            public=nothing,
            known=data_set.shipped().known_roots.keys,
            catalogue=data_set.shipped().catalogue,
            at=AT,
        ).beyond
        == ()
    )


def test_leaked_keys_name_hashed_entries() -> None:
    """Every entry with a leaked key is in the catalogue and is known by a hash there."""
    entries = {e.id: e for e in data_set.shipped().catalogue.entries}
    for identifier in leaked_keys():
        assert {fact.field for fact in entries[identifier].facts} & {Field.SHA256, Field.SPKI_SHA256}, identifier
    assert {"superfish", "edellroot", "dsdtestprovider"} <= leaked_keys().keys()
