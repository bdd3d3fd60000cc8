"""What a report says in words: is TLS intercepted, by whom, on which hosts, how that is known, and what to do about it.

Room: report. Pure. The wording follows confidence (`detector.judge.wording`): below `probable` nothing is called
intercepted, and nobody is named. Every text is a whole sentence or the cell of a table, with named fields, so that it
can be translated; the codes of reasons, checks and outcomes are for programs and appear in none of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge import advice, wording
from detector.judge.advice import SIGN_IN_FIRST
from detector.judge.assess import names_a_party
from detector.judge.checks.captive_portal import ANSWERED_BY_ANOTHER
from detector.judge.compare import HELLO_NAME
from detector.judge.wording import (
    has_stale_pins,
    is_behind_a_portal,
    other_route,
    set_route,
    signs_in_only,
    wire_outcome,
)
from detector.model import (
    Assurance,
    Audience,
    Category,
    Confidence,
    Coverage,
    Hello,
    Locality,
    Outcome,
    Route,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detector.model import Interceptor, Report, Result, UnfollowedProxy

PARTIES_MOST: Final = 3
"""Parties named in the first sentence; each has a paragraph of its own below it."""
ADVICE_MOST: Final = 2
"""Sentences of advice; the advice for each endpoint is in its result."""
ROW_MOST: Final = 40
"""Hosts in one row that are not clean; the evidence has them all."""
NAMED_MOST: Final = 5
"""Hosts in one sentence, or in a row of clean ones: what is not clean has a row of its own."""
CATEGORIES: Final[dict[Category, str]] = {
    Category.EXAM: "exams",
    Category.LMS: "courses",
    Category.SEARCH: "search",
    Category.MAIL: "mail",
    Category.SOCIAL: "social media",
    Category.BANK: "banking",
    Category.HEALTH: "health",
    Category.CANARY: "update sites",
    Category.OTHER: "other hosts",
}
_COVERAGE: Final[dict[Coverage, str]] = {
    Coverage.DECRYPTED: "{} intercepted",
    Coverage.MIXED: "{} intercepted in part",
    Coverage.UNCERTAIN: "{} uncertain",
    Coverage.CLEAR: "{} left alone",
    Coverage.UNKNOWN: "{} without an answer",
}
_LABEL: Final[dict[Confidence | None, str]] = {
    Confidence.PROVEN: "INTERCEPTED (proven: no innocent reason fits)",
    Confidence.PROBABLE: "INTERCEPTED (probable)",
    Confidence.POSSIBLE: "UNCERTAIN (possible)",
    None: "INTERCEPTED",
}
_ONE_HOST: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "TLS to {host} is intercepted by {parties}.",
    Confidence.PROBABLE: "TLS to {host} is very probably intercepted by {parties}.",
    Confidence.POSSIBLE: "TLS to {host} may be intercepted, or there is an innocent reason.",
}
_SOME_HOSTS: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "TLS is intercepted on {count} of {total} hosts, by {parties}.",
    Confidence.PROBABLE: "TLS is very probably intercepted on {count} of {total} hosts, by {parties}.",
    Confidence.POSSIBLE: "TLS may be intercepted on {count} of {total} hosts, or there is an innocent reason.",
}
_NO_HOSTS: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "TLS on this network is intercepted.",
    Confidence.PROBABLE: "TLS on this network is very probably intercepted.",
    Confidence.POSSIBLE: "TLS on this network may be intercepted, or there is an innocent reason.",
}
"""Of a run of which only the head was kept."""
_MORE_HOSTS: Final[dict[Confidence, str]] = {
    Confidence.PROBABLE: "{count} more: very probably intercepted.",
    Confidence.POSSIBLE: "{count} more: uncertain.",
}
"""Of further hosts, after a sentence on more serious ones; each party has a paragraph of its own."""
_STALE_PINS: Final = "The pins of {count} of {total} hosts (the keys expected of them) are probably out of date."
_PORTAL: Final = (
    "A sign-in page of this network answers in the place of {count} of {total} hosts; before you sign in, no more can "
    "be known."
)
_ASSURED: Final[dict[Assurance, str]] = {
    Assurance.WITNESSED: "{count} witnessed (a witness at the server saw the same connection)",
    Assurance.PINNED: "{count} pinned (the key, or the CA, is the one expected of the server)",
    Assurance.LOGGED: "{count} logged (the certificate is a public CA's and on public record)",
    Assurance.DECLARED: "{count} declared (the pin file names the server's private CA)",
}
_PLACE: Final[dict[Locality, str]] = {
    Locality.THIS_DEVICE: "It is on this device.",
    Locality.CONFIGURED_PROXY: "It is the proxy that is configured, or behind it.",
    Locality.NETWORK: "It is in the network, not on this device.",
    Locality.UNKNOWN: "",
}
_NOT_ONLINE: Final = frozenset(
    {
        Outcome.DNS_FAILURE,
        Outcome.CONNECT_TIMEOUT,
        Outcome.UNREACHABLE,
        Outcome.NO_ADDRESS,
        Outcome.DEADLINE,
    }
)
"""How connections end where there is no network: of several hosts, none is misspelled then."""
_CHECK_ONLINE: Final = "Check that this device is online, then try again."
_NOTHING_TO_DO: Final = "What to do: nothing. This covers only these hosts, this route and this moment."
_DO_NOT_SEND: Final = "Do not send exam data on this network."
_LEFT_ALONE: Final = "Left alone: {hosts}. Do not send exam data to any other site on this network."


class Party(NamedTuple):
    """One interceptor in words: who, and one or more sentences: on how many hosts, of which kinds, and where it is."""

    name: str
    sentences: tuple[str, ...]


class Doubt(NamedTuple):
    """What several hosts have in common that are neither clean nor certainly intercepted."""

    hosts: str
    sentences: tuple[str, ...]


class Row(NamedTuple):
    """Hosts of one category in one state; `first` is their first result."""

    category: str
    state: str
    hosts: str
    first: Result


def headline(report: Report) -> str:
    """The verdict in one line: whether, on how many hosts, by whom."""
    if report.verdict is Verdict.MIDDLEWARE:
        return f"{_LABEL[report.confidence]}: {' '.join(_accusations(report))}"
    total = len(report.results)
    clean = [r for r in report.results if r.verdict is Verdict.CLEAN]
    counts = {"total": total, "clean": len(clean), "left": total - len(clean)}
    if not total:
        words = "nothing was checked."
    elif clean and _unfollowed(report):
        words = "no sign of TLS interception on {clean} of {total} hosts, but not by the route that browsers take."
    elif report.verdict is Verdict.CLEAN:
        words = "no sign of TLS interception on {clean} of {total} hosts; {left} could not be assessed."
        if len(clean) == total:
            words = "no sign of TLS interception on {host}."
            if total > 1:
                words = "no sign of TLS interception on the {total} hosts checked."
    elif is_unreachable(report):
        words = (
            "none of the {total} hosts could be reached. {ended}" if total > 1 else "{host} was not reached. {ended}"
        )
    elif clean:
        words = "{left} of {total} hosts could not be assessed; the others show no sign of TLS interception."
    else:
        words = "none of the {total} hosts could be assessed." if total > 1 else "{host} could not be assessed."
    host = bare(report.results[0].endpoint.name) if total else ""
    return f"{report.verdict.value.upper()}: {words.format(**counts, host=host, ended=' '.join(_endings(report)))}"


def is_unreachable(report: Report) -> bool:
    """Whether no endpoint showed anything, so that there is only one thing to say of all of them."""
    return bool(report.results) and all(wire_outcome(result) for result in report.results)


def _endings(report: Report) -> Iterator[str]:
    """Yield how connections ended, the most frequent first."""
    outcomes = Counter(outcome for result in report.results if (outcome := wire_outcome(result)))
    yield from (wording.ended(outcome) for outcome, _ in outcomes.most_common())


def _unfollowed(report: Report) -> UnfollowedProxy | None:
    """Why a probe of this report did not follow the machine's proxy setting."""
    reasons = (result.unfollowed_proxy for result in report.results)
    return next((reason for reason in reasons if reason is not None), None)


