"""Certificates generated after the habits of interceptors, and after the anomalies of honest servers, as scenes.

Room: scripts. Pure apart from randomness; no sockets. Built with the package's own test PKI, whose two roots stand for
the public ones and whose four logs for the public CT logs. Habits are those that the projects' sources and captures
show; no product is run here (`scenarios` runs mitmproxy).

Every forging engine is met three times: alone without pins, alone with pins of the genuine server (its leaf key and
its issuing CA's), and on three hosts of unrelated operators without pins. Ground truth: intercepted. Honest anomalies
are met in the settings that make them hard. Ground truth: genuine.
"""

from __future__ import annotations

import datetime as dt
import os
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from detector import Endpoint
from detector.model import RootOrigin
from detector.testing import CopiedField, PrivatePKI
from detector.testing import der as asn1
from detector.testing.pki import encode_sct_list, sct_list_of
from detector.trust import logs as ct_logs
from detector.trust.roots import NO_ROOTS, Roots, from_der

from .material import Item, Known, Scene, Truth, known_of, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector.testing import CA, Issued
    from detector.trust.logs import LogList

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
HOSTS: Final = (EXAM, LMS, SEARCH)
"""Three hosts whose registrable domains differ: unrelated operators."""

ALONE: Final = "alone, no pins"
PINNED: Final = "alone, pins"
NETWORK: Final = "three operators, no pins"

ENGINES: Final = "forged, as engines do"
ODD: Final = "forged, hard to read or to date"
COPIED: Final = "forged, dressed up as genuine"
HONEST: Final = "genuine, ordinary"
ANOMALY: Final = "genuine, anomalies"
PRIVATE: Final = "genuine, private PKI"

AIA: Final = ("http://ca.example/issuing.der",)
"""A caIssuers URL that cannot resolve (RFC 2606): families are judged without fetching anything."""

SUBJECT_AND_NAMES: Final = frozenset({CopiedField.SUBJECT, CopiedField.NAMES})
AND_DATES: Final = SUBJECT_AND_NAMES | {CopiedField.DATES}
DAY: Final = dt.timedelta(days=1)
YEAR: Final = 365 * DAY


class Engine(NamedTuple):
    """A way to forge: `habit` in words, `forge` from a host and its genuine certificate to what is presented.

    `installed` are the CA certificates (DER) that a managed machine would trust.
    """

    group: str
    name: str
    habit: str
    forge: Callable[[str, Issued], Issued]
    installed: tuple[bytes, ...] = ()


class Lab:
    """The world of the families: one PKI, its roots and logs, and the genuine certificates of the hosts."""

    def __init__(self, pki: PrivatePKI | None = None) -> None:
        self.pki: Final = pki or PrivatePKI.create()
        self.now: Final = self.pki.now
        self.roots: Final[Roots] = from_der(
            [self.pki.root_a.certificate, self.pki.root_b.certificate], name="test roots"
        )
        self.logs: Final[LogList] = ct_logs.parse(self.pki.ct_log_list_json(), name="test logs")
        self.genuine: Final = cache(lambda host: self.pki.issue([host], aia=AIA))

    def known(self, issued: Issued) -> Known:
        """What somebody knows who has seen this certificate."""
        return known_of([issued.leaf], issued.chain[1:])

    def item(  # noqa: PLR0913 - an item is made of these
        self,
        host: str,
        presented: Issued,
        truth: Truth,
        *,
        pinned: Sequence[Issued] = (),
        ca_pins: bool = True,
        expires: dt.date | None = None,
        private_roots: tuple[bytes, ...] = (),
        operator: str | None = None,
    ) -> Item:
        """One endpoint; `pinned` are certificates whose keys were pinned before, with their CAs' unless told not to."""
        known = None
        pins: tuple[bytes, ...] = ()
        if pinned:
            issuers = [der for one in pinned for der in one.chain[1:]] if ca_pins else []
            known = known_of([one.leaf for one in pinned], issuers)
            pins = tuple(sorted(known.keys | known.ca_keys))
        endpoint = Endpoint(host=host, pins=pins, expires=expires, private_roots=private_roots, operator=operator)
        return Item(endpoint, observe(presented.chain), truth, known, presented.key)

    def scene(  # noqa: PLR0913 - a scene is made of these
        self,
        group: str,
        name: str,
        setting: str,
        *items: Item,
        at: dt.datetime | None = None,
        public: Roots | None = None,
        logs: LogList | None = None,
        installed: Roots = NO_ROOTS,
        interceptors: tuple[bytes, ...] = (),
    ) -> Scene:
        """Endpoints seen together, in this lab's world unless something else is given."""
        return Scene(
            group,
            name,
            setting,
            at or self.now,
            items,
            public or self.roots,
            logs or self.logs,
            installed,
            interceptors,
        )


