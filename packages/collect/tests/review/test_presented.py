"""What a submission presents is shown with the collector's conclusion, whatever its sender claims.

Room: tests. In memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from detector_collect.review.presented import present
from support.bundle_recordings import KEY
from support.collect_evidence import EXAM, SEARCH, recorder

from detector.judge import wording
from detector.model import Confidence, Verdict, encode
from detector.outbox.submission import PAYLOAD_TYPE, digest
from detector.trust.envelope import seal

if TYPE_CHECKING:
    from detector_collect.assessment import Detail


def _sent() -> tuple[bytes, str, Detail]:
    """A submission of an intercepted exam and a genuine search engine, its digest, and its assessment."""
    client = recorder()
    ca = client.pki.private_ca("Campus Filter")
    bundle = client.bundle(*client.intercepted(ca, EXAM), client.case(SEARCH))
    payload = encode(client.submission(bundle))
    return seal(payload, payload_type=PAYLOAD_TYPE, keys=[KEY]), digest(payload), client.assess(bundle).detail


def test_conclusions_are_the_collectors() -> None:
    """Each endpoint has the stored verdict; one that the collector held at possible is amber and names nobody."""
    body, name, detail = _sent()
    shown = present(body, digest_hex=name, detail=detail)
    assert shown.report is not None
    verdicts = {result.endpoint.host: result.verdict for result in shown.report.results}
    assert verdicts == {EXAM: Verdict.MIDDLEWARE, SEARCH: Verdict.CLEAN}
    held = msgspec.structs.replace(
        detail,
        endpoints=tuple(
            msgspec.structs.replace(one, confidence=None if one.confidence is None else Confidence.POSSIBLE)
            for one in detail.endpoints
        ),
    )
    mild = present(body, digest_hex=name, detail=held)
    assert mild.report is not None
    accused = next(result for result in mild.report.results if result.endpoint.host == EXAM)
    assert accused.attribution is None
    assert wording.tone(accused.verdict, accused.confidence) == "uncertain"


def test_findings_never_contradict_the_conclusion() -> None:
    """What the collector's own expectations decided is not shown next to findings made without them."""
    body, name, detail = _sent()
    shown = present(body, digest_hex=name, detail=detail)
    assert shown.report is not None
    accused = next(result for result in shown.report.results if result.endpoint.host == EXAM)
    assert accused.reason == "identity-substituted"
    assert "identity" not in {finding.check for finding in accused.findings}
    assert "chain" in {finding.check for finding in accused.findings}


def test_without_an_assessment_nothing_is_concluded() -> None:
    """What was not assessed yet shows no verdict, not even the sender's."""
    body, name, _ = _sent()
    shown = present(body, digest_hex=name, detail=None)
    assert shown.problem == "It was not assessed yet."
    assert shown.report is not None
    assert shown.report.results == ()


def test_changed_bytes_are_not_shown() -> None:
    """Bytes that are not those of the digest, or no submission at all, are refused, without an exception."""
    body, name, detail = _sent()
    for stored in (body, b"", b"{}", seal(b"{}", payload_type=PAYLOAD_TYPE, keys=[KEY]), body.replace(b"A", b"B")):
        wanted = digest(b"{}") if stored != body else "0" * 64
        shown = present(stored, digest_hex=wanted, detail=detail)
        assert shown.report is None
        assert shown.problem
    assert present(body, digest_hex=name, detail=detail).problem == ""
