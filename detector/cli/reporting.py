"""What a command reports to a collector, where that was asked for: after its own work, and never in its way.

Room: cli. The outbox is imported only by a command that is to report, and everything but its keys after the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

import click

from detector.aio.lazy import LazyModule
from detector.errors import DetectorError

from . import options
from .stderr import redirect_to_null, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector import outbox
else:
    outbox = LazyModule("detector.outbox")

_NETWORK: Final = ("proxy", "resolve")
_TRUST: Final = ("data", "roots", "add_roots", "logs")
"""Options of a command by which the collector is reached, and which it is assessed against."""
CLOSE_SECONDS: Final = 5.0
"""How long a command waits for sending at its end: one connection by any route, and some submissions."""
INTERRUPTED_SECONDS: Final = 1.0
"""The same after an interruption: a service manager kills what has not ended after some seconds."""
WITHOUT_REPORTING: Final = "The command goes on without reporting."


class Reports:
    """Reports of one command, as a context manager that waits a bounded time for sending; without a URL it is idle.

    What cannot be reported is said, and costs neither the result nor the exit code.

    Args:
        given: the options that say where and as what to report; they take precedence over `policy`, the table of an
            exam policy.
        settings: the options by which the command reaches its endpoints.

    Raises:
        InputError: for settings or keys that cannot be used.
        click.UsageError: for options of reporting without a collector.
    """

    def __init__(
        self, given: Mapping[str, Any], settings: Mapping[str, Any], policy: Mapping[str, Any] | None = None
    ) -> None:
        values = {**(policy or {}), **given}
        self._student = values.pop("student", None)
        self._settings: outbox.ReportSettings | None = None
        self._reporter: outbox.Reporter | None = None
        self._failed = False
        self._lock: Final = threading.Lock()
        self._options = settings
        if values.get("to"):
            self._settings = outbox.ReportSettings.of(values)
            self._keys = outbox.ReportKeys.load(self._settings, student=self._student)
        elif given:
            flags = [max(option.opts, key=len) for option in options.given("report")]
            raise click.UsageError(f"{next(iter(flags), 'Reporting')} needs --report-to URL.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._reporter is not None:
            self._reporter.close(CLOSE_SECONDS if kind is None else INTERRUPTED_SECONDS)

    def start(self) -> None:
        """Begin to send what earlier commands left."""
        self.report(lambda reporter: reporter.start())

    def report_aside(self, make: Callable[[outbox.Reporter], object]) -> None:
        """Report something in a thread of the event loop, which ends when that is done: the first time takes long."""
        if self._settings is not None:
            asyncio.get_running_loop().run_in_executor(None, self.report, make)

    def report_last(self, make: Callable[[outbox.Reporter], object]) -> None:
        """Report something after the result, to whose reader standard output ends before that."""
        if self._settings is not None:
            sys.stdout.flush()
            with contextlib.suppress(OSError, ValueError):  # it is no file of this process
                redirect_to_null(sys.stdout)
            self.report(make)

    def report(self, make: Callable[[outbox.Reporter], object]) -> None:
        """Report something while the command goes on."""
        if self._settings is None or self._failed:
            return
        try:
            with self._lock:
                if self._reporter is None:
                    self._reporter = outbox.Reporter(
                        self._settings,
                        keys=self._keys,
                        student=self._student,
                        connectors=connectors_of(self._options, self._settings.pins),
                        on_problem=lambda error: say(f"Warning: {error}"),
                    )
            make(self._reporter)
        except DetectorError as error:
            self._failed = True
            say(f"Warning: {error} {WITHOUT_REPORTING}")


def connectors_of(settings: Mapping[str, Any], pins: tuple[str, ...]) -> outbox.Connectors:
    """How a collector is reached, by the options of a command. Raises `InputError`."""
    given = {name: settings[name] for name in (*_NETWORK, *_TRUST) if name in settings}
    return outbox.Connectors.over_guard(pins=pins or None, **given)
