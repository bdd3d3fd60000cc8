"""The findings on one observation, as the yes-or-no questions of the decision table.

Room: judge. Pure. Where findings contradict each other, the accusing one counts. A finding is recognized by its check
and its outcome, so that stored results answer the same questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .checks import (
    captive_portal,
    chain,
    host_name,
    identity,
    key_possession,
    neighbours,
    pin,
    place,
    presented,
    second_try,
    transparency,
    witness,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.model import Finding

    from .outcome import CheckOutcome

C = chain.Outcome
I = identity.Outcome  # noqa: E741 - short names keep a table readable
N = neighbours.Outcome
P = pin.Outcome
T = transparency.Outcome
W = witness.Outcome
X = second_try.Outcome
PLACE = place.Outcome


class Facts:
    """The findings on one observation. Equal findings are equal facts, in any order."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._seen: Final = frozenset((finding.check, finding.outcome) for finding in findings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and other._seen == self._seen

    def __hash__(self) -> int:
        return hash(self._seen)

    def has(self, *outcomes: CheckOutcome) -> bool:
        """Whether one of these outcomes was found."""
        return any((outcome.check, outcome) in self._seen for outcome in outcomes)

    # The handshake

    @property
    def certificate_seen(self) -> bool:
        """A certificate was presented, readable or not."""
        return self.has(presented.Outcome.SEEN, presented.Outcome.DAMAGED)

    @property
    def key_proved(self) -> bool:
        """The peer holds the key of certificate 0."""
        return self.has(key_possession.Outcome.PROVED)

    @property
    def other_hello(self) -> bool:
        """The hello that was asked for first got no certificate, and another hello, or QUIC, did."""
        return self.has(X.OTHER_HELLO, X.UNANSWERED)

    @property
    def is_replaced(self) -> bool:
        """The chain is unreadable, and to a client that asks for a readable one the server sends that."""
        return self.has(X.SUPERSEDED)

    @property
    def reported(self) -> bool:
        """The user's own browser reported the observation."""
        return self.has(key_possession.Outcome.REPORTED)

    @property
    def front_of_the_operator(self) -> bool:
        """Something of the operator's own may end TLS in front of the witness: the key presented is the operator's."""
        known = self.has(P.LEAF, P.LEAF_NOT_ITS_OWN) or self.accepted_logged
        return known and not self.has(W.ENDS_TLS_ITSELF)

    @property
    def report_unverifiable(self) -> bool:
        """What the browser reported cannot be verified here, although a browser of today may well accept it."""
        return self.reported and self.has(C.ISSUER_NOT_REPORTED, C.UNREADABLE)

    # The chain

    @property
    def name_right(self) -> bool:
        """The name counts as right for accusing."""
        return self.certificate_seen and not self.has(host_name.Outcome.MISMATCH)

    @property
    def name_confirmed(self) -> bool:
        """The name is right as clients of today match it."""
        return self.has(host_name.Outcome.MATCH)

    @property
    def limits_exceeded(self) -> bool:
        """Part of this chain exceeds what is read: at most probable."""
        return self.has(C.EXCEEDED, host_name.Outcome.UNFINISHED)

    @property
    def private_or_added(self) -> bool:
        """The chain leads to no public root."""
        return self.has(C.PRIVATE, C.ADDED)

    @property
    def stale(self) -> bool:
        """The list of roots may be too old to know this chain, and nobody added a root for it."""
        return self.has(C.STALE_ROOTS) and self.has(C.PRIVATE, C.UNFAMILIAR, C.INCOMPLETE)

    @property
    def accepted_unlogged(self) -> bool:
        """A client accepts the path, and the leaf is not publicly logged."""
        return self.has(C.ACCEPTED) and self.has(T.UNLOGGED)

    @property
    def accepted_logged(self) -> bool:
        """A client accepts the path, and the leaf is publicly logged."""
        return self.has(C.ACCEPTED) and self.has(T.LOGGED)

    @property
    def unknowable(self) -> bool:
        """A client accepts the path, and whether the leaf is logged cannot be known here."""
        return self.has(C.ACCEPTED) and self.has(T.UNKNOWABLE, T.NOT_CARRIED)

    # Expectations

    @property
    def stated_or_pinned(self) -> bool:
        """The public identity is stated or pinned."""
        return self.has(I.STATED, I.PINNED_PUBLIC)

    @property
    def public_identity(self) -> bool:
        """The genuine chain is known to lead to a public root."""
        return self.stated_or_pinned or self.has(I.SEEN_IN_RUN, I.SEEN_BEFORE)

    @property
    def pinned(self) -> bool:
        """Something is pinned, and evaluated."""
        return self.has(P.LEAF, P.LEAF_NOT_ITS_OWN, P.CA, P.PATH, P.MISMATCH, P.EXCUSED)

    # The network

    @property
    def public_place(self) -> bool:
        """Neither the name nor the address is private."""
        return not self.has(PLACE.PRIVATE_ADDRESS, PLACE.PRIVATE_NAME)

    @property
    def company(self) -> bool:
        """A canary of this route came out as middleware, and this endpoint's name and address are public."""
        return self.has(N.COMPANY) and self.public_place

    @property
    def seen_or_pinned_for_certain(self) -> bool:
        """Pinned-public, or seen in this run, and no other machine explains the difference.

        A proxy that resolves the name itself may lead to a server of the institution's own: its address is not known,
        so that something else was seen elsewhere proves nothing then. Pins are of this endpoint wherever it is.
        """
        if self.has(I.SEEN_AT_SAME_ADDRESS, N.CANARY_SUBSTITUTED):
            return self.has(I.PINNED_PUBLIC, I.SEEN_IN_RUN)
        if self.has(I.SEEN_IN_RUN) and self.has(PLACE.PUBLIC, PLACE.GIVEN):
            return True
        return self.has(I.PINNED_PUBLIC) and not self.has(PLACE.PRIVATE_ADDRESS)

    @property
    def portal(self) -> bool:
        """Something answers in other servers' place until the user signs in."""
        return self.has(*captive_portal.Outcome)
