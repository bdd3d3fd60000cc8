"""Certificates with new, national or unusual signatures: ML-DSA, SM2, GOST, RSA-PSS with unequal hashes.

Pure apart from randomness. Both truths: genuine servers sign like that, and a forger can label its signatures at will.
Without ML-DSA in `cryptography` its worlds are left out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from detector_testing import der

from detector.model import Hello

from .lab import ALONE, EXAM, HOSTS, NETWORK, PINNED, ROOT_B, STATED, Options, logged, roots_of, with_root
from .material import Truth, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detector_testing import CA, Issued

    from .lab import Lab
    from .material import Scene

GENUINE_FORMS: Final = "genuine, signed with other schemes"
FORGED_FORMS: Final = "forged, signed with other schemes"

UNREADABLE: Final = {
    "SM2 with SM3": bytes.fromhex("06082a811ccf55018375"),
    "GOST R 34.10-2012": bytes.fromhex("06082a85030701010302"),
    "an algorithm to come": bytes.fromhex("06042a030405"),
}
"""Signature algorithms that cannot be verified, as OBJECT IDENTIFIERs in DER (GB/T 33560, RFC 9215, unassigned)."""

SHA256, SHA1 = bytes.fromhex("300d06096086480165030402010500"), bytes.fromhex("300906052b0e03021a0500")
"""AlgorithmIdentifiers of two hashes (RFC 4055 section 2.1)."""
RSASSA_PSS, MGF1 = bytes.fromhex("06092a864886f70d01010a"), bytes.fromhex("06092a864886f70d010108")
"""OBJECT IDENTIFIERs of RFC 4055 section 3.1."""
SALT: Final = 32
"""Bytes of the salt: the hash's length."""


def scenes(lab: Lab) -> Iterator[Scene]:
    """Yield both truths."""
    yield from _genuine(lab)
    yield from _forged(lab)


def _genuine(lab: Lab) -> Iterator[Scene]:
    pki, g = lab.pki, GENUINE_FORMS
    item = lab.items(Truth.GENUINE)
    stated: Options = {"roots": (ROOT_B,)}
    for name, algorithm in UNREADABLE.items():
        shown = {host: _relabelled(lab.genuine(host), algorithm) for host in HOSTS}
        asked = observe(lab.genuine(EXAM).chain, hello=Hello.READABLE)
        yield lab.scene(g, name, ALONE, item(EXAM, shown[EXAM]))
        yield lab.scene(g, name, STATED, item(EXAM, shown[EXAM], **stated))
        yield lab.scene(g, name, PINNED, item(EXAM, shown[EXAM], pinned=[lab.genuine(EXAM)]))
        yield lab.scene(
            g, name, f"{STATED}, another chain on request", item(EXAM, shown[EXAM], others=[asked], **stated)
        )
        yield lab.scene(g, name, NETWORK, *(item(host, shown[host]) for host in HOSTS))
    if (root := _ml_dsa_ca(lab)) is not None:
        name, issue = "ML-DSA below a known root", logged(root, lab)
        public = lab.roots.with_added(roots_of(root))
        yield lab.scene(g, name, ALONE, item(EXAM, issue(EXAM)), public=public)
        yield lab.scene(g, name, STATED, item(EXAM, issue(EXAM), **stated), public=public)
        yield lab.scene(g, name, NETWORK, *(item(host, issue(host)) for host in HOSTS), public=public)
        name = "ML-DSA, private PKI"
        yield lab.scene(g, name, ALONE, item(EXAM, with_root(issue(EXAM), root)))
        yield lab.scene(g, name, NETWORK, *(item(host, with_root(issue(host), root)) for host in HOSTS))
    for name, ca in (
        ("RSA-PSS, MGF1 with SHA-1, private PKI", pki.private_ca("Ministry CA", key="rsa")),
        ("RSA-PSS, MGF1 with SHA-1, public CA", pki.intermediate_rsa),
    ):
        pss = {host: _pss_signed(ca, ca.issue([host])) for host in HOSTS}
        yield lab.scene(g, name, ALONE, item(EXAM, pss[EXAM]))
        yield lab.scene(g, name, NETWORK, *(item(host, pss[host]) for host in HOSTS))