def dn(**attributes: str) -> x509.Name:
    """A name from NameOID's spellings, in the order given."""
    return x509.Name([x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in attributes.items()])


def with_root(issued: Issued, ca: CA) -> Issued:
    """The chain with the forger's CA certificate behind it."""
    return issued.with_chain(*issued.chain, ca.certificate)


# --- Forging engines ----------------------------------------------------------------------------------------------


def engines(lab: Lab) -> Iterator[Engine]:
    """Every family of forged certificates."""
    yield from _open_engines(lab)
    yield from _appliances(lab)
    yield from _dressed_up(lab)
    yield from _odd_dates(lab)
    yield from _hard_to_read(lab)


def _engine(  # noqa: PLR0913 - what makes one engine different from another
    group: str,
    name: str,
    habit: str,
    ca: CA,
    *,
    copies: frozenset[CopiedField] | None = None,
    key: Callable[[], object] | None = None,
    present_root: bool = False,
    append_genuine: bool = False,
    sct_list: Callable[[Issued], bytes | None] | None = None,
    not_before: dt.datetime | None = None,
    not_after: dt.datetime | None = None,
    aia: Sequence[str] = (),
) -> Engine:
    """An engine with one CA. `copies` None: nothing is taken from the genuine leaf but the host's name."""

    def forge(host: str, genuine: Issued) -> Issued:
        issued = ca.issue(
            () if copies is not None else (host,),
            copy_from=genuine.leaf if copies is not None else None,
            copies=copies or frozenset(),
            key=key() if key else None,  # type: ignore[arg-type] # a kind or a key, as CA.issue takes them
            not_before=not_before,
            not_after=not_after,
            sct_list=sct_list(genuine) if sct_list else None,
            aia=aia,
        )
        behind = (ca.certificate,) if present_root else ()
        appended = genuine.chain if append_genuine else ()
        return issued.with_chain(*issued.chain, *behind, *appended)

    return Engine(group, name, habit, forge, (ca.certificate,))


