"""What a log shows as a `Report`, so that histories, dossiers, pages and monitoring take it like any other.

Room: origin. Pure: networks in, reports out. The endpoint is the site, the vantage a network's name, and the one result
holds for the whole network; no part of a report names an address, a session or an account.

`nothing-seen` is `inconclusive` in a report, with that reason: it clears nobody. In the report of one network, what
single devices explain is at most `possible`: security software on some devices is not the network's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.judge import network as judge_network
from detector.judge.advice import advise
from detector.model import (
    Alternative,
    Audience,
    Confidence,
    Coverage,
    Finding,
    Meaning,
    Observation,
    Outcome,
    Reason,
    Report,
    Result,
    Scope,
    Verdict,
)

from . import table
from .assess import NOTHING
from .networks import Extent, Network
from .shares import CONFIDENCE

if TYPE_CHECKING:
    import datetime as dt

    from detector.model import EndpointName, Knowledge

    from .assess import Judgment
    from .networks import Networks, Share

SHARE: Final = "origin-share"
"""The check that says how much of a network a result holds for."""
_SAYS: Final = {Extent.NETWORK: Meaning.INTERCEPTED, Extent.DEVICES: Meaning.EXPLAINS, Extent.NOTHING: Meaning.NEUTRAL}
_EXTENT: Final = {
    Extent.NETWORK: "more than single devices explain",
    Extent.DEVICES: "no more than single devices explain",
    Extent.NOTHING: "nothing to explain",
}


class Log(NamedTuple):
    """What the reports on one log share: the site, the moments of its first and last line, and versions."""

    site: EndpointName
    started: dt.datetime
    finished: dt.datetime
    version: str
    knowledge: tuple[Knowledge, ...] = ()


def of_network(network: Network, log: Log) -> Report:
    """The report on one network."""
    judgment = _explained(network.judgment, network.share)
    if judgment is not network.judgment and judgment.confidence is not Confidence.POSSIBLE:
        judgment = msgspec.structs.replace(judgment, confidence=Confidence.POSSIBLE, attribution=None)
    return _report(network._replace(judgment=judgment), log)


def of_log(networks: Networks, log: Log, *, vantage: str = "") -> Report:
    """The report on everything in a log: what the gravest network shows, and the share of all."""
    order = list(Confidence)
    judgments = [network.judgment for network in networks.found() if network.judgment.confidence is not None]
    gravest = max(judgments, key=lambda one: order.index(one.confidence or order[0]), default=NOTHING)
    share = networks.share()
    return _report(Network(vantage, _explained(gravest, share), share), log)


def _explained(judgment: Judgment, share: Share) -> Judgment:
    """The judgment with single devices among what could explain it, where they could."""
    if share.extent is not Extent.DEVICES or judgment.confidence is None:
        return judgment
    return msgspec.structs.replace(judgment, alternatives=(Alternative.SINGLE_DEVICES, *judgment.alternatives))


def _report(network: Network, log: Log) -> Report:
    result = _result(network, log.site)
    decision = judge_network.decide_network([result])
    is_part = decision.scope is Scope.ALL and network.share.contradicting < network.share.clients
    return Report(
        detector_version=log.version,
        started=log.started,
        finished=log.finished,
        vantage=network.name,
        verdict=decision.verdict,
        confidence=decision.confidence,
        scope=Scope.SELECTIVE if is_part else decision.scope,
        coverage={log.site.category: Coverage.MIXED} if is_part else decision.coverage,
        interceptors=judge_network.interceptors([result]),
        results=(result,),
        knowledge=log.knowledge,
    )


def _result(network: Network, site: EndpointName) -> Result:
    judgment = network.judgment
    is_seen = judgment.verdict is table.Verdict.MIDDLEWARE
    result = Result(
        endpoint=site,
        verdict=Verdict.MIDDLEWARE if is_seen else Verdict.INCONCLUSIVE,
        reason=Reason(judgment.reason.value),
        confidence=judgment.confidence,
        alternatives=judgment.alternatives,
        attribution=judgment.attribution,
        findings=(*judgment.findings, _finding(network)),
        observation=Observation(outcome=Outcome.EXAMINED),
        named=True,
    )
    advice = {audience: " ".join(words) for audience, words in advise([result]).items()}
    return msgspec.structs.replace(result, advice=advice.get(Audience.STUDENT, ""), advice_for=advice)


def unit_of(share: Share) -> str:
    """What a share is one of."""
    return "accounts" if share.signed_in else "clients"


def shown(share: Share) -> str:
    """A share with its interval, in words."""
    lowest, highest = share.interval if share.clients else (0.0, 1.0)
    sample = f" in a sample of 1 in {share.sampled}" if share.sampled > 1 else ""
    return f"{share.contradicting} of {share.clients} {unit_of(share)}{sample} ({lowest:.0%} to {highest:.0%})"


def share_of(report: Report) -> str:
    """The sentence on the share that a report holds for."""
    return report.results[0].findings[-1].summary


def row(report: Report) -> tuple[str, str]:
    """The share that a report holds for, and what explains it, each as the cell of a table."""
    said = share_of(report).removesuffix(".").partition(" for ")[2]
    share, _, extent = said.rpartition(": ")
    return share, extent


def _finding(network: Network) -> Finding:
    share = network.share
    lowest, highest = share.interval if share.clients else (0.0, 1.0)
    return Finding(
        check=SHARE,
        outcome=share.extent,
        says=_SAYS[share.extent],
        summary=f"The browser is contradicted for {shown(share)}: {_EXTENT[share.extent]}.",
        data={
            "unit": unit_of(share),
            "contradicting": share.contradicting,
            "counted": share.clients,
            "sampled": share.sampled,
            "lowest": round(lowest, 4),
            "highest": round(highest, 4),
            "level": CONFIDENCE,
        },
    )
