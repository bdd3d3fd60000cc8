"""Tests of detector.knowledge.catalogue: what ships, how it is read, how it matches. Room: catalogue; pure."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import certifi
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from detector_testing import PrivatePKI
from hypothesis import given
from hypothesis import strategies as st

from detector.knowledge import data_set
from detector.knowledge.catalogue import Entry, Fact, Field, HitKind, Match, Names, ProductCategory, Role, Where
from detector.knowledge.catalogue.match import MAX_VALUE, MAX_VALUES, fold
from detector.trust.certificate import Certificate

CATALOGUE = data_set.shipped().catalogue
EXAMPLES = [(entry, example) for entry in CATALOGUE.entries for example in entry.examples]


def test_shipped_data_is_sound_and_whole() -> None:
    """What `match` relies on, and that nothing was lost: ids, references, whole hashes, folded names, sane patterns."""
    data = json.loads((data_set.DATA / "interceptors.json").read_bytes())
    ids = [entry.id for entry in CATALOGUE.entries]
    assert len(set(ids)) == len(ids) >= 142  # as many as once were known
    assert (len(data["unnamed"]), data["schema"]) == (15, 2)
    for entry in CATALOGUE.entries:
        assert entry.sources
        assert entry.product
        assert entry.vendor
        assert set(entry.supersedes) <= set(ids), entry.id
        assert [fact for fact in entry.facts if not is_sound(fact)] == [], entry.id


def is_sound(fact: Fact) -> bool:
    if fact.field in (Field.SHA256, Field.SPKI_SHA256):
        return fact.match is Match.EXACT and re.fullmatch("[0-9a-f]{64}", fact.value) is not None
    if fact.match is Match.REGEX:
        return re.search(fact.value, "") is None
    return fact.value == fold(fact.value) != ""


@pytest.mark.parametrize(
    ("entry", "example"), EXAMPLES, ids=[f"{entry.id}-{index}" for index, (entry, _) in enumerate(EXAMPLES)]
)
def test_every_example_hits_its_own_entry_first(entry: Entry, example: tuple[tuple[str, str], ...]) -> None:
    """A name seen in the field names its product, and no other product strongly but those it supersedes."""
    hits = CATALOGUE.match(Names(leaf_issuer=example))
    assert hits[0].entry is entry
    assert all(hit.entry.id in entry.supersedes for hit in hits[1:] if hit.strong)


@pytest.mark.parametrize("entry", [entry for entry in CATALOGUE.entries if entry.facts], ids=lambda entry: entry.id)
def test_every_whole_fact_is_found(entry: Entry) -> None:
    """Whatever an entry says it is known by finds the entry."""
    for fact in entry.facts:
        if fact.match is Match.REGEX:
            continue
        pair = ((fact.field.value, fact.value),)
        names = {
            Field.SHA256: Names(sha256=frozenset({fact.value})),
            Field.SPKI_SHA256: Names(spki_sha256=frozenset({fact.value})),
        }.get(fact.field, Names(leaf_subject=pair) if fact.where is Where.LEAF_SUBJECT else Names(ca_subjects=(pair,)))
        assert entry in [hit.entry for hit in CATALOGUE.match(names)]


def test_no_fact_hits_a_public_root() -> None:
    """Attribution by a name that a public CA has would accuse that CA's customers."""
    pem = Path(certifi.where()).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one public root has a serial number that RFC 5280 does not allow
        roots = x509.load_pem_x509_certificates(pem)
    for root in roots:
        subject = tuple(
            (attribute.rfc4514_attribute_name, str(attribute.value))
            for attribute in root.subject
            if attribute.rfc4514_attribute_name in {"CN", "O", "OU"}
        )
        names = Names(
            leaf_issuer=subject,
            leaf_subject=subject,
            ca_subjects=(subject,),
            sha256=frozenset({root.fingerprint(hashes.SHA256()).hex()}),
        )
        assert not CATALOGUE.match(names), root.subject.rfc4514_string()


