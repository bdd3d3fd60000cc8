"""`POST /v1/evidence`: takes one submission, and answers with a receipt once it is durable.

Room: detector_collect.service. Reads requests, the clock of the settings, and the database.

    body ─▶ decompressed ─▶ key ─▶ signature ─▶ rate ─▶ decoded ─▶ content ─▶ one transaction ─▶ receipt

Each step may refuse (`detector_collect.submissions`), and none stores anything before the last. What is large is read
in threads, so that other requests go on, and in few at once, so that their memory is bounded; for the rest a thread
would cost more than the work. Submissions that arrive together are stored together (`writer`).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from detector.aio.tasks import run_in_thread
from detector.model import encode
from detector.outbox.receipt import PAYLOAD_TYPE as RECEIPT_TYPE
from detector.outbox.receipt import Receipt
from detector.outbox.submission import PAYLOAD_TYPE, Kind, digest
from detector.trust import envelope as envelopes
from detector_collect import submissions
from detector_collect.store import evidence, keys
from detector_collect.store.errors import ErasedError, StoreFullError, StoreUnavailableError
from detector_collect.submissions import Refusal, RefusedError

from . import certificates
from .bodies import AnyRequest, Bodies
from .rates import Rates
from .writer import Writer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from detector_collect.store.database import Store
    from detector_collect.submissions import Accepted, Key

    from .metrics import Metrics
    from .settings import ServiceSettings

ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
"""Media type of a submission, as in-toto registers DSSE envelopes."""
REPORT_TYPE: Final = "application/json"
"""Media type of a report of a pin failure, from clients with a registered certificate."""


T = TypeVar("T")


class Answer(NamedTuple):
    """A receipt, and whether the submission was new."""

    receipt: bytes
    is_new: bool


class Received(NamedTuple):
    """A body as it arrived, and what was compressed in it."""

    body: bytes
    encoding: str
    plain: bytes


class _Known(NamedTuple):
    """A key, and when it was looked up, in seconds of a clock that does not go back."""

    key: Key
    at: float


class _Sender:
    """Who sends, once that is proved: refusals are counted for an institution only then."""

    institution = ""


class Ingest:
    """Receives submissions for one store."""

    def __init__(self, store: Store, settings: ServiceSettings, metrics: Metrics) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._bodies = Bodies(settings.limits)
        self._rates = Rates()
        self._writer = Writer(store)
        self._keys: dict[str, _Known] = {}
        self._reading = asyncio.Semaphore(settings.limits.reading)

    async def answer(self, request: AnyRequest) -> Answer:
        """Store the submission in a request. Raises `RefusedError`, which was counted, and `DisconnectedError`."""
        begun = time.perf_counter()
        sender = _Sender()
        try:
            answer = await self._answer(request, sender)
        except RefusedError as error:
            self._metrics.refused(error.refusal, sender.institution)
            raise
        self._metrics.accepted(time.perf_counter() - begun, is_new=answer.is_new)
        return answer

    async def _answer(self, request: AnyRequest, sender: _Sender) -> Answer:
        is_report = _is_report(request)
        certificate = certificates.identifier(request.scope, self._settings.certificates)
        if is_report and certificate is None:
            raise RefusedError(Refusal.NO_CERTIFICATE)
        received = await self._receive(request)
        now = self._settings.clock()
        try:
            if is_report:
                new = await self._read_report(received, Kind(_kind(request)), certificate or "", sender, now)
            else:
                new = await self._read_envelope(received, certificate, sender, now)
            added = await self._writer.add(new)
        except ErasedError:
            raise RefusedError(Refusal.ERASED) from None
        except StoreFullError:
            raise RefusedError(Refusal.FULL, retry_after=self._settings.limits.retry_seconds) from None
        except StoreUnavailableError:
            raise RefusedError(Refusal.UNAVAILABLE, retry_after=self._settings.limits.retry_seconds) from None
        receipt = Receipt(digest=new.digest.hex(), institution=new.institution, received=added.received)
        return Answer(self._seal(encode(receipt), RECEIPT_TYPE), added.is_new)

    async def _receive(self, request: AnyRequest) -> Received:
        """Read the body. Raises `RefusedError`."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            raise RefusedError(Refusal.ENCODING)
        body = await self._bodies.read(request)
        if encoding == "identity":
            return Received(body, encoding, body)
        limit = self._settings.limits.body_bytes
        plain = await self._read(lambda: submissions.gunzip(body, limit=limit), len(body))
        return Received(body, encoding, plain)

    async def _read_envelope(
        self, received: Received, certificate: str | None, sender: _Sender, now: dt.datetime
    ) -> evidence.NewEvidence:
        identifier = submissions.key_named(received.plain)
        found = await self._key(identifier)
        shown = await self._key(certificate) if certificate else None
        key = submissions.check_key(found, now=now)
        payload = await self._read(lambda: submissions.verify(received.plain, key=key, now=now), len(received.plain))
        sender.institution = key.institution
        if certificate and submissions.check_key(shown, now=now).institution != key.institution:
            raise RefusedError(Refusal.OTHER_INSTITUTION)
        self._take_turn(key)
        accepted = await self._read(lambda: _decode(payload, key, now), len(payload))
        return _new(accepted, received.body, received.encoding, now)

    async def _read_report(
        self, received: Received, kind: Kind, certificate: str, sender: _Sender, now: dt.datetime
    ) -> evidence.NewEvidence:
        key = submissions.check_key(await self._key(certificate), now=now)
        sender.institution = key.institution
        if len(received.plain) > key.bytes_max:
            raise RefusedError(Refusal.TOO_LARGE)
        self._take_turn(key)
        accepted = await self._read(
            lambda: submissions.of_report(received.plain, kind=kind, key=key, now=now), len(received.plain)
        )
        # Signed here: by whom it came is in the row, and who reads it later finds one form.
        return _new(accepted, self._seal(accepted.payload, PAYLOAD_TYPE), "identity", now)

    def _take_turn(self, key: Key) -> None:
        if wait := self._rates.wait(key, now=time.monotonic()):
            raise RefusedError(Refusal.RATE, retry_after=wait)

    def _seal(self, payload: bytes, payload_type: str) -> bytes:
        return envelopes.seal(payload, payload_type=payload_type, keys=[self._settings.signing_key])

    async def _key(self, identifier: str) -> Key | None:
        """The registered key. Looked up again after `key_seconds`; those that are unknown, every time."""
        now = time.monotonic()
        known = self._keys.get(identifier)
        if known is not None and now - known.at < self._settings.limits.key_seconds:
            return known.key
        async with self._store.connect() as connection:
            found = await keys.find_key(connection, identifier)
        if found is None:
            self._keys.pop(identifier, None)
        else:
            self._keys[identifier] = _Known(found, now)
        return found

    async def _read(self, function: Callable[[], T], size: int) -> T:
        """Call `function`, which reads so many bytes; in a thread where that takes long."""
        if size <= self._settings.limits.short_bytes:
            return function()
        async with self._reading:
            return await run_in_thread(function)


def _is_report(request: AnyRequest) -> bool:
    """Whether the head says that the body is an unsigned report; else it is an envelope. Raises `RefusedError`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == ENVELOPE_TYPE:
        return False
    if media_type == REPORT_TYPE and _kind(request) in submissions.UNSIGNED:
        return True
    raise RefusedError(Refusal.MEDIA_TYPE)


def _decode(payload: bytes, key: Key, now: dt.datetime) -> Accepted:
    accepted = submissions.decode(payload, key=key, now=now)
    submissions.check_content(accepted.submission)
    return accepted


def _new(accepted: Accepted, body: bytes, encoding: str, now: dt.datetime) -> evidence.NewEvidence:
    submission = accepted.submission
    return evidence.NewEvidence(
        digest=bytes.fromhex(digest(accepted.payload)),
        institution=submission.institution,
        key=accepted.key.id,
        kind=submission.kind,
        exam=submission.exam,
        student=_bytes(submission.student),
        network=_bytes(submission.network),
        made=submission.made,
        received=now,
        body=body,
        encoding=encoding,
    )


def _kind(request: AnyRequest) -> str:
    return str(request.query_params.get("kind", ""))


def _bytes(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)
