"""Other methods to detect interception, made precise enough to count, over the same scenes. Pure.

Every baseline gets all it needs: digests of the genuine certificates, the roots, the date, the neighbors. Each needs a
complete handshake, from which its program takes the chain. `METHODS` defines what counts as accusing, for the page.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from OpenSSL import crypto

from detector.knowledge import operators
from detector.trust import hostname
from detector.trust.certificate import Certificate

from .material import Answer, Item, Reply, Scene, Truth

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from detector.trust.roots import Roots

UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's X509_V_ERR_* for an untrusted issuer (x509_vfy.h): unable to get issuer certificate, self-signed leaf,
self-signed certificate in the chain, unable to get the issuer locally, unable to verify the leaf's signature."""
UNREADABLE: Final = -1
"""In place of an error number: OpenSSL cannot load the certificate."""
WRONG_NAME: Final = 62
"""X509_V_ERR_HOSTNAME_MISMATCH."""

KEYWORDS: Final = re.compile(
    r"fortinet|fortigate|zscaler|palo alto|blue ?coat|symantec|sophos|barracuda|check ?point|cisco|umbrella|netskope"
    r"|forcepoint|websense|mcafee|skyhigh|sonicwall|watchguard|smoothwall|lightspeed|securly|goguardian|contentkeeper"
    r"|untangle|kaspersky|avast|avg|bitdefender|eset|squid|mitmproxy|burp|portswigger|charles|fiddler|superfish"
    r"|komodia|proxy|filter|firewall|inspection|intercept|mitm|decrypt",
    re.IGNORECASE,
)
"""What people search issuers for: vendors and words from scripts and forum answers on the subject. Written before the
first run, and not changed since."""

_KEPT_RESULTS: Final = 20_000
"""Cached verifications: one chain occurs in many settings."""


class Baseline(NamedTuple):
    """One method: its name, what counts as accusing and as no answer, and the function."""

    name: str
    meaning: str
    answer: Callable[[Scene, Item], Answer]


def run(scene: Scene) -> Iterator[Reply]:
    """Yield every baseline's answer about every endpoint of a scene."""
    for item in scene.items:
        for method in METHODS:
            finished = item.observation.key_proved and item.chain
            answer = method.answer(scene, item) if finished and item.truth is not Truth.OUTAGE else Answer.NOTHING
            yield Reply(scene.group, scene.name, scene.setting, item.endpoint.name, method.name, item.truth, answer)


def _leaf_hash(scene: Scene, item: Item) -> Answer:  # noqa: ARG001 - every baseline has this signature
    if item.known is None:
        return Answer.NOTHING
    return _accuse(hashlib.sha256(item.chain[0]).digest() not in item.known.leaves)


def _leaf_key(scene: Scene, item: Item) -> Answer:  # noqa: ARG001 - every baseline has this signature
    if item.known is None:
        return Answer.NOTHING
    return _accuse(Certificate.read(item.chain[0]).spki_sha256 not in item.known.keys)


def _any_key(scene: Scene, item: Item) -> Answer:  # noqa: ARG001 - every baseline has this signature
    if item.known is None:
        return Answer.NOTHING
    presented = {Certificate.read(der).spki_sha256 for der in item.chain}
    return _accuse(not presented & (item.known.keys | item.known.ca_keys))


def _operating_system(scene: Scene, item: Item) -> Answer:
    store = scene.operating_system or scene.public
    return _accuse(verify(item, store, scene.interceptors, scene.at) != 0)


def _certifi(scene: Scene, item: Item) -> Answer:
    return _accuse(verify(item, scene.public, (), scene.at) != 0)


def _keywords(scene: Scene, item: Item) -> Answer:  # noqa: ARG001 - every baseline has this signature
    issuer = Certificate.read(item.chain[0]).issuer
    return Answer.NOTHING if issuer is None else _accuse(KEYWORDS.search(issuer.text) is not None)


