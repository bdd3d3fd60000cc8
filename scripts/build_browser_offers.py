"""Write what browser families ever offered, from tables of recorded ClientHellos. For maintainers.

Room: scripts. Reads the two tables named on the command line, writes detector/knowledge/data/browser_offers.json, and
tests/origin/recorded_offers.json: the facts it is made of, one by one, from which tests build the data of another day.

    python scripts/build_browser_offers.py BROWSERS.csv CLIENTS.csv

BROWSERS.csv has a ClientHello of a browser per row: `family`, `version`, `ua`, and the lists `ciphers` (hexadecimal),
`ext`, `groups`, `sigalgs`, joined with "-" and without reserved values. CLIENTS.csv has other clients and browsers that
were measured: `client`, `ja4`, `ciphers`, `ext_in_order`, `groups`, `sigalgs`.

What settings add that no row shows is in `SETTINGS`. `known` is what can contradict: the code points that clients send
that are no browsers, without those that a browser may begin to send (`OPEN`).
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from detector.knowledge.browser_offers import (
    BrowserOffersFile,
    CodePoints,
    Family,
    FamilyOffers,
    InterceptorHeader,
    ProductOffer,
    RecordedOffer,
)
from detector.knowledge.data_set import DATA, PARTS
from detector.knowledge.part import HORIZONS
from detector.model import KnowledgeKind
from detector.origin.claims import Claims
from detector.probe.tls.codepoints import CIPHER_SUITES, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RECORDED: Final = Path(__file__).resolve().parent.parent / "tests" / "origin" / "recorded_offers.json"

Lists = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Cipher suites, groups, extensions, signature schemes."""

DATE: Final = dt.date(2026, 11, 30)

FIRST: Final = {Family.CHROMIUM: 98, Family.FIREFOX: 102, Family.SAFARI: 15}
"""The first major version covered: of a recorded ClientHello, or of one described by a library that imitates it."""

SOURCES: Final = {
    Family.CHROMIUM: "ClientHellos of Chrome and Edge 98 to 150 recorded by curl-impersonate (MIT); Chromium 156 of "
    "Debian, measured with its versions of TLS limited, and without post-quantum groups, Encrypted ClientHello, trust "
    "anchors and HTTP/2",
    Family.FIREFOX: "ClientHellos of Firefox 133 to 144 and Tor Browser 14.5 recorded by curl-impersonate (MIT); "
    "Firefox 102 to 120 as uTLS (BSD-3) describes them; Firefox ESR 153 of Debian, measured with a dozen settings of "
    "security.* changed",
    Family.SAFARI: "ClientHellos of Safari 15.3 to 26.0 on macOS and iOS recorded by curl-impersonate (MIT)",
}

FALLBACK: Final = 0x5600
"""The signal that an older version is a second try (RFC 7507)."""

_RESUMING: Final = (21, 41, 42, 44)  # padding, pre_shared_key, early_data, cookie (RFC 7685, RFC 8446): at times
SETTINGS: Final[Mapping[Family, Lists]] = {
    Family.CHROMIUM: ((), (), (*_RESUMING, 17513, 17613, 51764), ()),
    Family.FIREFOX: (
        # security.ssl3.deprecated.rsa_des_ede3_sha, security.ssl3.dhe_rsa_aes_*, and the suite that 153 dropped.
        (0x000A, 0x0033, 0x0039, 0xC009, FALLBACK),
        (),
        (*_RESUMING, 49),  # security.tls.enable_post_handshake_auth
        (),
    ),
    Family.SAFARI: ((FALLBACK,), (), (*_RESUMING, 35), ()),
}
"""What settings and second connections add to what is recorded."""

OPEN: Final = frozenset({0x29, 0x6399, 0x11EB, 0x11ED, 0x11EE, 0x11EC, 0x200, 0x201, 0x202})
"""Groups that contradict no browser: post-quantum ones, which policies choose, and those of builds for one country."""

