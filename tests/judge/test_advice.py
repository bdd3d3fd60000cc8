"""Advice: for each audience what it can do, the hosts ready to paste, nothing that blames or weakens the student."""

from __future__ import annotations

import itertools

from detector import catalogue
from detector.judge import advice, table
from detector.judge.advice import advise
from detector.judge.table import Decision
from detector.model import Attribution, Audience, Confidence, ManagedBy, Observation, Outcome, Verdict

SEEN = Observation(outcome=Outcome.COMPLETE)
PROVEN = Decision(15, "interception-ca", Verdict.MIDDLEWARE, Confidence.PROVEN)
HOSTS = ["exam.example.edu", "lms.example.org"]


def test_every_decision_has_advice() -> None:
    """Whatever the table says short of clean, somebody is told what to do, and names are filled in."""
    special = (table.SIGNATURE_WRONG, table.KEY_NOT_PROVED, table.WITNESS_DIFFERS, table.WITNESS_FAILED)
    rows = (*table.TABLE, *special)
    for row, manager in itertools.product(rows, ManagedBy):
        decision = Decision(row.number, row.reason, row.verdict, row.confidence)
        said = advise(decision, HOSTS, SEEN, Attribution(managed_by=manager))
        assert bool(said.get(Audience.STUDENT)) == (row.verdict is not Verdict.CLEAN)
        assert all("{" not in words for words in said.values())


def test_every_outcome_has_advice() -> None:
    """A connection that showed nothing is explained by how it ended."""
    decision = Decision(1, "no-certificate", Verdict.INCONCLUSIVE)
    for outcome in Outcome:
        assert advise(decision, HOSTS, Observation(outcome=outcome), None)[Audience.STUDENT]


def test_institution_gets_the_hosts_to_exempt() -> None:
    """IT gets the list ready to paste, in the product's own terms where the catalogue has them."""
    plain = advise(PROVEN, HOSTS, SEEN, Attribution())
    assert plain[Audience.IT] == "Exempt from TLS decryption: exam.example.edu, lms.example.org"
    zscaler = next(e for e in catalogue.shipped().entries if e.id == "zscaler-zia")
    said = advise(PROVEN, HOSTS, SEEN, Attribution(), zscaler.remediation)
    assert "Do Not Inspect" in said[Audience.IT]
    assert said[Audience.IT].endswith("Hosts: exam.example.edu, lms.example.org")


def test_student_is_never_accused() -> None:
    """No sentence for students speaks of cheating, fault or blame, or tells them to ignore a warning."""
    tables = (*advice._BY_REASON.values(), *advice._BY_MANAGER.values())
    words = " ".join(table[Audience.STUDENT] for table in tables).lower()
    words += " ".join(advice._BY_OUTCOME.values()).lower()
    for word in ("cheat", "you installed", "your fault", "violation", "suspicious", "ignore", "accept the certificate"):
        assert word not in words


def test_portal_is_a_sign_in() -> None:
    """Behind a captive portal the student signs in; nobody is asked for exemptions."""
    said = advise(PROVEN, HOSTS, SEEN, Attribution(category="captive-portal"))
    assert "sign in" in said[Audience.STUDENT]
