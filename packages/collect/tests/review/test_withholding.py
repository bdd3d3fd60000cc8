"""Names in certificates stay out of what is shown by default, wherever they stand.

Room: tests. In memory.
"""

from __future__ import annotations

from detector_collect.review.withholding import withhold
from support.results import intercepted, possible, report

from detector.model import Attribution

NAME = "CN=PC-4711 Erika Mustermann"


def test_no_name_is_left() -> None:
    """Neither subjects and issuers nor sentences and data of findings hold a certificate's name any more."""
    party = Attribution(issuer=NAME, basis=f"issued by {NAME}")
    made = report(intercepted("exam.example.edu", attribution=party), possible("lms.example.org", issuer=NAME))
    before, after = made.to_json(), withhold(made).to_json()
    assert NAME.encode() in before
    assert b"Erika" not in after
    assert b"4711" not in after
