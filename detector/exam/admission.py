"""Admission: the action that a policy takes on the result of one endpoint. The gate and the guard share it.

Room: exam. Pure: a policy and a result in, an action out. No socket, file or clock.

==============  ==============================================================  ===============================
confirmation    of an endpoint that must be confirmed                           action
==============  ==============================================================  ===============================
confirmed       clean: witnessed, pinned, logged or declared                    allow
stale-pin       accepted and logged, only the pins do not match                 `on_stale_pin`: warn, or block
unknowable      accepted, and whether it is logged cannot be determined         warn
unconfirmed     anything else, or a required witness did not confirm it         `on_unconfirmed`: block, or warn
==============  ==============================================================  ===============================

An endpoint that need not be confirmed does not affect the decision, except that its interception at `probable` or above
warns, or blocks with `scope = "network"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.aio.lazy import LazyModule
from detector.model import Assurance, Category, Confidence

from . import student
from .policy import Action, OnStalePin, OnUnconfirmed, PolicyScope

if TYPE_CHECKING:
    from detector.judge import table, wording
    from detector.judge.wording import Confirmation
    from detector.language import Text
    from detector.model import Result

    from .policy import Policy
else:  # imported while the network is waited for
    table = LazyModule("detector.judge.table")
    wording = LazyModule("detector.judge.wording")


def must_be_confirmed(policy: Policy, name: str, category: Category) -> bool:
    """Return whether the endpoint of this name (`host:port`) and category must be, without being named or pinned."""
    return category is Category.EXAM or policy.requires_witness(name, category)


def confirmed_as(policy: Policy, result: Result) -> Confirmation:
    """Return how far a result confirms its endpoint; without a witness that the policy requires, not at all."""
    if _lacks_witness(policy, result):
        return wording.Confirmation.UNCONFIRMED
    return wording.confirmation(result)


def admit(policy: Policy, result: Result) -> Action:
    """Return the action for an endpoint that must be confirmed."""
    kinds, found = wording.Confirmation, confirmed_as(policy, result)
    if found is kinds.CONFIRMED:
        return Action.ALLOW
    if found is kinds.STALE_PIN:
        return Action.BLOCK if policy.on_stale_pin is OnStalePin.REFUSE else Action.WARN
    if found is kinds.UNKNOWABLE:
        return Action.WARN
    return max(admit_unconfirmed(policy), admit_other(policy, result), key=lambda action: action.rank)


def admit_unconfirmed(policy: Policy) -> Action:
    """Return the action for an endpoint that must be confirmed and was not."""
    return Action.BLOCK if policy.on_unconfirmed is OnUnconfirmed.BLOCK else Action.WARN


def admit_other(policy: Policy, result: Result) -> Action:
    """Return the action for an endpoint that need not be confirmed."""
    if not is_intercepted(result):
        return Action.ALLOW
    return Action.BLOCK if policy.scope is PolicyScope.NETWORK else Action.WARN


def is_intercepted(result: Result) -> bool:
    """Return whether interception is `probable` or above; below that, nothing is called so and nobody is named."""
    return result.confidence is not None and result.confidence.reaches(Confidence.PROBABLE)


def why(policy: Policy, result: Result) -> Text:
    """Return one sentence on the basis of the result. It accuses nobody."""
    if _lacks_witness(policy, result) and wording.confirmation(result) is wording.Confirmation.CONFIRMED:
        return student.WITNESS_MISSING
    return table.RULE_OF[result.reason].why


def _lacks_witness(policy: Policy, result: Result) -> bool:
    endpoint = result.endpoint
    required = policy.requires_witness(endpoint.name, endpoint.category)
    return required and result.assurance is not Assurance.WITNESSED
