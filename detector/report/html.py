"""The report as one HTML file, for decision makers and for those who check the evidence; and the dossier.

Room: report. Pure: reports in, text out; the templates in this package are package data.

The page loads nothing, runs no script and allows neither: its Content-Security-Policy permits one style sheet, by hash.
Everything in a certificate is its issuer's text, so every value passes Jinja's escaping (no `|safe` anywhere) and,
before that, `visible`, which makes invisible and direction-changing characters visible. Evidence is folded and
complete, so that no other file is needed to check a claim; paper gets what identifies it. Every certificate is on the
page once.
Of an uncertain result no name is shown except in the folded certificates, which are as presented.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.errors import MissingExtraError
from detector.judge import advice, wording
from detector.judge.compare import HELLO_NAME
from detector.knowledge.age import describe
from detector.language import ENGLISH, Messages
from detector.model import Audience, Confidence, Coverage, Locality, ManagedBy, Meaning, Verdict
from detector.model.report import midnight
from detector.trust.certificate import to_pem

from . import learn_more, picture, sentences
from .timeline import TimelineEntry, plot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jinja2 import Environment

    from detector.model import Category, Interceptor, PresentedCertificate, Report, Result

TEMPLATES: Final = Path(__file__).parent / "templates"
VALUE_CHARACTERS_MAX: Final = 4000
"""Characters of one value of a finding that are shown; a certificate may name thousands of hosts."""
COLUMNS_MAX: Final = 4
"""Vantages with a column of their own, which fit paper; more are listed one below the other."""

_SAYS: Final[dict[Meaning, tuple[str, str]]] = {
    Meaning.GENUINE: ("✓", "consistent with genuine"),
    Meaning.INTERCEPTED: ("✗", "indicates interception"),
    Meaning.EXPLAINS: ("?", "possible explanation"),
    Meaning.NEUTRAL: ("·", "neutral"),
}
_COVERAGE: Final[dict[Coverage, tuple[str, str, str]]] = {
    Coverage.CLEAR: ("clean", "✓", "left alone"),
    Coverage.DECRYPTED: ("intercepted", "✗", "intercepted"),
    Coverage.MIXED: ("uncertain", "≠", "intercepted in part"),
    Coverage.UNCERTAIN: ("uncertain", "?", "uncertain"),
    Coverage.UNKNOWN: ("uncertain", "?", "no answer"),
}
"""Tone, symbol and label of each state."""
_RUN_BY: Final[dict[ManagedBy, str]] = {
    ManagedBy.INSTITUTION: "the institution",
    ManagedBy.ENDPOINT_OWNER: "the owner of this device",
    ManagedBy.DEVELOPER: "a developer",
    ManagedBy.ATTACKER: "an attacker",
    ManagedBy.STATE: "a state",
    ManagedBy.UNKNOWN: "not known",
}
_SEEN_COVERAGE: Final = (Coverage.DECRYPTED, Coverage.UNCERTAIN, Coverage.CLEAR, Coverage.UNKNOWN)
"""Most important first: what was seen takes precedence over what was not."""


def render(
    reports: Sequence[Report],
    *,
    timeline: Sequence[TimelineEntry] = (),
    language: str = ENGLISH,
) -> str:
    """One page for one report, or for several of the same endpoints from different vantages.

    `timeline` are runs from history, in any order. `language` is that of the verdict of one report and of what to do.
    Raises ValueError without a report, `MissingExtraError` where
    Jinja2 is not installed.
    """
    if not reports:
        raise ValueError("an HTML report needs at least one report; check something first")
    worst = min(reports, key=sentences.gravity)
    vantages, in_columns = [vantage for vantage, _ in _named(reports)], len(reports) <= COLUMNS_MAX
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            title="TLS interception report",
            worst=worst,
            headline=sentences.headline(worst, language) if len(reports) == 1 else _headline_of_many(reports),
            what_to_do=sentences.what_to_do(worst, language),
            language=Messages.of(language).language,
            reports=reports,
            vantages=vantages,
            columns=["Verdict"] if len(reports) == 1 else vantages if in_columns else ["From each vantage"],
            in_columns=in_columns,
            coverage=_coverage(reports),
            coverage_words=sentences.coverage(worst),
            parties=_parties(reports),
            advice=_advice(worst),
            exempt=_exempt(reports),
            matrix=_matrix(reports),
            timeline=plot(timeline),
            portals=[r.portal for r in reports if r.portal is not None],
            **evidence_content(reports),
        )
    )


def evidence_content(reports: Sequence[Report]) -> dict[str, Any]:
    """What `evidence.html.jinja` shows of reports: each endpoint, chain by chain, and each certificate once."""
    certificates = _certificates(reports)
    return {
        "endpoints": _endpoints(reports),
        "certificates": certificates,
        "number_of": {one.certificate.sha256: number for number, one in enumerate(certificates, 1)},
        "explained": learn_more.explain(
            (f.check, f.outcome) for report in reports for result in report.results for f in result.findings
        ),
    }


def render_dossier(dossier: Any) -> str:  # noqa: ANN401 - of a room above this one
    """One page for a dossier (`detector.history.dossier.Dossier`). Raises `MissingExtraError` as `render` does."""
    return environment().get_template("dossier.html.jinja").render(dossier_content(dossier))


def dossier_content(dossier: Any) -> dict[str, Any]:  # noqa: ANN401 - of a room above this one
    """What `dossier-content.html.jinja` shows of a dossier."""
    names = [found.product or found.issuer or "an unknown party" for found in dossier.interceptors]
    pictures = [
        picture.route("intercepted", f"{len(found.endpoints)} servers", ("TLS ends here", name))
        for found, name in zip(dossier.interceptors, names, strict=True)
    ]
    days = [
        TimelineEntry(midnight(day.date), dossier.vantage, day.verdict, day.confidence, f"{day.results} results")
        for day in dossier.days
    ]
    return {
        "dossier": dossier,
        "parties": list(zip(dossier.interceptors, names, pictures, strict=True)),
        "timeline": plot(days),
        "explained": learn_more.explain(
            (tried.check, outcome) for tried in dossier.tried for outcome in tried.outcomes
        ),
    }


@functools.cache
def environment(*folders: Path) -> Environment:
    """The templates of this package, after those of `folders`, with their filters and functions.

    Values pass `visible` and Jinja's escaping. Raises `MissingExtraError` where Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: PLC0415 - the extra `html`
    except ImportError as error:
        raise MissingExtraError("An HTML report needs Jinja2.", extra="html") from error
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # the style sheet's hash is over all of it
        finalize=_finalize,
    )
    found.filters.update(
        says=lambda finding: _SAYS[finding.says],
        value=_value,
        pem=lambda certificate: to_pem([certificate.der]).rstrip(),
        instant=lambda moment: f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        shown=visible,
        described=describe,
    )
    found.globals.update(
        tone=wording.tone,
        mark=wording.mark,
        hello_name=HELLO_NAME,
        other_route=wording.other_route,
        cause=wording.cause,
        alternatives=wording.alternatives,
        state=wording.state,
        state_of=wording.state_of,
        category_name=sentences.CATEGORIES,
        run_by=_RUN_BY,
        place=picture.PLACE,
        bare=sentences.bare,
        summary=wording.summary,
        data_of=wording.data,
        is_uncertain=wording.is_uncertain,
        learn_more=learn_more.anchor,
        style_hash=_style_hash(),
    )
    return found


