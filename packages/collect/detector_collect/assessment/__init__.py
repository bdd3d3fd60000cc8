"""Assesses what was sent once more, from its bytes alone (docs/collect-verification.md).

Room: detector_collect.assessment. Pure: bytes, keys, time and knowledge are arguments.
"""

from .assess import assess_submission, without_findings
from .material import Material
from .records import Assessed, Detail, EndpointDetail, Finding, State, Why

__all__ = [
    "Assessed",
    "Detail",
    "EndpointDetail",
    "Finding",
    "Material",
    "State",
    "Why",
    "assess_submission",
    "without_findings",
]
