"""`POST /v1/evidence`: takes one submission, and answers with a receipt once it is durable.

Room: detector_collect.service. Reads requests, the clock of the settings, and the database.

    body ─▶ decompressed ─▶ key ─▶ signature ─▶ rate ─▶ decoded ─▶ content ─▶ one transaction ─▶ receipt

Each step may refuse (`detector_collect.submissions`), and none stores anything before the last. What costs processor
time is done in threads, so that other requests go on, and in few at once, so that their memory is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.tasks import run_in_thread
from detector.model import encode
from detector.outbox.receipt import PAYLOAD_TYPE as RECEIPT_TYPE
from detector.outbox.receipt import Receipt
from detector.outbox.submission import Kind, digest
from detector.trust import envelope as envelopes
from detector_collect import submissions
from detector_collect.store import evidence, keys
from detector_collect.store.errors import ErasedError, StoreFullError, StoreUnavailableError
from detector_collect.submissions import Refusal, RefusedError

from . import certificates
from .bodies import AnyRequest, Bodies
from .rates import Rates

if TYPE_CHECKING:
    import datetime as dt

    from detector_collect.store.database import Store
    from detector_collect.submissions import Accepted, Key

    from .metrics import Metrics
    from .settings import ServiceSettings

ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
"""Media type of a submission, as in-toto registers DSSE envelopes."""
REPORT_TYPE: Final = "application/json"
"""Media type of a report of a pin failure, from clients with a registered certificate."""
REPORTS: Final = frozenset({Kind.TRUSTKIT, Kind.RFC7469})
"""Kinds that clients send unsigned, and that are reduced here."""

LOG: Final = logging.getLogger("detector_collect.service")


class Answer(NamedTuple):
    """A receipt, and whether the submission was new."""

    receipt: bytes
    is_new: bool


class Sent(NamedTuple):
    """A body as it arrived: compressed or not, the envelope or report in it, and the certificate of its sender."""

    body: bytes
    encoding: str
    plain: bytes
    certificate: str | None


class Ingest:
    """Receives submissions for one store."""

    def __init__(self, store: Store, settings: ServiceSettings, metrics: Metrics) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._bodies = Bodies(settings.limits)
        self._rates = Rates()
        self._reading = asyncio.Semaphore(settings.limits.reading)

    async def answer(self, request: AnyRequest) -> Answer:
        """Store the submission in a request. Raises `RefusedError`, which was counted."""
        begun = time.perf_counter()
        sender = _Sender()
        try:
            answer = await self._answer(request, sender)
        except RefusedError as error:
            self._metrics.refused(error.refusal, sender.institution)
            LOG.info("refused", extra={"fields": {"refusal": error.refusal, "institution": sender.institution}})
            raise
        self._metrics.accepted(answer.is_new, time.perf_counter() - begun)
        return answer

    async def _answer(self, request: AnyRequest, sender: _Sender) -> Answer:
        sent = await self._receive(request)
        now = self._settings.clock()
        try:
            accepted = await self._read(sent, sender, now)
            added = await self._add(sent, accepted, now)
        except ErasedError:
            raise RefusedError(Refusal.ERASED) from None
        except StoreFullError:
            raise RefusedError(Refusal.FULL, retry_after=self._settings.limits.retry_seconds) from None
        except StoreUnavailableError:
            raise RefusedError(Refusal.UNAVAILABLE, retry_after=self._settings.limits.retry_seconds) from None
        receipt = Receipt(
            digest=digest(accepted.payload), institution=accepted.submission.institution, received=added.received
        )
        sealed = envelopes.seal(encode(receipt), payload_type=RECEIPT_TYPE, keys=[self._settings.signing_key])
        return Answer(sealed, added.is_new)

    async def _receive(self, request: AnyRequest) -> Sent:
        """Read the body. Raises `RefusedError`."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in {ENVELOPE_TYPE, REPORT_TYPE}:
            raise RefusedError(Refusal.MEDIA_TYPE)
        if encoding not in {"identity", "gzip"}:
            raise RefusedError(Refusal.ENCODING)
        certificate = certificates.identifier(request.scope, self._settings.certificates)
        if media_type == REPORT_TYPE and (certificate is None or _kind(request) not in REPORTS):
            raise RefusedError(Refusal.MEDIA_TYPE)
        body = await self._bodies.read(request)
        plain = body
        if encoding == "gzip":
            limit = self._settings.limits.body_bytes
            async with self._reading:
                plain = await run_in_thread(lambda: submissions.gunzip(body, limit=limit))
        return Sent(body, encoding, plain, certificate)

    async def _read(self, sent: Sent, sender: _Sender, now: dt.datetime) -> Accepted:
        identifier = submissions.key_named(sent.plain)
        async with self._store.connect() as connection:
            found = await keys.find_key(connection, identifier)
            shown = None if sent.certificate is None else await keys.find_key(connection, sent.certificate)
        key = submissions.check_key(found, now=now)
        async with self._reading:
            payload = await run_in_thread(lambda: submissions.verify(sent.plain, key=key, now=now))
            sender.institution = key.institution
            if sent.certificate is not None and submissions.check_key(shown, now=now).institution != key.institution:
                raise RefusedError(Refusal.OTHER_INSTITUTION)
            self._take_turn(key)
            return await run_in_thread(lambda: _decode(payload, key, now))

    def _take_turn(self, key: Key) -> None:
        if wait := self._rates.wait(key, now=time.monotonic()):
            raise RefusedError(Refusal.RATE, retry_after=wait)

    async def _add(self, sent: Sent, accepted: Accepted, now: dt.datetime) -> evidence.Added:
        submission = accepted.submission
        new = evidence.NewEvidence(
            digest=bytes.fromhex(digest(accepted.payload)),
            institution=submission.institution,
            key=accepted.key.id,
            kind=submission.kind,
            exam=submission.exam,
            student=_bytes(submission.student),
            network=_bytes(submission.network),
            made=submission.made,
            received=now,
            body=sent.body,
            encoding=sent.encoding,
        )
        async with self._store.begin() as connection:
            return await evidence.add(connection, new)


class _Sender:
    """Who sends, once that is proved: refusals are counted for an institution only then."""

    institution = ""


def _decode(payload: bytes, key: Key, now: dt.datetime) -> Accepted:
    accepted = submissions.decode(payload, key=key, now=now)
    submissions.check_content(accepted.submission)
    return accepted


def _kind(request: AnyRequest) -> str:
    return str(request.query_params.get("kind", ""))


def _bytes(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)
