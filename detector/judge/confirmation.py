"""Whether the result of an endpoint confirms that the exam server is at the other end.

Room: judge. Pure. What the gate and the guard ask: they let data through to what is confirmed. That something is not
confirmed accuses nobody.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from detector.model import Reason, Verdict

from .facts import Facts

if TYPE_CHECKING:
    from detector.model import Result


class Confirmation(enum.StrEnum):
    """What a result is worth to who is about to send something.

    `stale-pin`: accepted and logged, and only the pins do not fit. `unknowable`: accepted, and only whether it is
    logged cannot be known here.
    """

    CONFIRMED = "confirmed"
    STALE_PIN = "stale-pin"
    UNKNOWABLE = "unknowable"
    UNCONFIRMED = "unconfirmed"


def confirmation(result: Result) -> Confirmation:
    """What this result is worth. Clean is confirmed; of the rest, only what a careful client accepts comes near it."""
    if result.verdict is Verdict.CLEAN:
        return Confirmation.CONFIRMED
    facts = Facts(result.findings)
    if not facts.key_proved or not facts.name_confirmed:
        return Confirmation.UNCONFIRMED
    if result.reason is Reason.PIN_MISMATCH and facts.accepted_logged:
        return Confirmation.STALE_PIN
    if result.verdict is Verdict.INCONCLUSIVE and facts.unknowable and not facts.pin_mismatch:
        return Confirmation.UNKNOWABLE
    return Confirmation.UNCONFIRMED
