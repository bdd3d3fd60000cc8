"""SIGTERM and SIGHUP end a command as Ctrl-C does: in order, with everything closed and no temporary file left.

Room: cli. Changes the handlers of this process while a command runs, with `signal.signal`: Windows' event loops have no
`add_signal_handler`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)  # Windows has no SIGHUP, other systems no SIGBREAK
)
"""Ctrl-C, how a service manager ends a program, and a terminal that is closed, which is SIGBREAK on Windows."""


class Interruption:
    """The signal that ended the command; Ctrl-C where there was no other."""

    number: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells report it."""
        return 128 + self.number


def not_ignored(numbers: tuple[signal.Signals, ...]) -> tuple[signal.Signals, ...]:
    """Those that may end this process: `nohup` and shells have it ignore some, and that must stay so."""
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)


@contextlib.contextmanager
def as_interruption() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt for all of `ENDING` in the main thread, where asyncio cancels its main task first."""
    found = Interruption()

    def interrupt(number: int, _: FrameType | None) -> None:
        found.number = number
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # asyncio.run handles this one

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in not_ignored(ENDING):
            if number != signal.SIGINT:
                before[number] = signal.signal(number, interrupt)
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def setting(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first signal that ends programs; the next one has its usual effect."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in not_ignored(ENDING)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(*_: object) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()