def _open_engines(lab: Lab) -> Iterator[Engine]:
    pki, g = lab.pki, ENGINES
    mitmproxy_ca = pki.private_ca(
        dn(COMMON_NAME="mitmproxy", ORGANIZATION_NAME="mitmproxy"), key="rsa", leaf_key_is_ca_key=True
    )
    yield _engine(
        g,
        "mitmproxy",
        "copies subject and SAN; the leaf's key is the CA's",
        mitmproxy_ca,
        copies=SUBJECT_AND_NAMES,
        present_root=True,
    )
    yield _engine(
        g,
        "mitmproxy, upstream chain appended",
        "as mitmproxy, with the whole genuine chain behind the forged leaf",
        mitmproxy_ca,
        copies=SUBJECT_AND_NAMES,
        append_genuine=True,
    )
    yield _engine(
        g,
        "squid",
        "a CA the operator named; copies subject, SAN and dates; the leaf's key is the CA's",
        pki.private_ca(dn(ORGANIZATION_NAME="Example School", COMMON_NAME="Internet Gateway"), leaf_key_is_ca_key=True),
        copies=AND_DATES,
        present_root=True,
    )
    yield _engine(
        g,
        "hudsucker",
        "a CA the caller supplied; forges from the name alone; the leaf's key is the CA's",
        pki.private_ca("Example Root", leaf_key_is_ca_key=True),
        not_after=lab.now + YEAR,
    )
    yield _engine(
        g,
        "sslsplit",
        "a CA the operator named; copies subject and SAN; one leaf key for every host; CA not sent",
        pki.private_ca("Example Inspection", one_leaf_key=True),
        copies=SUBJECT_AND_NAMES,
    )
    yield _engine(
        g,
        "bettercap",
        "the name of a real Go Daddy intermediate; copies subject, SAN and dates; one RSA leaf key",
        pki.private_ca(
            dn(
                COUNTRY_NAME="US",
                STATE_OR_PROVINCE_NAME="Arizona",
                LOCALITY_NAME="Scottsdale",
                ORGANIZATION_NAME="GoDaddy.com, Inc.",
                ORGANIZATIONAL_UNIT_NAME="http://certs.godaddy.com/repository/",
                COMMON_NAME="Go Daddy Secure Certificate Authority - G2",
            ),
            key="rsa",
            leaf_key_is_ca_key=False,
            one_leaf_key=True,
        ),
        copies=AND_DATES,
    )
    yield _engine(
        g,
        "goproxy",
        "its built-in CA; forges from the name alone, a key for each host",
        pki.private_ca(
            dn(
                COUNTRY_NAME="IL",
                ORGANIZATION_NAME="GoProxy",
                ORGANIZATIONAL_UNIT_NAME="GoProxy",
                COMMON_NAME="goproxy.github.io",
            )
        ),
        present_root=True,
    )
    yield _engine(
        g,
        "martian",
        "one leaf key for every host, forged from the name alone",
        pki.private_ca(dn(ORGANIZATION_NAME="Martian Authority", COMMON_NAME="martian.proxy"), one_leaf_key=True),
        present_root=True,
    )
    mockttp = pki.private_ca("Example Testing CA", one_leaf_key=True)
    yield _engine(
        g,
        "mockttp, minted SCTs",
        "SCTs of random logs with random signatures",
        mockttp,
        sct_list=lambda genuine: minted_scts(),  # noqa: ARG005 - the signature of `sct_list`
    )
    yield _engine(
        g,
        "mockttp, SCTs in the name of known logs",
        "SCTs with the ids of known logs and signatures by nobody",
        mockttp,
        sct_list=lambda genuine: minted_scts([log.log_id for log in pki.ct_logs[:2]]),  # noqa: ARG005 - as above
    )


