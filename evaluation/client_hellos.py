"""How often the server's side is wrong about a client, on ClientHellos of known truth; a part of docs/accuracy.md.

    python -m evaluation.client_hellos [--mitmengine FILE] [--quick] [--write docs/accuracy.md]

Material: the recorded ClientHellos of tests/origin/recorded_offers.json; every browser that curl_cffi imitates, which
uv installs into an environment of its own, on loopback (not with `--quick`); and with `--mitmengine`, the products of
2016 that its file mitm.txt describes. Each is asked about under its own family and under the others.

Wrong is a browser that contradicts its own family, and another program that contradicts none. The exit code is 1 for a
wrong answer. `--write` replaces the part of the page between its markers.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from aiohttp import web

from detector.knowledge.browser_offers import BrowserOffers, Family, RecordedOffer
from detector.knowledge.data_set import shipped
from detector.origin import Claims, Offer, OfferError, judge
from detector.origin.rules import covers
from detector.probe.tls.hello import GREASE, parse_client_hello

from .uv import UvError, run_uv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

RECORDED: Final = Path(__file__).resolve().parent.parent / "tests" / "origin" / "recorded_offers.json"
CURL_CFFI: Final = "curl_cffi==0.17.0"
PATIENCE: Final = 300.0
"""Seconds for all targets of curl_cffi, on a busy machine."""
BEGIN: Final = "<!-- client hellos: begin -->"
END: Final = "<!-- client hellos: end -->"
FAMILIES: Final = (Family.CHROMIUM, Family.FIREFOX, Family.SAFARI)
_RECORD_HEADER: Final = 5  # type, version, length (RFC 8446 section 5.1)


class Client(NamedTuple):
    """One ClientHello of known truth: `claims` is the browser it is of, None for another program."""

    group: str
    name: str
    claims: Claims | None
    offer: Offer
    ja4: str | None = None
    again: tuple[str, str] | None = None
    """JA3 of two connections."""


BROWSERS: Final = "recorded browsers"
PROGRAMS: Final = "recorded programs"
IMITATED: Final = "browsers that curl_cffi imitates"
PRODUCTS: Final = "products of 2016"


def recorded() -> list[Client]:
    """The ClientHellos that the package's data is made of."""
    rows = msgspec.json.decode(RECORDED.read_bytes(), type=list[RecordedOffer])
    return [
        Client(
            PROGRAMS if one.major is None else BROWSERS,
            one.client,
            None if one.major is None else Claims(family=one.family, major=one.major),
            Offer(
                cipher_suites=one.cipher_suites,
                groups=one.groups,
                extensions=one.extensions,
                signature_schemes=one.signature_schemes,
                reserved_cipher_suites=one.reserved,
                reserved_extensions=one.reserved,
                reserved_groups=one.reserved,
            ),
            one.ja4,
        )
        for one in rows
    ]


