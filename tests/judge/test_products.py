"""Known products: their names accuse where something else issued the leaf, and name nobody anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support.worlds import EXAM, LMS, below, named, said, sent

from detector.knowledge import catalogue, data_set
from detector.knowledge.catalogue.entries import Role, Strength
from detector.model import Alternative, Category, ManagedBy

if TYPE_CHECKING:
    from conftest import World

    from detector.knowledge.catalogue.entries import Entry

KINDS: Final = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}


def marked() -> list[tuple[Entry, x509.Name]]:
    """Products that have a strong mark, each with a name as a source shows it."""
    found = []
    for entry in data_set.shipped().catalogue.entries:
        strong = entry.role is Role.INTERCEPTOR and any(f.strength is Strength.STRONG for f in entry.facts)
        for example in entry.examples if strong else ():
            pairs = [(KINDS[kind], value) for kind, value in example if kind in KINDS and 0 < len(value) <= 64]
            name = [
                x509.NameAttribute(o, v) for o, v in pairs if o != NameOID.COUNTRY_NAME or len(v) == 2
            ]  # else refused
            found.append((entry, x509.Name(name)))
    return found


MARKED: Final = marked()


@pytest.mark.parametrize(("entry", "name"), MARKED, ids=[entry.id for entry, _ in MARKED])
def test_a_products_ca_is_probable_at_least_and_names_it(entry: Entry, name: x509.Name, world: World) -> None:
    """A leaf for this host that a CA of the product's name issued: a mark, or at least no worse than any private CA."""
    result = world.one(EXAM, sent(world.pki.private_ca(name), EXAM))
    hits = data_set.shipped().catalogue.match(catalogue.Names(leaf_issuer=catalogue_name(world, name)))
    if not hits or not hits[0].strong:
        assert said(result) == ("possible", "private-chain")
        return
    assert said(result) == ("probable", "product-mark")
    assert result.alternatives == (Alternative.PRIVATE_PKI,)
    assert result.attribution is not None
    assert result.attribution.product == hits[0].entry.product
    assert result.attribution.managed_by == hits[0].entry.managed_by
    assert hits[0].entry.id == entry.id or entry.id in {other for hit in hits for other in hit.entry.supersedes}


def catalogue_name(world: World, name: x509.Name) -> tuple[tuple[str, str], ...]:
    """The attributes of a name as the chain's reader gives them."""
    leaf = world.case(EXAM, world.pki.private_ca(name).issue([EXAM])).presented[0]
    return leaf.issuer.attributes if leaf.issuer else ()


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        (named(O="Zscaler Inc.", CN="Zscaler Intermediate Root CA (zscalerthree.net) (t) "), "Zscaler"),
        (named(C="US", O="Fortinet", OU="Certificate Authority", CN="FG100FTK20001234"), "Fortinet"),
        (named(C="SK", O="ESET, spol. s r. o.", CN="ESET SSL Filter CA"), "ESET"),
        (named(C="US", O="Proxyman\N{NO-BREAK SPACE}LLC", CN="Proxyman CA (17 Dec 2024, host.local)"), "Proxyman"),
        (named(O="Cisco", CN="Cisco Umbrella Secondary SubCA ams-SG"), "Cisco"),
        (named(CN="ZoroCA"), "Seewo"),
        (named(O="Aikido safe-chain proxy", CN="aikidosafechain.com"), "Aikido"),
        (named(CN="ADC Egress Proxy Root CA"), "Microsoft"),
        (
            named(O="Cloudflare, Inc.", CN="Gateway CA - Cloudflare Managed G1 d4cab1c0e006138441e1f1b57bf"),
            "Cloudflare",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_that_people_reported(name: x509.Name, vendor: str, world: World) -> None:
    """Blanks that trail or do not break, names by serial number, class-room software, sandboxes."""
    result = world.one(EXAM, world.pki.private_ca(name).issue([EXAM]))
    assert said(result) == ("probable", "product-mark")
    assert result.attribution is not None
    assert vendor in str(result.attribution.vendor)


class TestWhereANameIsNoMark:
    MITMPROXY: Final = named(O="mitmproxy", CN="mitmproxy")

    def test_where_a_client_takes_the_chain(self, world: World) -> None:
        """Vendors have public CAs and sites; a name in an accepted chain says nothing."""
        public = below(world.pki.root_b, self.MITMPROXY)
        result = world.one(EXAM, public.issue([EXAM]))
        assert said(result) == ("possible", "public-unlogged")
        assert result.attribution is None

    def test_for_another_name(self, world: World) -> None:
        """A portal, a block page or an appliance shows its maker's name, and decrypts nothing."""
        result = world.one(EXAM, sent(world.pki.private_ca(self.MITMPROXY), LMS), canary=True)
        assert said(result) == ("possible", "wrong-name")
        assert result.attribution is None

    def test_behind_somebody_elses_leaf(self, world: World) -> None:
        """A product's CA that is sent behind a leaf it did not issue is a claim like any other name in the chain."""
        stranger = world.pki.private_ca(self.MITMPROXY).certificate
        result = world.one(EXAM, (*world.pki.issue([EXAM]).chain, stranger))
        assert said(result) == ("logged", "logged")

    def test_declared(self, world: World) -> None:
        """A declared root may bear any name; a mark on it is probable all the same, since nobody declares a filter."""
        ca = world.pki.private_ca(self.MITMPROXY)
        result = world.one(EXAM, sent(ca, EXAM), private_roots=(ca.certificate,))
        assert said(result) == ("probable", "product-mark")

    def test_a_developers_own_ca(self, world: World) -> None:
        """A CA that certifies its owner's servers names nobody."""
        result = world.one(EXAM, sent(world.pki.private_ca(named(O="mkcert development CA")), EXAM))
        assert said(result) == ("possible", "private-chain")


def test_where_somebody_else_manages_it_the_student_is_asked_for_something_else(world: World) -> None:
    """Software on the device, a debugging proxy and malware are the owner's to turn off, stop and remove."""
    asked = {
        ManagedBy.INSTITUTION: (named(O="Zscaler Inc.", CN="Zscaler Intermediate Root CA (zscaler.net)"), "ask its IT"),
        ManagedBy.ENDPOINT_OWNER: (named(C="SK", O="ESET, spol. s r. o.", CN="ESET SSL Filter CA"), "turn off"),
        ManagedBy.DEVELOPER: (named(O="mitmproxy", CN="mitmproxy"), "debugging proxy"),
        ManagedBy.ATTACKER: (named(O="Superfish, Inc.", CN="Superfish, Inc."), "removed"),
    }
    for manager, (name, words) in asked.items():
        result = world.one(EXAM, world.pki.private_ca(name).issue([EXAM]), category=Category.EXAM)
        assert result.attribution is not None
        assert (result.attribution.managed_by, words in result.advice) == (manager, True)