@pytest.mark.parametrize(
    "organization",
    [
        "DigiCert Inc",
        "Let's Encrypt",
        "GoDaddy.com, Inc.",
        "Cloudflare, Inc.",
        "Aruba PEC S.p.A.",
        "Symantec Corporation",
        "McAfee, Inc.",
        "Trend Micro Inc",
        "Cisco Systems, Inc.",
        "COMODO CA Limited",
        "Amazon",
        "Microsoft Corporation",
        "Google Trust Services LLC",
        "Blue Coat Systems",
    ],
)
def test_no_fact_hits_a_public_ca_of_a_similar_name(organization: str) -> None:
    """Several vendors of interceptors had public CAs, or names close to one."""
    pairs = (("O", organization), ("CN", organization))
    assert not CATALOGUE.match(Names(leaf_issuer=pairs, ca_subjects=(pairs,)))


def test_hit_says_what_matched() -> None:
    """A report must be able to say by what a product was known."""
    hits = CATALOGUE.match(Names(leaf_issuer=(("O", "mitmproxy"),)))
    assert [(hit.entry.id, hit.fact, hit.strong) for hit in hits] == [
        ("mitmproxy", 'issuer O is "mitmproxy"', True),
        ("go-mitmproxy", 'issuer O is "mitmproxy"', False),
    ]


def test_hash_comes_before_names() -> None:
    """The author of the names cannot choose a hash."""
    superfish = "b6fe9151402bad1c06d7e66db67a26aa7356f2e6c644dbcf9f98968ff632e1b7"
    hits = CATALOGUE.match(Names(leaf_issuer=(("CN", "mitmproxy"),), sha256=frozenset({superfish})))
    assert [hit.entry.id for hit in hits[:2]] == ["superfish", "mitmproxy"]
    assert superfish in hits[0].fact


def test_exact_common_name_comes_before_unit_and_organization() -> None:
    """Of several products the one named most specifically is first, whatever the order of the attributes."""
    names = Names(leaf_issuer=(("O", "PortSwigger"), ("OU", "AnyProxy SSL Proxy"), ("CN", "Caido")))
    assert [hit.entry.id for hit in CATALOGUE.match(names)] == ["caido", "anyproxy", "burp-suite"]


def test_superseding_entry_comes_first() -> None:
    """A block page of a vendor is not that vendor's decryption."""
    names = Names(leaf_issuer=(("O", "Fortinet"), ("CN", "Fortiguard SDNS Blocked Page")))
    assert [hit.entry.id for hit in CATALOGUE.match(names)] == ["fortiguard-sdns-block-page", "fortinet-fortigate"]


def test_weak_fact_alone_is_a_weak_hit() -> None:
    """A word that fits supports an attribution and proves nothing."""
    (hit,) = CATALOGUE.match(Names(leaf_issuer=(("O", "Palo Alto Networks"),)))
    assert not hit.strong


@pytest.mark.parametrize(
    ("names", "product"),
    [
        (Names(leaf_issuer=(("O", "mkcert development CA"),)), "mkcert"),
        (Names(leaf_subject=(("CN", "TRAEFIK DEFAULT CERT"),)), "traefik-default"),
        (Names(leaf_issuer=(("CN", "Caddy Local Authority - ECC Intermediate"),)), "caddy-local-authority"),
    ],
)
def test_authorities_of_ordinary_servers_accuse_nobody(names: Names, product: str) -> None:
    """A developer's local CA or a server's default certificate is named, but is no interceptor's mark."""
    (hit,) = CATALOGUE.match(names)
    assert hit.entry.id == product
    assert hit.entry.role is Role.ORIGIN_CA
    assert not hit.strong


