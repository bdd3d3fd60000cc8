"""What an assessment believes: evidence, and nothing that only its sender says.

Room: tests. In memory.
"""

from __future__ import annotations

from detector_collect.assessment import State
from support.collect_evidence import EXAM, SEARCH, recorder

from detector.model import Confidence, Verdict
from detector.trust.certificate import Certificate


def test_clean_evidence_is_verified_as_clean() -> None:
    """Genuine servers are clean by the collector's own pins."""
    client = recorder()
    assessed = client.assess(client.bundle(client.case(SEARCH), client.case(EXAM)))
    assert assessed.state is State.VERIFIED, assessed
    assert [finding.verdict for finding in assessed.findings] == [Verdict.CLEAN, Verdict.CLEAN]
    assert len(assessed.handshakes) == 2


def test_an_interceptor_is_found_with_its_key() -> None:
    """A CA that signs in place of known servers is found, with the key that identifies it."""
    client = recorder()
    ca = client.pki.private_ca("Campus Filter")
    assessed = client.assess(client.bundle(*client.intercepted(ca, SEARCH, EXAM)))
    assert assessed.state is State.VERIFIED, assessed
    assert {finding.confidence for finding in assessed.findings} == {Confidence.PROVEN}
    assert {finding.ca_key for finding in assessed.findings} == {Certificate.read(ca.certificate).spki_sha256}
