"""A connection from a worker or a client to its scheduler.

Room: fleet. Opens one connection at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import aiohttp

from detector.errors import DetectorError, InputError

from .messages import HEARTBEAT_SECONDS, MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

CONNECT_SECONDS: Final = 10.0
"""Until a scheduler must have answered."""

SCHEME: Final = "tls://"
"""Precedes the address of a scheduler."""


class FleetError(DetectorError):
    """The fleet cannot be reached, or has no worker that can be used."""


@contextlib.asynccontextmanager
async def connected(
    scheduler: str, role: str, context: ssl.SSLContext
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect to a scheduler (`tls://HOST:PORT`) as a worker or a client. Raises `InputError`."""
    url = f"https://{scheduler.removeprefix(SCHEME)}/{role}"
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                socket = await session.ws_connect(
                    url, ssl=context, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX, compress=0
                )
        except aiohttp.ClientSSLError as error:
            raise _not_accepted(scheduler, role) from error
        except aiohttp.WSServerHandshakeError as error:
            raise InputError(
                f"--scheduler {scheduler}: refuses this {role} (HTTP status {error.status}).",
                advice=f"Give this machine the files {role}.pem and {role}.key; a scheduler also limits their number.",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError | aiohttp.ClientOSError) and (
                not isinstance(error, aiohttp.ClientConnectorError)
            ):
                # A server that does not accept a client's certificate says so after its own handshake (RFC 8446
                # section 4.4.2.4), as an alert or only by closing.
                raise _not_accepted(scheduler, role) from error
            raise InputError(
                f"--scheduler {scheduler}: nobody answered there within {CONNECT_SECONDS:g} seconds.",
                advice="Start `detector fleet scheduler`, and see that its port is open to this machine.",
            ) from error
        stack.push_async_callback(socket.close)
        yield socket


def _not_accepted(scheduler: str, role: str) -> InputError:
    return InputError(
        f"--scheduler {scheduler}: the scheduler and this {role} do not accept each other's certificates.",
        advice="Both need files of one run of `detector fleet certificates`, in date on the clocks of both, and the "
        "scheduler's address must be one of its --host names.",
    )
