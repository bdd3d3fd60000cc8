"""What a browser's report may do to a verdict, on worlds made by chance: accuse as probable at most, clear nothing.

The reports are what an interceptor of browsers alone would cause, what innocent servers cause, and what a hostile
extension could invent: there is no difference, because a report proves nothing by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.generated import Company, Forgery, Known, Maker, Server, Signer, Timestamps, forgeries
from support.profiles import examples

from detector.judge import recorded, table
from detector.judge.assess import assess_all
from detector.judge.recorded import KeyEvidence
from detector.judge.wording import Confirmation, confirmation
from detector.model import Confidence, Engine, Locality, ManagedBy, Outcome, Reason, Result, Route, Verdict

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

    from detector.judge.evidence import EndpointEvidence

TRIED: Final = settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
PUBLIC: Final = (Known.STATED, Known.PINNED)
innocent = st.sampled_from(Server)
anything = st.one_of(forgeries, innocent)


@pytest.fixture(scope="module")
def maker(pki: PrivatePKI) -> Maker:
    return Maker(pki)


def presented(maker: Maker, kind: Forgery | Server, known: Known) -> EndpointEvidence:
    """The evidence on what an interceptor, or an innocent server, presents."""
    return maker.intercepted(kind, known) if isinstance(kind, Forgery) else maker.innocent(kind, known)


def as_report(evidence: EndpointEvidence, *, leaf_alone: bool = False, address: str | None = None) -> EndpointEvidence:
    """The same, reported by a browser instead of probed."""
    seen = evidence.observation
    chain = seen.chain[:1] if leaf_alone else seen.chain
    return evidence.with_observation(
        msgspec.structs.replace(
            seen, engine=Engine.BROWSER, route=Route.NONE, address=address, scts_carried=False, chain=chain
        )
    )


def result_of(probed: EndpointEvidence, *reports: EndpointEvidence) -> Result:
    """The result of a probe with what the browser reported."""
    return assess_all([probed.with_further([report.observation for report in reports])])[0]


def grade(result: Result) -> int:
    """How grave a result is: clean, inconclusive, possible, probable, proven."""
    if result.confidence is not None:
        return 2 + list(Confidence).index(result.confidence)
    return int(result.verdict is Verdict.INCONCLUSIVE)


@given(kind=anything, known=st.sampled_from(Known), leaf_alone=st.booleans())
@TRIED
def test_a_report_alone_clears_and_proves_nothing(
    maker: Maker, kind: Forgery | Server, known: Known, *, leaf_alone: bool
) -> None:
    """Neither clean nor proven, whatever chain it has; and the gate does not take it for the exam server."""
    (result,) = assess_all([as_report(presented(maker, kind, known), leaf_alone=leaf_alone)])
    assert result.verdict is not Verdict.CLEAN
    assert result.confidence is not Confidence.PROVEN
    assert confirmation(result) is Confirmation.UNCONFIRMED


@given(
    probe=anything, reports=st.lists(anything, min_size=1, max_size=3), known=st.sampled_from(Known), leaf=st.booleans()
)
@TRIED
def test_reports_never_make_it_milder(
    maker: Maker, probe: Forgery | Server, reports: list[Forgery | Server], known: Known, *, leaf: bool
) -> None:
    """What the probe found stays, whatever the browser reports; and what the reports add is never proven."""
    probed = presented(maker, probe, known)
    alone = result_of(probed)
    more = [as_report(presented(maker, kind, known), leaf_alone=leaf, address="93.184.215.14:443") for kind in reports]
    together = result_of(probed, *more)
    assert grade(together) >= grade(alone)
    if together.confidence is Confidence.PROVEN:
        assert alone.confidence is Confidence.PROVEN


@given(kind=anything, known=st.sampled_from(Known))
@TRIED
def test_a_report_does_not_replace_the_probe(maker: Maker, kind: Forgery | Server, known: Known) -> None:
    """Where the probe got no certificate, the endpoint is not clean, whatever the browser says."""
    evidence = presented(maker, kind, known)
    lost = msgspec.structs.replace(evidence.observation, outcome=Outcome.RESET, chain=(), key_proved=False)
    result = result_of(evidence.with_observation(lost), as_report(evidence))
    assert result.verdict is not Verdict.CLEAN
    assert confirmation(result) is Confirmation.UNCONFIRMED


@given(server=innocent, known=st.sampled_from(Known), leaf_alone=st.booleans())
@TRIED
def test_the_same_from_both_sides_changes_nothing(
    maker: Maker, server: Server, known: Known, *, leaf_alone: bool
) -> None:
    """A browser that is shown what the probe is shown, reported in full or as a leaf alone, accuses nobody."""
    probed = maker.innocent(server, known)
    alone, together = result_of(probed), result_of(probed, as_report(probed, leaf_alone=leaf_alone))
    assert (together.verdict, together.confidence, together.reason) == (alone.verdict, alone.confidence, alone.reason)


@pytest.mark.parametrize("known", Known)
@pytest.mark.parametrize("server", [Server.GENUINE, Server.ROTATED, Server.OTHER_CA])
def test_another_genuine_leaf_accuses_nobody(server: Server, known: Known, maker: Maker) -> None:
    """A large host has several certificates. A leaf alone, of a CA that no probe met, is inconclusive."""
    probed = maker.innocent(Server.GENUINE, known)
    report = maker.innocent(server, known)
    assert result_of(probed, as_report(report)).verdict is Verdict.CLEAN
    alone = result_of(probed, as_report(report, leaf_alone=True))
    expected = Verdict.INCONCLUSIVE if server is Server.OTHER_CA else Verdict.CLEAN
    assert (alone.verdict, alone.confidence) == (expected, None)
    if server is Server.OTHER_CA:
        assert alone.reason is Reason.ISSUER_NOT_REPORTED


@given(
    timestamps=st.sampled_from([Timestamps.NONE, Timestamps.DAMAGED]),
    company=st.sampled_from(Company),
    known=st.sampled_from(PUBLIC),
    leaf_alone=st.booleans(),
)
@TRIED
def test_a_browser_that_alone_is_decrypted(
    maker: Maker, timestamps: Timestamps, company: Company, known: Known, *, leaf_alone: bool
) -> None:
    """Probable, on this device, whatever is sent behind the leaf."""
    probed = maker.innocent(Server.GENUINE, known)
    forged = maker.intercepted(Forgery(timestamps=timestamps, company=company), known)
    result = result_of(probed, as_report(forged, leaf_alone=leaf_alone))
    assert (result.verdict, result.confidence) == (Verdict.MIDDLEWARE, Confidence.PROBABLE)
    assert result.attribution is not None
    assert result.attribution.locality is Locality.THIS_DEVICE
    assert "only the browser" in result.attribution.basis
    assert result.attribution.managed_by is ManagedBy.ENDPOINT_OWNER
    assert "HTTPS scanning" in result.advice


@given(forgery=forgeries, leaf_alone=st.booleans())
@TRIED
def test_no_choice_of_the_interceptor_lets_the_exam_begin(maker: Maker, forgery: Forgery, *, leaf_alone: bool) -> None:
    """Copied timestamps make a leaf alone inconclusive; they never make the endpoint confirmed.

    What a public CA signed and logged for the interceptor, nothing but a witness or a pin can tell.
    """
    probed = maker.innocent(Server.GENUINE, Known.STATED)
    result = result_of(probed, as_report(maker.intercepted(forgery, Known.STATED), leaf_alone=leaf_alone))
    if forgery.signer is Signer.MISISSUING and forgery.timestamps is Timestamps.VALID:
        return
    assert confirmation(result) is not Confirmation.CONFIRMED


def test_a_reported_key_is_a_word(maker: Maker) -> None:
    """Of a record of it nothing can be verified, and nothing is contradicted."""
    report = as_report(maker.innocent(Server.GENUINE, Known.STATED)).observation
    for version in ("TLSv1.3", "TLSv1.2", None):
        versioned = msgspec.structs.replace(report, tls_version=version)
        assert recorded.key_evidence(versioned) is KeyEvidence.WORD
        assert recorded.believed(versioned) == versioned


def test_the_cap_can_fail(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the cap on what a browser says, its report would prove."""
    monkeypatch.setattr(table, "_is_capped", lambda *_: False)
    monkeypatch.setattr(table, "read", table.read.__wrapped__)
    (result,) = assess_all([as_report(maker.intercepted(Forgery(), Known.STATED))])
    assert result.confidence is Confidence.PROVEN
