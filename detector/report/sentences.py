"""The first sentences of a report: is TLS intercepted, by whom, where; and what to do about it.

Room: report. Pure. The wording follows confidence (`detector.judge.wording`): below `probable` nothing is called
intercepted, and nobody is named.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from detector.judge.advice import SIGN_IN_FIRST
from detector.judge.assess import names_a_party
from detector.judge.checks.captive_portal import ANSWERED_BY_ANOTHER
from detector.judge.compare import HELLO_NAME
from detector.judge.wording import has_stale_pins, is_behind_a_portal, other_route, set_route, tone, wire_outcome
from detector.model import Audience, Category, Confidence, Coverage, Hello, Route, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detector.model import Interceptor, Report, Result, UnfollowedProxy

NAMED_MOST: Final = 5
"""Endpoints named in a sentence; the table below it has them all."""
ADVICE_MOST: Final = 2
"""Sentences of advice; the advice for each endpoint is in its result."""
_HOSTS: Final = "\0"
"""Placeholder for the hosts while sentences are compared; no host name and no advice contains it."""
_CATEGORY: Final[dict[Category, str]] = {
    Category.EXAM: "exams",
    Category.LMS: "courses",
    Category.SEARCH: "search",
    Category.MAIL: "mail",
    Category.SOCIAL: "social media",
    Category.BANK: "banking",
    Category.HEALTH: "health",
    Category.CANARY: "software updates and CAs",
    Category.OTHER: "other hosts",
}
_COVERAGE: Final[dict[Coverage, str]] = {
    Coverage.DECRYPTED: "{} intercepted",
    Coverage.MIXED: "{} intercepted in part",
    Coverage.UNCERTAIN: "{} uncertain",
    Coverage.CLEAR: "{} left alone",
    Coverage.UNKNOWN: "{} without an answer",
}
_SURENESS: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "is intercepted",
    Confidence.PROBABLE: "is very probably intercepted",
    Confidence.POSSIBLE: "may be intercepted, or there is an innocent reason",
}


def headline(report: Report) -> str:
    """The verdict in one sentence: whether, by whom, on which hosts."""
    if report.verdict is Verdict.MIDDLEWARE:
        return f"MIDDLEWARE ({report.confidence}): {'; '.join(_accusations(report))}."
    total = len(report.results)
    clean = [r for r in report.results if r.verdict is Verdict.CLEAN]
    left = [r for r in report.results if r.verdict is Verdict.INCONCLUSIVE]
    if report.verdict is Verdict.CLEAN or (clean and _unfollowed(report)):
        rest = f"; {len(left)} could not be assessed" if left else ""
        where = "" if report.verdict is Verdict.CLEAN else "; but not by the route that browsers take"
        seen = f"no sign of TLS interception on {len(clean)} of {total} endpoints ({_assurances(clean)}){rest}{where}"
        return f"{report.verdict.value.upper()}: {seen}."
    reasons = Counter(wire_outcome(r) or r.reason for r in left)
    listed = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common()) or "nothing was checked"
    what = f"{len(left)} of {total} endpoints" if clean else "this network"
    return f"INCONCLUSIVE: {what} could not be assessed: {listed}."


def _unfollowed(report: Report) -> UnfollowedProxy | None:
    """Why a probe of this report did not follow the machine's proxy setting."""
    reasons = (result.unfollowed_proxy for result in report.results)
    return next((reason for reason in reasons if reason is not None), None)


def _accusations(report: Report) -> Iterable[str]:
    """Statements on the accused endpoints, the most serious first; stale pins are named as such."""
    total = len(report.results)
    accused = [r for r in report.results if r.verdict is Verdict.MIDDLEWARE]
    stale = sum(map(has_stale_pins, accused))
    for confidence in reversed(Confidence):
        found = [r for r in accused if r.confidence is confidence and not has_stale_pins(r)]
        if found:
            extent = "every endpoint checked" if len(found) == total else f"{len(found)} of {total} endpoints"
            yield f"TLS to {extent} {_SURENESS[confidence]}{_by(report, found) if names_a_party(confidence) else ''}"
    if stale:
        yield f"the pins of {stale} of {total} endpoints are probably stale"
    if not report.results:  # a run of which only the header was kept
        yield f"TLS on this network {_SURENESS[report.confidence or Confidence.POSSIBLE]}"


