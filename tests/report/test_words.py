"""Words follow confidence: of what is only possible no text says that TLS is decrypted, and none names anybody."""

from __future__ import annotations

import html.parser
import io
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.console import Console
from support.results import (
    BANK,
    EXAM,
    LMS,
    NOW,
    SEARCH,
    clean,
    found,
    gather,
    intercepted,
    possible,
    report,
    result,
    stale_pins,
)

from detector import report as reports
from detector.cli import scan
from detector.cli.common import as_table
from detector.errors import MiddlewareDetected
from detector.history.difference import compare
from detector.history.dossier import Item
from detector.judge.checks import (
    captive_portal,
    chain,
    forged_issuer,
    host_name,
    known_interceptor,
    machine_root,
    private_origin,
    several_certificates,
)
from detector.judge.table import ACCUSING, ELSE
from detector.model import (
    Alternative,
    Category,
    Confidence,
    Coverage,
    Detail,
    EndpointName,
    Finding,
    Meaning,
    Reason,
    Report,
    Result,
    Scope,
    Verdict,
    encode,
)
from detector.report import programs
from detector.report.html import render_dossier
from detector.report.timeline import TimelineEntry
from detector.scan import Scanned
from detector.watch.events import NetworkStanding, Standing, WatchEvent, WatchKind, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import World

NAMES = ("Wunderfilter", "Vendorix", "Sentinel Root", "Sentinel CA", "Portalist")
"""Product, vendor, root of the machine, issuer, portal: nobody of these may be named."""
ISSUER = "CN=Sentinel CA,O=Vendorix"
ACCUSED = tuple(rule.reason for rule in ACCUSING)
HOST = EndpointName(host=EXAM, port=443, category=Category.EXAM)


def naming() -> tuple[Finding, ...]:
    """Findings with everything in them that names a party, each as its check writes it."""
    product = {
        "id": "wunderfilter",
        "product": "Wunderfilter",
        "vendor": "Vendorix",
        "category": "network-appliance",
        "managed_by": "institution",
        "fact": "issuer CN=Sentinel CA",
        "remediation": "In Wunderfilter, exempt the host.",
    }
    roots = {"roots": ["Sentinel Root"], "issuer": ISSUER}
    refused = {"refusals": [{"reason": "expired", "depth": 1}]}
    return (
        *(
            found(outcome, "The chain carries the mark of Vendorix Wunderfilter: CN.", Meaning.INTERCEPTED, **product)
            for outcome in known_interceptor.Outcome
        ),
        *(
            found(outcome, "Sentinel Root was put on this machine.", Meaning.INTERCEPTED, root="Sentinel Root")
            for outcome in machine_root.Outcome
        ),
        *(
            found(outcome, "The chain leads to Sentinel Root, signed by Sentinel CA.", Meaning.INTERCEPTED, **roots)
            for outcome in (chain.Outcome.ADDED, chain.Outcome.UNFAMILIAR, chain.Outcome.DECLARED)
        ),
        *(
            found(outcome, "A certificate above it (Sentinel CA) has expired.", Meaning.INTERCEPTED, **refused)
            for outcome in (chain.Outcome.NOT_TAKEN, chain.Outcome.DATES_FORBID)
        ),
        *(
            found(outcome, "The certificate claims Sentinel CA.", Meaning.INTERCEPTED, ca="CN=Sentinel CA")
            for outcome in forged_issuer.Outcome
        ),
        found(
            captive_portal.Outcome.KNOWN_KEY,
            "The certificate's key is that of a known portal: Portalist.",
            Meaning.EXPLAINS,
            product="Portalist",
        ),
        found(
            host_name.Outcome.MISMATCH,
            "Not for the host.",
            names=["box.vendorix.example"],
            common_name="Vendorix",
        ),
        found(several_certificates.Outcome.OTHER, certificates=[{"roots": ["Sentinel Root"]}]),
        found(private_origin.Outcome.SELF_SIGNED),
    )


def suspect(host: str, reason: Reason, category: Category = Category.OTHER) -> Result:
    """An endpoint that is only possibly intercepted, with every name in its findings and its chain."""
    return result(
        host,
        Verdict.MIDDLEWARE,
        reason,
        confidence=Confidence.POSSIBLE,
        category=category,
        findings=naming(),
        alternatives=tuple(Alternative),
        advice="Try again from another network.",
        issuer=ISSUER,
    )


def uncertain() -> Report:
    """A network on which something is possible by each rule that accuses, next to a clean endpoint."""
    accused = [
        suspect(f"h{at}.example.org", reason, category)
        for at, (reason, category) in enumerate(zip(ACCUSED, list(Category) * 3, strict=False))
    ]
    return report(*accused, stale_pins(LMS), clean(BANK, Category.BANK))