def _finalize(value: Any) -> Any:  # noqa: ANN401 - a template prints values of any type
    """Make every text visible before it is escaped, except markup that Jinja made itself."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def visible(text: str) -> str:
    """Text with control, format and direction characters as escapes: they could change what a page appears to say."""
    if text.isprintable():  # then it has none of the categories below
        return text
    hidden = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in hidden else f"\\u{ord(c):04x}" for c in text)


def _style_hash() -> str:
    """The hash of the style sheet for the Content-Security-Policy (CSP Level 3, hash-source)."""
    digest = hashlib.sha256((TEMPLATES / "report.css").read_bytes()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _value(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + " …"


def _headline_of_many(reports: Sequence[Report]) -> str:
    order = sorted(_named(reports), key=lambda one: sentences.gravity(one[1]))
    names: dict[str, list[str]] = {}
    for vantage, report in order:
        found = wording.state(report.verdict, report.confidence)
        found += f" ({report.confidence})" if report.confidence else ""
        names.setdefault(found, []).append(vantage)
    listed = "; ".join(f"{found} from {', '.join(places)}" for found, places in names.items())
    worst = order[0][1]
    return f"{wording.state(worst.verdict, worst.confidence).upper()}: {len(reports)} vantages; {listed}."


def _coverage(reports: Sequence[Report]) -> list[tuple[Category, str, str, str]]:
    """Category, tone, symbol and label; of several vantages together."""
    merged: dict[Category, Coverage] = {}
    for report in reports:
        for category, state in report.coverage.items():
            both = {merged.get(category, state), state}
            # Intercepted in part: as soon as some of it was not seen to be intercepted.
            partly = Coverage.MIXED in both or (
                Coverage.DECRYPTED in both and not both.isdisjoint({Coverage.CLEAR, Coverage.UNCERTAIN})
            )
            merged[category] = Coverage.MIXED if partly else min(both, key=_SEEN_COVERAGE.index)
    return [(category, *_COVERAGE[state]) for category, state in merged.items()]


class _Party(NamedTuple):
    """Who appears to intercept, once for all vantages; or, without `found`, what hosts have in common."""

    found: Interceptor | None
    title: str
    confidence: Confidence | None
    vantages: tuple[str, ...]
    picture: picture.Picture
    hosts: dict[Category, dict[str, None]]
    reasons: dict[str, dict[str, None]]


_Seen = list[tuple[str, "Result"]]
"""Results with the names of their vantages."""


def _parties(reports: Sequence[Report]) -> list[_Party]:
    """Every interceptor; then what is uncertain. Where there is neither, the clean endpoints, if there are any."""
    found: dict[tuple[str | None, str | None], list[tuple[Interceptor, _Seen]]] = {}
    for vantage, report in _named(reports):
        for one in report.interceptors:
            names = set(one.endpoints)
            seen = [(vantage, result) for result in report.results if result.endpoint.name in names]
            found.setdefault((one.product, None if one.product else one.issuer), []).append((one, seen))
    parties = []
    for same in found.values():
        first, title = same[0][0], sentences.party_name(same[0][0])
        seen = list(itertools.chain.from_iterable(seen for _, seen in same))
        proven = any(result.confidence is Confidence.PROVEN for _, result in seen)
        ends = "TLS ends here" if proven else "TLS very probably ends here"
        between = (ends, title, picture.PLACE[first.locality])
        parties.append(_party(title, seen, "intercepted", between)._replace(found=first))
    everything = [(vantage, result) for vantage, report in _named(reports) for result in report.results]
    groups: dict[tuple[str, tuple[str, ...]], _Seen] = {}
    for vantage, result in everything:
        if wording.is_uncertain(result):
            groups.setdefault(_uncertainty(result), []).append((vantage, result))
    parties += [_party(title, seen, "uncertain", between) for (title, between), seen in groups.items()]
    clean = [(vantage, result) for vantage, result in everything if result.verdict is Verdict.CLEAN]
    return parties or ([_party("No sign that TLS ends before the server", clean, "clean")] if clean else [])


def _uncertainty(result: Result) -> tuple[str, tuple[str, ...]]:
    """A title for an uncertain result, and what TLS may end at."""
    if wording.signs_in_only(result):
        return "A sign-in page answers", (
            "A sign-in page answers",
            "until you sign in",
            picture.PLACE[Locality.UNKNOWN],
        )
    if wording.has_stale_pins(result):
        return "The pins are probably out of date", ()
    between = ("TLS may end here", picture.PLACE[Locality.UNKNOWN], "or there is an innocent reason")
    return "Uncertain: there may be an innocent reason", between


def _party(title: str, seen: _Seen, tone: str, between: tuple[str, ...] = ()) -> _Party:
    hosts: dict[Category, dict[str, None]] = {}
    reasons: dict[str, dict[str, None]] = {}
    for _, result in seen:
        host = sentences.bare(result.endpoint.name)
        hosts.setdefault(result.endpoint.category, {})[host] = None
        reasons.setdefault(wording.cause(result), {})[host] = None
    names = list(itertools.chain.from_iterable(hosts.values()))
    sureness = [result.confidence for _, result in seen if result.confidence is not None]
    return _Party(
        found=None,
        title=title,
        confidence=max(sureness, key=list(Confidence).index, default=None),
        vantages=tuple(dict.fromkeys(vantage for vantage, _ in seen)),
        picture=picture.route(tone, names[0] if len(names) == 1 else f"{len(names)} servers", between),
        hosts=hosts,
        reasons=reasons,
    )


def _named(reports: Sequence[Report]) -> Iterator[tuple[str, Report]]:
    """Every report with its vantage's name."""
    return ((report.vantage or f"vantage {at}", report) for at, report in enumerate(reports, 1))