def _same_unknown_issuer(scene: Scene, item: Item) -> Answer:
    error = verify(item, scene.public, (), scene.at)
    if error == 0:
        return Answer.CLEAN
    issuer = Certificate.read(item.chain[0]).issuer
    if error not in UNKNOWN_ISSUER or issuer is None:
        return Answer.NOTHING
    others = (
        Certificate.read(other.chain[0]).issuer
        for other in (*scene.items, *scene.company)
        if other is not item
        and other.chain
        and other.observation.key_proved
        and operators.operator_of(other.endpoint.host) != operators.operator_of(item.endpoint.host)
        and verify(other, scene.public, (), scene.at) in UNKNOWN_ISSUER
    )
    return Answer.ACCUSED if issuer in others else Answer.NOTHING


def _accuse(accused: bool) -> Answer:  # noqa: FBT001 - the outcome of a comparison, not an option
    return Answer.ACCUSED if accused else Answer.CLEAN


METHODS: Final = (
    Baseline(
        "leaf hash",
        "SHA-256 of the presented leaf certificate against those the checker knows. Different: accuses. None "
        "known: no answer.",
        _leaf_hash,
    ),
    Baseline(
        "SPKI pin, leaf",
        "SHA-256 of the presented leaf's public key against the pinned leaf keys. Different: accuses. No pins: no "
        "answer.",
        _leaf_key,
    ),
    Baseline(
        "SPKI pin, any",
        "The keys of **all** certificates presented against pinned leaf and CA keys, as naive pinning code does. None "
        "among them: accuses. No pins: no answer.",
        _any_key,
    ),
    Baseline(
        "OS store",
        "OpenSSL verifies chain, dates and name against what the operating system trusts. Captured chains: this "
        "machine's store. Everything else: the test PKI's roots **and the interceptor's CA**, because institutions "
        "install it on the machines they manage. Any error: accuses.",
        _operating_system,
    ),
    Baseline(
        "certifi",
        "The same against public roots alone: for captured chains the certifi of the time, for everything else the "
        "test PKI's roots, which stand for it. Any error: accuses.",
        _certifi,
    ),
    Baseline(
        "issuer keywords",
        "A regular expression of vendors and telling words over the leaf's issuer. A hit: accuses. No hit: clean.",
        _keywords,
    ),
    Baseline(
        "Firefox rule",
        "The chain ends at an unknown issuer, and the same issuer is unknown on a second host of an unrelated "
        "operator: accuses. A valid chain: clean. Any other error (a browser shows its ordinary error page): no "
        "answer.",
        _same_unknown_issuer,
    ),
)


def verify(item: Item, roots: Roots, more: tuple[bytes, ...], at: dt.datetime) -> int:
    """Verify a chain with OpenSSL and a name check; returns 0, a number of X509_V_ERR_*, or `UNREADABLE`."""
    key = (item.chain, item.endpoint.host, id(roots), more, at)
    if key not in _verified:
        if len(_verified) > _KEPT_RESULTS:
            _verified.clear()
        _verified[key] = _verify(item, roots, more, at)
    return _verified[key]


_verified: Final[dict[tuple[object, ...], int]] = {}
_loaded: Final[dict[int, tuple[Roots, tuple[crypto.X509, ...]]]] = {}


def _verify(item: Item, roots: Roots, more: tuple[bytes, ...], at: dt.datetime) -> int:
    leaf = _load(item.chain[0])
    if leaf is None:
        return UNREADABLE
    rest = [loaded for der in item.chain[1:] if (loaded := _load(der)) is not None]
    store = crypto.X509Store()  # a new one each time: OpenSSL keeps a store's first time
    for root in (*_load_roots(roots), *filter(None, map(_load, more))):
        store.add_cert(root)
    store.set_time(at)
    try:
        crypto.X509StoreContext(store, leaf, rest).verify_certificate()
    except crypto.X509StoreContextError as error:
        return int(error.errors[0])
    matched = hostname.match(Certificate.read(item.chain[0]), item.endpoint.host)
    return WRONG_NAME if matched is hostname.NameMatch.MISMATCH else 0


def _load_roots(roots: Roots) -> tuple[crypto.X509, ...]:
    if id(roots) not in _loaded:
        loaded = tuple(filter(None, (_load(root.certificate.der) for root in roots.roots)))
        _loaded[id(roots)] = (roots, loaded)  # keeps the roots alive, so that their id stays unique
    return _loaded[id(roots)][1]


def _load(der: bytes) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return None
