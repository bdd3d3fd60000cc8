"""Innocent servers that resemble interception: development CAs, appliances, portals, private PKI, hosters.

Pure apart from randomness. Ground truth: genuine; behind portals, another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import PortalObservation, PortalOutcome, RootOrigin

from .lab import ALONE, EXAM, HOSTS, LMS, NETWORK, PINNED, RIVALS, ROOT_B, STATED, Options, dn, installed, with_root
from .material import Item, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509
    from detector_testing import CA, Issued

    from .lab import Lab
    from .material import Scene

DEVELOPERS: Final = "genuine, developers' machines"
APPLIANCES: Final = "genuine, appliances' own pages"
INSTITUTIONS: Final = "genuine, institutions' own PKI"
HOSTERS: Final = "genuine, hosters' defaults"
PORTALS: Final = "another server, portals and block pages"

CLEAN_CANARIES: Final = "two canaries clean"
FIREWALL: Final = dn(
    ORGANIZATION_NAME="Fortinet", ORGANIZATIONAL_UNIT_NAME="Certificate Authority", COMMON_NAME="FG120E"
)
"""The factory CA of a firewall, with whose name it also intercepts."""


def scenes(lab: Lab) -> Iterator[Scene]:
    """Yield every world."""
    yield from _developers(lab)
    yield from _appliances(lab)
    yield from _institutions(lab)
    yield from _hosters(lab)
    yield from _portals(lab)


def _serve(ca: CA, host: str) -> Issued:
    """Issue the chain of a server of a private PKI."""
    return with_root(ca.issue([host]), ca)


def _developers(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), DEVELOPERS
    own = {
        "mkcert": pki.private_ca(dn(ORGANIZATION_NAME="mkcert development CA", COMMON_NAME="mkcert dev@laptop")),
        "Caddy's local CA": pki.private_ca("Caddy Local Authority - 2026 ECC Root"),
    }
    for name, ca in own.items():
        trusted: Options = {"installed": installed(ca)}
        for host in ("localhost", "shop.test", "dev.example.com"):
            yield lab.scene(g, name, f"its page on {host}", item(host, _serve(ca, host)), **trusted)
        two = (item(host, _serve(ca, host)) for host in ("dev.example.com", "dev.example.org"))
        yield lab.scene(g, name, f"pages of two domains, {CLEAN_CANARIES}", *two, company=lab.canaries(), **trusted)
    unused: dict[str, x509.Name] = {
        "Charles installed, not in use": dn(
            COMMON_NAME="Charles Proxy CA (1 Jan 2026, example)", ORGANIZATION_NAME="XK72 Ltd"
        ),
        "mitmproxy's CA installed, not in use": dn(COMMON_NAME="mitmproxy", ORGANIZATION_NAME="mitmproxy"),
        "antivirus root installed, scanning off": dn(
            COMMON_NAME="ESET SSL Filter CA", ORGANIZATION_NAME="ESET, spol. s r. o."
        ),
    }
    for name, subject in unused.items():
        trusted = {"installed": installed(pki.private_ca(subject))}
        yield lab.scene(g, name, ALONE, item(EXAM, lab.genuine(EXAM)), **trusted)
        yield lab.scene(g, name, PINNED, item(EXAM, lab.genuine(EXAM), pinned=[lab.genuine(EXAM)]), **trusted)
        yield lab.scene(g, name, NETWORK, *(item(host, lab.genuine(host)) for host in HOSTS), **trusted)
        yield lab.scene(g, name, "self-signed server", item(LMS, pki.self_signed([LMS])), **trusted)


def _appliances(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), APPLIANCES
    factory = pki.private_ca(FIREWALL)
    makers: dict[str, x509.Name] = {
        "firewall": dn(ORGANIZATION_NAME="Fortinet", ORGANIZATIONAL_UNIT_NAME="FortiGate", COMMON_NAME="FGT60FTK1"),
        "mail gateway": dn(ORGANIZATION_NAME="Sophos", COMMON_NAME="Appliance_Certificate"),
        "web gateway": dn(ORGANIZATION_NAME="Blue Coat SG210 Series", COMMON_NAME="192.0.2.1"),
        "cloud proxy": dn(ORGANIZATION_NAME="Zscaler Inc.", COMMON_NAME="Zscaler Root CA"),
    }
    at_home = {"address": "10.20.0.1:443"}
    for host, where in (("fw.example.edu", None), ("fw.campus.internal", at_home), ("10.20.0.1", at_home)):
        for maker, subject in makers.items():
            page = _named(lab, subject, host)
            yield lab.scene(g, f"{maker}, self-signed", f"its page on {host}", item(host, page, seen=where))
        elsewhere = with_root(factory.issue(["FGT60FTK1"]), factory)
        yield lab.scene(
            g, "factory CA, certificate for its serial number", f"its page on {host}", item(host, elsewhere, seen=where)
        )
    pages = [(f"10.20.0.{n}", _named(lab, subject, f"10.20.0.{n}")) for n, subject in enumerate(makers.values(), 1)]
    network = (item(host, page, seen={"address": f"{host}:443"}) for host, page in pages)
    yield lab.scene(g, "management network", f"four appliances, {CLEAN_CANARIES}", *network, company=lab.canaries())
    vpn = _named(lab, makers["firewall"], "vpn.example.edu")
    renewed = _named(lab, makers["firewall"], "vpn.example.edu")
    yield lab.scene(g, "sign-in page of a VPN", ALONE, item("vpn.example.edu", vpn))
    yield lab.scene(g, "sign-in page of a VPN", "renewed, learned pins", item("vpn.example.edu", renewed, pinned=[vpn]))


def _named(lab: Lab, subject: x509.Name, host: str) -> Issued:
    """Issue a self-signed certificate for the host with its vendor's name."""
    maker = lab.pki.private_ca(subject)
    return maker.issue([host], subject=subject, key=maker.key)