class _Certificate(NamedTuple):
    """One certificate, with everything that presented it, and whether its names may be shown unasked."""

    certificate: PresentedCertificate
    hosts: dict[str, None]
    is_named: bool


def _certificates(reports: Sequence[Report]) -> list[_Certificate]:
    """Every certificate once, in the order of results; named unless all that presented it are uncertain."""
    seen: dict[str, _Certificate] = {}
    for result in itertools.chain.from_iterable(report.results for report in reports):
        for certificate in result.observation.chain:
            known = seen.get(certificate.sha256) or _Certificate(certificate, {}, is_named=False)
            known.hosts[sentences.bare(result.endpoint.name)] = None
            is_named = known.is_named or not wording.is_uncertain(result)
            seen[certificate.sha256] = known._replace(is_named=is_named)
    return list(seen.values())


def _advice(report: Report) -> list[tuple[str, list[str]]]:
    """What each audience can do; where nothing was reached, the first sentence of the page is all there is to say."""
    if sentences.is_unreachable(report):
        return []
    titles = ((Audience.STUDENT, "For students"), (Audience.IT, "For IT"), (Audience.DEVELOPER, "For developers"))
    most = sentences.NAMED_MOST  # all hosts are in the table, and all to exempt in a list of their own
    found = [(title, sentences.advice_for(report, audience, most=most)) for audience, title in titles]
    return [(title, words) for title, words in found if words]


