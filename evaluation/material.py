"""Records of the evaluation: what was presented, what is true of it, and what a method answered.

Room: scripts. Pure: no sockets, no clock, no files.
"""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector import Endpoint, Observation, Outcome
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_ROOTS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from detector_testing import PrivateKey

    from detector import Result
    from detector.model import PortalObservation
    from detector.trust.logs import LogList
    from detector.trust.roots import Roots


class Truth(enum.StrEnum):
    """What is known of an endpoint, independently of every method.

    `ANOTHER_SERVER`: something answers in the host's place with a certificate for another name, as portals and block
    pages do. No client that checks names goes on, so nothing is decrypted, and the endpoint itself was not reached.
    """

    GENUINE = "genuine"
    INTERCEPTED = "intercepted"
    ANOTHER_SERVER = "another server"
    OUTAGE = "no certificate"


class Answer(enum.StrEnum):
    """What a method said, reduced to what can be right or wrong.

    `ACCUSED`: interception, without a doubt that would keep a person from acting on it. `POSSIBLE`: a mismatch, stated
    with an innocent reading of it. `NOTHING`: the method cannot say, or was not given what it needs.
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
"""Which of several answers to one question counts: the worst."""


class Known(NamedTuple):
    """What a checker knows beforehand about an endpoint's genuine server: SHA-256 digests of 32 bytes each.

    `leaves` are whole certificates, `keys` the SubjectPublicKeyInfo of leaves, `ca_keys` of the CAs above them.
    """

    leaves: frozenset[bytes]
    keys: frozenset[bytes]
    ca_keys: frozenset[bytes]


class Item(NamedTuple):
    """One endpoint of a scene. `endpoint` carries what our assessment is given (pins, roots, declared roots).

    `others` are further observations of the same endpoint: by another route, or with another hello. `key` is the key of
    the presented leaf where the evaluation has it: the chain can then be served again. `ours` is what a live `Detector`
    said; None where the chain has yet to be assessed.
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
    """Endpoints that were seen together, at one moment, by a machine with these roots and logs.

    `group` and `name` say which class of material this is, `setting` what the checker was given (pins, neighbours).
    `company` are endpoints that were probed along with the `items` and are not counted. `public` are the roots taken
    for public, `installed` the machine's other roots as far as our assessment knows, and `interceptors` the CA
    certificates (DER) that a managed machine would have installed: the baseline that asks the operating system trusts
    them too, as institutions install their CA everywhere. `portal` is what a control request got.
    """

    group: str
    name: str
    setting: str
    at: dt.datetime
    items: tuple[Item, ...]
    public: Roots
    logs: LogList
    installed: Roots = NO_ROOTS
    interceptors: tuple[bytes, ...] = ()
    operating_system: Roots | None = None
    company: tuple[Item, ...] = ()
    portal: PortalObservation | None = None


class Said(NamedTuple):
    """One method's answer about one endpoint. `detail` is for the reader."""

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
        """How bad this answer is for its truth; 0 is the worst."""
        return _WORST_FIRST[self.truth].index(self.answer)


def worst(said: Iterable[Said]) -> list[Said]:
    """One answer per method, class, setting and endpoint: the worst where the question was asked several times."""
    kept: dict[tuple[str, ...], Said] = {}
    for one in said:
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
    """The observation of a handshake that presented this chain (DER, leaf first).

    A handshake of ours could carry timestamps outside the certificate; what was captured elsewhere could not.
    """
    return Observation(
        outcome=outcome,
        key_proved=key_proved,
        scts_carried=outcome is Outcome.COMPLETE,
        chain=tuple(Certificate.read(c).presented() for c in chain),
        **more,
    )


def known_of(leaves: Iterable[bytes], issuers: Iterable[bytes] = ()) -> Known:
    """What a checker knows that once saw these leaves and CA certificates (DER)."""
    read = [Certificate.read(leaf) for leaf in leaves]
    return Known(
        leaves=frozenset(hashlib.sha256(leaf.der).digest() for leaf in read),
        keys=frozenset(leaf.spki_sha256 for leaf in read if leaf.spki_sha256),
        ca_keys=frozenset(c.spki_sha256 for c in map(Certificate.read, issuers) if c.spki_sha256),
    )