def products(path: Path) -> list[Client]:
    """The interceptors of mitmengine's mitm.txt, without the elements that it calls optional or excluded."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        parts = line.split("|")
        if line.startswith("#") or len(parts) != 3:  # noqa: PLR2004 - browser, ClientHello, product
            continue
        suites, extensions, groups = map(_elements, parts[1].split(":")[1:4])
        if suites is None:
            continue  # a record of a request header
        offer = Offer.of_lists(cipher_suites=suites, extensions=extensions, groups=groups)
        found.append(Client(PRODUCTS, parts[2].split(":")[0], None, offer))
    return found


def _elements(text: str) -> tuple[int, ...] | None:
    """A list of its records; None for anything (`*`). `~` is any order; `?`, `!` and `^` mark what may be absent."""
    if text.startswith("*"):
        return None
    return tuple(int(one, 16) for one in text.removeprefix("~").split(",") if one and one[0] not in "?!^")


async def imitated() -> list[Client]:
    """Every browser that curl_cffi imitates: its User-Agent and two ClientHellos. Raises UvError."""
    agents: dict[str, str] = {}
    hellos: dict[str, list[bytes]] = {}
    current = ""

    async def page(request: web.Request) -> web.Response:
        nonlocal current
        current = request.path[1:]
        agents[current] = request.headers["User-Agent"]
        return web.Response()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(_RECORD_HEADER)
        hellos.setdefault(current, []).append(header + await reader.readexactly(int.from_bytes(header[3:])))
        writer.close()

    application = web.Application()
    application.router.add_get("/{target}", page)
    runner = web.AppRunner(application)
    await runner.setup()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await _drive(runner.addresses[0][1], server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()
    return [_imitated(name, agent, hellos[name]) for name, agent in agents.items()]


def _imitated(name: str, agent: str, hellos: Sequence[bytes]) -> Client:
    first = parse_client_hello(hellos[0][_RECORD_HEADER:])
    return Client(
        IMITATED,
        name,
        Claims.of(agent),
        Offer.of_hello(hellos[0]),
        first.ja4,
        (_ja3(hellos[0]), _ja3(hellos[1])),
    )


async def _drive(plain: int, encrypted: int) -> None:
    with tempfile.TemporaryDirectory(prefix="detector-evaluate-") as temporary:
        python = Path(temporary) / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        await run_uv("venv", "--quiet", "--python", sys.executable, str(Path(temporary) / "env"))
        await run_uv("pip", "install", "--quiet", "--python", str(python), CURL_CFFI)
        driver = Path(__file__).with_name("curl_cffi_driver.py")
        process = await asyncio.create_subprocess_exec(str(python), str(driver), str(plain), str(encrypted))
        try:
            async with asyncio.timeout(PATIENCE):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise UvError(f"{driver.name} ended with {code}")


def _ja3(data: bytes) -> str:
    """JA3 of a ClientHello (https://github.com/salesforce/ja3, BSD-3)."""
    hello = parse_client_hello(data[_RECORD_HEADER:])
    kinds = tuple(kind for kind, _ in hello.extensions)
    lists = (hello.cipher_suites, kinds, hello.groups, hello.point_formats)
    text = [str(hello.legacy_version), *("-".join(str(one) for one in part if one not in GREASE) for part in lists)]
    return hashlib.md5(",".join(text).encode(), usedforsecurity=False).hexdigest()


def _of_nginx(client: Client) -> Offer:
    return msgspec.structs.replace(client.offer, extensions=None, signature_schemes=None, reserved_extensions=None)


def _of_haproxy(client: Client) -> Offer:
    return msgspec.structs.replace(client.offer, signature_schemes=None)


def _of_ja4(client: Client) -> Offer | None:
    try:
        return None if client.ja4 is None else Offer.of_ja4(client.ja4)
    except OfferError:
        return None


VIEWS: Final[dict[str, Callable[[Client], Offer | None]]] = {
    "the whole ClientHello": lambda client: client.offer,
    "cipher suites, extensions and groups (HAProxy)": _of_haproxy,
    "cipher suites and groups (nginx)": _of_nginx,
    "JA4 (CDNs)": _of_ja4,
}
"""What a server sees of a ClientHello."""


def current(family: Family) -> Claims:
    """The claim to be the newest version that the data has."""
    return Claims(family=family, major=shipped().browser_offers.families[family].last)


def answer(offer: Offer, claims: Claims) -> str:
    """The answer in one word."""
    found = judge(offer, claims)
    return str(found.confidence or found.verdict)


# Other methods


class Signature(NamedTuple):
    """What mitmengine's rule compares: the sets, and whether there are reserved values."""

    cipher_suites: frozenset[int]
    extensions: frozenset[int]
    groups: frozenset[int]
    reserved: bool | None


def signature(offer: Offer) -> Signature | None:
    """The signature of an offer that was seen whole."""
    if offer.cipher_suites is None or offer.extensions is None or offer.groups is None:
        return None
    kinds = frozenset(offer.extensions) - {0, 21, 41}  # server_name, padding and pre_shared_key are optional there
    return Signature(frozenset(offer.cipher_suites), kinds, frozenset(offer.groups), offer.reserved_cipher_suites)


class Frozen(NamedTuple):
    """Lists that were learned from browsers up to one version each; a method accuses what is not listed."""

    name: str
    accuses: Callable[[Client, Claims], bool | None]


def frozen(clients: Iterable[Client], newest: Mapping[Family, int]) -> list[Frozen]:
    """The baselines, learned from the recorded browsers up to these versions."""
    learned = [
        (one, one.claims)
        for one in clients
        if one.claims is not None and one.group == BROWSERS and (one.claims.major or 0) <= newest[one.claims.family]
    ]
    ja4 = {(claims.family, one.ja4) for one, claims in learned}
    signatures = [(claims.family, claims.major or 0, signature(one.offer)) for one, claims in learned]

    def by_ja4(client: Client, claims: Claims) -> bool | None:
        return None if client.ja4 is None else (claims.family, _with_name(client.ja4)) not in ja4

    def by_signature(client: Client, claims: Claims) -> bool | None:
        """Its record for a version is that of the newest one which is not newer."""
        seen = signature(client.offer)
        known = [(major, one) for family, major, one in signatures if family is claims.family]
        upto = [major for major, _ in known if major <= (claims.major or 0)]
        return None if seen is None or not upto else seen not in [one for major, one in known if major == max(upto)]

    return [Frozen("exact JA4", by_ja4), Frozen("mitmengine's rule", by_signature)]


def _with_name(ja4: str) -> str:
    """JA4 as for a request by name; those of addresses differ in that letter and the count of extensions."""
    return ja4 if ja4[3] == "d" else f"{ja4[:3]}d{ja4[4:6]}{int(ja4[6:8]) + 1:02}{ja4[8:]}"


FREEZES: Final = (
    {Family.CHROMIUM: 118, Family.FIREFOX: 133, Family.SAFARI: 17},
    {Family.CHROMIUM: 131, Family.FIREFOX: 135, Family.SAFARI: 18},
    {Family.CHROMIUM: 142, Family.FIREFOX: 144, Family.SAFARI: 18},
    {Family.CHROMIUM: 156, Family.FIREFOX: 153, Family.SAFARI: 26},
)
"""The newest versions that a list knows."""


# The page


def confusion(clients: Sequence[Client], view: Callable[[Client], Offer | None]) -> str:
    """Count the answers by what sent a ClientHello and what it was said to be."""
    rows = []
    groups = dict.fromkeys((one.group, None if one.claims is None else one.claims.family) for one in clients)
    for group, family in groups:
        members = [one for one in clients if (one.group, one.claims and one.claims.family) == (group, family)]
        cells = []
        for claimed in FAMILIES:
            own = claimed is family
            counts: Counter[str] = Counter()
            for one in members:
                claims = one.claims if own and one.claims is not None else current(claimed)
                if (offer := view(one)) is not None:
                    counts[answer(offer, claims)] += 1
            cells.append(", ".join(f"{number} {word}" for word, number in sorted(counts.items())) or "not seen")
        rows.append(f"| {group}{f', {family}' if family else ''} | {len(members)} | " + " | ".join(cells) + " |")
    head = "| what sent it | of | " + " | ".join(f"as {family}" for family in FAMILIES) + " |\n|---|---|---|---|---|"
    return "\n".join((head, *rows))


def baselines(clients: Sequence[Client]) -> str:
    """Compare with lists that were frozen at some version: browsers accused as themselves, other programs missed."""
    browsers = [(one, one.claims) for one in clients if one.claims is not None and covers(one.claims, _data())]
    others = [one for one in clients if one.claims is None]
    rows = ["| method | list of | browsers accused | other programs missed |", "|---|---|---|---|"]
    accused = sum(answer(one.offer, claims) != "nothing-seen" for one, claims in browsers)
    missed = sum(answer(one.offer, current(family)) == "nothing-seen" for one in others for family in FAMILIES)
    rows.append(
        f"| detector.origin | {_data().file.date} | {accused} of {len(browsers)} | {missed} of {3 * len(others)} |"
    )
    for newest in FREEZES:
        versions = ", ".join(f"{family} {major}" for family, major in newest.items())
        for method in frozen(clients, newest):
            own = [found for one, claims in browsers if (found := method.accuses(one, claims)) is not None]
            said = [
                found
                for one in others
                for family in FAMILIES
                if (found := method.accuses(one, Claims(family=family, major=newest[family]))) is not None
            ]
            rows.append(
                f"| {method.name} | {versions} | {sum(own)} of {len(own)} | {len(said) - sum(said)} of {len(said)} |"
            )
    twice = [one.again for one in clients if one.again is not None]
    if twice:
        differ = sum(first != second for first, second in twice)
        rows.append(f"| exact JA3 | the same client, one connection before | {differ} of {len(twice)} | |")
    return "\n".join(rows)


def _data() -> BrowserOffers:
    return shipped().browser_offers


PAGE: Final = """{begin}

## ClientHellos at the server

Written by `python -m evaluation.client_hellos`: whether `detector.origin` is wrong about the client of one connection
([how it decides](origin-decisions.md)). Material: {material}. The recorded browsers and programs are what the
package's data was made of, so that their figures show consistency; the others are not. {notes}

A ClientHello is asked about as its own browser, in its own version, and as the newest version of the other families.
`nothing-seen` is right for its own family, anything else for another one. Another browser's own ClientHello is no
more than `possible` by design: a changed User-Agent explains it.

### By what a server sees

{tables}

### Other methods

*exact JA4* accuses what is not among the fingerprints of the recorded browsers up to a version. *mitmengine's rule*
is reconstructed from its papers: cipher suites, extensions and groups as recorded for the newest version that is not
newer than the claimed one, with server_name, padding and pre_shared_key optional. *exact JA3* is learned from one
connection and asked about the next one of the same client. Browsers are asked about as themselves, other programs as
each of the three families in the newest listed version.

{baselines}

### What the server's side cannot see

* Products that forward the browser's own ClientHello, change it in flight, or send a copy of it: no contradiction.
* A browser whose family is not known, or whose version is below the data: never assessed.
* Which of two explanations holds, where another browser's own ClientHello arrives: `possible`.
* By JA4 alone, more than cipher suites that belong to a known set, and their number.

{end}"""


def part(clients: Sequence[Client], notes: Sequence[str]) -> str:
    """The part of the page."""
    counts = Counter(one.group for one in clients)
    return PAGE.format(
        begin=BEGIN,
        end=END,
        material="; ".join(f"{group}: {number}" for group, number in counts.items()),
        notes=" ".join(notes),
        tables="\n\n".join(f"#### {name}\n\n{confusion(clients, view)}" for name, view in VIEWS.items()),
        baselines=baselines(clients),
    )


def inserted(page: str, text: str) -> str:
    """Replace the part of a page, or add it at the end."""
    before, found, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] if found else ""
    return f"{before.rstrip()}\n\n{text}\n{after.lstrip()}"


