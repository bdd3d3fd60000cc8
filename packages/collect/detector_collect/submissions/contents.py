"""Checks what a submission holds, and reduces reports of pin failures to what matters.

Room: detector_collect.submissions. Pure: records and bytes in, records out; keys and time are arguments.

The forms are the client's (`detector.outbox.contents`): its strict decoders refuse every field that they do not know,
addresses, hops, private names and the user's words for a place, so that nothing of the kind is ever stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import encode
from detector.outbox import contents
from detector.outbox.submission import Kind, Submission

from .reading import Accepted, check_made, place
from .refusals import Refusal, RefusedError

if TYPE_CHECKING:
    import datetime as dt

    from .reading import Key


UNSIGNED: Final = frozenset({Kind.TRUSTKIT, Kind.RFC7469})
"""Kinds whose clients sign nothing: an institution's server shows a certificate instead."""


def check_content(submission: Submission) -> None:
    """Decode the content strictly, by its kind. Raises `RefusedError` (`identifying`, `bad-content`)."""
    try:
        contents.decode(submission.kind, bytes(submission.content))
    except contents.IdentifyingError:
        raise RefusedError(Refusal.IDENTIFYING) from None
    except ValueError as error:
        raise RefusedError(Refusal.BAD_CONTENT, place(error)) from None


def of_report(report: bytes, *, kind: Kind, key: Key, now: dt.datetime) -> Accepted:
    """The submission for a report of a pin failure as TrustKit or a browser sent it.

    Its time is that of the report, so that the same report is the same submission. Device identifiers, application
    versions and the client's own conclusions are dropped. Raises `RefusedError`.
    """
    try:
        content = contents.of_failure(report, now=now)
    except contents.IdentifyingError:
        raise RefusedError(Refusal.IDENTIFYING) from None
    except ValueError:
        raise RefusedError(Refusal.BAD_CONTENT) from None
    if content.at is None:
        raise RefusedError(Refusal.BAD_CONTENT, "The report has no date-time.")
    check_made(content.at, now=now)
    submission = Submission(
        institution=key.institution, made=content.at, kind=kind, content=msgspec.Raw(encode(content))
    )
    return Accepted(submission, encode(submission), key)