def test_comparison_follows_the_fact() -> None:
    """Whole values keep case, parts ignore it, and a leaf-subject fact matches nothing else."""
    assert not CATALOGUE.match(Names(leaf_issuer=(("CN", "MITMPROXY"),)))
    (hit,) = CATALOGUE.match(Names(leaf_issuer=(("CN", "the SMOOTHWALL box"),)))
    assert hit.fact == 'issuer CN contains "Smoothwall"'
    assert not CATALOGUE.match(Names(leaf_issuer=(("OU", "LittleProxy MITM"),)))
    assert CATALOGUE.match(Names(leaf_subject=(("OU", "LittleProxy MITM"),)))
    assert not CATALOGUE.match(Names(leaf_subject=(("CN", "mitmproxy"),)))


def test_unbounded_names_are_read_up_to_a_limit() -> None:
    """What lies past the bounds is not searched: it was put there to cost time."""
    padded = "x" * MAX_VALUE + "Smoothwall"
    crowd = tuple(("CN", f"nobody {number}") for number in range(MAX_VALUES))
    assert not CATALOGUE.match(Names(leaf_issuer=(("CN", padded),)))
    assert not CATALOGUE.match(Names(leaf_issuer=(*crowd, ("CN", "mitmproxy"))))


def test_unprintable_values_are_not_repeated() -> None:
    """A forged name must not reach a terminal as escape codes."""
    (hit,) = CATALOGUE.match(Names(leaf_issuer=(("CN", "mkcert \x1b[2Jx"),)))
    assert hit.fact.isprintable()


HASHES = {
    fact.value: (entry, fact.field)
    for entry in CATALOGUE.entries
    for fact in entry.facts
    if fact.field in (Field.SHA256, Field.SPKI_SHA256)
}


@pytest.mark.parametrize("digest", HASHES, ids=[f"{entry.id}-{field}" for entry, field in HASHES.values()])
def test_every_hash_is_found_by_itself(digest: str) -> None:
    """A chain may be matched by its hashes alone, and the hit says which kind of hash it was."""
    entry, field = HASHES[digest]
    (hit,) = CATALOGUE.match_digests([bytes(32), bytes.fromhex(digest)])
    assert hit.entry is entry
    assert hit.kind is (HitKind.CERTIFICATE if field is Field.SHA256 else HitKind.KEY)
    assert digest in hit.fact


def test_unknown_hashes_match_nothing() -> None:
    """What no entry has, in whatever number, is no hit."""
    assert CATALOGUE.match_digests([]) == ()
    assert CATALOGUE.match_digests(bytes([number]) * 32 for number in range(256)) == ()


def test_hits_say_what_matched() -> None:
    """A check can distinguish proof by hash from the claim of a name."""
    superfish = "b6fe9151402bad1c06d7e66db67a26aa7356f2e6c644dbcf9f98968ff632e1b7"
    hits = CATALOGUE.match(Names(leaf_issuer=(("CN", "mitmproxy"),), sha256=frozenset({superfish})))
    assert [(hit.kind, hit.accuses_by_key) for hit in hits[:2]] == [
        (HitKind.CERTIFICATE, True),
        (HitKind.NAME, False),
    ]


def test_which_hashes_accuse() -> None:
    """Portals, development CAs and authorities of ordinary servers do not accuse by hash; everything else does."""
    silent = {entry.id for entry, _ in HASHES.values() if not entry.accuses_by_key}
    assert silent == {
        "chromium-captive-portal-list",
        "webpack-dev-server-2016",
        "preact-cli-2017",
        "badssl-mitm-test",
        "russian-trusted-root",
    }
    public_subordinates = {"trustwave-subca-2012", "cnnic-mcs-holdings-2015", "anssi-dcssi-2013", "india-nic-2014"}
    assert public_subordinates <= {entry.id for entry, _ in HASHES.values()} - silent


