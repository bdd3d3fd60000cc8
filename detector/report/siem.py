"""Results for security monitoring: Elastic Common Schema, OCSF, ArcSight CEF, SARIF, and RFC 5424 syslog.

Room: report. Pure. docs/siem.md lists every field with the source that defines it; a test compares.

Each line is one endpoint. Like all texts, these follow confidence: below `probable` nothing is an alert and no party is
named. Everything that comes from certificates is text of somebody else's: it is bounded, and each format's own escaping
keeps it in its field. Nothing about the machine or its user is in an event but the name that the caller gave the place.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - a record of this module
import json
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.judge import wording
from detector.judge.table import RULE_OF
from detector.model import Audience, Confidence, Verdict
from detector.version import VERSION

from .sentences import headline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detector.model import Report, Result

PRODUCT: Final = "tls-middleware-detector"
ECS_VERSION: Final = "8.17.0"
"""Version of the Elastic Common Schema whose fields these are."""
OCSF_VERSION: Final = "1.5.0"
"""Version of the Open Cybersecurity Schema Framework, class 2004 (Detection Finding)."""
TEXT_CHARACTERS_MAX: Final = 512
"""Characters of one text field: syslog receivers need not take more than 2048 bytes (RFC 5424 section 6.1)."""
DECISIONS_PAGE: Final = "docs/decisions.md"
"""Where the rules are explained: a file of the repository, as there is no public site."""
_NAMESPACE: Final = uuid.UUID("6f1f0c0e-6a2d-5d38-9d0a-5d2f8a0f6a11")
"""Namespace of the identifiers of findings (RFC 9562 section 5.5); made once, at random."""
_FACILITY: Final = 13
"""Log audit (RFC 5424 section 6.2.1)."""


class _Level(NamedTuple):
    """How grave a result is: in a word, for CEF (0 to 10), OCSF's severity_id, SARIF's kind and level, and syslog's."""

    word: str
    cef: int
    ocsf: int
    sarif: tuple[str, str]
    syslog: int


_LEVEL: Final[dict[Verdict | Confidence, _Level]] = {
    Confidence.PROVEN: _Level("High", 9, 4, ("fail", "error"), 2),
    Confidence.PROBABLE: _Level("Medium", 7, 3, ("fail", "warning"), 3),
    Confidence.POSSIBLE: _Level("Low", 3, 2, ("review", "none"), 5),
    Verdict.INCONCLUSIVE: _Level("Informational", 1, 1, ("open", "none"), 5),
    Verdict.CLEAN: _Level("Informational", 0, 1, ("pass", "none"), 6),
}
_OCSF_CONFIDENCE: Final = {Confidence.POSSIBLE: 1, Confidence.PROBABLE: 2, Confidence.PROVEN: 3}


_OPENS: Final = (1, "Create", 1, "New")
_CLOSES: Final = (3, "Close", 4, "Resolved")
"""Activity and state of a Detection Finding, each as the number and the caption of OCSF's enumeration."""
_TITLE: Final = {
    "clean": "No sign of TLS interception",
    "intercepted": "TLS interception",
    "uncertain": "TLS could not be confirmed as genuine",
}
"""What an event is called, by tone."""