class _Shown(html.parser.HTMLParser):
    """The text and attributes of a page, without certificates as they were presented."""

    def __init__(self) -> None:
        super().__init__()
        self._hidden: list[bool] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "details":
            self._hidden.append(dict(attrs).get("class") == "presented")
        if not any(self._hidden):
            self.text += " ".join(f" {key}={value}" for key, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "details":
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._hidden):
            self.text += data


def shown(page: str) -> str:
    reader = _Shown()
    reader.feed(page)
    reader.close()
    return reader.text


def _standing(network: Report) -> NetworkStanding:
    return NetworkStanding(
        verdict=network.verdict,
        confidence=network.confidence,
        scope=network.scope,
        clean=1,
        middleware=len(network.results) - 1,
        inconclusive=0,
        unjudged=0,
    )


def events(network: Report) -> Iterator[WatchEvent]:
    """Every kind of event about an uncertain endpoint, and about the network."""
    first, other = network.results[0], network.results[1]
    for kind in WatchKind:
        of_network = kind.value.startswith(("network", "gap", "clock", "baseline", "ended"))
        yield WatchEvent(
            sequence=1,
            kind=kind,
            at=NOW,
            elapsed=1.0,
            summary="",
            seconds=3.0,
            endpoint=None if of_network else HOST,
            before=Standing.of(clean(EXAM) if kind is WatchKind.APPEARED else other),
            after=Standing.of(clean(EXAM) if kind is WatchKind.VANISHED else first),
            result=None if of_network else first,
            network=_standing(network),
        )


def _dossier(network: Report) -> str:
    found = gather((Item(NOW, "library", r, "run 1") for r in network.results), vantage="library", made=NOW)
    return encode(found).decode() + shown(render_dossier(found))


def _difference(network: Report) -> str:
    before = report(*(clean(r.endpoint.host) for r in network.results))
    return encode(compare(before, network)).decode() + encode(compare(network, before)).decode()


def _scan(network: Report) -> str:
    lines = [
        Scanned(**{field: getattr(r, field) for field in Result.__struct_fields__}, number=at)
        for at, r in enumerate(network.results)
    ]
    return "".join(scan._text(line, Detail.SUMMARY) for line in lines)


def _watch(network: Report) -> str:
    described = ((event, describe(event)) for event in events(network))
    return "".join(f"{said} {event.before} {event.after}" for event, said in described)


def sentences(network: Report) -> str:
    return " ".join((reports.headline(network), reports.what_to_do(network), reports.sentences.coverage(network)))


TEXTS: dict[str, Callable[[Report], str]] = {
    "table": lambda network: as_table(network, io.StringIO()),
    "page": lambda network: shown(reports.html([network])),
    "page of two": lambda network: shown(reports.html([network, report(clean(EXAM))])),
    "timeline": lambda network: shown(
        reports.html([network], timeline=[TimelineEntry(NOW, "library", network.verdict, network.confidence)])
    ),
    "csv": reports.csv,
    "prometheus": reports.prometheus,
    "nagios": lambda network: programs.nagios(network, Confidence.PROBABLE),
    "headline": sentences,
    "exception": lambda network: str(MiddlewareDetected(network)),
    "difference": _difference,
    "dossier": _dossier,
    "scan": _scan,
    "watch": _watch,
}


@pytest.mark.parametrize("form", TEXTS)
def test_what_is_possible_names_nobody_and_decrypts_nothing(form: str) -> None:
    """No form that people read says `decrypt` or names product, vendor, root or issuer of a possible result."""
    text = TEXTS[form](uncertain())
    assert "decrypt" not in text.lower()
    assert [name for name in NAMES if name.lower() in text.lower()] == []


@pytest.mark.parametrize("form", ["table", "page", "csv", "headline", "exception", "difference", "dossier", "scan"])
def test_what_is_proven_names_the_party(form: str) -> None:
    """The same forms name who it is from `probable` on: the test above does not pass because nothing is ever said."""
    text = TEXTS[form](report(intercepted(EXAM), intercepted(LMS), clean(BANK)))
    assert "Campus Filter CA" in text


def test_certificates_stay_as_presented() -> None:
    """The evidence of an uncertain result is complete: its certificates are there, folded, with the names in them."""
    page = reports.html([uncertain()])
    assert "Sentinel CA" in page
    folded = re.findall(r'<details id="certificate-\d+" class="presented"( open)?><summary>(.*?)</summary>', page)
    assert len(folded) > 1
    assert [summary for is_open, summary in folded if is_open or any(name in summary for name in NAMES)] == []


