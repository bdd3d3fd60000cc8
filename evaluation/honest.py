"""Certificates of honest servers: ordinary ones, and anomalies in the settings that make them hard.

Pure apart from randomness. Ground truth: genuine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector_testing.pki import encode_tls_scts

from .lab import AIA, ALONE, DAY, EXAM, HOSTS, NETWORK, PINNED, YEAR, Options, installed, roots_of, with_root
from .material import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .lab import Lab
    from .material import Scene

HONEST: Final = "genuine, ordinary"
ANOMALY: Final = "genuine, anomalies"
PRIVATE: Final = "genuine, private PKI"

BY_HAND: Final = "alone, the leaf's key pinned by hand"


def scenes(lab: Lab) -> Iterator[Scene]:
    """Yield every family of genuine certificates."""
    yield from _ordinary(lab)
    yield from _pins_and_rotation(lab)
    yield from _chain_anomalies(lab)
    yield from _dates_and_clocks(lab)
    yield from _logging_anomalies(lab)
    yield from _private(lab)


def _ordinary(lab: Lab) -> Iterator[Scene]:
    pki, item = lab.pki, lab.items(Truth.GENUINE)
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
    pki, item = lab.pki, lab.items(Truth.GENUINE)
    old, new = pki.issue([EXAM]), pki.issue([EXAM])
    other_ca = pki.issue([EXAM], key="rsa")
    g = ANOMALY
    yield lab.scene(g, "rotated key", "learned pins of the old leaf", item(EXAM, new, pinned=[old]))
    yield lab.scene(g, "rotated key", BY_HAND, item(EXAM, new, pinned=[old], by_hand=True))
    yield lab.scene(g, "rotated to another CA", "learned pins of the old leaf", item(EXAM, other_ca, pinned=[old]))
    expired = {"pinned": [old], "expires": (lab.now - 9 * DAY).date()}
    yield lab.scene(g, "rotated to another CA", "expired pins", item(EXAM, other_ca, **expired))
    renewed = pki.issue([EXAM], key=old.key)
    yield lab.scene(g, "renewed with the same key", BY_HAND, item(EXAM, renewed, pinned=[old], by_hand=True))
    several = [pki.issue([EXAM]), pki.issue([EXAM], key="rsa"), pki.issue([EXAM], cross_signed=True), old, new]
    for number, one in enumerate(several, 1):
        name = "CDN with five certificates"
        yield lab.scene(g, name, f"pins of all, node {number}", item(EXAM, one, pinned=several, by_hand=True))
        yield lab.scene(g, name, f"pins of one, node {number}", item(EXAM, one, pinned=several[:1], by_hand=True))
    every = [(host, lab.genuine(host), pki.issue([host])) for host in HOSTS]
    yield lab.scene(
        g,
        "rotated key",
        "three operators, all pins stale",
        *(item(host, now, pinned=[before], by_hand=True) for host, now, before in every),
    )


def _chain_anomalies(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), ANOMALY
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
    missing = "missing intermediate"
    yield lab.scene(g, missing, ALONE, item(EXAM, alone[EXAM]))
    yield lab.scene(g, missing, PINNED, item(EXAM, alone[EXAM], pinned=[lone[EXAM]]))
    yield lab.scene(g, missing, "pins of the CA, key rotated", item(EXAM, alone[EXAM], pinned=[rotated]))
    yield lab.scene(g, missing, NETWORK, *(item(host, alone[host]) for host in HOSTS))
    name = "new root, cross-signed by one in the bundle"
    yield lab.scene(g, name, ALONE, item(EXAM, issued), public=roots_of(pki.root_a))
    elsewhere = pki.issue(["www.example.net"])
    yield lab.scene(g, "wrong virtual host", ALONE, item(EXAM, elsewhere))
    yield lab.scene(g, "wrong virtual host", PINNED, item(EXAM, elsewhere, pinned=[lab.genuine(EXAM)]))


def _dates_and_clocks(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), ANOMALY
    late = pki.issue([EXAM], not_before=lab.now - 99 * DAY, not_after=lab.now - 9 * DAY)
    yield lab.scene(g, "expired", ALONE, item(EXAM, late))
    yield lab.scene(g, "expired", PINNED, item(EXAM, late, pinned=[late]))
    yield lab.scene(g, "expired", "learned pins of another leaf", item(EXAM, late, pinned=[lab.genuine(EXAM)]))
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
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), ANOMALY
    outside = {host: pki.issue([host], scts=0) for host in HOSTS}
    at = lab.now - 20 * DAY
    carriers: dict[str, Callable[[bytes], dict[str, bytes]]] = {
        "TLS extension": lambda leaf: {"sct_list": encode_tls_scts(pki.scts_of(leaf, at=at))},
        "stapled OCSP response": lambda leaf: {
            "ocsp_response": pki.intermediate_ec.ocsp_response(leaf, scts=pki.scts_of(leaf, at=at))
        },
    }
    for carrier, carry in carriers.items():
        name, seen = f"SCTs by {carrier}", {host: carry(issued.leaf) for host, issued in outside.items()}
        rotated = item(EXAM, outside[EXAM], seen=seen[EXAM], pinned=[lab.genuine(EXAM)], by_hand=True)
        yield lab.scene(g, name, ALONE, item(EXAM, outside[EXAM], seen=seen[EXAM]))
        yield lab.scene(g, name, BY_HAND, rotated)
        yield lab.scene(g, name, NETWORK, *(item(host, outside[host], seen=seen[host]) for host in HOSTS))
    yield lab.scene(g, "not logged as browsers ask", f"{ALONE}, no SCT", item(EXAM, outside[EXAM]))
    yield lab.scene(g, "not logged as browsers ask", f"{ALONE}, one SCT", item(EXAM, pki.issue([EXAM], scts=1)))


def _private(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), PRIVATE
    campus = pki.private_ca("Example Campus CA")
    declared = {"private_roots": (campus.certificate,)}
    served = {host: with_root(campus.issue([host]), campus) for host in HOSTS}
    yield lab.scene(g, "declared", ALONE, item(EXAM, served[EXAM], **declared))
    yield lab.scene(g, "declared", NETWORK, *(item(host, served[host], **declared) for host in HOSTS))
    trusted: Options = {"installed": installed(campus)}
    yield lab.scene(g, "declared", "root added to the machine", item(EXAM, served[EXAM], **declared), **trusted)
    yield lab.scene(g, "undeclared", ALONE, item(EXAM, served[EXAM]))
    own = pki.self_signed([EXAM])
    yield lab.scene(g, "self-signed", ALONE, item(EXAM, own))
    yield lab.scene(g, "self-signed", NETWORK, *(item(host, pki.self_signed([host])) for host in HOSTS))
    yield lab.scene(g, "self-signed", PINNED, item(EXAM, own, pinned=[own]))
    yield lab.scene(g, "self-signed", "renewed, learned pins", item(EXAM, pki.self_signed([EXAM]), pinned=[own]))
    yield lab.scene(
        g, "self-signed", "renewed, pinned by hand", item(EXAM, pki.self_signed([EXAM]), pinned=[own], by_hand=True)
    )
    yield lab.scene(g, "self-signed for another name", ALONE, item(EXAM, pki.self_signed(["localhost"])))
