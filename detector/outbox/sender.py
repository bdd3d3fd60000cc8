"""Sends what waits in an outbox to its collector, and removes what the collector has signed a receipt for.

Room: outbox. Opens connections through `guard`; the files are those of the `Outbox`.

Theory of operation
===================
Nothing that an unauthenticated peer writes counts. A submission is removed for a receipt by one of the collector's keys
over its own digest, and for nothing else: not for a status of 200, not for a page. It is set aside as refused only
where the connection was confirmed; an interceptor that answers "refused" delays, as one that answers nothing does.

Connections are tried in this order: guarded, by the proxy that is configured; guarded, directly; and, only where the
settings allow it and both were refused for what the peer presented, one that the machine's own roots accept.

==============================================  =======================================================================
answer                                          what happens
==============================================  =======================================================================
200 or 201 with a valid receipt                 removed
a refusal that will not change, on a confirmed  set aside with the reason
connection
408, 429, 503                                   tried later: `Retry-After`, else exponential backoff with jitter; both
                                                at most an hour, and kept for other processes
no answer                                       tried later by this process, within minutes: what was offline a moment
                                                ago may not be now
anything else                                   kept; after three in a row the collector is tried later, with others
==============================================  =======================================================================
"""

from __future__ import annotations

import datetime as dt
import email.utils
import enum
import functools
import logging
import random
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import msgspec

from detector.errors import GuardError
from detector.exam.policy import OnUnconfirmed, Policy
from detector.guard import Guard, GuardedConnector
from detector.model import json_text
from detector.session.plan import MACHINE
from detector.trust import envelope as envelopes
from detector.version import VERSION

from . import receipt
from .receipt import Receipt
from .settings import PATH, ThroughInterceptor
from .store import Attempt
from .submission import PAYLOAD_TYPE, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self, Unpack

    from detector.session.settings import ResolveRules, TrustOptions

    from .store import Entry, Outbox, Waiting

LOG: Final = logging.getLogger("detector.outbox")

REQUEST_SECONDS: Final = 30.0
"""Seconds for one submission: 4 MiB at 1.5 Mbit/s, and the time in which a collector makes it durable."""
CONNECT_SECONDS: Final = 10.0
"""Seconds to connect and assess the connection."""
ANSWER_BYTES_MAX: Final = 64 * 1024
"""Bytes of an answer that are read: a receipt has under 1 KiB, a refusal a few hundred bytes."""
FIRST_WAIT: Final = dt.timedelta(seconds=30)
LONGEST_WAIT: Final = dt.timedelta(hours=1)
"""Waits after the first failure and at most, also where a collector asks for more: within an exam day it is tried."""
UNREACHED_WAIT: Final = dt.timedelta(minutes=5)
"""The longest wait after a collector was not reached: trying costs one connection."""
FAILURES_MAX: Final = 3
"""Answers in a row that are no receipt before the collector is left alone: one submission must not hold up others."""
ACCEPTED: Final = -1
"""The number of the connector that is used where none is confirmed."""
CONTENT_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
"""Type of a request's body: a DSSE envelope (DSSE 1.0.2)."""
UNCONFIRMED: Final = "what answered was not confirmed to be the collector"
NOT_REACHED: Final = "the collector was not reached"
_DOUBLINGS_MAX: Final = 16
_TAKEN: Final = frozenset({200, 201})
_LATER: Final = frozenset({408, 429, 503})
_REFUSAL_PREFIX: Final = "urn:tls-interception:refusal:"
PERMANENT: Final = frozenset(
    {
        "too-large", "unreadable", "other-version", "other-type", "unsigned", "unknown-key", "bad-signature",
        "expired-key", "revoked-key", "other-institution", "too-old", "identifying", "unknown-kind", "bad-content",
        "encoding", "erased", "media-type", "no-certificate",
    }
)  # fmt: skip
"""Refusals that sending the same again does not change. A submission `future-dated` now is not so later."""
TEMPORARY: Final = frozenset({"rate", "future-dated", "too-slow", "busy", "unavailable", "full"})


class Outcome(enum.StrEnum):
    """What became of one submission."""

    RECEIVED = "received"
    REFUSED = "refused"
    KEPT = "kept"
    LATER = "later"
    NOT_REACHED = "not-reached"


class Answer(NamedTuple):
    """What became of one submission, why, and how long the collector asks to be left alone."""

    outcome: Outcome
    reason: str = ""
    wait: dt.timedelta | None = None


class Sending(NamedTuple):
    """What became of those that waited: how many were received and refused, and why the rest was not sent."""

    received: int = 0
    refused: int = 0
    problem: str = ""
    busy: bool = False