def _accusations(report: Report) -> Iterator[str]:
    """Yield sentences on the accused endpoints, the most serious first; stale pins are called that."""
    total = len(report.results)
    accused = [r for r in report.results if r.verdict is Verdict.MIDDLEWARE]
    if not total:
        yield _NO_HOSTS[report.confidence or Confidence.POSSIBLE]
    templates = _ONE_HOST if total == 1 else _SOME_HOSTS
    for confidence in reversed(Confidence):
        found = [r for r in accused if r.confidence is confidence and not (signs_in_only(r) or has_stale_pins(r))]
        if found:
            host, parties = bare(found[0].endpoint.name), _parties(report)
            yield templates[confidence].format(count=len(found), total=total, host=host, parties=parties)
            templates = _MORE_HOSTS
    for is_so, words in ((signs_in_only, _PORTAL), (has_stale_pins, _STALE_PINS)):
        if count := sum(map(is_so, accused)):
            yield words.format(count=count, total=total)


def _parties(report: Report) -> str:
    parties = [party_name(party) for party in report.interceptors] or ["an unknown party"]
    if len(parties) > PARTIES_MOST:
        return f"{len(parties)} parties"
    return _listed(parties)


def party_name(party: Interceptor) -> str:
    """What an interceptor is called: its product, or else that it is unknown, with its issuer."""
    if party.product is None:
        return f"an unknown party (issuer: {party.issuer or 'unreadable'})"
    vendor = party.vendor or ""
    return party.product if party.product.startswith(vendor) else f"{vendor} {party.product}"