def _appliances(lab: Lab) -> Iterator[Engine]:
    pki, g = lab.pki, ENGINES
    own_key_each: tuple[tuple[str, str, x509.Name], ...] = (
        (
            "Charles",
            "a key for each host, CA named after the machine",
            dn(COMMON_NAME="Charles Proxy CA (1 Jan 2026, example)", ORGANIZATION_NAME="XK72 Ltd"),
        ),
        (
            "Fiddler",
            "a key for each host",
            dn(COMMON_NAME="DO_NOT_TRUST_FiddlerRoot", ORGANIZATION_NAME="DO_NOT_TRUST"),
        ),
        (
            "Burp",
            "a key for each host",
            dn(
                ORGANIZATION_NAME="PortSwigger", ORGANIZATIONAL_UNIT_NAME="PortSwigger CA", COMMON_NAME="PortSwigger CA"
            ),
        ),
        (
            "Proxyman",
            "a key for each host",
            dn(ORGANIZATION_NAME="Proxyman LLC", COMMON_NAME="Proxyman CA (1 Jan 2026, example)"),
        ),
        (
            "unknown product",
            "a key for each host, a CA name nobody knows",
            dn(ORGANIZATION_NAME="Example District", COMMON_NAME="Example District Root"),
        ),
    )
    for name, habit, subject in own_key_each:
        yield _engine(g, name, habit, pki.private_ca(subject), present_root=True)
    yield _engine(
        g,
        "appliance, old crypto",
        "Fortinet's name; SHA-1, RSA of 1024 bits, no AuthorityKeyIdentifier",
        pki.private_ca(
            dn(ORGANIZATION_NAME="Fortinet", ORGANIZATIONAL_UNIT_NAME="Certificate Authority", COMMON_NAME="FG120E"),
            key="rsa1024",
            signature_hash="sha1",
            authority_key_identifier=False,
        ),
        key=lambda: "rsa1024",
        copies=SUBJECT_AND_NAMES,
    )
    root = pki.private_ca("Example Institution Root")
    below = root.subordinate("Example Institution Gateway 3")
    yield Engine(
        g,
        "subordinate CA of the institution",
        "an intermediate of the institution's own root, sent along",
        lambda host, genuine: below.issue(copy_from=genuine.leaf, copies=SUBJECT_AND_NAMES),  # noqa: ARG005 - as forge
        (root.certificate,),
    )
    yield _engine(
        g, "v1 CA", "a root of X.509 version 1", pki.private_ca("Example V1 Root", version=1), present_root=True
    )
    yield _engine(
        g,
        "expired CA",
        "a root that expired two years ago; leaves as usual",
        pki.private_ca("Example Old Root", not_before=lab.now - 9 * YEAR, not_after=lab.now - 2 * YEAR),
        present_root=True,
    )
    numbers = {host: number for number, host in enumerate(HOSTS, 17)}
    authorities = {host: pki.private_ca(f"Filter {number} CA") for host, number in numbers.items()}
    yield Engine(
        g,
        "one CA per site",
        "a CA of its own for every site, told apart by a number in the name",
        lambda host, genuine: with_root(authorities[host].issue([host]), authorities[host]),  # noqa: ARG005 - as forge
        tuple(ca.certificate for ca in authorities.values()),
    )
    yield Engine(
        g,
        "self-signed per site",
        "a self-signed certificate with a key of its own for every site",
        lambda host, genuine: pki.self_signed([host]),  # noqa: ARG005 - as forge
    )
    static = pki.self_signed(["gateway.example.net"])
    yield Engine(
        g,
        "one certificate for everyone",
        "the same self-signed certificate, for another name, whatever was asked for",
        lambda host, genuine: static,  # noqa: ARG005 - as forge
    )


def minted_scts(log_ids: Sequence[bytes] = ()) -> bytes:
    """An SCT list that looks right and was signed by nobody (RFC 6962 section 3.3)."""
    ids = log_ids or (os.urandom(32), os.urandom(32))
    return encode_sct_list(
        [b"\x00" + log + os.urandom(8) + b"\x00\x00" + b"\x04\x03" + b"\x00\x40" + os.urandom(64) for log in ids]
    )


def _dressed_up(lab: Lab) -> Iterator[Engine]:
    pki, g = lab.pki, COPIED
    twin = pki.private_ca(copy_from=pki.intermediate_ec.certificate)
    yield _engine(
        g,
        "a real CA's name and key identifier",
        "copies everything, serial and dates too; CA not sent",
        twin,
        copies=frozenset(CopiedField),
    )
    yield Engine(
        g,
        "a real CA's name, its real certificate sent",
        "as above, with the genuine intermediates behind the forged leaf",
        lambda _host, genuine: _copy(twin, genuine).with_chain(_copy(twin, genuine).leaf, *genuine.chain[1:]),
        (twin.certificate,),
    )
    yield _engine(
        g,
        "a real CA's name, the twin sent",
        "as above, with the forger's twin of the CA",
        twin,
        copies=frozenset(CopiedField),
        present_root=True,
    )
    root_twin = pki.private_ca(copy_from=pki.root_b.certificate, key="ec384")
    below = root_twin.subordinate(pki.intermediate_ec.subject)
    yield Engine(
        g,
        "a whole chain of twins",
        "root and intermediate both carry the names of the real ones",
        lambda host, genuine: with_root(_copy(below, genuine), root_twin),  # noqa: ARG005 - as forge
        (root_twin.certificate,),
    )
    yield _engine(
        g,
        "copied SCTs",
        "the genuine leaf's SCTs, CA sent",
        pki.private_ca("Example Gateway"),
        copies=frozenset(CopiedField),
        present_root=True,
        sct_list=lambda genuine: sct_list_of(genuine.leaf),
    )
    yield _engine(
        g,
        "copied SCTs, issuer left out, AIA",
        "poses as a server that forgot its intermediate",
        pki.private_ca("Example Gateway"),
        copies=frozenset(CopiedField),
        sct_list=lambda genuine: sct_list_of(genuine.leaf),
        aia=AIA,
    )
    yield _engine(
        g,
        "copied SCTs and AIA in a real CA's name, issuer left out",
        "poses as one of the real CA's servers",
        twin,
        copies=frozenset(CopiedField),
        sct_list=lambda genuine: sct_list_of(genuine.leaf),
        aia=AIA,
    )