@pytest.mark.parametrize("category", ProductCategory)
@pytest.mark.parametrize("role", Role)
def test_accusing_by_key_depends_on_category_and_role(category: ProductCategory, role: Role) -> None:
    """An entry's words decide, so that a new entry needs no code."""
    found = msgspec.structs.replace(CATALOGUE.entries[0], category=category, role=role)
    silent = {ProductCategory.CAPTIVE_PORTAL, ProductCategory.LOCAL_DEV_CA}
    assert found.accuses_by_key == (role is Role.INTERCEPTOR and category not in silent)


@pytest.mark.parametrize(
    ("value", "product"),
    [
        ("Zscaler Intermediate Root CA (zscalerthree.net) (t) ", "zscaler-zia"),
        ("mitmproxy ", "mitmproxy"),
        ("\N{NO-BREAK SPACE}PortSwigger\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}CA", "burp-suite"),
        ("Docker Sandboxes\tProxy CA\n", "docker-sandboxes"),
    ],
)
def test_odd_blanks_hide_nothing(value: str, product: str) -> None:
    """Some products put trailing or no-break spaces into their names."""
    (hit, *_) = CATALOGUE.match(Names(leaf_issuer=(("CN", value),)))
    assert (hit.entry.id, hit.strong) == (product, True)
    assert hit.fact.isprintable()


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ((("CN", "Warcprox CA on crawler.example.org"),), "warcprox"),
        ((("CN", "pywb HTTPS Proxy CA"),), "pywb"),
        ((("CN", "wsgiprox https proxy CA"),), "pywb"),
        ((("CN", "node-mitmproxy CA"), ("O", "node-mitmproxy")), "node-mitmproxy"),
        ((("CN", "ZoroCA"),), "seewo-zoroca"),
        ((("O", "Aikido safe-chain proxy"), ("CN", "aikidosafechain.com")), "aikido-safe-chain"),
        ((("CN", "Aikido Endpoint Protection Root CA - org-1"),), "aikido-safe-chain"),
        ((("CN", "ADC Egress Proxy Root CA"),), "azure-container-apps-sandbox"),
        ((("CN", "Zen Personal CA"),), "zen-desktop"),
        ((("O", "TRAWL"), ("CN", "TRAWL MITM Proxy CA")), "trawl"),
    ],
)
def test_later_marks_are_known(name: tuple[tuple[str, str], ...], product: str) -> None:
    """Products that were reported after the first catalogue are named, strongly and alone."""
    (hit,) = CATALOGUE.match(Names(leaf_issuer=name))
    assert (hit.entry.id, hit.strong, hit.kind) == (product, True, HitKind.NAME)


def test_self_issued_leaf_marks_nothing() -> None:
    """An appliance's own page bears the appliance's name; the same name on the issuer of another leaf is a mark."""
    pki = PrivatePKI.create()
    authority = pki.private_ca("mitmproxy")
    own = Certificate.read(authority.certificate)
    forged = [Certificate.read(der) for der in authority.issue(["exam.example.edu"]).chain]
    assert own.is_self_issued
    assert not CATALOGUE.match(Names.of([own]))
    assert CATALOGUE.match(Names.of(forged))[0].entry.id == "mitmproxy"
    assert CATALOGUE.match(Names.of([own, own]))[0].entry.id == "mitmproxy"
    assert Names.of([]) == Names()


NAME = st.lists(
    st.tuples(st.sampled_from(["CN", "O", "OU", "emailAddress", "1.2.3"]), st.text(max_size=30)), max_size=4
).map(tuple)


@given(
    st.builds(
        Names,
        leaf_issuer=NAME,
        leaf_subject=NAME,
        ca_subjects=st.lists(NAME, max_size=3).map(tuple),
        sha256=st.frozensets(st.text(max_size=64), max_size=2),
        spki_sha256=st.frozensets(st.text(max_size=64), max_size=2),
    )
)
def test_matching_never_raises(names: Names) -> None:
    """Names are the forger's to choose; every choice yields hits that can be printed."""
    assert all(hit.fact.isprintable() for hit in CATALOGUE.match(names))