def what_to_do(report: Report) -> str:
    """The student's next step in one or two sentences."""
    if report.verdict is Verdict.CLEAN:
        return _NOTHING_TO_DO
    steps = advice_for(report, Audience.STUDENT, most=NAMED_MOST)
    if names_a_party(report.confidence):
        steps = list(_before_all(report, steps))
    elif len(report.results) > 1 and is_unreachable(report) and _outcomes(report) <= _NOT_ONLINE:
        steps = [_CHECK_ONLINE]
    if (reason := _unfollowed(report)) is not None:
        steps.insert(0, set_route(reason))
    if _is_portal_known(report) and not any(map(advice.is_attack, report.results)):
        steps = [SIGN_IN_FIRST, *(sentence for sentence in steps if sentence != SIGN_IN_FIRST)]
    return "What to do: " + (" ".join(steps[:ADVICE_MOST]) or "check again.")


def _before_all(report: Report, steps: Sequence[str]) -> Iterator[str]:
    """Yield what comes before the advice on single hosts where something is intercepted, then that."""
    concerned = [result for result in report.results if advice.has_to_be_exempt(result)]
    if any(map(advice.is_attack, report.results)):
        yield from steps
    elif concerned and all(result.verdict is Verdict.CLEAN for result in concerned):
        yield _LEFT_ALONE.format(hosts=hosts(concerned))
        yield from (step for step in steps if step != advice.CHECK_BY_NAME)
    else:
        yield _DO_NOT_SEND
        yield from steps


def _outcomes(report: Report) -> set[Outcome | None]:
    return {wire_outcome(result) for result in report.results}


def _is_portal_known(report: Report) -> bool:
    """Whether a sign-in page answers on this network: until the user signs in, nothing else can be assessed."""
    by_request = report.portal is not None and report.portal.outcome in ANSWERED_BY_ANOTHER
    return by_request or any(map(is_behind_a_portal, report.results))


def advice_for(report: Report, audience: Audience, *, most: int | None = None) -> list[str]:
    """What one audience can do, the most urgent first; endpoints with the same remedy share a sentence.

    Of more than `most` hosts in a sentence the others are counted.
    """
    order = [Confidence.PROVEN, Confidence.PROBABLE, Confidence.POSSIBLE, None]

    def urgency(result: Result) -> tuple[bool, bool, int]:
        of_exam = names_a_party(result.confidence) and advice.has_to_be_exempt(result)
        return not advice.is_attack(result), not of_exam, order.index(result.confidence)

    counting = sorted((one for one in report.results if one.verdict is report.verdict), key=urgency)
    return advice.advise(counting, listed=lambda names: _some(names, most)).get(audience, [])


def coverage(report: Report) -> str:
    """The state of each category, in one sentence; empty if there is nothing to report."""
    if report.verdict is Verdict.CLEAN or not report.coverage:
        return ""
    by_state: dict[Coverage, list[str]] = {}
    for category, state in report.coverage.items():
        by_state.setdefault(state, []).append(CATEGORIES[category])
    parts = [said.format(_listed(by_state[state])) for state, said in _COVERAGE.items() if state in by_state]
    return " ".join((f"By category: {'; '.join(parts)}.", *route(report)))


def route(report: Report) -> tuple[str, ...]:
    """The sentence on a proxy setting that was not followed, if there is one."""
    unfollowed = _unfollowed(report)
    return () if unfollowed is None else (other_route(unfollowed),)