def _forged(lab: Lab) -> Iterator[Scene]:
    pki, g = lab.pki, FORGED_FORMS
    item = lab.items(Truth.INTERCEPTED)
    box, rsa_box = pki.private_ca("Example Gateway"), pki.private_ca("Example Gateway", key="rsa")
    engines: dict[str, Callable[[str], Issued]] = {
        f"calls its signatures {name}": lambda host, oid=oid: _relabelled(with_root(box.issue([host]), box), oid)  # type: ignore[misc] # bound now
        for name, oid in UNREADABLE.items()
    }
    engines["calls its CA's signature an algorithm to come"] = lambda host: _ca_relabelled(box, box.issue([host]))
    engines["RSA-PSS, MGF1 with SHA-1"] = lambda host: _pss_signed(rsa_box, rsa_box.issue([host]))
    if (root := _ml_dsa_ca(lab)) is not None:
        engines["ML-DSA"] = lambda host: with_root(root.issue([host]), root)
    for name, forge in engines.items():
        shown = {host: forge(host) for host in HOSTS}
        again = observe(shown[EXAM].chain, hello=Hello.READABLE)
        for setting, expected in lab.knowledge().items():
            one = item(EXAM, shown[EXAM], others=[again], **expected)
            yield lab.scene(g, name, f"{setting}, the same on request", one)
        canaries = lab.canaries(Truth.INTERCEPTED, lambda host, _, forge=forge: forge(host))  # type: ignore[misc] # bound now
        yield lab.scene(g, name, "canaries", *canaries)
        yield lab.scene(g, name, NETWORK, *(item(host, shown[host]) for host in HOSTS), company=canaries)


def _ml_dsa_ca(lab: Lab) -> CA | None:
    """Return a root with an ML-DSA-65 key (RFC 9881); None where `cryptography` lacks it."""
    try:
        module = importlib.import_module("cryptography.hazmat.primitives.asymmetric.mldsa")
    except ImportError:
        return None
    key: Any = module.MLDSA65PrivateKey.generate()
    return lab.pki.private_ca("Example ML-DSA Root", key=key)


def _relabelled(issued: Issued, algorithm: bytes) -> Issued:
    """Label every signature of the chain with this algorithm, without making it."""
    return issued.with_chain(*(_with_algorithm(certificate, algorithm) for certificate in issued.chain))


def _ca_relabelled(ca: CA, issued: Issued) -> Issued:
    """Append the CA, its signature labeled with an unknown algorithm, to a readable leaf."""
    return issued.with_chain(issued.leaf, _with_algorithm(ca.certificate, UNREADABLE["an algorithm to come"]))


def _with_algorithm(certificate: bytes, oid: bytes) -> bytes:
    tbs, _, signature = der.children(certificate)
    algorithm = der.encode(der.SEQUENCE, oid)
    version, serial, _, *rest = der.children(tbs)
    tbs = der.encode(der.SEQUENCE, version, serial, algorithm, *rest)
    return der.encode(der.SEQUENCE, tbs, algorithm, signature)


def _pss_signed(ca: CA, issued: Issued) -> Issued:
    """Sign the leaf by RSASSA-PSS with SHA-256 and MGF1 with SHA-1, the default of RFC 4055; the CA is sent."""
    if not isinstance(ca.key, rsa.RSAPrivateKey):
        raise TypeError("RSA-PSS needs an RSA key")
    parameters = der.encode(
        der.SEQUENCE,
        der.encode(0xA0, SHA256),
        der.encode(0xA1, der.encode(der.SEQUENCE, MGF1, SHA1)),
        der.encode(0xA2, bytes((0x02, 1, SALT))),
    )
    algorithm = der.encode(der.SEQUENCE, RSASSA_PSS, parameters)
    version, serial, _, *rest = der.children(der.children(issued.leaf)[0])
    tbs = der.encode(der.SEQUENCE, version, serial, algorithm, *rest)
    signature = ca.key.sign(tbs, padding.PSS(padding.MGF1(hashes.SHA1()), SALT), hashes.SHA256())  # noqa: S303 - as real CAs do
    leaf = der.encode(der.SEQUENCE, tbs, algorithm, der.encode(der.BIT_STRING, b"\x00", signature))
    return issued.with_chain(leaf, *(issued.chain[1:] or (ca.certificate,)))
