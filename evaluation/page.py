"""The page of error rates: counts and residuals as Markdown. Pure.

Every wrong answer of the detector is listed, every doubtful one is listed or counted by its reason. The decision table
explains the reasons.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector import Confidence, Verdict
from detector.judge.table import RULE_OF

from . import ages, baselines, corpora, engines, forms, honest, innocent, lab, limits, misissuing, ours, scenarios
from . import portal_detector as package
from .material import Answer, Reply, Truth
from .past import UPDATED

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from detector.model import Reason

CAPTURED: Final = frozenset({corpora.GENUINE_CAPTURES, corpora.GENUINE_TO_OLD_COPIES, corpora.FORGED_CAPTURES})
"""Groups that come from a folder."""

MATERIAL: Final[dict[str, str]] = {
    corpora.GENUINE_CAPTURES: "Chains served by real sites, assessed at the date of capture (day after issue where "
    "none is recorded), with the roots and the logs of that day. With pins: those learned from every other capture of "
    "the same site, the worst answer counts.",
    corpora.GENUINE_TO_OLD_COPIES: "The same chains at the same dates, with the roots and the logs of 6, 12 and 24 "
    "months before. The machine's store is as old, or has the roots that came since, as shipped or of unknown origin; "
    "the roots of the endpoint are stated or nothing is known of it. The worst answer counts. Leaves recorded "
    "without their chain are left out.",
    corpora.FORGED_CAPTURES: "Leaves that mitmproxy forged, from its own recorded test data.",
    engines.ENGINES: "Generated after the habits of forging engines; the products themselves were not run.",
    engines.COPIED: "Generated: forgeries that copy what a genuine certificate has.",
    engines.ODD: "Generated: odd validity, and leaves with one encoding fault each.",
    misissuing.TRICKS: "Generated: interceptors below a public root, with what could pass for public logging.",
    ages.WITH_UPDATE.format(
        ages.OLD_FORGED
    ): "The same interceptors, seen by the same copies with the update of today.",
    forms.FORGED_FORMS: "Generated: forgeries whose signatures are, or claim to be, of a kind that is hard to verify.",
    ages.OLD_FORGED: "Generated: interceptors that date and timestamp for copies of this package that are out of date.",
    honest.HONEST: "Generated: ordinary servers.",
    honest.ANOMALY: "Generated: what goes wrong without anybody in the middle.",
    honest.PRIVATE: "Generated: private PKI and self-signed servers, declared and not.",
    forms.GENUINE_FORMS: "Generated: genuine chains whose signatures are of a kind that is hard to verify.",
    ages.OLD_GENUINE: "Generated: honest networks as a copy sees them that was made before a root or all logs came "
    "into use; what the operating system trusts is another question than what the copy knows.",
    ages.WITH_UPDATE.format(ages.OLD_GENUINE): "The same networks, seen by the same copies with the update of today: "
    "their data set is made as an update brings it, and the machine is unchanged.",
    innocent.DEVELOPERS: "Generated: development CAs in use, and interception CAs that are installed and not in use.",
    innocent.APPLIANCES: "Generated: administration and sign-in pages of appliances, under public and private names.",
    innocent.INSTITUTIONS: "Generated: one institution's own CA, on all the names that it has.",
    innocent.HOSTERS: "Generated: what hosters and platforms show for customers who did not bring a certificate.",
    innocent.PORTALS: "Generated: somebody else's certificate in place of the host's, before people have signed in.",
    scenarios.ORIGINS: "Sockets on loopback, our whole pipeline.",
    scenarios.BOXES: "The package's own forging middlebox on loopback, in each of its modes.",
    scenarios.PORTALS: "Servers on loopback that answer for every host with one certificate of their own.",
    scenarios.LIARS: "Scripted servers that replay, cut, corrupt or present what is no certificate.",
    scenarios.MITMPROXY: "The real mitmproxy, in the modes that need no privileges and that HTTP proxy or direct "
    "routes reach (transparent, local and WireGuard need privileges).",
    scenarios.OUTAGES: "Servers and proxies that show no certificate.",
    limits.GROUP: "Worlds in which this version answers wrongly, each with its reason, and what ends the mistake. Not "
    "part of the second table.",
}

_SELECTED: Final = (
    "A generated case is listed as a residual **because** the detector answers it wrongly, so that for generated "
    "material this table holds no wrong answer of the detector by selection. It shows what is left of the other "
    "methods' faults, and that captures and live scenarios, from which nothing was taken out, add none. The table "
    "above is the one to quote."
)
"""How to read the second table."""

FORGED: Final = frozenset(
    {engines.ENGINES, engines.COPIED, engines.ODD, scenarios.BOXES, scenarios.MITMPROXY, scenarios.LIARS}
)
"""Groups whose answers are broken down by what is known of the endpoint."""

KNOWN: Final[dict[str, str]] = {
    lab.ALONE: "nothing",
    scenarios.UNKNOWN: "nothing",
    lab.NETWORK: "nothing, three operators",
    engines.CANARIES: "nothing, two canaries intercepted alike",
    engines.THE_CANARIES: "the canaries of that follow-up",
    engines.MANAGED: "nothing, CA installed by policy",
    lab.STATED: "public roots stated",
    scenarios.STATED: "public roots stated",
    lab.PINNED: "learned pins",
    scenarios.PINS: "learned pins",
}
"""Settings by what is known of the endpoint."""


class Facts(NamedTuple):
    """The facts about a run."""

    command: str
    date: dt.date
    versions: Mapping[str, str]
    notes: Sequence[str]


def counted(replies: Iterable[Reply]) -> list[Reply]:
    """The replies that rates are taken of: worlds that are met again after an update would dilute them."""
    again = {ages.WITH_UPDATE.format(group) for group in (ages.OLD_GENUINE, ages.OLD_FORGED)}
    return [
        one for one in replies if one.group not in again and not one.setting.endswith((UPDATED, limits.AFTER_UPDATE))
    ]


def count(replies: Iterable[Reply]) -> dict[str, Counter[tuple[Truth, Answer]]]:
    """Count answers by method, truth and answer."""
    table: dict[str, Counter[tuple[Truth, Answer]]] = defaultdict(Counter)
    for one in replies:
        table[one.method][one.truth, one.answer] += 1
    return dict(table)


def write(facts: Facts, replies: Sequence[Reply], why_limits: Mapping[str, str]) -> str:
    """Return the whole page."""
    findable = [one for one in replies if one.group != limits.GROUP]
    limited = [one for one in replies if one.group == limits.GROUP]
    parts = [_head(facts), _definitions(), "## Results", "### Everything", _summary(counted(replies))]
    if limited:
        parts += ["### Without the residuals", _SELECTED, _summary(counted(findable))]
    parts += [_captured(findable), _updates(findable), _by_knowledge(findable)]
    parts.append(_residuals(findable, limited, why_limits))
    parts.append("## By class\n\nEmpty of faults: `ok`. A wrong answer is bold.")
    for group in dict.fromkeys(one.group for one in replies):
        parts.append(_class_table(group, [one for one in replies if one.group == group]))
    parts.append(_methods({one.method for one in replies}))
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
        "also where it lacks what it needs). Where another server answers, a portal for one, both accusing and "
        "clearing are wrong, and from servers that showed no certificate any conclusion is. "
        "Generated families are chosen, not sampled: their rates say what a method does with such a case, not how "
        "often the case occurs. How often *issuer keywords* misses is a matter of the CA names chosen here: products "
        "bear their own, everything else a neutral one. Nothing was fetched over AIA, no HTTP date asked for (as with "
        "`--offline`), control requests are answered only where a world says so, and the detector knew of no root "
        "installed on the machine unless said so. `detector` follows up with two canaries by itself when something is "
        "not cleared; here they are part of the worlds that name them. Worlds that are met again after an update are "
        "in tables of their own and count in no rate."
    )


def _share(part: int, whole: int) -> str:
    return "-" if not whole else f"{part} ({part / whole:.1%})" if part else "0"


def _summary(replies: Sequence[Reply]) -> str:
    rows = []
    for method, counts in count(replies).items():
        cells = [method]
        for truth, wrong in ((Truth.GENUINE, Answer.ACCUSED), (Truth.INTERCEPTED, Answer.CLEAN)):
            whole = sum(number for (of, _), number in counts.items() if of is truth)
            cells += [
                _share(counts[truth, wrong], whole),
                _share(counts[truth, Answer.POSSIBLE], whole),
                _share(counts[truth, Answer.NOTHING], whole),
                str(whole),
            ]
        for truth in (Truth.ANOTHER_SERVER, Truth.OUTAGE):
            whole = sum(number for (of, _), number in counts.items() if of is truth)
            cells.append(f"{counts[truth, Answer.ACCUSED] + counts[truth, Answer.CLEAN]} of {whole}")
        rows.append("| " + " | ".join(cells) + " |")
    return (
        "| method | genuine: falsely accused | possible | no answer | of | intercepted: missed | possible | no answer "
        "| of | another server: accused or cleared | outage: accused or cleared |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _captured(replies: Sequence[Reply]) -> str:
    """Return the table of captured chains, and what was not cleared without pins."""
    genuine = {corpora.GENUINE_CAPTURES, corpora.GENUINE_TO_OLD_COPIES}
    captured = [one for one in replies if one.method == ours.METHOD and one.group in genuine]
    if not captured:
        return ""
    rows = []
    for setting in dict.fromkeys(one.setting for one in captured):
        answers = [one for one in captured if one.setting == setting]
        counted = [sum(one.answer is answer for one in answers) for answer in Answer]
        rows.append(f"| {setting} | " + " | ".join(map(str, (*counted, len(answers)))) + " |")
    text = (
        f"### Captured chains\n\nGenuine chains of {len({one.host for one in captured})} hosts. Captures of one host "
        "are not independent of each other, so no confidence interval is given.\n\n"
        "| | " + " | ".join(Answer) + " | of |\n|" + "---|" * (len(Answer) + 2) + "\n" + "\n".join(rows)
    )
    other = [one for one in captured if one.setting == corpora.NO_PINS and one.answer is not Answer.CLEAN]
    return text + (f"\n\nNot cleared without pins:\n\n{_lines(other)}" if other else "")


def _updates(replies: Sequence[Reply]) -> str:
    """Return the table of generated worlds that out-of-date copies meet, without and with an update."""
    rows = []
    for group, truth in ((ages.OLD_GENUINE, "genuine"), (ages.OLD_FORGED, "intercepted")):
        for months in ages.AGES:
            for named, updated in ((group, "no"), (ages.WITH_UPDATE.format(group), "yes")):
                answers = [
                    one.answer
                    for one in replies
                    if one.method == ours.METHOD and one.group == named and one.name.startswith(f"{months} months")
                ]
                counted = " | ".join(str(answers.count(answer)) for answer in Answer)
                rows.append(f"| {truth} | {months} months | {updated} | {counted} | {len(answers)} |")
    if not any(one.group == ages.OLD_GENUINE for one in replies):
        return ""
    return (
        "### What an update changes\n\n"
        "Generated worlds in which a root, or every log, is newer than the copy of the package. Each is met by the "
        "copy unchanged, and by the same copy on the same machine with the data set of today. What stays possible then "
        "are pins of another CA and forgotten intermediates, of which no list of roots or logs knows more.\n\n"
        "| truth | copy | updated | "
        + " | ".join(Answer)
        + " | of |\n|"
        + "---|" * (len(Answer) + 4)
        + "\n"
        + "\n".join(rows)
    )


def _by_knowledge(replies: Sequence[Reply]) -> str:
    """Return the table of confidence in forgeries, by what is known of the endpoint."""
    columns = [*reversed(Confidence), Verdict.INCONCLUSIVE, Verdict.CLEAN]
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for one in replies:
        known = KNOWN.get(one.setting)
        if one.result and known and one.group in FORGED and one.truth is Truth.INTERCEPTED:
            table[known][one.result.confidence or one.result.verdict] += 1
    if not table:
        return ""
    rows = [f"| {known} | " + " | ".join(str(table[known][column]) for column in columns) + " |" for known in table]
    return (
        "### How sure it is of a forgery, by what is known of the endpoint\n\n"
        "Generated engines, live middleboxes, misbehaving servers and mitmproxy. A network's verdict is its gravest "
        "endpoint's: with canaries, theirs.\n\n"
        "| known | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1) + "\n" + "\n".join(rows)
    )


def _residuals(replies: Sequence[Reply], limited: Sequence[Reply], why_limits: Mapping[str, str]) -> str:
    own = [one for one in replies if one.method == ours.METHOD]
    wrong = [one for one in own if one.wrong]
    own_limited = [one for one in limited if one.method == ours.METHOD]
    lines = ["## Every residual of the detector"]
    lines.append(f"### Wrong outside the worlds below: {len(wrong)}")
    lines.append(_lines(wrong) or "None.")
    lines.append(f"### Wrong in worlds made to find it: {sum(one.wrong for one in own_limited)}")
    lines.append("What the decision table gets wrong, why, and what ends it. None was tuned away.")
    by_limit: dict[str, list[Reply]] = defaultdict(list)
    for one in own_limited:
        by_limit[one.name].append(one)
    for name, answers in by_limit.items():
        bad = sum(one.wrong for one in answers)
        lines.append(f"**{name}**: {bad} of {len(answers)} wrong. {why_limits.get(name, '')}".rstrip())
        lines.append(_lines(answers))
    if not by_limit:
        lines.append("Not run.")
    for title, truth, answer in (
        ("Genuine, called possible", Truth.GENUINE, Answer.POSSIBLE),
        ("Genuine, no answer", Truth.GENUINE, Answer.NOTHING),
        ("Intercepted, no more than possible", Truth.INTERCEPTED, Answer.POSSIBLE),
        ("Intercepted, no answer", Truth.INTERCEPTED, Answer.NOTHING),
        ("Another server, called possible", Truth.ANOTHER_SERVER, Answer.POSSIBLE),
        ("Another server, no answer", Truth.ANOTHER_SERVER, Answer.NOTHING),
    ):
        chosen = [one for one in own if one.truth is truth and one.answer is answer]
        lines.append(f"### {title}: {len(chosen)}")
        lines.append(_by_reason(chosen) or "None.")
    return "\n\n".join(lines)


def _lines(replies: Iterable[Reply]) -> str:
    return "\n".join(map(_line, replies))


def _line(one: Reply) -> str:
    mark = f"**wrong**, {one.truth}" if one.wrong else one.truth.value
    reason = f", `{one.result.reason}`" if one.result else ""
    return f"* {one.name}, {one.setting}, {one.host}: {one.detail}{reason} ({mark})"


def _by_reason(replies: Sequence[Reply]) -> str:
    """Return doubtful answers by the rule that gave them: its text once, then the cases."""
    by_reason: dict[Reason, list[Reply]] = defaultdict(list)
    for one in replies:
        if one.result is not None:
            by_reason[one.result.reason].append(one)
    lines = []
    for reason, rule in RULE_OF.items():
        answers = by_reason.get(reason, [])
        if not answers:
            continue
        alternatives = sorted({str(a) for one in answers if one.result for a in one.result.alternatives})
        named = f" Alternatives named: {', '.join(alternatives)}." if alternatives else ""
        lines.append(f"`{reason}`, {len(answers)}: {rule.why} It needs: {rule.needs}.{named}\n")
        for group in dict.fromkeys(one.group for one in answers):
            settings: dict[str, Counter[str]] = defaultdict(Counter)
            for one in answers:
                if one.group == group:
                    settings[_title(one)][one.setting] += 1
            cases = (f"{title} ({_settings(found)})" for title, found in settings.items())
            lines.append(f"* {group}: {'; '.join(cases)}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _settings(found: Counter[str]) -> str:
    """Format settings with their counts."""
    return "; ".join(name if number == 1 else f"{name}, {number} times" for name, number in found.items())


def _title(one: Reply) -> str:
    """Return the site of a capture, the name of anything else."""
    return one.host.removesuffix(":443") if one.group in CAPTURED else one.name


def _class_table(group: str, replies: Sequence[Reply]) -> str:
    captured = group in CAPTURED
    methods = list(dict.fromkeys(one.method for one in replies))
    rows: dict[str, dict[str, list[Reply]]] = defaultdict(lambda: defaultdict(list))
    for one in replies:
        rows[one.setting if captured else one.name][one.method].append(one)
    head = "| class | asked | " + " | ".join(methods) + " |\n|" + "---|" * (len(methods) + 2)
    body = [
        f"| {name} | {len(answers[methods[0]])} | " + " | ".join(_cell(answers[m]) for m in methods) + " |"
        for name, answers in rows.items()
    ]
    return f"### {group}\n\n{MATERIAL.get(group, '')}\n\n{head}\n" + "\n".join(body)


_FAULTS: Final[dict[tuple[Truth, Answer], str]] = {
    (Truth.GENUINE, Answer.ACCUSED): "accused",
    (Truth.INTERCEPTED, Answer.CLEAN): "missed",
    (Truth.ANOTHER_SERVER, Answer.ACCUSED): "accused",
    (Truth.ANOTHER_SERVER, Answer.CLEAN): "cleared",
    (Truth.OUTAGE, Answer.ACCUSED): "concluded",
    (Truth.OUTAGE, Answer.CLEAN): "concluded",
}
"""A wrong answer in one word."""


def _cell(replies: Sequence[Reply]) -> str:
    faults = Counter(fault for one in replies if (fault := _FAULTS.get((one.truth, one.answer))))
    possible = sum(one.answer is Answer.POSSIBLE for one in replies)
    nothing = sum(one.answer is Answer.NOTHING and one.truth is not Truth.OUTAGE for one in replies)
    parts = [f"**{number} {fault}**" for fault, number in faults.items()]
    parts += [f"{possible} possible"] if possible else []
    parts += [f"{nothing} no answer"] if nothing else []
    return ", ".join(parts) or "ok"


def _methods(names: set[str]) -> str:
    lines = [
        f"* **{ours.METHOD}**: the verdict of this package. `probable` and `proven` accuse.",
        *(f"* **{method.name}**: {method.meaning}" for method in baselines.METHODS if method.name in names),
    ]
    if package.METHOD in names:
        lines.append(f"* **{package.METHOD}**: {package.MEANING}")
    return (
        "## The methods\n\n" + "\n".join(lines) + "\n\n"
        "Every baseline needs a finished handshake and is silent without one. They are given the digests of the "
        "genuine certificates wherever pins are given to the detector: of the leaf for *leaf hash* and *SPKI pin, "
        "leaf*, of leaf and CAs for *SPKI pin, any*."
    )