def _copy(ca: CA, genuine: Issued) -> Issued:
    return ca.issue(copy_from=genuine.leaf, copies=frozenset(CopiedField))


def _odd_dates(lab: Lab) -> Iterator[Engine]:
    pki, now = lab.pki, lab.now
    for name, start, end in (
        ("valid for two hours", now - dt.timedelta(hours=1), now + dt.timedelta(hours=1)),
        ("valid for eighty years", now - 30 * YEAR, now + 50 * YEAR),
        ("dated before certificates were logged", now - 15 * YEAR, now + 5 * YEAR),
        ("expired forgery", now - 90 * DAY, now - 30 * DAY),
        ("not yet valid", now + 10 * DAY, now + 90 * DAY),
    ):
        yield _engine(
            ODD,
            name,
            "otherwise an ordinary forgery from the name",
            pki.private_ca(f"Example {name.title()}"),
            present_root=True,
            not_before=start,
            not_after=end,
        )


def _hard_to_read(lab: Lab) -> Iterator[Engine]:
    """Certificates that libraries refuse, each with the one fault its name says, signed after the fault was made."""
    ca = lab.pki.private_ca("Example Sloppy CA", one_leaf_key=True)
    for name, edit in _FAULTS.items():
        yield Engine(
            ODD,
            name,
            "a malformed leaf under an ordinary CA, one leaf key",
            # `edit` is bound now, which mypy does not follow; the genuine chain is what other engines copy from.
            lambda host, genuine, edit=edit: resigned(ca, ca.issue([host]), edit),  # type: ignore[misc] # noqa: ARG005
            (ca.certificate,),
        )


def _replace(fields: list[bytes], at: int, value: bytes) -> list[bytes]:
    return [*fields[:at], value, *fields[at + 1 :]]


