"""Check `browser-view`: whether the user's own browser was shown the same as this program (docs/exam-gate.md).

Room: judge. Pure. Feeds no rule; shows where decryption happens. Software on the device may filter browsers alone, and
a browser may have a proxy of its own: no probe sees either. The browser's report proves no key, and is assessed as
an observation of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import PROXIED, Address, Meaning
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "browser-view"
QUESTION: Final = "Was the user's own browser shown the same as this program?"

_DECRYPTED: Final = (ChainClass.PRIVATE, ChainClass.ADDED)
_GENUINE: Final = (ChainClass.ACCEPTED, ChainClass.DECLARED)


class Outcome(CheckOutcome, check=ID):
    """How a report of the browser compares with a probe, from the point of view of either.

    `only-browser-here`: as `only-browser`, and nothing between this machine and the host explains it.
    """

    ONLY_BROWSER_HERE = (
        "only-browser-here",
        (
            "The browser on this device was shown a private chain while this program is shown the genuine "
            "certificate, and nothing outside the device explains it: software here filters browsers."
        ),
    )
    ONLY_BROWSER = (
        "only-browser",
        (
            "The browser was shown a private chain, perhaps by a proxy of its own, while this program is shown the "
            "genuine certificate."
        ),
    )
    ONLY_PROGRAM = (
        "only-program",
        "This program is shown a private chain while the browser reports the genuine certificate.",
    )
    BOTH = "both", "The browser and this program are both shown private chains."
    SAME = "same", "The browser and this program are shown the same certificate."
    NEITHER = (
        "neither",
        (
            "The browser and this program are shown different certificates that are both accepted: large services "
            "have several."
        ),
    )
    DIFFERS = (
        "differs",
        "The browser and this program are shown different certificates, and nothing says which is right.",
    )


_TEXT: Final[dict[Outcome, tuple[Meaning, str]]] = {
    Outcome.ONLY_BROWSER_HERE: (
        Meaning.INTERCEPTED,
        "The browser on this device was shown a private chain, while this program is shown the genuine certificate.",
    ),
    Outcome.ONLY_BROWSER: (
        Meaning.INTERCEPTED,
        "The browser was shown a private chain on another route; this program is shown the genuine certificate.",
    ),
    Outcome.ONLY_PROGRAM: (
        Meaning.INTERCEPTED,
        "This program is shown a private chain, while the browser reports the genuine certificate.",
    ),
    Outcome.BOTH: (Meaning.INTERCEPTED, "The browser and this program are both shown private chains."),
    Outcome.SAME: (Meaning.NEUTRAL, "The browser and this program are shown the same certificate."),
    Outcome.NEITHER: (Meaning.NEUTRAL, "The browser and this program are shown different certificates, both accepted."),
    Outcome.DIFFERS: (Meaning.NEUTRAL, "The browser and this program are shown different certificates."),
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for each way in which the observations of the other side compare with this one."""
    found: dict[Outcome, EndpointEvidence] = {}
    for other in evidence.siblings:
        if other.from_browser is not evidence.from_browser:
            browser, probe = (evidence, other) if evidence.from_browser else (other, evidence)
            outcome = _compare(browser, probe)
            if outcome is not None:
                found.setdefault(outcome, other)
    for outcome, other in found.items():
        says, summary = _TEXT[outcome]
        yield outcome.found(
            summary,
            says,
            other_route=other.observation.route,
            other_address=other.observation.address,
            other_sha256=other.leaf.sha256.hex() if other.leaf is not None else None,
        )


def _compare(browser: EndpointEvidence, probe: EndpointEvidence) -> Outcome | None:
    """Compare a browser's report with a probe; None where a certificate or the probe's proof of its key is missing."""
    if browser.leaf is None or probe.leaf is None or not probe.observation.key_proved:
        return None
    if browser.leaf.sha256 == probe.leaf.sha256:
        return Outcome.BOTH if browser.is_a(*_DECRYPTED) and not probe.is_genuine else Outcome.SAME
    browser_genuine, probe_genuine = (
        one.is_a(*_GENUINE) and one.name_match is NameMatch.MATCH for one in (browser, probe)
    )
    if probe_genuine and browser.is_a(*_DECRYPTED) and browser.name_right:
        return Outcome.ONLY_BROWSER_HERE if _same_route(browser, probe) else Outcome.ONLY_BROWSER
    if browser_genuine and probe.is_a(*_DECRYPTED) and probe.name_right:
        return Outcome.ONLY_PROGRAM
    if browser.is_a(*_DECRYPTED) and probe.is_a(*_DECRYPTED):
        return Outcome.BOTH
    return Outcome.NEITHER if browser_genuine and probe_genuine else Outcome.DIFFERS


def _same_route(browser: EndpointEvidence, probe: EndpointEvidence) -> bool:
    """Whether both went directly, as far as is known.

    A private address that the probe did not connect to may be a proxy of the browser's own.
    """
    if probe.observation.route in PROXIED or browser.observation.route in PROXIED:
        return False
    reported, connected = Address.parse(browser.observation.address), probe.observation.peer
    if reported is None or reported.ip is None:
        return True
    return reported.ip.is_global or reported.ip.is_loopback or (connected is not None and reported.ip == connected.ip)