def parties(report: Report) -> list[Party]:
    """Every interceptor, that of most hosts first."""
    by_name = {result.endpoint.name: result for result in report.results}
    return [
        Party(party_name(party), tuple(filter(None, _of_party(party, by_name, len(report.results)))))
        for party in sorted(report.interceptors, key=lambda party: -len(party.endpoints))
    ]


def _of_party(party: Interceptor, by_name: dict[str, Result], total: int) -> Iterator[str]:
    results = [by_name[name] for name in party.endpoints if name in by_name]
    kinds = {result.endpoint.category for result in results}
    listed = _listed([words for category, words in CATEGORIES.items() if category in kinds])
    yield f"It intercepts {len(party.endpoints)} of {total} hosts: {listed}."
    yield _PLACE[party.locality]
    yield _other_explanations([one for one in results if one.confidence is not Confidence.PROVEN], of=len(results))


def _other_explanations(results: Sequence[Result], *, of: int = 1) -> str:
    """The sentence on what else fits these results, which are all or some `of` so many; empty where nothing does."""
    others = list(dict.fromkeys(words for result in results for words in wording.alternatives(result)))
    words = "It could also be {others}." if len(results) == of else "On {hosts} it could also be {others}."
    return words.format(hosts=hosts(results), others=_listed(others, "or")) if others else ""


def doubts(report: Report) -> list[Doubt]:
    """Why hosts are uncertain or could not be assessed: those with the same reason together, the most serious first."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in sorted(report.results, key=lambda one: one.verdict is not Verdict.MIDDLEWARE):
        if result.verdict is not Verdict.CLEAN and result.attribution is None:
            groups.setdefault(_doubt(result), []).append(result)
    return [Doubt(hosts(results), said) for said, results in groups.items()]


def _doubt(result: Result) -> tuple[str, ...]:
    return tuple(filter(None, (wording.cause(result), _other_explanations([result]))))


def rows(report: Report) -> list[Row]:
    """One row for each category, and for each state where a category has several."""
    found = []
    for category, words in CATEGORIES.items():
        groups: dict[str, list[Result]] = {}
        for result in sorted((r for r in report.results if r.endpoint.category is category), key=_gravity):
            groups.setdefault(wording.state_of(result), []).append(result)
        for number, (state, results) in enumerate(groups.items()):
            most = NAMED_MOST if results[0].verdict is Verdict.CLEAN else ROW_MOST
            counted = state if len(results) == 1 else f"{len(results)} {state}"
            found.append(Row("" if number else words, counted, hosts(results, most), results[0]))
    return found


def _gravity(result: Result) -> tuple[int, int]:
    """Sort key: the most serious first."""
    order = [Verdict.MIDDLEWARE, Verdict.INCONCLUSIVE, Verdict.CLEAN]
    return order.index(result.verdict), -([None, *Confidence].index(result.confidence))


def basis(report: Report) -> str:
    """How it is known of clean hosts that they are, each word with what it means; empty where none is clean."""
    counted = Counter(result.assurance for result in report.results if result.assurance)
    parts = [words.format(count=counted[kind]) for kind, words in _ASSURED.items() if counted[kind]]
    return f"Clean hosts: {'; '.join(parts)}." if parts else ""


def hellos(report: Report) -> str:
    """The ClientHellos that the results rest on, in one sentence; empty where all are a browser's over TCP."""
    seen = (r.observation for r in report.results if r.observation.route is not Route.QUIC)
    counted = Counter(one.hello for one in seen if one.chain)
    if not counted.keys() - {Hello.BROWSER}:
        return ""
    return f"Presented to {', '.join(f'{HELLO_NAME[hello]} ({count})' for hello, count in counted.most_common())}."


def hosts(results: Iterable[Result], most: int = NAMED_MOST) -> str:
    """The hosts of these results, without the port where it is 443; of more than `most` the others are counted."""
    return _some(dict.fromkeys(bare(result.endpoint.name) for result in results), most)


def _some(names: Iterable[str], most: int | None) -> str:
    every = list(names)
    more = 0 if most is None else len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def bare(name: str) -> str:
    """The name of an endpoint as people write it: without the port where it is 443."""
    return name.removesuffix(":443")


def _listed(words: Sequence[str], conjunction: str = "and") -> str:
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