def _by(report: Report, found: Sequence[Result]) -> str:
    names = {result.endpoint.name for result in found}
    parties = [(party, [name for name in party.endpoints if name in names]) for party in report.interceptors]
    listed = "; ".join(_who(party, endpoints) for party, endpoints in parties if endpoints)
    return f" by {listed}" if listed else ""


def what_to_do(report: Report) -> str:
    """The student's next step in one or two sentences."""
    if report.verdict is Verdict.CLEAN:
        return "What to do: nothing. This result covers only these endpoints, this route and this moment."
    advice = advice_for(report, Audience.STUDENT)
    if (reason := _unfollowed(report)) is not None:
        advice.insert(0, set_route(reason))
    if names_a_party(report.confidence):
        advice.insert(0, "Do not send exam data on this network.")
    if _is_portal_known(report):
        advice = [SIGN_IN_FIRST, *(sentence for sentence in advice if sentence != SIGN_IN_FIRST)]
    return "What to do: " + (" ".join(advice[:ADVICE_MOST]) or "check again.")


def _is_portal_known(report: Report) -> bool:
    """Whether a sign-in page answers on this network: until the user signs in, nothing else can be assessed."""
    by_request = report.portal is not None and report.portal.outcome in ANSWERED_BY_ANOTHER
    return by_request or any(map(is_behind_a_portal, report.results))


def advice_for(report: Report, audience: Audience) -> list[str]:
    """What one audience can do, most certain first; endpoints with the same remedy share a sentence."""
    order = [Confidence.PROVEN, Confidence.PROBABLE, Confidence.POSSIBLE, None]
    hosts_by_remedy: dict[str, list[str]] = {}
    for result in sorted(report.results, key=lambda r: order.index(r.confidence)):
        if result.verdict is report.verdict and audience in result.advice_for:
            host = result.endpoint.host
            remedy = result.advice_for[audience].replace(host, _HOSTS)
            hosts_by_remedy.setdefault(remedy, []).append(host)
    return [remedy.replace(_HOSTS, ", ".join(dict.fromkeys(hosts))) for remedy, hosts in hosts_by_remedy.items()]


def coverage(report: Report) -> str:
    """The state of each category, in one sentence; empty if there is nothing to report."""
    if report.verdict is Verdict.CLEAN or not report.coverage:
        return ""
    by_state: dict[Coverage, list[str]] = {}
    for category, state in report.coverage.items():
        by_state.setdefault(state, []).append(_CATEGORY[category])
    parts = [said.format(_listed(by_state[state])) for state, said in _COVERAGE.items() if state in by_state]
    unfollowed = _unfollowed(report)
    return " ".join((f"By category: {'; '.join(parts)}.", *([] if unfollowed is None else [other_route(unfollowed)])))


def hellos(report: Report) -> str:
    """The ClientHellos that the results rest on, in one sentence; empty where all are a browser's over TCP."""
    seen = (r.observation for r in report.results if r.observation.route is not Route.QUIC)
    counted = Counter(one.hello for one in seen if one.chain)
    if not counted.keys() - {Hello.BROWSER}:
        return ""
    return f"Presented to {', '.join(f'{HELLO_NAME[hello]} ({count})' for hello, count in counted.most_common())}."


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _who(party: Interceptor, endpoints: Sequence[str]) -> str:
    more = f" and {len(endpoints) - NAMED_MOST} more" if len(endpoints) > NAMED_MOST else ""
    hosts = ", ".join(endpoints[:NAMED_MOST]) + more
    if party.product is None:
        return f"an unknown party (issuer: {party.issuer or 'unreadable'}) on {hosts}"
    vendor = "" if party.vendor in {None, party.product} else f" ({party.vendor})"
    return f"{party.product}{vendor} on {hosts}"


def _assurances(results: Iterable[Result]) -> str:
    counted = Counter(str(r.assurance) for r in results if r.assurance)
    return ", ".join(f"{count} {assurance}" for assurance, count in counted.most_common())


def mark(verdict: Verdict, confidence: Confidence | None) -> str:
    """The symbol for a verdict, which does not depend on color."""
    return {"clean": "✓", "intercepted": "✗", "uncertain": "?"}[tone(verdict, confidence)]