def _institutions(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), INSTITUTIONS
    campus = pki.private_ca(dn(ORGANIZATION_NAME="Example University", COMMON_NAME="Example University Root CA"))
    issuing = campus.subordinate("Example University Server CA 2")
    served = {host: with_root(issuing.issue([host]), campus) for host in HOSTS}
    name = "root installed by policy"
    trusted: Options = {"installed": installed(campus, origin=RootOrigin.POLICY), "company": lab.canaries()}
    yield lab.scene(g, name, f"undeclared, {CLEAN_CANARIES}", item(EXAM, served[EXAM]), **trusted)
    yield lab.scene(g, name, f"two domains, {CLEAN_CANARIES}", *(item(h, served[h]) for h in (EXAM, LMS)), **trusted)
    declared = item(EXAM, served[EXAM], private_roots=(campus.certificate,))
    yield lab.scene(g, name, f"declared, {CLEAN_CANARIES}", declared, **trusted)
    before = item(EXAM, served[EXAM], pinned=[with_root(issuing.issue([EXAM]), campus)], by_hand=True)
    yield lab.scene(g, name, f"renewed, pinned by hand, {CLEAN_CANARIES}", before, **trusted)
    inside = item(EXAM, served[EXAM], seen={"address": "10.20.0.7:443"})
    yield lab.scene(g, name, f"split DNS, private address, {CLEAN_CANARIES}", inside, **trusted)
    name = "one institution, many names"
    for setting, names in {
        "one domain": ("lms.example.edu", "wiki.example.edu", EXAM),
        "two domains": (EXAM, LMS),
        "two domains, learned pins of private chains": (EXAM, LMS),
        "three domains, one operator in the pin file": HOSTS,
        "private names": ("lms.campus.internal", "printer", "nas.lan"),
        "reserved names": ("shop.test", "blog.test"),
        "names of a network of its own": ("dc1.ads.intra", "web.www.intra"),
        "private addresses": ("10.20.0.1", "192.168.7.9"),
        "addresses": ("193.99.144.80", "193.99.144.81", "2a02:2e0:3fe:1001::1"),
        "customers of one platform": ("alice.github.io", "bob.github.io"),
        "two domains, split DNS": (EXAM, LMS),
    }.items():
        more: Options = {"operator": "Example University"} if "operator" in setting else {}
        items = []
        for host in names:
            shown = _serve(campus, host)
            seen = {"address": "10.20.0.7:443"} if "split" in setting else {}
            pins = {"pinned": [_serve(campus, host)]} if "pins" in setting else {}
            items.append(item(host, shown, seen=seen, **more, **pins))
        yield lab.scene(g, name, setting, *items)
        yield lab.scene(g, name, f"{setting}, {CLEAN_CANARIES}", *items, company=lab.canaries())