OTHER_SUITES: Final = frozenset({0x00FF, 0xC008, 0xC012})  # renegotiation signal (RFC 5746), ECDHE with 3DES
EXTENSIONS: Final = frozenset({1, 15, 17, 22, 28, 34, 49, 13172, 17513, 17613})
"""Extensions that some TLS stack sends and another one does not implement: max_fragment_length, heartbeat,
status_request_v2, encrypt_then_mac, record_size_limit, delegated_credential, post_handshake_auth, next protocol
negotiation, and both numbers of application settings (RFC 6066, 6520, 6961, 7366, 8449, 9345, 8446,
draft-vvv-tls-alps)."""
SCHEMES: Final = frozenset({0x0202, 0x0301, 0x0302, 0x0303, 0x0402, 0x0502, 0x0602, 0x0809, 0x080A, 0x080B})
"""SHA-224 and DSA (RFC 5246 section 7.4.1.4.1), and RSASSA-PSS with keys of its own (RFC 8446 section 4.2.3). EdDSA
does not count: browsers discuss it."""

PRODUCTS: Final = {
    "mitmproxy 11.0.2 (OpenSSL 3.4.1), client curl": ("mitmproxy", "11.0.2", False),
    "sslsplit 0.5.5": ("sslsplit", "0.5.5", False),
    "HAProxy 2.6.12 re-encrypting": ("HAProxy", "2.6.12", False),
    "nginx 1.22.1 proxy_pass https": ("nginx", "1.22.1", False),
    "Squid 5.7 stare+bump, client Chromium 156": ("Squid", "5.7", False),
    "Node 20.20.2 (OpenSSL 3.0)": ("Node.js", "20.20.2", True),
    "openssl s_client 3.0.22": ("OpenSSL", "3.0.22", True),
    "Python 3.11 ssl": ("Python's ssl", "3.11", True),
    "requests 2.34": ("requests", "2.34", True),
    "curl 7.88.1 (OpenSSL 3.0.22)": ("curl", "7.88.1", True),
    "wget (GnuTLS)": ("GnuTLS", "3.7", True),
    "Go 1.19 net/http": ("Go", "1.19", True),
    "uv 0.13.9 (rustls)": ("rustls", "uv 0.13.9", True),
}
"""Rows of CLIENTS.csv that name a product: its name, its version, and whether many programs share its TLS library."""

HEADERS: Final = (
    ("x-bluecoat-via", "Symantec ProxySG (Blue Coat)"),
    ("x-mwg-via", "Skyhigh Web Gateway (McAfee)"),
    ("x-iws-via", "Trend Micro InterScan Web Security"),
    ("x-iwsaas-via", "Trend Micro InterScan Web Security as a Service"),
    ("x-imforwards", "Cisco Secure Web Appliance (IronPort)"),
    ("x-sophos-filter", "Sophos web protection"),
    ("x-sophos-wsa-clientip", "Sophos Web Appliance"),
    ("x-websenseproxychannel", "Forcepoint (Websense)"),
    ("x-websenseproxysslconnection", "Forcepoint (Websense)"),
    ("x-barracuda-wf-agent", "Barracuda Web Security Agent"),
    ("x-netnanny-ignore", "Net Nanny"),
    ("x-cybersitter-content-flag", "CYBERsitter"),
    ("x-drweb-syshash", "Dr.Web"),
    ("x-nod32-mode", "ESET"),
    ("gdata-version", "G DATA"),
    ("edgewave-proxy", "EdgeWave iPrism"),
    ("zsa-skip-avscanning", "Zscaler"),
)
"""Names that products on a client or in front of a network add. Those that a site's own proxies add, such as Via and
X-Forwarded-For, are no sign."""
HEADER_SOURCE: Final = (
    "names that clients' interceptors add, as listed by mitmengine (BSD-3), without those of servers' own"
)


def _numbers(text: str, base: int) -> tuple[int, ...]:
    return tuple(int(one, base) for one in text.split("-") if one)


def lists_of(row: Mapping[str, str]) -> Lists:
    """The four lists of a row of either table."""
    extensions = row["ext"] if "ext" in row else row["ext_in_order"]
    return (
        _numbers(row["ciphers"], 16),
        _numbers(row["groups"], 10),
        _numbers(extensions, 10),
        _numbers(row["sigalgs"], 16),
    )


def recorded(browsers: Iterable[Mapping[str, str]], clients: Iterable[Mapping[str, str]]) -> list[RecordedOffer]:
    """Read the rows of both tables. Raises ValueError for a browser without family and version in its User-Agent."""
    found = []
    for row in browsers:
        claims = Claims.of(row["ua"])
        if claims.major is None:
            raise ValueError(f"{row['file']}: no family and version in its User-Agent {row['ua']!r}")
        found.append(_offer(row["file"].removesuffix(".yaml"), claims.family, claims.major, row["grease"] == "1", row))
    for row in clients:
        if row["client"].startswith("product "):
            continue  # this package's own, with a borrowed ClientHello
        family, major = measured_family(row["client"])
        found.append(_offer(row["client"], family, major, row["grease_cipher"] == "True", row))
    return found


