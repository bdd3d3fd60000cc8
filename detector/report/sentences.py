"""The two sentences that a person reads first: is traffic decrypted, by whom, where; and what to do about it.

Room: report. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from detector.model import Audience, Category, Confidence, Coverage, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.model import Interceptor, Report, Result

NAMED_MOST: Final = 5
"""Endpoints named in a sentence; the table below it has them all."""
ADVICE_MOST: Final = 2
"""Sentences of advice; what each endpoint needs stands in its own result."""
_HOSTS: Final = "\0"
"""Stands for the hosts in a sentence while sentences are compared; no host name and no advice contains it."""
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
    Coverage.DECRYPTED: "decrypts {}",
    Coverage.MIXED: "decrypts some of {}",
    Coverage.CLEAR: "leaves {} alone",
    Coverage.UNKNOWN: "gave no answer on {}",
}

_SURENESS: Final[dict[str, str]] = {
    "proven": "is decrypted",
    "probable": "is very probably decrypted",
    "possible": "may be decrypted, or there is an innocent reason",
}


def headline(report: Report) -> str:
    """The verdict in one sentence: whether, by whom, on which hosts."""
    total = len(report.results)
    if report.verdict is Verdict.MIDDLEWARE:
        accused = [r for r in report.results if r.verdict is Verdict.MIDDLEWARE]
        by = "; ".join(map(_who, report.interceptors))
        extent = "every endpoint checked" if report.scope is Scope.ALL else f"{len(accused)} of {total} endpoints"
        sureness = _SURENESS[report.confidence or "possible"]
        return f"MIDDLEWARE ({report.confidence}): TLS to {extent} {sureness}{' by ' + by if by else ''}."
    if report.verdict is Verdict.CLEAN:
        clean = [r for r in report.results if r.verdict is Verdict.CLEAN]
        left = f"; {total - len(clean)} could not be judged" if len(clean) < total else ""
        return f"CLEAN: no sign of decryption on {len(clean)} of {total} endpoints ({_assurances(clean)}){left}."
    reasons = Counter(
        r.observation.outcome if r.reason == "no-certificate" else r.reason
        for r in report.results
        if r.verdict is Verdict.INCONCLUSIVE
    )
    told = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common()) or "nothing was checked"
    return f"INCONCLUSIVE: this network could not be judged: {told}."


def what_to_do(report: Report) -> str:
    """The student's next step in one or two sentences."""
    if report.verdict is Verdict.CLEAN:
        return "What to do: nothing; this speaks for these endpoints, on this route, at this moment."
    advice = advice_for(report, Audience.STUDENT)
    if report.verdict is Verdict.MIDDLEWARE and report.confidence is not Confidence.POSSIBLE:
        advice.insert(0, "Do not send exam data on this network.")
    return "What to do: " + (" ".join(advice[:ADVICE_MOST]) or "check again.")


def advice_for(report: Report, audience: Audience) -> list[str]:
    """What one audience can do, most certain first; endpoints with one remedy share a sentence."""
    order = [Confidence.PROVEN, Confidence.PROBABLE, Confidence.POSSIBLE, None]
    hosts_by_remedy: dict[str, list[str]] = {}
    for result in sorted(report.results, key=lambda r: order.index(r.confidence)):
        if result.verdict is report.verdict and audience in result.advice_for:
            host = result.endpoint.host
            remedy = result.advice_for[audience].replace(host, _HOSTS)
            hosts_by_remedy.setdefault(remedy, []).append(host)
    return [remedy.replace(_HOSTS, ", ".join(dict.fromkeys(hosts))) for remedy, hosts in hosts_by_remedy.items()]


def coverage(report: Report) -> str:
    """Which categories are decrypted and which are left alone, in one sentence; empty when there is nothing to tell."""
    by_state: dict[Coverage, list[str]] = {}
    for category, state in report.coverage.items():
        by_state.setdefault(state, []).append(_CATEGORY[category])
    if report.verdict is Verdict.CLEAN or not report.coverage:
        return ""
    parts = [said.format(_listed(by_state[state])) for state, said in _COVERAGE.items() if state in by_state]
    return f"This network {', '.join(parts)}."


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _who(interceptor: Interceptor) -> str:
    names = list(interceptor.endpoints)
    hosts = ", ".join(names[:NAMED_MOST]) + (f" and {len(names) - NAMED_MOST} more" if len(names) > NAMED_MOST else "")
    if interceptor.product is None:
        return f"an unknown party (issuer: {interceptor.issuer or 'unreadable'}) on {hosts}"
    vendor = "" if interceptor.vendor in {None, interceptor.product} else f" ({interceptor.vendor})"
    return f"{interceptor.product}{vendor} on {hosts}"


def _assurances(results: Iterable[Result]) -> str:
    counted = Counter(str(r.assurance) for r in results if r.assurance)
    return ", ".join(f"{count} {assurance}" for assurance, count in counted.most_common())
