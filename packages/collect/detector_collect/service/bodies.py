"""Reads the body of a request within bounds of size, time and memory.

Room: detector_collect.service. Reads from the server, and the event loop's clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from litestar import Request

from detector_collect.submissions import Refusal, RefusedError

if TYPE_CHECKING:
    from .settings import Limits

AnyRequest = Request[Any, Any, Any]

DISCARDED: Final = 4
"""How many times the limit is read and dropped of a body that is too large: a client that is still sending when the
connection closes may lose the answer (RFC 9112 section 9.6)."""


class DisconnectedError(Exception):
    """The client went away; nobody reads an answer."""


class Bodies:
    """Reads bodies, and keeps all of them together below the limit of the process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0
        """Bytes of the bodies that are being received."""

    async def read(self, request: AnyRequest) -> bytes:
        """The whole body.

        Raises `RefusedError` (`too-large`, `too-slow`, `busy`), and `DisconnectedError`.
        """
        limits = self._limits
        announced = request.headers.get("content-length", "")
        too_large = announced.isdecimal() and int(announced) > limits.body_bytes  # the server reads up to 20 digits
        if too_large and "expect" in request.headers:  # RFC 9110 section 10.1.1: the client has sent nothing yet
            raise RefusedError(Refusal.TOO_LARGE)
        body = bytearray()
        received = 0
        loop = asyncio.get_running_loop()
        begun = loop.time()
        more = True
        try:
            async with asyncio.timeout(limits.body_seconds) as deadline:
                while more:
                    message = await request.receive()
                    if message["type"] != "http.request":
                        raise DisconnectedError
                    chunk, more = message["body"], message.get("more_body", False)
                    received += len(chunk)
                    too_large = too_large or received > limits.body_bytes
                    if too_large:
                        self.held -= len(body)
                        body.clear()
                        if received > DISCARDED * limits.body_bytes:
                            break
                    else:
                        self._hold(len(chunk))
                        body += chunk
                    deadline.reschedule(begun + limits.body_seconds + received / limits.body_bytes_per_second)
        except TimeoutError:
            raise RefusedError(Refusal.TOO_SLOW) from None
        finally:
            self.held -= len(body)
        if too_large:
            raise RefusedError(Refusal.TOO_LARGE)
        return bytes(body)

    def _hold(self, size: int) -> None:
        if self.held + size > self._limits.bodies_bytes:
            raise RefusedError(Refusal.BUSY)
        self.held += size