class Connectors(NamedTuple):
    """Make the connectors of a sender, in the event loop that uses them.

    `confirmed` send nothing on a connection that is not confirmed, and are tried in this order; `accepted` sends
    wherever a careful client on this machine would accept the certificate.
    """

    confirmed: tuple[Callable[[], aiohttp.BaseConnector], ...]
    accepted: Callable[[], aiohttp.BaseConnector]

    @classmethod
    def over_guard(
        cls, *, proxy: str = MACHINE, resolve: ResolveRules | None = None, **options: Unpack[TrustOptions]
    ) -> Self:
        """Connectors over the guard. `options` are what the collector is assessed against; raises what `Guard` does."""
        strict, lenient = Guard(**options), Guard(Policy(on_unconfirmed=OnUnconfirmed.WARN), **options)
        proxies = dict.fromkeys((proxy, "none"))
        return cls(
            tuple(functools.partial(GuardedConnector, strict, proxy=one, resolve=resolve) for one in proxies),
            functools.partial(GuardedConnector, lenient, proxy=proxy, resolve=resolve),
        )


class Sender:
    """Sends the submissions of an outbox to one collector, as an async context manager that closes its connections.

    Args:
        outbox: where they wait.
        to: the collector's URL.
        receipt_keys: its public keys (32 raw bytes each).
        connectors: make the connectors.
        through_interceptor: whether one that is not confirmed may be used.
        clock: returns the time in UTC.
        jitter: returns a number between 0 and 1, by which waits are spread.
    """

    def __init__(  # noqa: PLR0913 - keyword-only past the outbox; the last two are for tests
        self,
        outbox: Outbox,
        *,
        to: str,
        receipt_keys: Sequence[bytes],
        connectors: Connectors,
        through_interceptor: ThroughInterceptor = ThroughInterceptor.NEVER,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox: Final = outbox
        self._to: Final = to
        self._keys: Final = tuple(receipt_keys)
        self._connectors: Final = connectors
        self._through: Final = through_interceptor
        self._clock: Final = clock
        self._jitter: Final = jitter
        self._unreached = Attempt(not_before=clock(), failures=0)
        self._sessions: Final[dict[int, aiohttp.ClientSession]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()

    def wait(self) -> float:
        """Seconds until the collector may be tried again, 0 where it may be now."""
        attempts = (self._unreached, self._outbox.attempt(self._to))
        waits = (one.not_before - self._clock() for one in attempts if one is not None)
        # A clock that was set back must not mean waiting for years.
        return max((wait.total_seconds() for wait in waits if dt.timedelta() < wait <= LONGEST_WAIT), default=0.0)

    async def send(self, *, at_once: bool = False) -> Sending:
        """Send everything that waits for this collector, the oldest first, unless another process does.

        Before the collector may be tried again nothing is sent, but for `at_once`. Raises `OutputError` for the folder.
        """
        if not at_once and self.wait():
            return Sending(problem="the collector is tried later")
        with self._outbox.sending() as is_ours:
            return await self._send() if is_ours else Sending(busy=True)

    async def _send(self) -> Sending:
        received = refused = failures = 0
        problem = ""
        for entry, waiting in self._waiting():
            answer = await self._post(entry, waiting)
            LOG.info("%s to %s: %s %s", entry.digest, self._to, answer.outcome, answer.reason)
            if answer.outcome is Outcome.RECEIVED:
                self._outbox.remove(entry)
                received, failures = received + 1, 0
            elif answer.outcome is Outcome.REFUSED:
                self._outbox.set_aside(entry, waiting, reason=answer.reason)
                refused, failures = refused + 1, 0
            else:
                problem, failures = answer.reason, failures + 1
                if answer.outcome is Outcome.NOT_REACHED:
                    self._unreached = self._next(self._unreached, None, UNREACHED_WAIT)
                    break
                if answer.outcome is Outcome.LATER or failures == FAILURES_MAX:
                    attempt = self._next(self._outbox.attempt(self._to), answer.wait, LONGEST_WAIT)
                    self._outbox.try_later(self._to, attempt)
                    break
        else:
            self._unreached = Attempt(not_before=self._clock(), failures=0)
            if self._outbox.attempt(self._to) is not None:
                self._outbox.try_later(self._to, None)
        return Sending(received, refused, problem)

    def _waiting(self) -> Iterator[tuple[Entry, Waiting]]:
        """Those for this collector, the oldest first; after failures from another one on: none blocks the rest."""
        entries, attempt = self._outbox.entries(), self._outbox.attempt(self._to)
        start = FAILURES_MAX * attempt.failures % len(entries) if attempt is not None and entries else 0
        for entry in entries[start:] + entries[:start]:
            waiting = self._outbox.read(entry)
            if waiting is not None and waiting.to == self._to:
                yield entry, waiting

    def _next(self, earlier: Attempt | None, wait: dt.timedelta | None, longest: dt.timedelta) -> Attempt:
        """When to try again: after half of the wait to all of it, so that clients do not come at once."""
        failures = 1 if earlier is None else earlier.failures + 1
        if wait is None:
            wait = FIRST_WAIT * 2 ** min(failures - 1, _DOUBLINGS_MAX)
        wait = min(max(wait, FIRST_WAIT), longest) * (0.5 + self._jitter() / 2)
        return Attempt(not_before=self._clock() + wait, failures=failures)

    async def _post(self, entry: Entry, waiting: Waiting) -> Answer:
        """Send one submission on the first connection that may carry it."""
        refused = False
        problem = ""
        for number, make in enumerate(self._connectors.confirmed):
            try:
                return await self._request(number, make, entry, waiting)
            except GuardError as error:
                presented = error.result is not None and bool(error.result.observation.chain)
                refused = refused or presented
                problem = UNCONFIRMED if presented else NOT_REACHED
            except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
                problem = problem or _reason(error)
        if refused and self._through is ThroughInterceptor.IF_NOTHING_ELSE:
            try:
                return await self._request(ACCEPTED, self._connectors.accepted, entry, waiting)
            except (aiohttp.ClientError, OSError) as error:
                problem = problem or _reason(error)
        return Answer(Outcome.NOT_REACHED, problem)

    async def _request(
        self, number: int, make: Callable[[], aiohttp.BaseConnector], entry: Entry, waiting: Waiting
    ) -> Answer:
        if number not in self._sessions:
            self._sessions[number] = aiohttp.ClientSession(
                connector=make(),
                auto_decompress=False,  # what arrives is bounded as it arrives
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"tls-middleware-detector/{VERSION}", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            )
        posting = self._sessions[number].post(
            self._to + PATH,
            data=bytes(waiting.envelope),
            headers={"Content-Type": CONTENT_TYPE},
            allow_redirects=False,
        )
        async with posting as response:
            body = await _read(response)
            return self._answer(response, body, entry, waiting, is_confirmed=number != ACCEPTED)

    def _answer(
        self, response: aiohttp.ClientResponse, body: bytes, entry: Entry, waiting: Waiting, *, is_confirmed: bool
    ) -> Answer:
        if response.status in _TAKEN:
            problem = self._problem_of_receipt(body, entry, waiting)
            return Answer(Outcome.KEPT, problem) if problem else Answer(Outcome.RECEIVED)
        if response.status in _LATER:
            wait = _retry_after(response.headers.get("Retry-After", ""), self._clock())
            return Answer(Outcome.LATER, f"the collector answers {response.status}", wait)
        refusal = _refusal(body)
        if refusal in PERMANENT and is_confirmed:
            return Answer(Outcome.REFUSED, refusal)
        return Answer(Outcome.KEPT, f"the collector answers {response.status} {refusal}".rstrip())

    def _problem_of_receipt(self, body: bytes, entry: Entry, waiting: Waiting) -> str:
        """Why an answer is no receipt for a submission; empty where it is one."""
        opened = envelopes.open_envelope(body, payload_type=receipt.PAYLOAD_TYPE, keys=self._keys)
        if opened.problem is not None:
            return f"the answer is no receipt of the collector ({opened.problem})"
        try:
            found = json_text.decode(opened.payload, Receipt)
        except ValueError:
            return "the answer is no receipt that can be read"
        unsealed = envelopes.unseal(bytes(waiting.envelope), payload_type=PAYLOAD_TYPE)
        sent = json_text.decode(unsealed.payload, Submission)
        if found.digest != entry.digest or found.institution != sent.institution:
            return "the receipt is for another submission"
        return ""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, up to `ANSWER_BYTES_MAX`."""
    body = b""
    while len(body) < ANSWER_BYTES_MAX and (chunk := await response.content.read(ANSWER_BYTES_MAX - len(body))):
        body += chunk
    return body


class _Problem(msgspec.Struct):
    type: str = ""


def _refusal(body: bytes) -> str:
    """The refusal that a problem document names (RFC 9457); empty for anything else."""
    try:
        kind = json_text.decode(body, _Problem).type
    except ValueError:
        return ""
    refusal = kind.removeprefix(_REFUSAL_PREFIX)
    return refusal if kind.startswith(_REFUSAL_PREFIX) and refusal in PERMANENT | TEMPORARY else ""


def _retry_after(value: str, now: dt.datetime) -> dt.timedelta | None:
    """How long a collector asks to be left alone (RFC 9110 section 10.2.3), at most `LONGEST_WAIT`."""
    if value.isascii() and value.isdecimal():
        return dt.timedelta(seconds=min(int(value[:_DIGITS_MAX]), LONGEST_WAIT.total_seconds()))
    try:
        until = email.utils.parsedate_to_datetime(value[:_DATE_CHARACTERS_MAX])
    except (ValueError, OverflowError):  # the latter: a number that no date has
        return None
    return None if until.tzinfo is None else min(max(until - now, dt.timedelta()), LONGEST_WAIT)


_DIGITS_MAX: Final = 10
"""Digits of a number of seconds that are read: three centuries."""
_DATE_CHARACTERS_MAX: Final = 64
"""Characters of an HTTP date; one has 29 (RFC 9110 section 5.6.7)."""


def _reason(error: Exception) -> str:
    """Why no answer came, without addresses: the message of a connection error names the proxy."""
    return "no answer in time" if isinstance(error, TimeoutError) else f"{NOT_REACHED} ({type(error).__name__})"
