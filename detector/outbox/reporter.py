"""Reports evidence from a running program: makes submissions, keeps them in the outbox, and sends them, in a thread.

Room: outbox. Starts one thread and ends it; files and connections are those of `store` and `sender`.

No decision waits for anything here: a report is queued in microseconds. The thread makes the content,
signs it and writes it to the disk; from then on it survives whatever happens to the program. Sending comes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.tasks import cancel_and_wait
from detector.errors import DetectorError, InputError, OutputError
from detector.model.record import encode
from detector.probe.routes import local_networks
from detector.session.seams import utc_now
from detector.trust import envelope as envelopes

from . import contents
from .keys import ReportKeys
from .pseudonyms import Pseudonyms
from .sender import Connectors, Sender, Sending
from .store import Outbox
from .submission import PAYLOAD_TYPE, SUBMISSION_BYTES_MAX, Kind, Submission

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from typing import Self

    from detector.exam.decision import Decision
    from detector.model import Record, Report, Result
    from detector.watch.events import WatchEvent

    from .settings import ReportSettings

LOG: Final = logging.getLogger("detector.outbox")

AHEAD_MAX: Final = 1024
"""Reports that have not reached the disk yet; more are dropped and counted. A result has some KiB."""
CLOSE_SECONDS: Final = 5.0
"""How long the end of a program waits for sending: one connection by any route, and some submissions."""
WRITE_SECONDS: Final = 10.0
"""How long it waits for the disk in addition."""


PAUSE: Final = 60.0
"""Seconds before a folder is tried again in which another process sends, or that could not be read."""


class _Job(NamedTuple):
    """One report: what it is, when it was made, and what makes its content; None where nothing is to be reported."""

    kind: Kind
    made: dt.datetime
    content: Callable[[], Record | bytes | None]


class Reporter:
    """Reports to one collector until the `with` block ends, which waits a bounded time for sending.

    What could not be sent waits for the next reporter of the same folder. Entering it starts nothing: the thread starts
    with the first report, or with `start`. Its methods may be called from any thread.

    Args:
        settings: where and as what to report.
        keys: those that the settings name, if they are loaded already.
        student: any name that is the same for one student; only a keyed hash of it is kept.
        on_problem: called in the thread with what could not be kept.
        connectors: how the collector is reached, and what it is assessed against; by default by the machine's proxy,
            with the settings' pins.
        clock, networks: for tests.

    Raises:
        InputError: for keys, pins or a student that cannot be used.
        OutputError: for a folder that cannot be written.
    """

    def __init__(  # noqa: PLR0913 - keyword-only past the settings; each is one choice of the caller
        self,
        settings: ReportSettings,
        *,
        keys: ReportKeys | None = None,
        student: str | None = None,
        on_problem: Callable[[DetectorError], object] | None = None,
        connectors: Connectors | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
        networks: Callable[[], Mapping[str, str]] = local_networks,
    ) -> None:
        self._settings: Final = settings
        self._keys: Final = keys or ReportKeys.load(settings, student=student)
        key = self._keys.pseudonyms
        self._pseudonyms: Final = None if key is None else Pseudonyms(key, settings.institution, settings.exam)
        self._student, self._named_network = None, None
        if self._pseudonyms is not None and student is not None:
            self._student = self._pseudonyms.of_student(student)
        if self._pseudonyms is not None and settings.network is not None:
            self._named_network = self._pseudonyms.of_network(settings.network)
        self._networks: Final = networks
        self._clock: Final = clock
        self.outbox: Final = Outbox(settings.outbox, clock=clock)
        self._connectors: Final = connectors or Connectors.over_guard(pins=settings.pins or None)
        self._on_problem: Final = on_problem or (lambda error: LOG.warning("%s", error))
        self._lock: Final = threading.Lock()
        self._jobs: list[_Job] = []
        self._lost = 0
        self._ending = False
        self._seconds = CLOSE_SECONDS
        self._thread: threading.Thread | None = None
        self._wake: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the thread, which begins with what earlier reporters left."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="detector-reporter", daemon=True)
                self._thread.start()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what was reported, try to send for at most `seconds`, and end the thread."""
        with self._lock:
            thread, self._ending, self._seconds = self._thread, True, seconds
            self._wake()
        if thread is not None:
            thread.join(seconds + WRITE_SECONDS)

    def decision(self, decision: Decision) -> None:
        """Report the decision of a gate, with its evidence."""
        self._report(Kind.GATE_DECISION, lambda: contents.of_decision(decision, keys=[self._keys.signing]))

    def bundle(self, data: bytes) -> None:
        """Report an evidence bundle."""
        self._report(Kind.BUNDLE, lambda: contents.reduce(data, keys=[self._keys.signing]))

    def event(self, event: WatchEvent) -> None:
        """Report an event of a watch."""
        self._report(Kind.WATCH_EVENT, lambda: contents.of_event(event))

    def result(self, result: Result) -> None:
        """Report the result on one endpoint of a scan."""
        self._report(Kind.SCAN_RESULT, lambda: contents.of_result(result))

    def origin(self, report: Report) -> None:
        """Report what an exam server's log shows of one network, by the name of its `vantage`; needs a pseudonym key.

        Raises `InputError` without one.
        """
        if self._pseudonyms is None:
            raise InputError(
                "pseudonym_key: is needed to report a network.", advice="Make one with `detector outbox keygen`."
            )
        network = self._pseudonyms.of_network(report.vantage)
        self._report(Kind.ORIGIN_REPORT, lambda: contents.of_origin(report, network=network))

    def _report(self, kind: Kind, content: Callable[[], Record | bytes | None]) -> None:
        with self._lock:
            if len(self._jobs) < AHEAD_MAX and not self._ending:
                self._jobs.append(_Job(kind, self._clock(), content))
            else:
                self._lost += 1
            self._wake()
        self.start()

    # In the thread

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop, changed, unsent = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(changed.set)
        sender = Sender(
            self.outbox,
            to=self._settings.to,
            receipt_keys=self._keys.receipts,
            connectors=self._connectors,
            through_interceptor=self._settings.through_interceptor,
            clock=self._clock,
        )
        async with sender:
            turn = asyncio.Lock()
            sending = asyncio.create_task(self._keep_sending(sender, unsent, turn))
            try:
                while not self._write_all(unsent):
                    await changed.wait()
                    changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds), turn:
                        await self._send(sender)
            finally:
                with self._lock:
                    self._wake = lambda: None
                await cancel_and_wait([sending])

    def _write_all(self, unsent: asyncio.Event) -> bool:
        """Write everything that was reported; return whether that was all and the reporter is being closed."""
        with self._lock:
            jobs, self._jobs = self._jobs, []
            lost, self._lost = self._lost, 0
            ending = self._ending
        for job in jobs:
            try:
                self._write(job)
            except DetectorError as error:
                self._on_problem(error)
            else:
                unsent.set()
        if lost:
            with contextlib.suppress(OutputError):  # reported for what could not be written itself
                self.outbox.note_lost(lost)
        return ending

    def _write(self, job: _Job) -> None:
        """Make, sign and keep one submission. Raises `DetectorError`."""
        content = job.content()
        if content is None:
            return
        submission = Submission(
            institution=self._settings.institution,
            exam=self._settings.exam,
            student=self._student,
            network=self._network(),
            made=job.made,
            kind=job.kind,
            content=msgspec.Raw(content if isinstance(content, bytes) else encode(content)),
        )
        envelope = envelopes.seal(encode(submission), payload_type=PAYLOAD_TYPE, keys=[self._keys.signing])
        if len(envelope) > SUBMISSION_BYTES_MAX:
            raise InputError(
                f"A report ({job.kind}) is larger than a collector takes and was not kept.",
                advice="Keep the evidence with --bundle.",
            )
        self.outbox.put(envelope, to=self._settings.to)

    def _network(self) -> str | None:
        if self._named_network is not None or self._pseudonyms is None:
            return self._named_network
        return self._pseudonyms.of_local_networks(self._networks())

    async def _keep_sending(self, sender: Sender, unsent: asyncio.Event, turn: asyncio.Lock) -> None:
        """Send as soon as something waits, and again later what could not be sent."""
        while True:
            unsent.clear()
            async with turn:
                done = await self._send(sender)
            seconds = sender.wait() or (PAUSE if done is None or done.busy or done.problem else None)
            if seconds is None:
                await unsent.wait()
            else:
                await asyncio.sleep(seconds)

    async def _send(self, sender: Sender) -> Sending | None:
        try:
            return await sender.send()
        except OutputError as error:
            self._on_problem(error)
            return None
