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
from detector.language import ENGLISH, N_, Messages, Sentence, Text, some
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
_LABEL: Final[dict[Confidence | None, Text]] = {
    Confidence.PROVEN: N_("INTERCEPTED (proven: no innocent reason fits):"),
    Confidence.PROBABLE: N_("INTERCEPTED (probable):"),
    Confidence.POSSIBLE: N_("UNCERTAIN (possible):"),
    None: N_("INTERCEPTED:"),
}
_ONE_HOST: Final[dict[Confidence, Text]] = {
    Confidence.PROVEN: N_("TLS to {host} is intercepted by {parties}."),
    Confidence.PROBABLE: N_("TLS to {host} is very probably intercepted by {parties}."),
    Confidence.POSSIBLE: N_("TLS to {host} may be intercepted, or there is an innocent reason."),
}
_SOME_HOSTS: Final[dict[Confidence, Text]] = {
    Confidence.PROVEN: N_("TLS is intercepted on {count} of {total} hosts, by {parties}."),
    Confidence.PROBABLE: N_("TLS is very probably intercepted on {count} of {total} hosts, by {parties}."),
    Confidence.POSSIBLE: N_("TLS may be intercepted on {count} of {total} hosts, or there is an innocent reason."),
}
_AT_THE_SERVER: Final[dict[Confidence, Text]] = {
    Confidence.PROVEN: N_("TLS between {host} and some of its clients is intercepted by {parties}."),
    Confidence.PROBABLE: N_("TLS between {host} and some of its clients is very probably intercepted by {parties}."),
    Confidence.POSSIBLE: N_(
        "TLS between {host} and some of its clients may be intercepted, or there is an innocent reason."
    ),
}
"""Of what a server saw: it says nothing of its other clients."""
_NO_HOSTS: Final[dict[Confidence, Text]] = {
    Confidence.PROVEN: N_("TLS on this network is intercepted."),
    Confidence.PROBABLE: N_("TLS on this network is very probably intercepted."),
    Confidence.POSSIBLE: N_("TLS on this network may be intercepted, or there is an innocent reason."),
}
"""Of a run of which only the head was kept."""
_MORE_HOSTS: Final[dict[Confidence, Text]] = {
    Confidence.PROBABLE: N_("{count} more: very probably intercepted."),
    Confidence.POSSIBLE: N_("{count} more: uncertain."),
}
"""Of further hosts, after a sentence on more serious ones; each party has a paragraph of its own."""
_STALE_PIN: Final = N_("The pins of {host} (the keys expected of it) are probably out of date.")
_STALE_PINS: Final = N_("The pins of {count} of {total} hosts (the keys expected of them) are probably out of date.")
_PORTAL_OF_ONE: Final = N_(
    "A sign-in page of this network answers in the place of {host}; before you sign in, no more can be known."
)
_PORTAL: Final = N_(
    "A sign-in page of this network answers in the place of {count} of {total} hosts; before you sign in, no more can "
    "be known."
)
_VERDICT: Final[dict[Verdict, Text]] = {Verdict.CLEAN: N_("CLEAN:"), Verdict.INCONCLUSIVE: N_("INCONCLUSIVE:")}
_NOTHING_CHECKED: Final = N_("nothing was checked.")
_NOT_THE_BROWSERS_ROUTE: Final = N_(
    "no sign of TLS interception on {clean} of {total} hosts, but not by the route that browsers take."
)
_NO_SIGN_ON_SOME: Final = N_("no sign of TLS interception on {clean} of {total} hosts; {left} could not be assessed.")
_NO_SIGN: Final = N_("no sign of TLS interception on {host}.")
_NO_SIGN_ON_ALL: Final = N_("no sign of TLS interception on the {total} hosts checked.")
_NOT_REACHED: Final = N_("{host} was not reached.")
_NONE_REACHED: Final = N_("none of the {total} hosts could be reached.")
_SOME_LEFT: Final = N_("{left} of {total} hosts could not be assessed; the others show no sign of TLS interception.")
_NOT_ASSESSED: Final = N_("{host} could not be assessed.")
_NOTHING_SEEN: Final = N_("nothing was seen at {host}, which clears nobody.")
_NONE_ASSESSED: Final = N_("none of the {total} hosts could be assessed.")
_UNKNOWN_PARTY: Final = N_("an unknown party")
_UNKNOWN_ISSUER: Final = N_("an unknown party (issuer: unreadable)")
_UNKNOWN_BY_ISSUER: Final = N_("an unknown party (issuer: {issuer})")
_MANY_PARTIES: Final = N_("{number} parties")
_AND: Final = N_("{first} and {last}")
_COMMA: Final = Text("{first}, {last}")
_CLEAN_HOSTS: Final = N_("Clean hosts: {kinds}.")
_ASSURED: Final[dict[Assurance, Text]] = {
    Assurance.WITNESSED: N_("{count} witnessed (a witness at the server saw the same connection)"),
    Assurance.PINNED: N_("{count} pinned (the key, or the CA, is the one expected of the server)"),
    Assurance.LOGGED: N_("{count} logged (the certificate is a public CA's and on public record)"),
    Assurance.DECLARED: N_("{count} declared (the pin file names the server's private CA)"),
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
_ANSWERED: Final = frozenset(
    {Outcome.NOT_TLS, Outcome.TLS_ALERT, Outcome.TLS_FAILURE, Outcome.SIGNATURE_WRONG, Outcome.TOO_LARGE}
)
"""How connections end where something answered in place of a host, or the host itself: it was reached then."""
_CHECK_ONLINE: Final = N_("Check that this device is online, then try again.")
_NOTHING_TO_DO: Final = N_("What to do: nothing. This covers only these hosts, this route and this moment.")
_WHAT_TO_DO: Final = N_("What to do:")
_CHECK_AGAIN: Final = N_("check again.")
_DO_NOT_SEND: Final = N_("Do not send exam data on this network.")
_LEFT_ALONE: Final = N_("Left alone: {hosts}. Do not send exam data to any other site on this network.")


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


def headline(report: Report, language: str = ENGLISH) -> str:
    """The verdict in one line: whether, on how many hosts, by whom. Raises `InputError` for an unknown language."""
    return Messages.of(language).say_all(_headline(report))


def _headline(report: Report) -> Iterator[Sentence]:
    if report.verdict is Verdict.MIDDLEWARE:
        yield Sentence(_LABEL[report.confidence])
        yield from _accusations(report)
        return
    total, clean = len(report.results), sum(one.verdict is Verdict.CLEAN for one in report.results)
    host = bare(report.results[0].endpoint.name) if total else ""
    yield Sentence(_VERDICT[report.verdict])
    yield Sentence(
        _without_accusation(report, total, clean),
        {"total": total, "clean": clean, "left": total - clean, "host": host},
    )
    if is_unreachable(report):
        endings = Counter(outcome for result in report.results if (outcome := wire_outcome(result)))
        yield from (Sentence(wording.ended(outcome)) for outcome, _ in endings.most_common())


def _without_accusation(report: Report, total: int, clean: int) -> Text:
    """Return the sentence on `total` hosts of which `clean` are, and none is accused."""
    if not total:
        return _NOTHING_CHECKED
    if clean and _unfollowed(report):
        return _NOT_THE_BROWSERS_ROUTE
    if report.verdict is Verdict.CLEAN:
        return _NO_SIGN_ON_SOME if clean < total else _NO_SIGN_ON_ALL if total > 1 else _NO_SIGN
    if is_unreachable(report) and not _outcomes(report) & _ANSWERED:
        return _NONE_REACHED if total > 1 else _NOT_REACHED
    if clean:
        return _SOME_LEFT
    of_one = _NOTHING_SEEN if wording.is_seen_by_server(report.results[0]) else _NOT_ASSESSED
    return _NONE_ASSESSED if total > 1 else of_one


def is_unreachable(report: Report) -> bool:
    """Whether no endpoint showed anything, so that there is only one thing to say of all of them."""
    return bool(report.results) and all(wire_outcome(result) for result in report.results)


def _unfollowed(report: Report) -> UnfollowedProxy | None:
    """Why a probe of this report did not follow the machine's proxy setting."""
    reasons = (result.unfollowed_proxy for result in report.results)
    return next((reason for reason in reasons if reason is not None), None)


def _accusations(report: Report) -> Iterator[Sentence]:
    """Yield sentences on the accused endpoints, the most serious first; stale pins are called that."""
    total = len(report.results)
    accused = [r for r in report.results if r.verdict is Verdict.MIDDLEWARE]
    if not total:
        yield Sentence(_NO_HOSTS[report.confidence or Confidence.POSSIBLE])
    templates = _ONE_HOST if total == 1 else _SOME_HOSTS
    if accused and wording.is_seen_by_server(accused[0]):
        templates = _AT_THE_SERVER
    for confidence in reversed(Confidence):
        found = [r for r in accused if r.confidence is confidence and not (signs_in_only(r) or has_stale_pins(r))]
        if found:
            counted = Sentence(templates[confidence], {"count": len(found), "total": total})
            yield counted.with_fields(host=bare(found[0].endpoint.name), parties=_parties(report, found))
            templates = _MORE_HOSTS
    for is_so, one, several in ((signs_in_only, _PORTAL_OF_ONE, _PORTAL), (has_stale_pins, _STALE_PIN, _STALE_PINS)):
        if found := [result for result in accused if is_so(result)]:
            counted = Sentence(several if len(found) > 1 else one, {"count": len(found), "total": total})
            yield counted.with_fields(host=bare(found[0].endpoint.name))


def _parties(report: Report, found: Iterable[Result]) -> Sentence | str:
    """Those who intercept these results: who intercepts others is not named with the certainty of these."""
    names = {result.endpoint.name for result in found}
    parties = [_name(party) for party in report.interceptors if not names.isdisjoint(party.endpoints)]
    if len(parties) > PARTIES_MOST:
        return Sentence(_MANY_PARTIES, {"number": len(parties)})
    first, *others = parties or [Sentence(_UNKNOWN_PARTY)]
    for number, other in enumerate(others, 1):
        first = Sentence(_AND if number == len(others) else _COMMA, {"first": first, "last": other})
    return first


def party_name(party: Interceptor) -> str:
    """What an interceptor is called: its product, or else that it is unknown, with its issuer."""
    return _said(_name(party))


def _name(party: Interceptor) -> Sentence | str:
    if party.product is None:
        return Sentence(_UNKNOWN_BY_ISSUER, {"issuer": party.issuer}) if party.issuer else Sentence(_UNKNOWN_ISSUER)
    vendor = party.vendor or ""
    return party.product if party.product.startswith(vendor) else f"{vendor} {party.product}"


def what_to_do(report: Report, language: str = ENGLISH) -> str:
    """The student's next step in one or two sentences. Raises `InputError` for an unknown language."""
    messages = Messages.of(language)
    if report.verdict is Verdict.CLEAN:
        return messages.say(Sentence(_NOTHING_TO_DO))
    return messages.say_all((Sentence(_WHAT_TO_DO), *(_steps(report)[:ADVICE_MOST] or [Sentence(_CHECK_AGAIN)])))


def _steps(report: Report) -> list[Sentence]:
    remedies = advice.remedies(_by_urgency(report)).get(Audience.STUDENT, [])
    steps = [sentence.with_fields(hosts=some(dict.fromkeys(names), NAMED_MOST)) for sentence, names in remedies]
    if all(map(wording.is_seen_by_server, report.results)):
        return steps
    if names_a_party(report.confidence):
        steps = list(_before_all(report, steps))
    elif len(report.results) > 1 and is_unreachable(report) and _outcomes(report) <= _NOT_ONLINE:
        steps = [Sentence(_CHECK_ONLINE)]
    if (reason := _unfollowed(report)) is not None:
        steps.insert(0, Sentence(set_route(reason)))
    if _is_portal_known(report) and not any(map(advice.is_attack, report.results)):
        steps = [Sentence(SIGN_IN_FIRST), *(step for step in steps if step.text != SIGN_IN_FIRST)]
    return steps


def _before_all(report: Report, steps: Sequence[Sentence]) -> Iterator[Sentence]:
    """Yield what comes before the advice on single hosts where something is intercepted, then that."""
    concerned = [result for result in report.results if advice.has_to_be_exempt(result)]
    if any(map(advice.is_attack, report.results)):
        yield from steps
    elif concerned and all(result.verdict is Verdict.CLEAN for result in concerned):
        names = dict.fromkeys(bare(result.endpoint.name) for result in concerned)
        yield Sentence(_LEFT_ALONE, {"hosts": some(names, NAMED_MOST)})
        yield from (step for step in steps if step.text != advice.CHECK_BY_NAME)
    else:
        yield Sentence(_DO_NOT_SEND)
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
    return advice.advise(_by_urgency(report), listed=lambda names: _some(names, most)).get(audience, [])


def _by_urgency(report: Report) -> list[Result]:
    """The results that the verdict rests on, the most urgent first."""

    def urgency(result: Result) -> tuple[bool, bool, tuple[int, int]]:
        of_exam = names_a_party(result.confidence) and advice.has_to_be_exempt(result)
        return not advice.is_attack(result), not of_exam, gravity(result)

    return sorted((one for one in report.results if one.verdict is report.verdict), key=urgency)


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
    unproven = [one for one in results if one.confidence is not Confidence.PROVEN]
    if total == 1:
        number, listed = hosts(results), ""
    elif 0 < len(unproven) < len(results):
        number = f"{len(party.endpoints)} of {total} hosts ({len(unproven)} of them very probably)"
    else:
        number = f"{len(party.endpoints)} of {total} hosts"
    verb = "very probably intercepts" if len(unproven) == len(results) else "intercepts"
    yield f"It {verb} {number}{listed and f': {listed}'}."
    yield _PLACE[party.locality]
    yield _other_explanations(unproven, of=len(results))


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
            said = tuple(filter(None, (wording.cause(result), _other_explanations([result]))))
            groups.setdefault(said, []).append(result)
    return [Doubt(hosts(results), said) for said, results in groups.items()]


def rows(report: Report) -> list[Row]:
    """One row for each category, and for each state where a category has several."""
    found = []
    for category, words in CATEGORIES.items():
        groups: dict[str, list[Result]] = {}
        for result in sorted((r for r in report.results if r.endpoint.category is category), key=gravity):
            groups.setdefault(wording.state_of(result), []).append(result)
        for number, (state, results) in enumerate(groups.items()):
            most = NAMED_MOST if results[0].verdict is Verdict.CLEAN else ROW_MOST
            counted = state if len(results) == 1 else f"{len(results)} {state}"
            found.append(Row("" if number else words, counted, hosts(results, most), results[0]))
    return found


def gravity(found: Report | Result) -> tuple[int, int]:
    """Sort key: the most serious first."""
    order = [Verdict.MIDDLEWARE, Verdict.INCONCLUSIVE, Verdict.CLEAN]
    return order.index(found.verdict), -([None, *Confidence].index(found.confidence))


def basis(report: Report, language: str = ENGLISH) -> str:
    """How it is known of clean hosts that they are, each word with what it means; empty where none is clean."""
    counted = Counter(result.assurance for result in report.results if result.assurance)
    messages = Messages.of(language)
    kinds = [Sentence(text, {"count": counted[kind]}) for kind, text in _ASSURED.items() if counted[kind]]
    return messages.say(Sentence(_CLEAN_HOSTS, {"kinds": "; ".join(map(messages.say, kinds))})) if kinds else ""


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
    return _said(some(names, most))


def _said(words: Sentence | str) -> str:
    """Words in English."""
    return Messages.of(ENGLISH).say(words) if isinstance(words, Sentence) else words


def bare(name: str) -> str:
    """The name of an endpoint as people write it: without the port where it is 443."""
    return name.removesuffix(":443")


def _listed(words: Sequence[str], conjunction: str = "and") -> str:
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
