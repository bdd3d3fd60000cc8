"""Records of the evaluation: what was presented, its truth, and the answers of methods. Pure."""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector import Endpoint, Observation, Outcome
from detector.knowledge.data_set import shipped
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_ROOTS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from detector_testing import PrivateKey

    from detector import Result
    from detector.knowledge.data_set import DataSet
    from detector.model import PortalObservation
    from detector.trust.ct_logs import LogList
    from detector.trust.roots import Roots


class Truth(enum.StrEnum):
    """The truth about an endpoint, independent of any method.

    `ANOTHER_SERVER`: another server answers with a certificate for another name, as portals and block pages do. Clients
    that check names stop there, so nothing is decrypted, and the endpoint was not reached.
    """

    GENUINE = "genuine"
    INTERCEPTED = "intercepted"
    ANOTHER_SERVER = "another server"
    OUTAGE = "no certificate"


class Answer(enum.StrEnum):
    """A method's answer, reduced to what can be right or wrong.

    `ACCUSED`: interception, certain enough to act on. `POSSIBLE`: a mismatch with an innocent explanation. `NOTHING`:
    the method has no answer, or lacks what it needs.
    """

    CLEAN = "clean"
    NOTHING = "no answer"
    POSSIBLE = "possible"
    ACCUSED = "accused"


_WRONG: Final[dict[Truth, frozenset[Answer]]] = {
    Truth.GENUINE: frozenset({Answer.ACCUSED}),
    Truth.INTERCEPTED: frozenset({Answer.CLEAN}),
    Truth.ANOTHER_SERVER: frozenset({Answer.ACCUSED, Answer.CLEAN}),
    Truth.OUTAGE: frozenset({Answer.ACCUSED, Answer.CLEAN}),
}
"""The definition of wrong: a false accusation, a miss, or any conclusion where the endpoint was not reached."""

_WORST_FIRST: Final[dict[Truth, tuple[Answer, ...]]] = {
    Truth.GENUINE: (Answer.ACCUSED, Answer.POSSIBLE, Answer.NOTHING, Answer.CLEAN),
    Truth.INTERCEPTED: (Answer.CLEAN, Answer.NOTHING, Answer.POSSIBLE, Answer.ACCUSED),
    Truth.ANOTHER_SERVER: (Answer.ACCUSED, Answer.CLEAN, Answer.NOTHING, Answer.POSSIBLE),
    Truth.OUTAGE: (Answer.ACCUSED, Answer.CLEAN, Answer.POSSIBLE, Answer.NOTHING),
}
"""Answers from the worst to the best; of several answers to one question the worst counts."""


class Known(NamedTuple):
    """What a checker knows about an endpoint's genuine server: SHA-256 digests of 32 bytes each.

    `leaves` are whole certificates, `keys` the SubjectPublicKeyInfo of leaves, `ca_keys` of the CAs above them.
    """

    leaves: frozenset[bytes]
    keys: frozenset[bytes]
    ca_keys: frozenset[bytes]


class Item(NamedTuple):
    """One endpoint of a scene. `endpoint` has what the assessment is given (pins, roots, declared roots).

    `others` are further observations of the same endpoint: by another route, or with another hello. `key` is the key of
    the presented leaf where the evaluation has it: the chain can then be served again. `ours` is the result
    of a live `Detector`; None where the chain has yet to be assessed.
    """

    endpoint: Endpoint
    observation: Observation
    truth: Truth
    known: Known | None = None
    key: PrivateKey | None = None
    ours: Result | None = None
    others: tuple[Observation, ...] = ()

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The presented certificates in DER, leaf first."""
        return tuple(c.der for c in self.observation.chain)


class Scene(NamedTuple):
    """Endpoints that were probed together, at one moment, by a machine with these roots and logs.

    `group` and `name` are the class of material, `setting` is what the checker was given (pins, neighbors). `company`
    are endpoints that were probed with the `items` and are not counted. `public` are the public roots, `installed` the
    machine's other roots as the assessment knows them, and `interceptors` the CA certificates (DER) installed on a
    managed machine, which the baseline of the operating system trusts too. `portal` is the answer to a control request.
    `data` is what else is known beforehand.
    """

    group: str
    name: str
    setting: str
    at: dt.datetime
    items: tuple[Item, ...]
    public: Roots
    logs: LogList
    data: DataSet = shipped()
    installed: Roots = NO_ROOTS
    interceptors: tuple[bytes, ...] = ()
    operating_system: Roots | None = None
    company: tuple[Item, ...] = ()
    portal: PortalObservation | None = None


class Reply(NamedTuple):
    """One method's answer about one endpoint. `detail` is for people."""

    group: str
    name: str
    setting: str
    host: str
    method: str
    truth: Truth
    answer: Answer
    detail: str = ""
    result: Result | None = None

    @property
    def wrong(self) -> bool:
        """Whether this is a false accusation, a miss, or a conclusion where the endpoint was not reached."""
        return self.answer in _WRONG[self.truth]

    @property
    def badness(self) -> int:
        """Rank of this answer for its truth; 0 is the worst."""
        return _WORST_FIRST[self.truth].index(self.answer)


def worst(replies: Iterable[Reply]) -> list[Reply]:
    """Return the worst answer per method, class, setting and endpoint."""
    kept: dict[tuple[str, ...], Reply] = {}
    for one in replies:
        key = (one.group, one.name, one.setting, one.host, one.method)
        if key not in kept or one.badness < kept[key].badness:
            kept[key] = one
    return list(kept.values())


def observe(
    chain: Sequence[bytes],
    *,
    key_proved: bool = True,
    outcome: Outcome = Outcome.COMPLETE,
    **more: Any,  # noqa: ANN401 - fields of Observation
) -> Observation:
    """Return the observation of a handshake that presented this chain (DER, leaf first).

    Only a complete handshake could carry timestamps outside the certificate.
    """
    return Observation(
        outcome=outcome,
        key_proved=key_proved,
        scts_carried=outcome is Outcome.COMPLETE,
        chain=tuple(Certificate.read(c).presented() for c in chain),
        **more,
    )


def known_of(leaves: Iterable[bytes], issuers: Iterable[bytes] = ()) -> Known:
    """Return what a checker knows after seeing these leaves and CA certificates (DER)."""
    read = [Certificate.read(leaf) for leaf in leaves]
    return Known(
        leaves=frozenset(hashlib.sha256(leaf.der).digest() for leaf in read),
        keys=frozenset(leaf.spki_sha256 for leaf in read if leaf.spki_sha256),
        ca_keys=frozenset(c.spki_sha256 for c in map(Certificate.read, issuers) if c.spki_sha256),
    )
