"""What the decision table asks of the findings on one observation, as yes-or-no questions.

Room: judge. Pure. Where findings contradict each other, the accusing one counts. A finding is recognised by its check
and its outcome, so that the facts of a stored result can be asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .checks import (
    CHECK_OF,
    captive_portal,
    chain,
    clock,
    forged_issuer,
    host_name,
    identity,
    key_possession,
    known_interceptor,
    neighbours,
    pin,
    place,
    presented,
    private_origin,
    route_difference,
    shared_signer,
    transparency,
    witness,
)

if TYPE_CHECKING:
    import enum
    from collections.abc import Iterable

    from detector.model import Finding

C = chain.Outcome
I = identity.Outcome  # noqa: E741 - short names keep a table readable
N = neighbours.Outcome
P = pin.Outcome
S = shared_signer.Outcome
T = transparency.Outcome


class Facts:
    """The findings on one observation, to be asked."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._seen: Final = frozenset((finding.check, finding.outcome) for finding in findings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and other._seen == self._seen

    def __hash__(self) -> int:
        return hash(self._seen)

    def has(self, *outcomes: enum.StrEnum) -> bool:
        """Whether the checks that these outcomes belong to found one of them."""
        return any((CHECK_OF[type(outcome)], outcome.value) in self._seen for outcome in outcomes)

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
    def replayed(self) -> bool:
        """Another key than the presented one signed the handshake."""
        return self.has(key_possession.Outcome.WRONG)

    @property
    def witness_equal(self) -> bool:
        """The witness signed our exporter."""
        return self.has(witness.Outcome.EQUAL) and not self.witness_differs

    @property
    def witness_differs(self) -> bool:
        """The witness signed another exporter."""
        return self.has(witness.Outcome.DIFFERS)

    @property
    def witness_silent(self) -> bool:
        """A witness is pinned, and nothing says which session it saw."""
        return self.has(*witness.SILENT)

    @property
    def front_of_the_operator(self) -> bool:
        """Something of the operator's own may end TLS in front of the witness: the key presented is the operator's."""
        known = self.has(P.LEAF, P.LEAF_NOT_ITS_OWN) or (self.has(C.ACCEPTED) and self.has(T.LOGGED))
        return known and not self.has(witness.Outcome.ENDS_TLS_ITSELF)

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
        """Something of this chain was more than is read: it counts as not vouched for, at most probable."""
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
        """A client takes the path, and the leaf is not publicly logged."""
        return self.has(C.ACCEPTED) and self.has(T.UNLOGGED)

    @property
    def accepted_logged(self) -> bool:
        """A client takes the path, and the leaf is publicly logged."""
        return self.has(C.ACCEPTED) and self.has(T.LOGGED)

    @property
    def unknowable(self) -> bool:
        """A client takes the path, and whether the leaf is logged cannot be known here."""
        return self.has(C.ACCEPTED) and self.has(T.UNKNOWABLE, T.NOT_CARRIED)

    @property
    def impersonates_public_ca(self) -> bool:
        """A certificate on the path claims a public CA that it is not, or that did not sign it."""
        return self.has(*forged_issuer.Outcome)

    # Expectations

    @property
    def stated(self) -> bool:
        """The public identity is stated."""
        return self.has(I.STATED)

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

    @property
    def pin_mismatch(self) -> bool:
        """No pin fits, and no other probe excuses it."""
        return self.has(P.MISMATCH)

    # The network

    @property
    def private_address(self) -> bool:
        """The observation was answered at an address that is another machine on every network."""
        return self.has(place.Outcome.PRIVATE_ADDRESS)

    @property
    def public_place(self) -> bool:
        """Neither the name nor the address is private."""
        return not self.has(place.Outcome.PRIVATE_ADDRESS, place.Outcome.PRIVATE_NAME)

    @property
    def company(self) -> bool:
        """A canary of this route came out as middleware, and this endpoint's name and address are public."""
        return self.has(N.COMPANY) and self.public_place

    @property
    def seen_or_pinned_for_certain(self) -> bool:
        """Pinned-public, or seen in this run, and no other machine explains the difference.

        A proxy that resolves the name itself may lead to a server of the institution's own: where it led is not known,
        and that something else was seen elsewhere proves nothing then. Pins are of this endpoint wherever it is.
        """
        if self.has(I.SEEN_AT_SAME_ADDRESS, N.CANARY_SUBSTITUTED):
            return self.has(I.PINNED_PUBLIC, I.SEEN_IN_RUN)
        if self.has(I.SEEN_IN_RUN) and self.has(place.Outcome.PUBLIC, place.Outcome.GIVEN):
            return True
        return self.has(I.PINNED_PUBLIC) and not self.private_address

    # Explanations

    @property
    def portal(self) -> bool:
        """Something answers in other servers' place until the user signs in."""
        return self.has(*captive_portal.Outcome)

    @property
    def clock_wrong(self) -> bool:
        """The clock that dates are held against is wrong."""
        return self.has(clock.Outcome.WRONG)

    @property
    def self_signed(self) -> bool:
        """The leaf is self-signed."""
        return self.has(private_origin.Outcome.SELF_SIGNED)

    @property
    def split_horizon(self) -> bool:
        """Another route leads to another server of this name."""
        routes = route_difference.Outcome
        return self.has(routes.GENUINE_ELSEWHERE, routes.PRIVATE_HERE)

    @property
    def product_marked(self) -> bool:
        """A strong mark of a product, in a certificate that something else issued for this name."""
        return self.has(known_interceptor.Outcome.PRODUCT)
