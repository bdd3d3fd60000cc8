"""Withholds the names in presented certificates: the CA of one device can carry the name of a machine or of a person.

Room: detector_collect.review. Pure: reports in, reports out.

Keys, dates, products and chains stay. Each name is replaced by a number, the same for the same name, so that who says
to have issued what remains visible. Sentences and data of findings can repeat names; of each finding its check and
outcome stay, which are this program's own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from detector.history.dossier import QUESTIONS
from detector.judge.checks import chain

if TYPE_CHECKING:
    from detector.model import Finding, Observation, Report, Result


WITHHELD: Final = "withheld here: it can repeat a name"


class _Names:
    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str | None) -> str | None:
        if name is None:
            return None
        return f"(name {self._numbers.setdefault(name, len(self._numbers) + 1)}, withheld)"


def withhold(report: Report) -> Report:
    """The report without any name that a certificate of it carries."""
    names = _Names()
    results = tuple(_result(result, names) for result in report.results)
    return msgspec.structs.replace(report, results=results, interceptors=())


def _result(result: Result, names: _Names) -> Result:
    who = result.attribution
    return msgspec.structs.replace(
        result,
        attribution=None if who is None else msgspec.structs.replace(who, issuer=_signer(result), basis=WITHHELD),
        findings=tuple(_finding(finding) for finding in result.findings),
        advice="",
        advice_for={},
        observation=_observation(result.observation, names),
        other_observations=tuple(_observation(one, names) for one in result.other_observations),
    )


def _signer(result: Result) -> str | None:
    """What stands for the issuer's name: the key of the certificate above the leaf."""
    above = result.observation.chain[1:2]
    return f"CA key {above[0].spki_sha256[:16]}…" if above and above[0].spki_sha256 else None


def _observation(observation: Observation, names: _Names) -> Observation:
    return msgspec.structs.replace(
        observation,
        chain=tuple(
            msgspec.structs.replace(
                certificate, subject=names.number(certificate.subject), issuer=names.number(certificate.issuer)
            )
            for certificate in observation.chain
        ),
    )


def _finding(finding: Finding) -> Finding:
    kept = finding.data if finding.check == chain.ID and finding.outcome in _PUBLIC else {}
    return msgspec.structs.replace(
        finding, summary=f"{QUESTIONS.get(finding.check, finding.check)} {finding.outcome}", data=kept
    )


_PUBLIC: Final = frozenset({chain.Outcome.ACCEPTED, chain.Outcome.RETIRED})
"""Outcomes whose roots are public ones, whose names are nobody's secret."""
