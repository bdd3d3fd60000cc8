"""Why a submission is refused: a closed vocabulary, each with its HTTP status and advice for the sender.

Room: detector_collect.submissions. Pure.

`docs/collect-ingest.md` has the same table; a test compares them. No text repeats anything that was sent.
"""

from __future__ import annotations

import enum
from http import HTTPStatus
from typing import Final, NamedTuple

from detector.errors import DetectorError


class Refusal(enum.StrEnum):
    """Why a submission is not stored."""

    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    MEDIA_TYPE = "media-type"
    ENCODING = "encoding"
    UNREADABLE = "unreadable"
    OTHER_TYPE = "other-type"
    OTHER_VERSION = "other-version"
    UNSIGNED = "unsigned"
    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    EXPIRED_KEY = "expired-key"
    REVOKED_KEY = "revoked-key"
    OTHER_INSTITUTION = "other-institution"
    RATE = "rate"
    FUTURE_DATED = "future-dated"
    TOO_OLD = "too-old"
    UNKNOWN_KIND = "unknown-kind"
    BAD_CONTENT = "bad-content"
    IDENTIFYING = "identifying"
    ERASED = "erased"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    FULL = "full"


class Answer(NamedTuple):
    """How a refusal is answered: its status, what it means, and what the sender should do."""

    status: HTTPStatus
    title: str
    advice: str

    @property
    def is_temporary(self) -> bool:
        """Whether the same submission may be accepted at another time (RFC 9110 section 15.6, RFC 6585 section 4)."""
        return self.status in _TEMPORARY


_TEMPORARY: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
)

_TRY_AGAIN: Final = "Keep the submission and send it again after the time in Retry-After."

ANSWERS: Final[dict[Refusal, Answer]] = {
    Refusal.TOO_LARGE: Answer(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The submission is larger than this key may send.",
        "Send fewer endpoints in one bundle, or ask the operator of the collector for a higher limit.",
    ),
    Refusal.TOO_SLOW: Answer(
        HTTPStatus.REQUEST_TIMEOUT,
        "The body did not arrive in time.",
        "Send the submission again on a better line, compressed with gzip.",
    ),
    Refusal.MEDIA_TYPE: Answer(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body is of a media type that is not accepted here.",
        "Send application/vnd.dsse.envelope.v1+json. Reports of pin failures may be application/json with ?kind=, from "
        "a client with a registered certificate.",
    ),
    Refusal.ENCODING: Answer(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The content encoding is not accepted here.",
        "Send the body with Content-Encoding gzip, or without this header.",
    ),
    Refusal.UNREADABLE: Answer(
        HTTPStatus.BAD_REQUEST,
        "The body cannot be read.",
        "Send one DSSE envelope of one submission as JSON, in which no object has a key twice.",
    ),
    Refusal.OTHER_TYPE: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The payload of the envelope is not a submission.",
        "Sign the submission with the payload type of submissions.",
    ),
    Refusal.OTHER_VERSION: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The submission is in a version of the format that this collector does not read.",
        "Update the older one of the two programs.",
    ),
    Refusal.UNSIGNED: Answer(
        HTTPStatus.FORBIDDEN,
        "The envelope does not have exactly one signature.",
        "Sign the submission once, with the institution's key.",
    ),
    Refusal.NO_CERTIFICATE: Answer(
        HTTPStatus.FORBIDDEN,
        "A report that nobody signed needs a client certificate.",
        "Connect with the institution's registered client certificate, through the proxy that passes it on.",
    ),
    Refusal.UNKNOWN_KEY: Answer(
        HTTPStatus.FORBIDDEN,
        "The key is not registered.",
        "Ask the operator of the collector to register the institution's key.",
    ),
    Refusal.BAD_SIGNATURE: Answer(
        HTTPStatus.FORBIDDEN,
        "The signature does not verify.",
        "Send the envelope exactly as it was signed.",
    ),
    Refusal.EXPIRED_KEY: Answer(
        HTTPStatus.FORBIDDEN,
        "The key has expired.",
        "Sign with the institution's current key.",
    ),
    Refusal.REVOKED_KEY: Answer(
        HTTPStatus.FORBIDDEN,
        "The key was revoked.",
        "Sign with the institution's current key.",
    ),
    Refusal.OTHER_INSTITUTION: Answer(
        HTTPStatus.FORBIDDEN,
        "The key belongs to another institution than the submission.",
        "Use the key of the institution that the submission names.",
    ),
    Refusal.RATE: Answer(
        HTTPStatus.TOO_MANY_REQUESTS,
        "This key has sent too many submissions.",
        _TRY_AGAIN,
    ),
    Refusal.FUTURE_DATED: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The submission is dated in the future.",
        "Set the clock of the machine that makes submissions.",
    ),
    Refusal.TOO_OLD: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The submission is older than what is still accepted.",
        "Send submissions within thirty days, and set the clock of the machine that makes them.",
    ),
    Refusal.UNKNOWN_KIND: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The submission is of a kind that this collector does not know.",
        "Update the collector, or send one of the kinds in its documentation.",
    ),
    Refusal.BAD_CONTENT: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The content does not have the form of its kind.",
        "Make the content with the version of the detector that this collector has.",
    ),
    Refusal.IDENTIFYING: Answer(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The content has parts that could identify a person or say where one was.",
        "Reduce the content before it is signed, as detector.outbox does.",
    ),
    Refusal.ERASED: Answer(
        HTTPStatus.GONE,
        "This submission was erased.",
        "Delete it.",
    ),
    Refusal.BUSY: Answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The collector receives as much as it has memory for.",
        _TRY_AGAIN,
    ),
    Refusal.UNAVAILABLE: Answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The collector's database does not answer.",
        _TRY_AGAIN,
    ),
    Refusal.FULL: Answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The collector has no room to store anything.",
        _TRY_AGAIN,
    ),
}  # fmt: skip


class RefusedError(DetectorError):
    """A submission was refused.

    `detail` names the part that is wrong, in words of this package alone. `retry_after` is in seconds, where the sender
    should try again.
    """

    def __init__(self, refusal: Refusal, detail: str = "", *, retry_after: int | None = None) -> None:
        answer = ANSWERS[refusal]
        super().__init__(f"{answer.title} {detail}".strip(), advice=answer.advice)
        self.refusal = refusal
        self.detail = detail
        self.status = answer.status
        self.retry_after = retry_after
