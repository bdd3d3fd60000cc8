"""The page of error rates: counts and residuals as Markdown.

Room: scripts. Pure: answers in, text out. Nothing is left out here: every wrong answer of the detector is listed, every
doubtful one is listed or counted by its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from . import baselines, corpora, families, limits, ours, portal_detector, scenarios
from .material import Answer, Said, Truth

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

WHY_ROW: Final[dict[int, str]] = {
    1: "no certificate was seen, so nothing can be said",
    4: "the handshake ended before the key was proved; a genuine chain alone clears nothing",
    8: "the clock is wrong and the verdict would rest on dates",
    9: "a public certificate for another name: a captive portal, a block page and a misconfigured server look alike",
    11: "public and logged, but not what is pinned: nearly always stale pins, which is why it is no more than possible",
    12: "public, not logged, and not what is pinned or the same issuer on unrelated operators",
    13: "public, and no SCT in the certificate; it may have come by another way",
    14: "public, logging unknown, and not what is pinned",
    16: "the issuer is not at hand and the leaf carries SCTs of known logs, which cannot be checked without it",
    18: "the issuer's name is shaped like one that was accused on this network",
    19: "a private chain without pins and without an accused neighbour: private PKI, a self-signed server and an "
    "interceptor present the same",
}
"""Why a row of the decision table leaves doubt. Said once here rather than beside each of the endpoints."""

CAPTURED: Final = frozenset({corpora.GENUINE_CAPTURES, corpora.FORGED_CAPTURES})
"""Groups that come from a folder."""

MATERIAL: Final[dict[str, str]] = {
    corpora.GENUINE_CAPTURES: "Chains served by real sites, judged at the date of capture (day after issue where none "
    "is recorded). With pins: those learned from every other capture of the same site, the worst answer counts.",
    corpora.FORGED_CAPTURES: "Leaves that mitmproxy forged, from its own recorded test data.",
    families.ENGINES: "Generated after the habits of forging engines; the products themselves were not run.",
    families.COPIED: "Generated: forgeries that copy what a genuine certificate has.",
    families.ODD: "Generated: odd validity, and leaves with one encoding fault each.",
    families.HONEST: "Generated: ordinary servers.",
    families.ANOMALY: "Generated: what goes wrong without anybody in the middle.",
    families.PRIVATE: "Generated: private PKI and self-signed servers, declared and not.",
    scenarios.ORIGINS: "Sockets on loopback, our whole pipeline.",
    scenarios.BOXES: "The package's own forging middlebox on loopback, in each of its modes; portals.",
    scenarios.LIARS: "Scripted servers that replay, cut, corrupt or present what is no certificate.",
    scenarios.MITMPROXY: "The real mitmproxy, in the modes that need no privileges and that HTTP proxy or direct "
    "routes reach (transparent, local and WireGuard need privileges; SOCKS is not a route of this version).",
    scenarios.OUTAGES: "Servers and proxies that show no certificate.",
    limits.GROUP: "Worlds in which this version answers wrongly, each with its reason. Not part of the first table.",
}


_SELECTED: Final = (
    "A generated case is listed as a limit **because** the detector answers it wrongly, so that for generated material "
    "this table holds no wrong answer of the detector by selection. It is here to show what is left of the other "
    "methods' faults, and that captures and live scenarios, from which nothing was taken out, add none. The table "
    "above is the one to quote."
)
"""What the second table is worth."""


class Facts(NamedTuple):
    """What the page says about how it came to be."""

    command: str
    date: dt.date
    versions: Mapping[str, str]
    notes: Sequence[str]


def count(said: Iterable[Said]) -> dict[str, Counter[tuple[Truth, Answer]]]:
    """Answers by method, truth and answer."""
    table: dict[str, Counter[tuple[Truth, Answer]]] = defaultdict(Counter)
    for one in said:
        table[one.method][one.truth, one.answer] += 1
    return dict(table)


def write(facts: Facts, said: Sequence[Said], why_limits: Mapping[str, str]) -> str:
    """The whole page."""
    findable = [one for one in said if one.group != limits.GROUP]
    limited = [one for one in said if one.group == limits.GROUP]
    parts = [_head(facts), _definitions(), "## Results", "### Everything", _summary(said)]
    if limited:
        parts += ["### Without the worlds listed as limits", _SELECTED, _summary(findable)]
    parts.append(_captured(findable))
    parts.append(_residuals(findable, limited, why_limits))
    parts.append("## By class\n\nEmpty of faults: `ok`. A wrong answer is bold.")
    for group in dict.fromkeys(one.group for one in said):
        parts.append(_class_table(group, [one for one in said if one.group == group]))
    parts.append(_methods({one.method for one in said}))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(facts: Facts) -> str:
    versions = "\n".join(f"| {name} | {version} |" for name, version in facts.versions.items())
    notes = "".join(f"\n* {note}" for note in facts.notes)
    return (
        "# How often it is wrong\n\n"
        f"Written on {facts.date} by\n\n```sh\n{facts.command}\n```\n\n"
        f"| | version |\n|---|---|\n{versions}" + (f"\n\nNotes on this run:\n{notes}" if notes else "")
    )


def _definitions() -> str:
    return (
        "## What is counted\n\n"
        "One endpoint in one setting is one question. **False accusation**: the truth is genuine and the answer is "
        "middleware at `probable` or above. **Missed**: the truth is intercepted and the answer is clean. `possible`, "
        "which names an innocent reading, is counted by itself, and so is no answer (`inconclusive`; for a baseline, "
        "also where it lacks what it needs). From servers that showed no certificate any conclusion is wrong. "
        "Generated families are chosen, not sampled: their rates say what a method does with such a case, not how "
        "often the case occurs. How often *issuer keywords* misses is a matter of the CA names chosen here: products "
        "bear their own, everything else a neutral one. Nothing was fetched over AIA, no control request was made and "
        "no HTTP date asked for (as with `--offline`), and the detector was told of no "
        "root installed on the machine unless said so."
    )


def _share(part: int, whole: int) -> str:
    return "-" if not whole else f"{part} ({part / whole:.1%})" if part else "0"


def _summary(said: Sequence[Said]) -> str:
    rows = []
    for method, counts in count(said).items():
        cells = [method]
        for truth, wrong in ((Truth.GENUINE, Answer.ACCUSED), (Truth.INTERCEPTED, Answer.CLEAN)):
            whole = sum(number for (of, _), number in counts.items() if of is truth)
            cells += [
                _share(counts[truth, wrong], whole),
                _share(counts[truth, Answer.POSSIBLE], whole),
                _share(counts[truth, Answer.NOTHING], whole),
                str(whole),
            ]
        whole = sum(number for (of, _), number in counts.items() if of is Truth.OUTAGE)
        cells.append(f"{whole - counts[Truth.OUTAGE, Answer.NOTHING]} of {whole}")
        rows.append("| " + " | ".join(cells) + " |")
    return (
        "| method | genuine: falsely accused | possible | no answer | of | intercepted: missed | possible | no answer "
        "| of | concluded from an outage |\n|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _captured(said: Sequence[Said]) -> str:
    """The one group that nobody in this project chose or made: its own sentence."""
    captured = [
        one
        for one in said
        if one.method == ours.METHOD and one.group == corpora.GENUINE_CAPTURES and one.setting == corpora.NO_PINS
    ]
    if not captured:
        return ""
    sites = len({one.host for one in captured})
    return (
        f"Of the {len(captured)} genuine chains captured from {sites} hosts, without pins, the detector falsely "
        f"accused {sum(one.wrong for one in captured)}. Captures of one host are not independent of each other, so no "
        "confidence interval is given."
    )


def _residuals(said: Sequence[Said], limited: Sequence[Said], why_limits: Mapping[str, str]) -> str:
    own = [one for one in said if one.method == ours.METHOD]
    wrong = [one for one in own if one.wrong]
    lines = ["## Every residual of the detector"]
    lines.append(f"### Wrong outside the limits: {len(wrong)}")
    lines += [_line(one) for one in wrong] or ["None."]
    at_limits = sum(one.wrong for one in limited if one.method == ours.METHOD)
    lines.append(f"### Wrong at the limits: {at_limits}")
    lines.append("Worlds made to find wrong answers, and why the decision table gives them. None was tuned away.")
    by_limit: dict[str, list[Said]] = defaultdict(list)
    for one in limited:
        if one.method == ours.METHOD:
            by_limit[one.name].append(one)
    for name, answers in by_limit.items():
        bad = [one for one in answers if one.wrong]
        lines.append(f"**{name}**: {len(bad)} of {len(answers)} wrong. {why_limits.get(name, '')}".rstrip())
        lines.append("\n".join(_line(one) for one in answers))
    if not by_limit:
        lines.append("Not run.")
    for title, truth, answer in (
        ("Genuine, called possible", Truth.GENUINE, Answer.POSSIBLE),
        ("Genuine, no answer", Truth.GENUINE, Answer.NOTHING),
        ("Intercepted, no more than possible", Truth.INTERCEPTED, Answer.POSSIBLE),
        ("Intercepted, no answer", Truth.INTERCEPTED, Answer.NOTHING),
    ):
        chosen = [one for one in own if one.truth is truth and one.answer is answer]
        lines.append(f"### {title}: {len(chosen)}")
        lines.append(_by_row(chosen) or "None.")
    return "\n\n".join(lines)


def _line(one: Said) -> str:
    mark = f"**wrong**, {one.truth}" if one.wrong else one.truth.value
    row = f", row {one.result.row}" if one.result else ""
    return f"* {one.name}, {one.setting}, {one.host}: {one.detail}{row} ({mark})"


def _by_row(said: Sequence[Said]) -> str:
    """Doubtful answers by the row that gave them: the reason once, then what it befell."""
    by_row: dict[int, list[Said]] = defaultdict(list)
    for one in said:
        if one.result is not None:
            by_row[one.result.row].append(one)
    lines = []
    for row, answers in sorted(by_row.items()):
        alternatives = sorted({str(a) for one in answers if one.result for a in one.result.alternatives})
        named = f" Alternatives named: {', '.join(alternatives)}." if alternatives else ""
        lines.append(f"Row {row}, {len(answers)}: {WHY_ROW.get(row, 'see docs/decisions.md')}.{named}\n")
        for group in dict.fromkeys(one.group for one in answers):
            cases = Counter(f"{_title(one)} ({one.setting})" for one in answers if one.group == group)
            told = "; ".join(name if number == 1 else f"{name}, {number} times" for name, number in cases.items())
            lines.append(f"* {group}: {told}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _title(one: Said) -> str:
    """Captures by their site, everything else by its name."""
    return one.host.removesuffix(":443") if one.group in CAPTURED else one.name


def _class_table(group: str, said: Sequence[Said]) -> str:
    captured = group in CAPTURED
    methods = list(dict.fromkeys(one.method for one in said))
    rows: dict[str, dict[str, list[Said]]] = defaultdict(lambda: defaultdict(list))
    for one in said:
        rows[one.setting if captured else one.name][one.method].append(one)
    head = "| class | asked | " + " | ".join(methods) + " |\n|" + "---|" * (len(methods) + 2)
    body = [
        f"| {name} | {len(answers[methods[0]])} | " + " | ".join(_cell(answers[m]) for m in methods) + " |"
        for name, answers in rows.items()
    ]
    return f"### {group}\n\n{MATERIAL.get(group, '')}\n\n{head}\n" + "\n".join(body)


def _cell(said: Sequence[Said]) -> str:
    accused = sum(one.wrong and one.truth is Truth.GENUINE for one in said)
    missed = sum(one.wrong and one.truth is Truth.INTERCEPTED for one in said)
    concluded = sum(one.wrong and one.truth is Truth.OUTAGE for one in said)
    possible = sum(one.answer is Answer.POSSIBLE for one in said)
    nothing = sum(one.answer is Answer.NOTHING and one.truth is not Truth.OUTAGE for one in said)
    parts = [
        f"**{accused} accused**" if accused else "",
        f"**{missed} missed**" if missed else "",
        f"**{concluded} concluded**" if concluded else "",
        f"{possible} possible" if possible else "",
        f"{nothing} no answer" if nothing else "",
    ]
    return ", ".join(filter(None, parts)) or "ok"


def _methods(names: set[str]) -> str:
    lines = [
        "## The methods",
        f"* **{ours.METHOD}**: the verdict of this package. `probable` and `proven` accuse.",
        *(f"* **{method.name}**: {method.meaning}" for method in baselines.METHODS if method.name in names),
    ]
    if portal_detector.METHOD in names:
        lines.append(f"* **{portal_detector.METHOD}**: {portal_detector.MEANING}")
    lines.append(
        "Every baseline needs a finished handshake and is silent without one. They are given the digests of the "
        "genuine certificates wherever pins are given to the detector: of the leaf for *leaf hash* and *SPKI pin, "
        "leaf*, of leaf and CAs for *SPKI pin, any*."
    )
    return "\n".join(lines[:-1]).replace("## The methods\n", "## The methods\n\n") + "\n\n" + lines[-1]