def _exempt(reports: Sequence[Report]) -> list[str]:
    results = itertools.chain.from_iterable(report.results for report in reports)
    return list(dict.fromkeys(result.endpoint.host for result in results if advice.is_to_exempt(result)))


def _matrix(reports: Sequence[Report]) -> list[tuple[str, str, list[Result | None]]]:
    """A row for each endpoint: its name, the anchor of its evidence, its result from each vantage."""
    by_report = [{result.endpoint.name: result for result in report.results} for report in reports]
    names = list(dict.fromkeys(name for results in by_report for name in results))
    return [(name, f"endpoint-{at}", [results.get(name) for results in by_report]) for at, name in enumerate(names, 1)]


class _View(NamedTuple):
    """One endpoint from one vantage, with its pictures."""

    vantage: str
    result: Result
    pictures: list[picture.Picture]


def _endpoints(reports: Sequence[Report]) -> list[tuple[str, str, list[_View]]]:
    """Every endpoint with the view from each vantage, the most serious first."""
    named = [vantage for vantage, _ in _named(reports)]
    rows = []
    for name, anchor, results in _matrix(reports):
        seen = [(vantage, result) for vantage, result in zip(named, results, strict=True) if result is not None]
        clean = next(((v, r) for v, r in seen if r.verdict is Verdict.CLEAN), None)
        views = [
            _View(v, r, picture.chains(r, clean[1] if clean else None, clean[0] if clean else "")) for v, r in seen
        ]
        rows.append((name, anchor, views))
    return sorted(rows, key=lambda row: min(sentences.gravity(view.result) for view in row[2]))
