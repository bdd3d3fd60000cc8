"""Paths that browsers refuse for a revocation or a limit of their root: each by identity and logging, as one table.

Room: tests of judge. The answers are written from docs/decisions.md. Every chain here leads to a public root by valid
signatures, and all but one would be accepted without what browsers say of its CA or root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from support.generated import Dates, Forgery, Known, Maker, Server, Signer, Timestamps
from support.worlds import said

from detector.judge.assess import assess_all
from detector.judge.checks import chain
from detector.judge.wording import Confirmation, confirmation

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

    from detector.judge.evidence import EndpointEvidence

INTERCEPTED: Final = """
                              nothing                  | stated                   | pinned                   | pins of unknown origin   | declared

REVOKED, USUAL, NONE        : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
REVOKED, USUAL, JUNK        : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
REVOKED, USUAL, VALID       : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
REVOKED, BACK, VALID        : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
REVOKED_KEY, USUAL, NONE    : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
REVOKED_KEY, USUAL, VALID   : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
DISTRUSTED, USUAL, NONE     : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
DISTRUSTED, USUAL, VALID    : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
DISTRUSTED, YOUNG, JUNK     : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
DISTRUSTED, BACK, NONE      : possible public-unlogged | possible public-unlogged | probable public-unlogged | probable public-unlogged | possible public-unlogged
DISTRUSTED, BACK, COPIED    : possible public-unlogged | possible public-unlogged | probable public-unlogged | probable public-unlogged | possible public-unlogged
DISTRUSTED, BACK, VALID     : possible public-unlogged | possible public-unlogged | probable public-unlogged | probable public-unlogged | possible public-unlogged
OUTSIDE, USUAL, NONE        : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
OUTSIDE, USUAL, VALID       : possible defective-chain | probable defective-chain | probable defective-chain | possible defective-chain | possible defective-chain
"""  # noqa: E501 - a table is read by its columns
"""By signer, dates and timestamps of the leaf; the columns are `Known`. What a log signs over a leaf that was dated
back to before its root was distrusted is of today, and says that the leaf was not made then."""

INNOCENT: Final = """
                nothing              | stated               | pinned                | pins of unknown origin | declared

CERTIFIED_ANEW : logged logged        | logged logged        | possible pin-mismatch | possible pin-mismatch  | logged logged
DECOMMISSIONED : inconclusive expired | inconclusive expired | possible pin-mismatch | possible pin-mismatch  | inconclusive expired
BEFORE_DISTRUST: logged logged        | logged logged        | possible pin-mismatch | possible pin-mismatch  | logged logged
WITHIN_LIMITS  : logged logged        | logged logged        | possible pin-mismatch | possible pin-mismatch  | logged logged
"""  # noqa: E501 - as above
"""By what a genuine server presents: the pins are of its former CA."""


@pytest.fixture(scope="module")
def maker(pki: PrivatePKI) -> Maker:
    return Maker(pki)


def rows(table: str) -> list[tuple[str, Known, tuple[str, str]]]:
    """The cells of a table: row, column, how sure and why."""
    found = []
    for line in filter(None, table.splitlines()[2:]):
        row, _, cells = line.partition(":")
        for known, cell in zip(Known, cells.split("|"), strict=True):
            confidence, reason = cell.split()
            found.append((row.strip(), known, (confidence, reason)))
    return found


def answers(evidence: EndpointEvidence) -> tuple[tuple[str, str], Confirmation]:
    """What is said of one endpoint, and what the gate makes of it."""
    (result,) = assess_all([evidence])
    return said(result), confirmation(result)


def test_every_cell_of_what_browsers_refuse(maker: Maker) -> None:
    """Whatever timestamps and dates an interceptor buys, such a path is accused by its identity and never confirmed."""
    wrong = {}
    for row, known, expected in rows(INTERCEPTED):
        signer, dates, timestamps = row.split(", ")
        forgery = Forgery(signer=Signer[signer], dates=Dates[dates], timestamps=Timestamps[timestamps])
        found = answers(maker.intercepted(forgery, known))
        if found != (expected, Confirmation.UNCONFIRMED):
            wrong[row, known] = found
    assert wrong == {}


def test_every_cell_of_what_browsers_take(maker: Maker) -> None:
    """A CA certified again or decommissioned later, a leaf from before, and a name within limits accuse nobody."""
    found = {(row, known): answers(maker.innocent(Server[row], known))[0] for row, known, _ in rows(INNOCENT)}
    assert found == {(row, known): expected for row, known, expected in rows(INNOCENT)}


@pytest.mark.parametrize(
    ("signer", "sentence"),
    [
        (Signer.REVOKED, "A certificate above it (Lost CA) is on the browsers' list of revoked certificates."),
        (Signer.OUTSIDE, "The certificate has a name that browsers do not take from its root."),
        (Signer.DISTRUSTED, "browsers take certificates of its root only if they are valid from"),
    ],
)
def test_the_finding_says_why(signer: Signer, sentence: str, maker: Maker) -> None:
    """The reason is a sentence, and its name is in the data of the finding."""
    evidence = maker.intercepted(Forgery(signer=signer))
    (refused,) = (one for one in chain.check(evidence) if one.outcome == chain.Outcome.NOT_TAKEN)
    assert sentence in refused.summary
    assert [one["reason"] for one in refused.data["refusals"]] == {
        Signer.REVOKED: ["revoked"],
        Signer.OUTSIDE: ["name-outside-root"],
        Signer.DISTRUSTED: ["distrusted"],
    }[signer]


def test_a_fetched_certificate_clears_only_what_browsers_take(maker: Maker) -> None:
    """A revoked CA is revoked wherever its certificate comes from; its new certificate clears when it is fetched."""
    sent = maker.innocent(Server.CERTIFIED_ANEW).observation.chain
    leaf, revoked, again = (one.der for one in sent)
    endpoint, held = maker.endpoint(Known.STATED), maker.context()
    alone = maker.evidence((leaf,), endpoint, held)
    assert answers(alone.with_more(held, (revoked,)))[0] == ("probable", "defective-chain")
    assert answers(alone.with_more(held, (revoked, again)))[0] == ("logged", "logged")
    with_revoked = maker.evidence((leaf, revoked), endpoint, held)
    assert (alone.issuer_missing, with_revoked.issuer_missing) == (True, True)
    assert not maker.evidence((leaf, revoked, again), endpoint, held).issuer_missing
    assert answers(with_revoked)[0] == ("probable", "defective-chain")
    assert answers(with_revoked.with_more(held, (again,)))[0] == ("logged", "logged")
