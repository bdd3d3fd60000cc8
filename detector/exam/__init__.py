"""The gate at exam start: may the exam begin on this network? (docs/exam-gate.md)

Room: exam, above session. `policy` is what the institution wants. `gatekeeper` runs the gate, `decision` decides, and
`admission` is the rule for one endpoint, which guarded clients follow too (both pure). `protocol`, `native_messaging`
and `manifest` serve clients that are not written in Python; `browser_session` is a browser's, with what it reported
(`browser_view`).

    decision = await detector.exam.gate(policy="exam-policy.toml")
    show(decision.message)
    if decision.action is detector.exam.Action.BLOCK:
        return
"""

from .decision import Decided, Decision, Reason, ReasonCode, decide
from .gatekeeper import gate, make_detector
from .policy import Action, OnStalePin, OnUnconfirmed, Policy, PolicyScope

__all__ = [
    "Action", "Decided", "Decision", "OnStalePin", "OnUnconfirmed", "Policy", "PolicyScope", "Reason", "ReasonCode",
    "decide", "gate", "make_detector",
]  # fmt: skip
