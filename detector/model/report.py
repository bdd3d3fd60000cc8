"""The conclusions about a network, and the knowledge they are based on.

Room: model. Pure. The JSON Schema of `Report` is generated from these classes (docs/report.schema.json).
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import msgspec

from detector.errors import MiddlewareDetected

from . import json_text
from .observation import PortalObservation  # noqa: TC001 - msgspec reads the annotations at run time
from .record import Count, Moment, Record, encode, schema
from .result import Interceptor, Result  # noqa: TC001 - msgspec reads the annotations at run time
from .vocabulary import Category, Confidence, Coverage, KnowledgeKind, Scope, Verdict

SCHEMA_VERSION: Final = 1
"""Version of the report JSON; incremented only when a reader of the old form would misread the new one."""


class Knowledge(Record, frozen=True, kw_only=True):
    """One part of the knowledge that an assessment used.

    `date` is the day up to which it knew of changes, `horizon` the last day on which it counts as current; both are
    None where its age is unknown. `sha256` (hexadecimal) is over its contents (`detector.knowledge`).
    """

    kind: KnowledgeKind
    name: Annotated[str, msgspec.Meta(max_length=1024)]
    version: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    date: dt.date | None = None
    horizon: dt.date | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    def is_past(self, at: dt.datetime) -> bool:
        """Whether it was past its horizon at this moment."""
        return self.horizon is not None and at.date() > self.horizon


def midnight(day: dt.date) -> dt.datetime:
    """When a day begins, in UTC."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


class Report(Record, frozen=True, kw_only=True):
    """The assessment of a network: every endpoint's result and their combined verdict."""

    schema_version: Count = SCHEMA_VERSION
    detector_version: str
    started: Moment
    finished: Moment
    vantage: str
    verdict: Verdict
    confidence: Confidence | None = None
    scope: Scope
    coverage: dict[Category, Coverage] = {}
    interceptors: tuple[Interceptor, ...] = ()
    results: tuple[Result, ...] = ()
    portal: PortalObservation | None = None
    knowledge: tuple[Knowledge, ...]

    def to_json(self) -> bytes:
        """Encode this report as UTF-8 JSON on one line."""
        return encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Report:
        """Decode a report. Raises `MalformedError`, a ValueError that names the invalid field."""
        return json_text.decode(data, cls)

    def raise_for_middleware(self, *, at_least: Confidence = Confidence.PROBABLE) -> None:
        """Raise `MiddlewareDetected` when the network verdict is `middleware` at `at_least` or higher."""
        if self.verdict is Verdict.MIDDLEWARE and self.confidence is not None and self.confidence.reaches(at_least):
            raise MiddlewareDetected(self)


def report_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `Report`."""
    return schema(Report, title="detector report")