def _offer(client: str, family: Family, major: int | None, reserved: bool, row: Mapping[str, str]) -> RecordedOffer:  # noqa: FBT001 - a fact of the row
    suites, groups, extensions, schemes = lists_of(row)
    return RecordedOffer(
        client=client,
        family=family,
        major=major,
        ja4=row["ja4"],
        reserved=reserved,
        cipher_suites=suites,
        groups=groups,
        extensions=extensions,
        signature_schemes=schemes,
    )


def lists_in(one: RecordedOffer) -> Lists:
    """The four lists of a recorded ClientHello."""
    return one.cipher_suites, one.groups, one.extensions, one.signature_schemes


def measured_family(client: str) -> tuple[Family, int | None]:
    """Family and major version of a measured browser; unknown for another client."""
    found = re.match(r"(Chromium|Firefox ESR) (\d+)", client)
    families = {"Chromium": Family.CHROMIUM, "Firefox ESR": Family.FIREFOX}
    return (Family.UNKNOWN, None) if found is None else (families[found[1]], int(found[2]))


def code_points(many: Iterable[Lists]) -> CodePoints:
    """Everything in these lists, sorted."""
    suites, groups, extensions, schemes = (
        tuple(sorted({number for numbers in part for number in numbers})) for part in zip(*many, strict=True)
    )
    return CodePoints(cipher_suites=suites, groups=groups, extensions=extensions, signature_schemes=schemes)


def build(offers: Iterable[RecordedOffer]) -> BrowserOffersFile:
    """Return the content of the data file."""
    seen: dict[Family, list[RecordedOffer]] = defaultdict(list)
    for offer in offers:
        seen[offer.family].append(offer)
    others = {one.client: one for one in seen.pop(Family.UNKNOWN, ())}
    families = tuple(
        FamilyOffers(
            family=family,
            first=FIRST[family],
            last=max(one.major for one in found if one.major is not None),
            sent=code_points((*map(lists_in, found), SETTINGS[family])),
            cipher_sets=tuple(sorted({tuple(sorted(one.cipher_suites)) for one in found})),
            source=SOURCES[family],
        )
        for family, found in sorted(seen.items())
    )
    products = tuple(
        ProductOffer(
            product=product,
            version=version,
            is_library=is_library,
            ja4=others[client].ja4,
            cipher_suites=others[client].cipher_suites,
        )
        for client, (product, version, is_library) in PRODUCTS.items()
        if client in others
    )
    groups = {group for family in families for group in family.sent.groups}
    suites = {suite for family in families for suite in family.sent.cipher_suites}
    return BrowserOffersFile(
        schema=1,
        version=1,
        date=DATE,
        horizon=DATE + HORIZONS[KnowledgeKind.BROWSER_OFFERS],
        known=CodePoints(
            cipher_suites=tuple(sorted(CIPHER_SUITES.keys() | OTHER_SUITES | suites - {FALLBACK})),
            groups=tuple(sorted((GROUPS.keys() | groups) - OPEN)),
            extensions=tuple(sorted(EXTENSIONS)),
            signature_schemes=tuple(sorted(SCHEMES)),
        ),
        families=families,
        products=products,
        headers=tuple(InterceptorHeader(name=name, product=product, source=HEADER_SOURCE) for name, product in HEADERS),
    )


def text_of(file: object) -> str:
    """The file, with each list of numbers on one line."""
    text = msgspec.json.format(msgspec.json.encode(file), indent=1).decode()
    return re.sub(r"\[([\d,\s]+)\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("browsers", type=Path, help="table of browsers' ClientHellos")
    parser.add_argument("clients", type=Path, help="table of other clients' ClientHellos")
    options = parser.parse_args()
    offers = recorded(read(options.browsers), read(options.clients))
    path = DATA / PARTS[KnowledgeKind.BROWSER_OFFERS].name
    path.write_text(text_of(build(offers)), "utf-8")
    RECORDED.write_text(text_of(offers), "utf-8")
    print(f"wrote {path.name} and {RECORDED.name}")


if __name__ == "__main__":
    main()
