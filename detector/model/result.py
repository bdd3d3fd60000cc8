"""What is concluded about one endpoint: findings, attribution, result.

Room: model. Pure.
"""

from __future__ import annotations

from typing import Any

from .endpoint import EndpointName  # noqa: TC001 - msgspec reads the annotations at run time
from .observation import Observation  # noqa: TC001 - msgspec reads the annotations at run time
from .record import Record
from .vocabulary import (
    Alternative,
    Assurance,
    Audience,
    Confidence,
    Locality,
    ManagedBy,
    Meaning,
    Reason,
    UnfollowedProxy,
    Verdict,
)


class Finding(Record, frozen=True, kw_only=True):
    """One typed piece of evidence: the check, its outcome, what it says about the endpoint, one sentence, the data."""

    check: str
    outcome: str
    says: Meaning
    summary: str
    data: dict[str, Any] = {}


class Attribution(Record, frozen=True, kw_only=True):
    """The apparent interceptor. `issuer` is always the raw issuer as presented."""

    product: str | None = None
    vendor: str | None = None
    category: str = "unknown"
    managed_by: ManagedBy = ManagedBy.INSTITUTION
    issuer: str | None = None
    basis: str = ""
    locality: Locality = Locality.UNKNOWN


class Interceptor(Attribution, frozen=True, kw_only=True):
    """One interceptor: an attribution, and the endpoints (`host:port`) it was observed on."""

    endpoints: tuple[str, ...]


class Result(Record, frozen=True, kw_only=True):
    """The assessment of one endpoint, with everything needed to repeat it.

    `reason` is the rule of the decision table (docs/decisions.md) that decided. `advice` is for the student;
    `advice_for` has it for every audience that can act. The verdict is based on `observation`; `other_observations` are
    the others of the same endpoint: by other routes, with other hellos. `amends` says that this result replaces an
    earlier one, because later evidence changed it, `named` that the caller asked for this endpoint by name.
    """

    endpoint: EndpointName
    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()
    attribution: Attribution | None = None
    findings: tuple[Finding, ...] = ()
    advice: str = ""
    advice_for: dict[Audience, str] = {}
    observation: Observation
    other_observations: tuple[Observation, ...] = ()
    amends: bool = False
    named: bool = False

    @property
    def unfollowed_proxy(self) -> UnfollowedProxy | None:
        """Why a probe of this endpoint did not follow the proxy setting of its machine; None where all did."""
        reasons = (one.unfollowed_proxy for one in (self.observation, *self.other_observations))
        return next((reason for reason in reasons if reason is not None), None)