class Event(NamedTuple):
    """One result, when it was reached (UTC), and the caller's name for the place."""

    result: Result
    at: dt.datetime
    vantage: str = ""

    @property
    def level(self) -> _Level:
        """How grave it is."""
        return _LEVEL[self.result.confidence or self.result.verdict]

    @property
    def tone(self) -> str:
        """The tone of its verdict: clean, intercepted or uncertain."""
        return wording.tone(self.result.verdict, self.result.confidence)

    @property
    def identifier(self) -> str:
        """The same for every result of one endpoint from one place, so that later events belong to earlier ones."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.vantage}\n{self.result.endpoint.name}"))

    @property
    def message(self) -> str:
        """The verdict in a sentence, and why."""
        return _bounded(f"{self.result.endpoint.name}: {_TITLE[self.tone]}. {wording.why(self.result)}")

    @property
    def parties(self) -> tuple[str, str]:
        """Product and issuer, each empty where it is unknown or may not be named."""
        chain, party = self.result.observation.chain, self.result.attribution
        if self.tone == "uncertain":
            return "", ""
        issuer = chain[0].issuer if chain else None
        return _bounded((party.product if party else None) or ""), _bounded(issuer or "")

    @property
    def leaf(self) -> str:
        """SHA-256 of the leaf in hexadecimal; empty without one."""
        chain = self.result.observation.chain
        return chain[0].sha256 if chain else ""


def _bounded(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def ecs_event(event: Event) -> str:
    """One line of JSON with fields of the Elastic Common Schema."""
    result, leaf = event.result, next(iter(event.result.observation.chain), None)
    product, issuer = event.parties
    is_alert = event.tone == "intercepted"
    certificate: dict[str, Any] = {}
    if leaf is not None:
        certificate = {
            "hash": {"sha256": leaf.sha256.upper()},
            "issuer": issuer,
            "not_before": _instant(leaf.not_before),
            "not_after": _instant(leaf.not_after),
        }
    return _line(
        {
            "@timestamp": _instant(event.at),
            "ecs": {"version": ECS_VERSION},
            "message": event.message,
            "event": {
                "kind": "alert" if is_alert else "event",
                "category": ["network", *(["intrusion_detection"] if is_alert else [])],
                "type": ["info"],
                "outcome": "unknown" if result.verdict is Verdict.INCONCLUSIVE else "success",
                "module": "tls_middleware_detector",
                "dataset": "tls_middleware_detector.result",
                "code": result.reason,
                "reason": wording.why(result),
                "severity": event.level.cef,
            },
            "rule": {
                "name": result.reason,
                "category": result.verdict,
                "ruleset": "decision table",
                "reference": DECISIONS_PAGE,
                "version": VERSION,
            },
            "destination": {"domain": result.endpoint.host, "port": result.endpoint.port},
            "tls": {
                "version": (result.observation.tls_version or "").removeprefix("TLSv"),
                "version_protocol": "tls" if result.observation.tls_version else "",
                "cipher": result.observation.cipher,
                "curve": result.observation.group,
                "next_protocol": result.observation.alpn,
                "server": certificate,
            },
            "observer": {"product": PRODUCT, "version": VERSION, "type": "ids", "name": event.vantage},
            "labels": {
                "confidence": result.confidence,
                "assurance": result.assurance,
                "endpoint_category": result.endpoint.category,
                "interceptor": product,
            },
        }
    )


def ocsf_event(event: Event) -> str:
    """One line of JSON: a Detection Finding of OCSF. A clean result closes the earlier findings of its endpoint."""
    result, level = event.result, event.level
    product, issuer = event.parties
    activity, activity_name, status, status_name = _CLOSES if result.verdict is Verdict.CLEAN else _OPENS
    moment = int(event.at.timestamp() * 1000)
    certainty = {} if result.confidence is None else {"confidence_id": _OCSF_CONFIDENCE[result.confidence]}
    advice = result.advice_for.get(Audience.IT) or result.advice
    return _line(
        {
            "metadata": {
                "version": OCSF_VERSION,
                "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
                "uid": str(uuid.uuid5(_NAMESPACE, f"{event.identifier}\n{moment}")),
                "event_code": result.reason,
            },
            "category_uid": 2,
            "category_name": "Findings",
            "class_uid": 2004,
            "class_name": "Detection Finding",
            "activity_id": activity,
            "activity_name": activity_name,
            "type_uid": 200400 + activity,
            "time": moment,
            "severity_id": level.ocsf,
            "severity": level.word,
            "status_id": status,
            "status": status_name,
            **certainty,
            "message": event.message,
            "is_alert": event.tone == "intercepted",
            "finding_info": {
                "uid": event.identifier,
                "title": _TITLE[event.tone],
                "desc": wording.why(result),
                "types": [result.verdict],
                "created_time": moment,
                "analytic": {"type_id": 1, "type": "Rule", "name": result.reason, "uid": result.reason},
            },
            "remediation": {"desc": _bounded(advice)} if advice else {},
            "observables": [{"name": "host", "type_id": 1, "type": "Hostname", "value": result.endpoint.host}],
            "unmapped": {
                "port": result.endpoint.port,
                "confidence": result.confidence,
                "assurance": result.assurance,
                "vantage": event.vantage,
                "product": product,
                "issuer": issuer,
                "certificate_sha256": event.leaf,
            },
        }
    )


def cef_event(event: Event) -> str:
    """One line of ArcSight Common Event Format, version 0."""
    result = event.result
    product, issuer = event.parties
    header = (PRODUCT, "detector", VERSION, result.reason, _TITLE[event.tone], str(event.level.cef))
    strings = {
        "verdict": result.verdict,
        "confidence": result.confidence or result.assurance or "",
        "vantage": event.vantage,
        "interceptor": product,
        "issuer": issuer,
        "certificateSha256": event.leaf,
    }
    extension = {
        "rt": str(int(event.at.timestamp() * 1000)),
        "dhost": result.endpoint.host,
        "dpt": str(result.endpoint.port),
        "cat": result.endpoint.category,
        "externalId": event.identifier,
        "msg": event.message,
    }
    for number, (label, value) in enumerate(strings.items(), 1):
        if value:
            extension |= {f"cs{number}Label": label, f"cs{number}": value}
    pairs = " ".join(f"{key}={_cef(value, '=')}" for key, value in extension.items())
    return f"CEF:0|{'|'.join(_cef(part, '|') for part in header)}|{pairs}\n"


def _cef(text: str, separator: str) -> str:
    """Text for a part of CEF that `separator` ends; line ends, control and direction characters are spaces."""
    on_one_line = "".join(c if c.isprintable() else " " for c in text)  # so that nothing begins another event
    return on_one_line.replace("\\", "\\\\").replace(separator, f"\\{separator}")


def syslog_event(event: Event) -> str:
    """One RFC 5424 message whose content is the event in CEF. Host name and process are left out, as nil values."""
    priority = 8 * _FACILITY + event.level.syslog
    moment = f"{event.at:%Y-%m-%dT%H:%M:%S}.{event.at.microsecond // 1000:03}Z"
    return f"<{priority}>1 {moment} - {PRODUCT} - {event.result.reason} - {cef_event(event)}"


def events_of(report: Report) -> Iterator[Event]:
    """The events of a report, in the order of its results."""
    return (Event(result, report.finished, report.vantage) for result in report.results)


LINES: Final[dict[str, Callable[[Event], str]]] = {
    "ecs": ecs_event,
    "ocsf": ocsf_event,
    "cef": cef_event,
    "syslog": syslog_event,
}
"""What makes the line of one result, by format."""


def sarif(report: Report) -> str:
    """A SARIF 2.1.0 log with one run, whose rules are those of the decision table."""
    rules = {reason: number for number, reason in enumerate(RULE_OF)}
    results = []
    for event in events_of(report):
        result, (kind, level) = event.result, event.level.sarif
        product, issuer = event.parties
        results.append(
            {
                "ruleId": result.reason,
                "ruleIndex": rules[result.reason],
                "kind": kind,
                "level": level,
                "message": {"text": event.message},
                "locations": [{"logicalLocations": [{"fullyQualifiedName": result.endpoint.name, "kind": "resource"}]}],
                "partialFingerprints": {"endpoint/v1": event.identifier},
                "properties": {
                    "confidence": result.confidence,
                    "assurance": result.assurance,
                    "interceptor": product,
                    "issuer": issuer,
                    "certificateSha256": event.leaf,
                },
            }
        )
    run = {
        "tool": {
            "driver": {
                "name": PRODUCT,
                "version": VERSION,
                "rules": [
                    {
                        "id": rule.reason,
                        "shortDescription": {"text": rule.needs},
                        "fullDescription": {"text": rule.why or rule.needs},
                    }
                    for rule in RULE_OF.values()
                ],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "startTimeUtc": _instant(report.started),
                "endTimeUtc": _instant(report.finished),
            }
        ],
        "results": results,
        "properties": {"headline": headline(report), "vantage": report.vantage},
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(_present(log), indent=2) + "\n"


def render(report: Report, form: str) -> str:
    """A report in one of these formats: a SARIF log, or a line for each result in the order of the report."""
    return sarif(report) if form == "sarif" else "".join(map(LINES[form], events_of(report)))


def _instant(moment: dt.datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(_present(fields), separators=(",", ":")) + "\n"


def _present(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The fields that have a value: what is not known is left out, as every one of these schemas asks."""
    if isinstance(value, dict):
        kept = {key: _present(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one not in (None, "", {})}
    return [_present(one) for one in value] if isinstance(value, list) else value