def _hosters(lab: Lab) -> Iterator[Scene]:
    pki, item, g = lab.pki, lab.items(Truth.GENUINE), HOSTERS
    ingress = dn(ORGANIZATION_NAME="Acme Co", COMMON_NAME="Kubernetes Ingress Controller Fake Certificate")
    fake = pki.private_ca(ingress)
    shared = fake.issue(["ingress.local"], subject=ingress, key=fake.key)
    worlds: dict[str, Callable[[str], Issued]] = {
        "one default certificate for all customers": lambda _host: shared,
        "a default certificate of one name, a key each": lambda _host: _named(lab, ingress, "ingress.local"),
        "self-signed for the right name by one panel": lambda host: _named(lab, dn(COMMON_NAME="Plesk"), host),
    }
    origin_ca = pki.private_ca(
        dn(ORGANIZATION_NAME="CloudFlare, Inc.", ORGANIZATIONAL_UNIT_NAME="CloudFlare Origin SSL Certificate Authority")
    )
    worlds["an origin CA for all customers, met without its CDN"] = lambda host: _serve(origin_ca, host)
    worlds["a CA of one common name, a key each"] = lambda host: _serve(pki.private_ca("Easy-RSA CA"), host)
    for name, present in worlds.items():
        items = [item(host, present(host)) for host in HOSTS]
        yield lab.scene(g, name, ALONE, items[0])
        yield lab.scene(g, name, NETWORK, *items)
        yield lab.scene(g, name, f"{NETWORK}, {CLEAN_CANARIES}", *items, company=lab.canaries())


def _portals(lab: Lab) -> Iterator[Scene]:
    pki, g = lab.pki, PORTALS
    hotel = PortalObservation(
        outcome=PortalOutcome.REDIRECTED,
        url="http://control.example/",
        status=302,
        location="http://portal.hotel.local/",
    )
    answers: dict[str, Issued] = {
        "hotel, self-signed": pki.self_signed(["portal.hotel.local"]),
        "hotel, public certificate of its own": pki.issue(["login.example.net"]),
        "access point of one maker": _named(
            lab, dn(ORGANIZATION_NAME="Ubiquiti Inc.", COMMON_NAME="UniFi"), "unifi.local"
        ),
        "block page of a firewall": with_root((ca := pki.private_ca(FIREWALL)).issue(["block.example.edu"]), ca),
        "own router, by hairpin": pki.self_signed(["router.lan"]),
    }
    for name, issued in answers.items():

        def item(host: str, *, issued: Issued = issued, **more: object) -> Item:
            return lab.item(host, issued, Truth.ANOTHER_SERVER, **more)  # type: ignore[arg-type] # the options of Lab.item

        canaries = tuple(item(rival.host)._replace(endpoint=rival) for rival in RIVALS)
        for control, portal in (("control request answered by it", hotel), ("no control request", None)):
            yield lab.scene(g, name, f"{ALONE}, {control}", item(EXAM), portal=portal)
            yield lab.scene(g, name, f"{PINNED}, {control}", item(EXAM, pinned=[lab.genuine(EXAM)]), portal=portal)
            yield lab.scene(g, name, f"{STATED}, {control}", item(EXAM, roots=(ROOT_B,)), portal=portal)
            everybody = tuple(item(host) for host in HOSTS)
            yield lab.scene(g, name, f"{NETWORK}, canaries alike, {control}", *everybody, *canaries, portal=portal)
