"""What many students' evidence says about an institution.

Room: detector_collect, above `detector`, of which it uses the records only. Pure so far: `responsibility` says whose
interceptor it is, `exact` has the statistics, `simulation` makes worlds whose truth is known.
"""

from __future__ import annotations

from .responsibility import (
    Alternative,
    Assessment,
    Basis,
    Conclusion,
    DeviceResult,
    Interception,
    Policy,
    Share,
    assess,
)

__all__ = [
    "Alternative",
    "Assessment",
    "Basis",
    "Conclusion",
    "DeviceResult",
    "Interception",
    "Policy",
    "Share",
    "assess",
]
