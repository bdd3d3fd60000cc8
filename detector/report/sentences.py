"""The two sentences that a person reads first: is traffic decrypted, by whom, where; and what to do about it.

Room: report. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from detector.advice import exempt
from detector.model import Confidence, Coverage, ManagedBy, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from detector.model import Interceptor, Report, Result

NAMED_MOST: Final = 5
"""Endpoints named in a sentence; the table below it has them all."""
ADVICE_MOST: Final = 2
"""Sentences of advice; what each endpoint needs stands in its own result."""
INTERCEPTION_ROWS: Final = 15
"""Rows of the decision table from here on have neither a public path nor a public log."""

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
    """The next step in one or two sentences."""
    if report.verdict is Verdict.CLEAN:
        return "What to do: nothing; this speaks for these endpoints, on this route, at this moment."
    advice = list(_advice(report))
    return "What to do: " + (" ".join(advice[:ADVICE_MOST]) or "check again.")


def _advice(report: Report) -> Iterator[str]:
    """Advice, most certain first; endpoints with one remedy share one sentence."""
    if report.verdict is Verdict.MIDDLEWARE and report.confidence is not Confidence.POSSIBLE:
        yield "Do not send exam data on this network."
    by_remedy: dict[object, list[Result]] = {}
    for result in report.results:
        if result.verdict is report.verdict and result.advice:
            certain = result.row >= INTERCEPTION_ROWS and result.confidence is not Confidence.POSSIBLE
            manager = result.attribution.managed_by if certain and result.attribution else None
            by_remedy.setdefault(manager or result.advice, []).append(result)
    for remedy, results in by_remedy.items():
        if isinstance(remedy, ManagedBy):
            yield exempt(remedy, list(dict.fromkeys(result.endpoint.host for result in results)))
    for remedy in by_remedy:
        if not isinstance(remedy, ManagedBy):
            yield str(remedy)


def coverage(report: Report) -> str:
    """Which categories are decrypted and which are left alone, in one sentence; empty when there is nothing to tell."""
    by_state: dict[Coverage, list[str]] = {}
    for category, state in report.coverage.items():
        by_state.setdefault(state, []).append(category)
    words = {
        Coverage.DECRYPTED: "decrypted",
        Coverage.MIXED: "partly decrypted",
        Coverage.CLEAR: "left alone",
        Coverage.UNKNOWN: "not known",
    }
    parts = [f"{word}: {', '.join(by_state[state])}" for state, word in words.items() if state in by_state]
    return f"By category: {'; '.join(parts)}." if parts else ""


def _who(interceptor: Interceptor) -> str:
    attribution = interceptor.attribution
    names = list(interceptor.endpoints)
    hosts = ", ".join(names[:NAMED_MOST]) + (f" and {len(names) - NAMED_MOST} more" if len(names) > NAMED_MOST else "")
    if attribution.product is None:
        return f"an unknown party (issuer: {attribution.issuer or 'unreadable'}) on {hosts}"
    vendor = "" if attribution.vendor in {None, attribution.product} else f" ({attribution.vendor})"
    return f"{attribution.product}{vendor} on {hosts}"


def _assurances(results: Iterable[Result]) -> str:
    counted = Counter(str(r.assurance) for r in results if r.assurance)
    return ", ".join(f"{count} {assurance}" for assurance, count in counted.most_common())
