"""The records that all rooms exchange: endpoints, observations, findings, results, reports.

Room: model. Pure: no sockets, no clock; `files` and `toml_files` open only files that a caller names. Every record is
frozen; JSON goes in and out through `msgspec`. No record has a field for a user name, a machine name or an address of
the machine the detector runs on.

`vocabulary` (enumerations), `record` (the base), `endpoint`, `observation`, `result`, `report`: each imports only those
before it.
"""

from __future__ import annotations

from .endpoint import Endpoint, EndpointName, MachineRoot
from .observation import (
    Address,
    FailedAttempt,
    HandshakeSignature,
    Hop,
    HopsObservation,
    HopTrace,
    Observation,
    PortalObservation,
    PresentedCertificate,
    ProxyObservation,
    ResolutionObservation,
    ServerDate,
    WitnessObservation,
)
from .record import Record, encode, normalize_schema, schema
from .report import SCHEMA_VERSION, Knowledge, Report, report_schema
from .result import Attribution, Finding, Interceptor, Result
from .vocabulary import (
    PROXIED,
    Alternative,
    Assurance,
    Audience,
    Category,
    Confidence,
    Coverage,
    Detail,
    Engine,
    Fault,
    Hello,
    HopAnswer,
    KeyKind,
    KnowledgeKind,
    Locality,
    ManagedBy,
    Meaning,
    Outcome,
    PortalOutcome,
    ProbeKind,
    ProxyScheme,
    Reason,
    RecordedIdentity,
    ResolutionOutcome,
    RootOrigin,
    Route,
    Scope,
    UnfollowedProxy,
    Verdict,
    WitnessOutcome,
)

__all__ = [
    "PROXIED", "SCHEMA_VERSION", "Address", "Alternative", "Assurance", "Attribution", "Audience", "Category",
    "Confidence", "Coverage", "Detail", "Endpoint", "EndpointName", "Engine", "FailedAttempt", "Fault", "Finding",
    "HandshakeSignature", "Hello", "Hop", "HopAnswer", "HopTrace", "HopsObservation", "Interceptor", "KeyKind",
    "Knowledge", "KnowledgeKind", "Locality", "MachineRoot", "ManagedBy", "Meaning", "Observation", "Outcome",
    "PortalObservation", "PortalOutcome", "PresentedCertificate", "ProbeKind", "ProxyObservation", "ProxyScheme",
    "Reason", "Record", "RecordedIdentity", "Report", "ResolutionObservation", "ResolutionOutcome", "Result",
    "RootOrigin", "Route", "Scope", "ServerDate", "UnfollowedProxy", "Verdict", "WitnessObservation",
    "WitnessOutcome", "encode", "normalize_schema", "report_schema", "schema",
]  # fmt: skip
