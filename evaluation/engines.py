"""Certificates generated after the habits of interceptors, as scenes.

Pure apart from randomness. The habits are those of the projects' sources and of captures; no product runs here
(`scenarios` runs mitmproxy). Ground truth: intercepted.

Every engine is assessed with nothing known of the endpoint, its public roots, or learned pins; with the CA installed by
policy; with two canaries that the same engine intercepts, as the follow-up probes them, and these canaries; and on
three hosts of unrelated operators.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing import CopiedField
from detector_testing import der as asn1
from detector_testing.pki import encode_sct_list, sct_list_of

from detector.model import RootOrigin
from detector.trust.roots import from_der

from .lab import AIA, DAY, EXAM, HOSTS, NETWORK, YEAR, Options, dn, with_root
from .material import Item, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography import x509
    from detector_testing import CA, Issued

    from .lab import Lab
    from .material import Scene

ENGINES: Final = "forged, as engines do"
ODD: Final = "forged, hard to read or to date"
COPIED: Final = "forged, dressed up as genuine"

MANAGED: Final = "alone, CA installed by policy"
CANARIES: Final = "alone, two canaries intercepted alike"
THE_CANARIES: Final = "the two canaries"

SUBJECT_AND_NAMES: Final = frozenset({CopiedField.SUBJECT, CopiedField.NAMES})
AND_DATES: Final = SUBJECT_AND_NAMES | {CopiedField.DATES}


class Engine(NamedTuple):
    """A kind of forgery: `habit` describes it, `forge` maps a host and its genuine certificate to the forged one.

    `installed` are the CA certificates (DER) that a managed machine trusts.
    """

    group: str
    name: str
    habit: str
    forge: Callable[[str, Issued], Issued]
    installed: tuple[bytes, ...] = ()


def engines(lab: Lab) -> Iterator[Engine]:
    """Yield every family of forged certificates."""
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
    """Return an engine with one CA. With `copies` None it forges from the host's name alone."""

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
    pki, engine = lab.pki, functools.partial(_engine, ENGINES)
    mitmproxy_ca = pki.private_ca(
        dn(COMMON_NAME="mitmproxy", ORGANIZATION_NAME="mitmproxy"), key="rsa", leaf_key_is_ca_key=True
    )
    yield engine(
        "mitmproxy",
        "copies subject and SAN; the leaf's key is the CA's",
        mitmproxy_ca,
        copies=SUBJECT_AND_NAMES,
        present_root=True,
    )
    yield engine(
        "mitmproxy, upstream chain appended",
        "as mitmproxy, with the whole genuine chain behind the forged leaf",
        mitmproxy_ca,
        copies=SUBJECT_AND_NAMES,
        append_genuine=True,
    )
    yield engine(
        "squid",
        "a CA the operator named; copies subject, SAN and dates; the leaf's key is the CA's",
        pki.private_ca(dn(ORGANIZATION_NAME="Example School", COMMON_NAME="Internet Gateway"), leaf_key_is_ca_key=True),
        copies=AND_DATES,
        present_root=True,
    )
    yield engine(
        "hudsucker",
        "a CA the caller supplied; forges from the name alone; the leaf's key is the CA's",
        pki.private_ca("Example Root", leaf_key_is_ca_key=True),
        not_after=lab.now + YEAR,
    )
    yield engine(
        "sslsplit",
        "a CA the operator named; copies subject and SAN; one leaf key for every host; CA not sent",
        pki.private_ca("Example Inspection", one_leaf_key=True),
        copies=SUBJECT_AND_NAMES,
    )
    yield engine(
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
    yield engine(
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
    yield engine(
        "martian",
        "one leaf key for every host, forged from the name alone",
        pki.private_ca(dn(ORGANIZATION_NAME="Martian Authority", COMMON_NAME="martian.proxy"), one_leaf_key=True),
        present_root=True,
    )
    mockttp = pki.private_ca("Example Testing CA", one_leaf_key=True)
    yield engine(
        "mockttp, minted SCTs",
        "SCTs of random logs with random signatures",
        mockttp,
        sct_list=lambda genuine: minted_scts(),  # noqa: ARG005 - the signature of `sct_list`
    )
    yield engine(
        "mockttp, SCTs in the name of known logs",
        "SCTs with the ids of known logs and signatures by nobody",
        mockttp,
        sct_list=lambda genuine: minted_scts([log.log_id for log in pki.ct_logs[:2]]),  # noqa: ARG005 - the signature of `sct_list`
    )


def _appliances(lab: Lab) -> Iterator[Engine]:
    pki, engine = lab.pki, functools.partial(_engine, ENGINES)
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
        yield engine(name, habit, pki.private_ca(subject), present_root=True)
    yield engine(
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
        ENGINES,
        "subordinate CA of the institution",
        "an intermediate of the institution's own root, sent along",
        lambda host, genuine: below.issue(copy_from=genuine.leaf, copies=SUBJECT_AND_NAMES),  # noqa: ARG005 - every forgery has this signature
        (root.certificate,),
    )
    yield engine("v1 CA", "a root of X.509 version 1", pki.private_ca("Example V1 Root", version=1), present_root=True)
    yield engine(
        "expired CA",
        "a root that expired two years ago; leaves as usual",
        pki.private_ca("Example Old Root", not_before=lab.now - 9 * YEAR, not_after=lab.now - 2 * YEAR),
        present_root=True,
    )
    authority = cache(lambda host: pki.private_ca(f"Filter {17 + len(host)} CA"))
    yield Engine(
        ENGINES,
        "one CA per site",
        "a CA of its own for every site, the names differ in a number",
        lambda host, genuine: with_root(authority(host).issue([host]), authority(host)),  # noqa: ARG005 - every forgery has this signature
        tuple(authority(host).certificate for host in HOSTS),
    )
    yield Engine(
        ENGINES,
        "self-signed per site",
        "a self-signed certificate with a key of its own for every site",
        lambda host, genuine: pki.self_signed([host]),  # noqa: ARG005 - every forgery has this signature
    )
    static = pki.self_signed(["gateway.example.net"])
    yield Engine(
        ENGINES,
        "one certificate for everyone",
        "the same self-signed certificate, for another name, whatever was asked for",
        lambda host, genuine: static,  # noqa: ARG005 - every forgery has this signature
    )


def minted_scts(log_ids: Sequence[bytes] = ()) -> bytes:
    """Return a well-formed SCT list with random signatures (RFC 6962 section 3.3)."""
    ids = log_ids or (os.urandom(32), os.urandom(32))
    return encode_sct_list(
        [b"\x00" + log + os.urandom(8) + b"\x00\x00" + b"\x04\x03" + b"\x00\x40" + os.urandom(64) for log in ids]
    )


def _dressed_up(lab: Lab) -> Iterator[Engine]:
    pki, engine = lab.pki, functools.partial(_engine, COPIED)
    twin = pki.private_ca(copy_from=pki.intermediate_ec.certificate)
    yield engine(
        "a real CA's name and key identifier",
        "copies everything, serial and dates too; CA not sent",
        twin,
        copies=frozenset(CopiedField),
    )
    yield Engine(
        COPIED,
        "a real CA's name, its real certificate sent",
        "as above, with the genuine intermediates behind the forged leaf",
        lambda _host, genuine: _with(_copy(twin, genuine), *genuine.chain[1:]),
        (twin.certificate,),
    )
    yield engine(
        "a real CA's name, the twin sent",
        "as above, with the forger's twin of the CA",
        twin,
        copies=frozenset(CopiedField),
        present_root=True,
    )
    root_twin = pki.private_ca(copy_from=pki.root_b.certificate, key="ec384")
    below = root_twin.subordinate(pki.intermediate_ec.subject)
    yield Engine(
        COPIED,
        "a whole chain of twins",
        "root and intermediate both carry the names of the real ones",
        lambda host, genuine: with_root(_copy(below, genuine), root_twin),  # noqa: ARG005 - every forgery has this signature
        (root_twin.certificate,),
    )
    yield engine(
        "copied SCTs",
        "the genuine leaf's SCTs, CA sent",
        pki.private_ca("Example Gateway"),
        copies=frozenset(CopiedField),
        present_root=True,
        sct_list=lambda genuine: sct_list_of(genuine.leaf),
    )
    yield engine(
        "copied SCTs, issuer left out, AIA",
        "poses as a server that forgot its intermediate",
        pki.private_ca("Example Gateway"),
        copies=frozenset(CopiedField),
        sct_list=lambda genuine: sct_list_of(genuine.leaf),
        aia=AIA,
    )
    yield engine(
        "copied SCTs and AIA in a real CA's name, issuer left out",
        "poses as one of the real CA's servers",
        twin,
        copies=frozenset(CopiedField),
        sct_list=lambda genuine: sct_list_of(genuine.leaf),
        aia=AIA,
    )


def _copy(ca: CA, genuine: Issued) -> Issued:
    return ca.issue(copy_from=genuine.leaf, copies=frozenset(CopiedField))


def _with(issued: Issued, *behind: bytes) -> Issued:
    """Return the leaf with these certificates after it."""
    return issued.with_chain(issued.leaf, *behind)


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
    """Yield certificates that libraries refuse, each with one fault, signed after the fault was made."""
    ca = lab.pki.private_ca("Example Sloppy CA", one_leaf_key=True)
    for name, edit in _FAULTS.items():
        yield Engine(
            ODD,
            name,
            "a malformed leaf under an ordinary CA, one leaf key",
            # `edit` is bound now, which mypy does not follow; the genuine chain is what other engines copy from.
            lambda host, genuine, edit=edit: resigned(ca, ca.issue([host]), edit),  # type: ignore[misc] # noqa: ARG005 - every forgery has this signature
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
    "serial number without bytes": lambda fields: _replace(fields, _SERIAL, b"\x02\x00"),
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
        fields, lambda e: [*e, asn1.encode(asn1.SEQUENCE, bytes.fromhex("0603551d20"), asn1.encode(0x04, b"\xff\xff"))]
    ),
}


def resigned(ca: CA, issued: Issued, edit: Callable[[list[bytes]], list[bytes]]) -> Issued:
    """Edit the fields of the leaf's TBSCertificate, and sign it again with an EC `ca`."""
    if not isinstance(ca.key, ec.EllipticCurvePrivateKey):
        raise TypeError("faults need a CA with an EC key")
    tbs, algorithm, _ = asn1.children(issued.leaf)
    tbs = asn1.encode(asn1.SEQUENCE, *edit(asn1.children(tbs)))
    signature = ca.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    leaf = asn1.encode(asn1.SEQUENCE, tbs, algorithm, asn1.encode(asn1.BIT_STRING, b"\x00", signature))
    return issued.with_chain(leaf, *issued.chain[1:], ca.certificate)


def scenes(lab: Lab) -> Iterator[Scene]:
    """Yield every engine in its settings."""
    for engine in engines(lab):
        present = cache(engine.forge)  # a host has one certificate in all settings

        def item(host: str, *, present: Callable[[str, Issued], Issued] = present, **more: object) -> Item:
            return lab.item(host, present(host, lab.genuine(host)), Truth.INTERCEPTED, **more)  # type: ignore[arg-type] # the options of Lab.item

        network = tuple(item(host) for host in HOSTS)
        trusted: Options = {"interceptors": engine.installed}
        for setting, expected in lab.knowledge().items():
            yield lab.scene(engine.group, engine.name, setting, item(EXAM, **expected), **trusted)
        if engine.installed:
            machine = from_der(engine.installed, name="machine", origin=RootOrigin.POLICY)
            yield lab.scene(engine.group, engine.name, MANAGED, item(EXAM), installed=machine, **trusted)
        canaries = lab.canaries(Truth.INTERCEPTED, present)
        yield lab.scene(engine.group, engine.name, CANARIES, item(EXAM), company=canaries, **trusted)
        yield lab.scene(engine.group, engine.name, THE_CANARIES, *canaries, company=(item(EXAM),), **trusted)
        yield lab.scene(engine.group, engine.name, NETWORK, *network, **trusted)