@pytest.mark.parametrize("form", TEXTS)
def test_what_accuses_nobody_names_no_product(form: str) -> None:
    """A mark of a product on a chain that is inconclusive, or clean, makes nobody an interceptor."""
    marked = [
        msgspec.structs.replace(
            suspect(f"h{at}.example.org", rule.reason), verdict=Verdict.INCONCLUSIVE, confidence=None
        )
        for at, rule in enumerate(ELSE)
    ]
    genuine = msgspec.structs.replace(clean(BANK), findings=(*clean(BANK).findings, *naming()[:3]))
    assert "Wunderfilter" not in TEXTS[form](report(*marked, genuine))


def _real(world: World) -> list[Result]:
    """Real evidence that the table calls possible, assessed one by one."""
    pki = world.pki
    ca = pki.private_ca("Zscaler Intermediate Root CA")
    machine = pki.private_ca("Sentinel Root")
    return [
        world.one(EXAM, ca.issue([EXAM]), category=Category.EXAM),
        world.one(LMS, machine.issue([LMS]), machine=[machine.certificate]),
        world.one(SEARCH, ca.issue(["block.example"])),
        world.one(BANK, pki.issue([BANK], scts=0)),
        world.one("pins.example.edu", pki.issue(["pins.example.edu"]), pins=(b"x" * 32,)),
    ]


@pytest.mark.parametrize("form", TEXTS)
def test_real_evidence_that_is_possible(form: str, world: World) -> None:
    """What the judge itself says of private, added, misnamed, unlogged and stale-pinned chains keeps to the rule."""
    results = [r for r in _real(world) if r.confidence is Confidence.POSSIBLE]
    assert {r.reason for r in results} > {Reason.ADDED_ROOT, Reason.WRONG_NAME, Reason.PIN_MISMATCH}
    text = TEXTS[form](report(*results, clean(BANK)))
    assert "decrypt" not in text.lower()
    assert [name for name in (*NAMES, "Zscaler") if name.lower() in text.lower()] == []


def test_coverage_is_uncertain() -> None:
    """Scope and coverage of what is only possible are uncertain, in records, sentences and tiles."""
    network = report(possible(EXAM, Category.EXAM), clean(BANK, Category.BANK))
    assert (network.scope, network.coverage[Category.EXAM]) == (Scope.UNCERTAIN, Coverage.UNCERTAIN)
    assert reports.sentences.coverage(network) == "By category: exams uncertain; banking left alone."
    assert "uncertain" in shown(reports.html([network]))


def test_colours_are_amber() -> None:
    """No red class is used for what is only possible; for what is proven there is."""
    red = ('class="verdict intercepted"', 'badge intercepted"', "intercepted-mark", '"bad"', "broken")
    runs = [TimelineEntry(NOW, "library", Verdict.MIDDLEWARE, Confidence.POSSIBLE)]
    amber = _body(reports.html([report(possible(EXAM), stale_pins(LMS))], timeline=runs))
    assert [mark for mark in red if mark in amber] == []
    runs = [TimelineEntry(NOW, "library", Verdict.MIDDLEWARE, Confidence.PROVEN)]
    page = _body(reports.html([report(intercepted(EXAM))], timeline=runs))
    assert [mark for mark in red if mark not in page] == []


def _body(page: str) -> str:
    return page[page.index("<body>") :]


def test_terminal_is_amber(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a possible network is yellow, a proven one red."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31m" not in _terminal(report(possible(EXAM)))
    assert "\x1b[1;33m" in _terminal(report(possible(EXAM)))
    assert "\x1b[1;31m" in _terminal(report(intercepted(EXAM)))


def _terminal(network: Report) -> str:

    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system="standard", width=200).print(reports.table(network))
    return stream.getvalue()


def test_dossier_of_what_is_possible() -> None:
    """A dossier lists it as uncertain, has no interceptor, and says that something innocent fits."""
    items = [Item(NOW, "library", r, "run 1") for r in (possible(EXAM, Category.EXAM), clean(BANK))]
    made = gather(items, vantage="library", made=NOW)
    assert made.interceptors == ()
    assert [(e.endpoint, e.reasons) for e in made.uncertain] == [(f"{EXAM}:443", (Reason.PRIVATE_CHAIN,))]
    assert "an innocent explanation fits" in made.summary
    assert "intercepted" not in made.summary
    page = render_dossier(made)
    assert 'class="verdict uncertain"' in page


def test_alternatives_do_not_accuse() -> None:
    """Records of an uncertain report carry no party either."""
    network = msgspec.json.decode(uncertain().to_json())
    assert network["interceptors"] == []
    assert all(one["attribution"] is None for one in network["results"])