def kept(page: str) -> str:
    """The part of a page, empty where it has none."""
    _, found, rest = page.partition(BEGIN)
    return f"{BEGIN}{rest.partition(END)[0]}{END}\n" if found else ""


def wrong(clients: Iterable[Client]) -> list[str]:
    """Describe every browser that contradicts itself, and every other program that contradicts no family."""
    found = []
    for one in clients:
        for claims in map(current, FAMILIES) if one.claims is None else (one.claims,):
            said = answer(one.offer, claims)
            if (said == "nothing-seen") is (one.claims is None):
                found.append(f"{one.group}, {one.name}, as {claims.family} {claims.major}: {said}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.client_hellos", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--mitmengine", type=Path, metavar="FILE", help="mitm.txt of mitmengine's reference fingerprints"
    )
    parser.add_argument("--quick", action="store_true", help="leave out curl_cffi, which has to be downloaded")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the part of the page of error rates")
    options = parser.parse_args(arguments)
    clients, notes = recorded(), []
    try:
        clients += [] if options.quick else asyncio.run(imitated())
        clients += [] if options.mitmengine is None else products(options.mitmengine)
    except (UvError, OSError, TimeoutError) as error:
        parser.error(f"{error}")
    if options.quick:
        notes.append("curl_cffi was not run: --quick.")
    text = part(clients, notes)
    print(text)
    mistakes = wrong(clients)
    print(f"\nwrong: {len(mistakes)}", *mistakes, sep="\n  ")
    if options.write is not None:
        options.write.write_text(inserted(options.write.read_text("utf-8"), text), "utf-8")
    return 1 if mistakes else 0


if __name__ == "__main__":
    raise SystemExit(main())