def _edit_extensions(fields: list[bytes], edit: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    extensions = asn1.children(asn1.children(fields[-1])[0])
    return [*fields[:-1], asn1.encode(fields[-1][0], asn1.encode(asn1.SEQUENCE, *edit(extensions)))]


_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_SERIAL, _VALIDITY = 1, 4
"""Tags of X.680 section 8.4 and positions in TBSCertificate (RFC 5280 section 4.1), version at 0."""

_FAULTS: Final[dict[str, Callable[[list[bytes]], list[bytes]]]] = {
    "serial number without octets": lambda fields: _replace(fields, _SERIAL, b"\x02\x00"),
    "negative serial number": lambda fields: _replace(fields, _SERIAL, b"\x02\x01\x80"),
    "version 4": lambda fields: _replace(fields, 0, b"\xa0\x03\x02\x01\x03"),
    "times without seconds": lambda fields: _replace(
        fields,
        _VALIDITY,
        asn1.encode(asn1.SEQUENCE, asn1.encode(_UTC_TIME, b"2501010000Z"), asn1.encode(_UTC_TIME, b"4901010000Z")),
    ),
    "times with fractions": lambda fields: _replace(
        fields,
        _VALIDITY,
        asn1.encode(
            asn1.SEQUENCE,
            asn1.encode(_GENERALIZED_TIME, b"20250101000000.5Z"),
            asn1.encode(_GENERALIZED_TIME, b"20490101000000.5Z"),
        ),
    ),
    "an extension twice": lambda fields: _edit_extensions(fields, lambda e: [*e, e[-1]]),
    "an extension that is no DER": lambda fields: _edit_extensions(
        fields,
        lambda e: [*e, asn1.encode(asn1.SEQUENCE, bytes.fromhex("0603551d20"), asn1.encode(0x04, b"\xff\xff"))],
    ),
}


def resigned(ca: CA, issued: Issued, edit: Callable[[list[bytes]], list[bytes]]) -> Issued:
    """The leaf with its TBSCertificate's fields edited, signed anew by an EC `ca`."""
    if not isinstance(ca.key, ec.EllipticCurvePrivateKey):
        raise TypeError("faults are made under CAs with EC keys")
    tbs, algorithm, _ = asn1.children(issued.leaf)
    tbs = asn1.encode(asn1.SEQUENCE, *edit(asn1.children(tbs)))
    signature = ca.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    leaf = asn1.encode(asn1.SEQUENCE, tbs, algorithm, asn1.encode(asn1.BIT_STRING, b"\x00", signature))
    return issued.with_chain(leaf, *issued.chain[1:], ca.certificate)


def forged(lab: Lab) -> Iterator[Scene]:
    """Every engine in its three settings."""
    for engine in engines(lab):
        presented = {host: engine.forge(host, lab.genuine(host)) for host in HOSTS}

        def item(host: str, *pinned: Issued, presented: dict[str, Issued] = presented) -> Item:
            return lab.item(host, presented[host], Truth.INTERCEPTED, pinned=pinned)

        for setting, items in (
            (ALONE, (item(EXAM),)),
            (PINNED, (item(EXAM, lab.genuine(EXAM)),)),
            (NETWORK, tuple(item(host) for host in HOSTS)),
        ):
            yield lab.scene(engine.group, engine.name, setting, *items, interceptors=engine.installed)


# --- Honest servers -----------------------------------------------------------------------------------------------


def genuine(lab: Lab) -> Iterator[Scene]:
    """Every family of genuine certificates."""
    yield from _ordinary(lab)
    yield from _pins_and_rotation(lab)
    yield from _chain_anomalies(lab)
    yield from _dates_and_clocks(lab)
    yield from _logging_anomalies(lab)
    yield from _private(lab)


def _genuine(lab: Lab) -> Callable[..., Item]:
    def item(host: str, presented: Issued, **details: object) -> Item:
        return lab.item(host, presented, Truth.GENUINE, **details)  # type: ignore[arg-type] # the options of `item`

    return item


def _ordinary(lab: Lab) -> Iterator[Scene]:
    pki, item = lab.pki, _genuine(lab)
    for name, issued in (
        ("ECDSA", lab.genuine(EXAM)),
        ("RSA", pki.issue([EXAM], key="rsa")),
        ("cross-signed root sent", pki.issue([EXAM], cross_signed=True)),
        ("wildcard", pki.issue(["*.example.edu"])),
        ("no subject", pki.issue([EXAM], subject_cn="")),
    ):
        yield lab.scene(HONEST, name, ALONE, item(EXAM, issued))
        yield lab.scene(HONEST, name, PINNED, item(EXAM, issued, pinned=[issued]))
    yield lab.scene(HONEST, "ECDSA", NETWORK, *(item(host, lab.genuine(host)) for host in HOSTS))
    for host in ("127.0.0.1", "xn--prfung-kva.example.edu"):
        yield lab.scene(HONEST, f"name {host}", ALONE, item(host, pki.issue([host])))
    shared = pki.issue(HOSTS)
    yield lab.scene(HONEST, "one CDN certificate for three operators", NETWORK, *(item(h, shared) for h in HOSTS))


def _pins_and_rotation(lab: Lab) -> Iterator[Scene]:
    pki, item = lab.pki, _genuine(lab)
    old, new = pki.issue([EXAM]), pki.issue([EXAM])
    other_ca = pki.issue([EXAM], key="rsa")
    g = ANOMALY
    yield lab.scene(g, "rotated key", "pins of the old leaf and its CA", item(EXAM, new, pinned=[old]))
    yield lab.scene(g, "rotated key", "pins of the old leaf alone", item(EXAM, new, pinned=[old], ca_pins=False))
    yield lab.scene(g, "rotated to another CA", "pins of the old leaf and its CA", item(EXAM, other_ca, pinned=[old]))
    expired = {"pinned": [old], "expires": (lab.now - 9 * DAY).date()}
    yield lab.scene(g, "rotated to another CA", "expired pins", item(EXAM, other_ca, **expired))
    renewed = pki.issue([EXAM], key=old.key)
    yield lab.scene(g, "renewed with the same key", PINNED, item(EXAM, renewed, pinned=[old], ca_pins=False))
    several = [pki.issue([EXAM]), pki.issue([EXAM], key="rsa"), pki.issue([EXAM], cross_signed=True), old, new]
    for number, one in enumerate(several, 1):
        name = "CDN with five certificates"
        yield lab.scene(g, name, f"pins of all, node {number}", item(EXAM, one, pinned=several, ca_pins=False))
        yield lab.scene(g, name, f"pins of one, node {number}", item(EXAM, one, pinned=several[:1], ca_pins=False))
    every = [(host, lab.genuine(host), pki.issue([host])) for host in HOSTS]
    yield lab.scene(
        g,
        "rotated key",
        "three operators, all pins stale",
        *(item(host, now, pinned=[before], ca_pins=False) for host, now, before in every),
    )


def _chain_anomalies(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, _genuine(lab), ANOMALY
    issued = pki.issue([EXAM], cross_signed=True, aia=AIA)
    leaf, intermediate, cross = issued.chain
    stranger = pki.private_ca("Stranger").certificate
    for name, chain in (
        ("wrong order", (leaf, cross, intermediate)),
        ("strangers and duplicates in the chain", (leaf, stranger, cross, intermediate, intermediate, leaf)),
        ("root sent along", (leaf, intermediate, pki.root_b.certificate)),
    ):
        yield lab.scene(g, name, ALONE, item(EXAM, issued.with_chain(*chain)))
        yield lab.scene(g, name, PINNED, item(EXAM, issued.with_chain(*chain), pinned=[issued]))
    lone = {host: pki.issue([host], aia=AIA) for host in HOSTS}
    alone = {host: one.with_chain(one.leaf) for host, one in lone.items()}
    rotated = pki.issue([EXAM], aia=AIA)
    g_missing = "missing intermediate"
    yield lab.scene(g, g_missing, ALONE, item(EXAM, alone[EXAM]))
    yield lab.scene(g, g_missing, PINNED, item(EXAM, alone[EXAM], pinned=[lone[EXAM]]))
    yield lab.scene(g, g_missing, "pins of the CA, key rotated", item(EXAM, alone[EXAM], pinned=[rotated]))
    yield lab.scene(g, g_missing, NETWORK, *(item(host, alone[host]) for host in HOSTS))
    only_a = from_der([pki.root_a.certificate], name="stale roots")
    for name, setting, items in (
        ("stale root bundle", ALONE, (item(EXAM, lab.genuine(EXAM)),)),
        ("stale root bundle", "pins rotated away", (item(EXAM, lab.genuine(EXAM), pinned=[rotated], ca_pins=False),)),
        ("stale root bundle", NETWORK, tuple(item(host, lab.genuine(host)) for host in HOSTS)),
        ("new root, cross-signed by one in the bundle", ALONE, (item(EXAM, issued),)),
    ):
        yield lab.scene(g, name, setting, *items, public=only_a)
    elsewhere = pki.issue(["www.example.net"])
    yield lab.scene(g, "wrong virtual host", ALONE, item(EXAM, elsewhere))
    yield lab.scene(g, "wrong virtual host", PINNED, item(EXAM, elsewhere, pinned=[lab.genuine(EXAM)], ca_pins=False))


def _dates_and_clocks(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, _genuine(lab), ANOMALY
    late = pki.issue([EXAM], not_before=lab.now - 99 * DAY, not_after=lab.now - 9 * DAY)
    yield lab.scene(g, "expired", ALONE, item(EXAM, late))
    yield lab.scene(g, "expired", PINNED, item(EXAM, late, pinned=[late]))
    yield lab.scene(g, "expired", "pins of the CA alone", item(EXAM, late, pinned=[lab.genuine(EXAM)]))
    campus = pki.private_ca("Example Campus CA")
    declared = {"private_roots": (campus.certificate,)}
    for name, away in (("clock ten years ahead", 10 * YEAR), ("clock three years behind", -3 * YEAR)):
        at = lab.now + away
        before = pki.issue([EXAM])
        yield lab.scene(g, name, ALONE, item(EXAM, lab.genuine(EXAM)), at=at)
        yield lab.scene(g, name, PINNED, item(EXAM, lab.genuine(EXAM), pinned=[before]), at=at)
        yield lab.scene(g, name, NETWORK, *(item(host, lab.genuine(host)) for host in HOSTS), at=at)
        others = (item(host, lab.genuine(host)) for host in HOSTS[1:])
        private = item(EXAM, with_root(campus.issue([EXAM]), campus), **declared)
        yield lab.scene(g, name, "private PKI declared, two neighbours", private, *others, at=at)


def _logging_anomalies(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, _genuine(lab), ANOMALY
    before = pki.issue([EXAM])
    outside = pki.issue([EXAM], scts=0)
    yield lab.scene(g, "SCTs outside the certificate", ALONE, item(EXAM, outside))
    yield lab.scene(g, "SCTs outside the certificate", PINNED, item(EXAM, outside, pinned=[outside]))
    for name, issued in (
        ("logs nobody knows yet", pki.issue([EXAM], foreign_sct=True)),
        ("a single SCT", pki.issue([EXAM], scts=1)),
        (
            "issued before certificates were logged",
            pki.issue([EXAM], scts=0, not_before=dt.datetime(2018, 3, 1, tzinfo=dt.UTC), not_after=lab.now + YEAR),
        ),
    ):
        yield lab.scene(g, name, ALONE, item(EXAM, issued))
        yield lab.scene(g, name, "pins rotated away", item(EXAM, issued, pinned=[before], ca_pins=False))
    strangers = [item(host, pki.issue([host], foreign_sct=True)) for host in HOSTS]
    yield lab.scene(g, "logs nobody knows yet", NETWORK, *strangers)


def _private(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, _genuine(lab), PRIVATE
    campus = pki.private_ca("Example Campus CA")
    declared = {"private_roots": (campus.certificate,)}
    served = {host: with_root(campus.issue([host]), campus) for host in HOSTS}
    yield lab.scene(g, "declared", ALONE, item(EXAM, served[EXAM], **declared))
    yield lab.scene(g, "declared", NETWORK, *(item(host, served[host], **declared) for host in HOSTS))
    installed = from_der([campus.certificate], name="machine", origin=RootOrigin.ADDED)
    yield lab.scene(
        g, "declared", "root installed on the machine", item(EXAM, served[EXAM], **declared), installed=installed
    )
    yield lab.scene(g, "undeclared", ALONE, item(EXAM, served[EXAM]))
    siblings = ("lms.example.edu", "wiki.example.edu", EXAM)
    yield lab.scene(
        g,
        "undeclared",
        "three hosts of one operator",
        *(item(h, with_root(campus.issue([h]), campus)) for h in siblings),
    )
    inside = ("lms.campus.internal", "printer", "wiki.campus.internal")
    yield lab.scene(
        g, "undeclared", "three names of one network", *(item(h, with_root(campus.issue([h]), campus)) for h in inside)
    )
    told = {"operator": "Example University"}
    yield lab.scene(
        g, "undeclared", "three domains, one operator in the pin file", *(item(h, served[h], **told) for h in HOSTS)
    )
    yield lab.scene(g, "self-signed", ALONE, item(EXAM, pki.self_signed([EXAM])))
    yield lab.scene(g, "self-signed", NETWORK, *(item(host, pki.self_signed([host])) for host in HOSTS))
    own = pki.self_signed([EXAM])
    yield lab.scene(g, "self-signed", PINNED, item(EXAM, own, pinned=[own]))
    yield lab.scene(g, "self-signed for another name", ALONE, item(EXAM, pki.self_signed(["localhost"])))


def scenes(lab: Lab) -> Iterator[Scene]:
    """Everything generated whose truth a client can find out."""
    yield from forged(lab)
    yield from genuine(lab)
