"""What an assessment of a submission says: its state, its findings, and how it came to them.

Room: detector_collect.assessment. Pure. Sent from the process that assesses, and stored as JSON.
"""

from __future__ import annotations

import enum

from detector.bundle import Conclusion  # noqa: TC001 - msgspec reads the annotations at run time
from detector.judge.recorded import KeyEvidence  # noqa: TC001 - msgspec reads the annotations at run time
from detector.model import Category, Confidence, Knowledge, Reason, Record, Verdict
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations at run time


class State(enum.StrEnum):
    """What is known of a submission after its assessment. Only what is `verified` has findings."""

    VERIFIED = "verified"  # assessed again from its bytes
    CLAIMED = "claimed"  # nothing in it can be assessed from bytes, or not with this knowledge
    QUARANTINED = "quarantined"  # it is not what it claims to be


class Why(enum.StrEnum):
    """Why a submission is claimed or quarantined."""

    UNREADABLE = "unreadable"
    TIMES_APART = "times-apart"
    DOES_NOT_VERIFY = "does-not-verify"
    REPEATED_EVIDENCE = "repeated-evidence"
    NOTHING_TO_ASSESS = "nothing-to-assess"
    NEWER_KNOWLEDGE = "newer-knowledge"
    TOO_COSTLY = "too-costly"


class Finding(Record, frozen=True, kw_only=True):
    """The conclusion on one endpoint, by this collector's own expectations.

    `ca_key` is the SHA-256 of the SubjectPublicKeyInfo of the CA that signed the presented leaf: None where that key is
    not known, or is a public CA's, which names nobody.
    """

    at: Moment
    host: str
    port: int
    category: Category
    verdict: Verdict
    confidence: Confidence | None
    reason: Reason
    product: str | None
    ca_key: bytes | None


class EndpointDetail(Record, frozen=True, kw_only=True):
    """One endpoint: what was claimed, what this collector concludes, and what the record proves of the presented key.

    `held_at_possible` says that the conclusion would be graver if the submission were believed.
    """

    host: str
    port: int
    claimed: Verdict
    claimed_confidence: Confidence | None
    verdict: Verdict
    confidence: Confidence | None
    reason: Reason
    key: KeyEvidence
    held_at_possible: bool = False


class Detail(Record, frozen=True, kw_only=True):
    """How an assessment came to its state: the sentences for a reader, and what was used.

    `digest` is that of everything the assessment depends on besides the evidence (`Material.digest`), `bundle` what
    verifying the bundle by its own expectations concluded, None where there is none.
    """

    detector_version: str
    knowledge: tuple[Knowledge, ...]
    digest: bytes
    bundle: Conclusion | None = None
    reasons: tuple[str, ...] = ()
    endpoints: tuple[EndpointDetail, ...] = ()


class Assessed(Record, frozen=True, kw_only=True):
    """The assessment of one submission. `handshakes` identify the recorded handshakes whose signatures verify."""

    state: State
    why: Why | None = None
    findings: tuple[Finding, ...] = ()
    handshakes: tuple[bytes, ...] = ()
    detail: Detail
