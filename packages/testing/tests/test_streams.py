"""Servers on loopback: whatever moment they end at, nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from typing import TYPE_CHECKING

import pytest
from detector_testing.streams import Listener, listen

if TYPE_CHECKING:
    from detector_testing.streams import PlainStream


@pytest.mark.parametrize("turns", range(8))
async def test_clients_that_come_as_a_server_ends(turns: int) -> None:
    """So many turns of the loop after clients came: all of them are cut, served or not, and no socket is forgotten."""
    listener, served = Listener(), 0

    async def serve(stream: PlainStream) -> None:
        nonlocal served
        served += 1
        await stream.read()

    with warnings.catch_warnings(record=True) as warned, contextlib.ExitStack() as stack:
        warnings.simplefilter("always")
        async with listen(serve, listener):
            clients = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
        assert listener.running == set()
        for client in clients:
            client.settimeout(20)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.to_thread(client.recv, 1) == b""
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
    assert served in {0, 5}
