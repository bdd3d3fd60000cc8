"""The gate at exam start: may the exam begin on this network? (docs/exam-gate.md)

Room: exam, above session. `gatekeeper` conducts, `decision` decides (pure), `policy` is what the institution wants;
`exchange`, `framing`, `host` and `manifest` serve clients that are not written in Python.

    decision = await detector.exam.gate(policy="exam-policy.toml")
    if decision.action is not detector.exam.Action.ALLOW:
        show(decision.message)
"""

from .decision import Decided, Decision, Reason, ReasonCode, decide
from .gatekeeper import gate
from .policy import Action, Policy, Threshold

__all__ = [
    "Action",
    "Decided",
    "Decision",
    "Policy",
    "Reason",
    "ReasonCode",
    "Threshold",
    "decide",
    "gate",
]
