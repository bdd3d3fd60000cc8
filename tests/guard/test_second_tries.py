"""A guarded client gets through where a plain one does: past boxes that cannot take a large hello, and dead addresses.

Room: tests of guard. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from detector_testing import Mode, serve_middlebox, serve_origin
from detector_testing.streams import LOOPBACK
from support.addresses import Fault
from support.boxes import serve_box, serve_fault
from support.guarding import EXAM, SECRET, URL, guard_of, guarded, settled

from detector.errors import GuardError
from detector.guard import UnconfirmedError
from detector.probe import Timeouts

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import PrivatePKI

BRIEF = Timeouts(handshake=1.0)


@pytest.mark.parametrize("fault", Fault)
async def test_a_box_that_cannot_take_a_large_hello(fault: Fault, world: World, pki: PrivatePKI) -> None:
    """The request goes over the connection with the small hello, which was assessed; no other one is left open."""
    guard = guard_of(world)
    async with serve_origin(pki.issue([EXAM])) as origin, serve_box(origin.address, fault) as box:
        async with (
            guarded(guard, resolve={(EXAM, 443): box.address}, timeouts=BRIEF) as client,
            client.post(URL, data=SECRET) as response,
        ):
            assert response.status == 200
            assert (len(origin.requests), box.connections) == (1, 2)
        await settled(box)
    (assessed,) = guard.assessed
    assert assessed.result.observation.small_hello
    assert [each.small_hello for each in assessed.result.observation.earlier] == [False]


@pytest.mark.parametrize("fault", Fault)
async def test_one_address_that_is_dead(
    fault: Fault, world: World, pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other address is used, and a silent one is not waited for."""
    system = socket.getaddrinfo

    def both(host: str, *where: Any, **how: Any) -> list[Any]:  # noqa: ANN401 - as the original
        return (
            [*system("::1", *where, **how), *system(LOOPBACK, *where, **how)] if host == EXAM else system(host, *where)
        )

    monkeypatch.setattr(socket, "getaddrinfo", both)
    guard = guard_of(world)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_fault(fault, host="::1", port=origin.port) as dead,
        guarded(guard, timeouts=BRIEF) as client,
        client.get(f"https://{EXAM}:{origin.port}/") as response,
    ):
        assert response.status == 200
        assert dead.connections == 1
        await settled(dead)
    (assessed,) = guard.assessed
    assert assessed.result.observation.address == f"{LOOPBACK}:{origin.port}"


@pytest.mark.parametrize("fault", Fault)
async def test_an_interceptor_of_small_hellos(fault: Fault, world: World, pki: PrivatePKI) -> None:
    """It is refused before a byte of the request is sent, as any other."""
    ca = pki.private_ca("Filter CA")
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(ca, mode=Mode.TRANSPARENT, upstream=origin.address) as middlebox,
        serve_box(middlebox.address, fault) as box,
        guarded(guard_of(world), resolve={(EXAM, 443): box.address}, timeouts=BRIEF) as client,
    ):
        with pytest.raises(GuardError) as caught:
            await client.post(URL, data=SECRET)
        assert caught.value.result is not None
        assert caught.value.result.observation.small_hello
    assert origin.requests == []


async def test_nobody_answers(world: World) -> None:
    """Where no second try helps either, the request is refused as unconfirmed, and nothing is left."""
    async with (
        serve_fault(Fault.SILENCE) as silent,
        guarded(guard_of(world), resolve={(EXAM, 443): silent.address}, timeouts=Timeouts(handshake=0.2)) as client,
    ):
        with pytest.raises(UnconfirmedError):
            await client.get(URL)
        await settled(silent)
        assert silent.connections == 2


@pytest.mark.parametrize("after", [0.1, 0.5, 0.9])
async def test_cancelled_while_it_tries_again(after: float, world: World) -> None:
    """aiohttp's own timeout ends every connection that was tried."""
    limit = aiohttp.ClientTimeout(total=after)
    async with (
        serve_fault(Fault.SILENCE) as silent,
        guarded(guard_of(world), resolve={(EXAM, 443): silent.address}, timeouts=BRIEF) as client,
    ):
        with pytest.raises(asyncio.TimeoutError):
            await client.get(URL, timeout=limit)
        await settled(silent)
