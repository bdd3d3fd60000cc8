"""Admission: what the result of one endpoint means under a policy. The gate and the guard both ask here, and only here.

Room: exam. Pure: a policy and a result in, an action out. No socket, file or clock.

==============  ==============================================================  ===============================
worth           of an endpoint that must be confirmed                           action
==============  ==============================================================  ===============================
confirmed       clean: as witnessed, pinned, logged or declared                 allow
stale-pin       accepted and logged, only the pins do not fit                   `on_stale_pin`: warn, or block
unknowable      accepted, and whether it is logged cannot be known here         warn
unconfirmed     anything else; also what a required witness did not confirm     `on_unconfirmed`: block, or warn
==============  ==============================================================  ===============================

An endpoint that need not be confirmed decides nothing, but interception of it at `probable` or above warns. With
`scope = "network"` such interception blocks, of whatever endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.aio.lazy import LazyModule
from detector.model import Assurance, Confidence

from .policy import Action, OnStalePin, OnUnconfirmed, PolicyScope

if TYPE_CHECKING:
    from detector.judge import table, wording
    from detector.judge.wording import Confirmation
    from detector.model import Result

    from .policy import Policy
else:  # judging is imported while the network is waited for
    table = LazyModule("detector.judge.table")
    wording = LazyModule("detector.judge.wording")


def worth(policy: Policy, result: Result) -> Confirmation:
    """What a result is worth, where the policy may ask for a witness."""
    if _lacks_witness(policy, result):
        return wording.Confirmation.UNCONFIRMED
    return wording.confirmation(result)


def admit(policy: Policy, result: Result) -> Action:
    """What to do where this endpoint must be confirmed."""
    kinds, found = wording.Confirmation, worth(policy, result)
    if found is kinds.CONFIRMED:
        return Action.ALLOW
    if found is kinds.STALE_PIN:
        return Action.BLOCK if policy.on_stale_pin is OnStalePin.REFUSE else Action.WARN
    if found is kinds.UNKNOWABLE:
        return Action.WARN
    if policy.on_unconfirmed is OnUnconfirmed.BLOCK:
        return Action.BLOCK
    return max(Action.WARN, admit_other(policy, result), key=lambda action: action.rank)


def admit_other(policy: Policy, result: Result) -> Action:
    """What to do where this endpoint need not be confirmed."""
    if not is_intercepted(result):
        return Action.ALLOW
    return Action.BLOCK if policy.scope is PolicyScope.NETWORK else Action.WARN


def is_intercepted(result: Result) -> bool:
    """Whether interception is sure enough to be called that. Below `probable` it is not, and no party is named."""
    return result.confidence is not None and result.confidence.reaches(Confidence.PROBABLE)


def why(policy: Policy, result: Result) -> str:
    """One sentence: what the result rests on. It accuses nobody."""
    if _lacks_witness(policy, result) and wording.confirmation(result) is wording.Confirmation.CONFIRMED:
        return "The policy asks for a witness here, and none confirmed the connection."
    return table.RULE_OF[result.reason].why


def _lacks_witness(policy: Policy, result: Result) -> bool:
    endpoint = result.endpoint
    required = policy.requires_witness(endpoint.name, endpoint.category)
    return required and result.assurance is not Assurance.WITNESSED
