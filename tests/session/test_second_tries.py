"""Second tries over real sockets, through the whole pipeline: boxes that cannot take large hellos, dead addresses.

Room: tests of session. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import Mode, serve_middlebox, serve_origin
from detector_testing.streams import LOOPBACK
from support.addresses import Fault
from support.boxes import serve_box, serve_fault
from support.guarding import witness_that
from support.simulation import simulate

from detector import Detector, Endpoint
from detector.model import Observation, Outcome
from detector.probe.routes import Resolver, literal
from detector.probe.routes.direct import ADDRESSES_MAX, Addresses
from detector.session.run import FurtherProbes, probe_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"


class FixedResolver(Resolver):
    """Gives these addresses for every name."""

    def __init__(self, *hosts: str) -> None:
        super().__init__()
        self._hosts = hosts

    async def resolve(self, host: str, port: int) -> Addresses:
        if literal(host) is not None:
            return await super().resolve(host, port)
        found = [(await super(FixedResolver, self).resolve(each, port))[0] for each in self._hosts]
        return Addresses.bounded(found)


@pytest.mark.parametrize(("fault", "alert"), [*((fault, 50) for fault in Fault), (Fault.ALERT, 40), (Fault.ALERT, 80)])
async def test_a_box_that_cannot_take_a_large_hello(
    fault: Fault, alert: int, pki: PrivatePKI, settings_of: Settings
) -> None:
    """The genuine server behind it is clean by the small hello, and the failures of the usual one are reported."""
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_box(origin.address, fault, alert=alert) as box,
        Detector(**settings_of(resolve={(EXAM, 443): box.address})) as subject,
    ):
        (result,) = (await subject.check([EXAM], deadline=6.0)).results
    seen = result.observation
    assert (result.verdict, result.reason, seen.small_hello) == ("clean", "logged", True)
    assert {each.small_hello for each in seen.earlier} == {False}
    assert len(seen.earlier) == 2
    assert {each.outcome for each in seen.earlier} <= {fault.value, Outcome.DEADLINE}


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.SILENCE])
async def test_an_interceptor_with_that_fault(fault: Fault, pki: PrivatePKI, settings_of: Settings) -> None:
    """It decrypts clients with small hellos, and is caught by ours."""
    ca = pki.private_ca("Filter CA")
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(ca, mode=Mode.TRANSPARENT, upstream=origin.address) as middlebox,
        serve_box(middlebox.address, fault) as box,
        Detector(**settings_of(resolve={(EXAM, 443): box.address})) as subject,
    ):
        (result,) = (await subject.check([EXAM], deadline=6.0)).results
    assert (result.verdict, result.observation.small_hello) == ("middleware", True)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("dead", ["::1", "127.0.0.2"])
async def test_one_address_that_is_dead(fault: Fault, dead: str, pki: PrivatePKI, settings_of: Settings) -> None:
    """The other address decides, by the usual hello, and the dead one is reported."""
    async with serve_origin(pki.issue([EXAM])) as origin, serve_fault(fault, host=dead, port=origin.port):
        settings = settings_of(resolver=FixedResolver(dead, LOOPBACK))
        async with Detector(**settings) as subject:
            (result,) = (await subject.check([f"{EXAM}:{origin.port}"], deadline=6.0)).results
    seen = result.observation
    assert (result.verdict, seen.small_hello, seen.address) == ("clean", False, f"{LOOPBACK}:{origin.port}")
    assert [(each.small_hello, dead in (each.address or "")) for each in seen.earlier] == [(False, True)]


async def test_the_other_address_is_somebody_else(pki: PrivatePKI, settings_of: Settings) -> None:
    """A dead address does not hide that the other one shows a certificate of another machine."""
    own = pki.self_signed(["firewall.lan"])
    async with serve_origin(own) as firewall, serve_fault(Fault.RESET, host="::1", port=firewall.port):
        settings = settings_of(resolver=FixedResolver("::1", LOOPBACK))
        async with Detector(**settings) as subject:
            (result,) = (await subject.check([f"{EXAM}:{firewall.port}"])).results
    assert (result.verdict, result.confidence, result.reason) == ("middleware", "possible", "wrong-name")


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.SILENCE])
async def test_a_witness_behind_such_a_box(fault: Fault, pki: PrivatePKI, settings_of: Settings) -> None:
    """It is asked on a connection with a small hello, of which it signs what it saw; no connection is left open."""
    key = Ed25519PrivateKey.generate()
    endpoint = Endpoint(host=EXAM, witness=(key.public_key().public_bytes_raw(),))
    async with (
        serve_origin(pki.issue([EXAM]), handler=witness_that(key)) as origin,
        serve_box(origin.address, fault) as box,
    ):
        async with Detector(**settings_of(endpoint, resolve={(EXAM, 443): box.address})) as subject:
            (result,) = (await subject.check([EXAM], deadline=6.0)).results
        async with asyncio.timeout(20):
            await box.settled()
    assert (result.verdict, result.assurance) == ("clean", "witnessed")
    witnessed = [seen for seen in (result.observation, *result.other_observations) if seen.witness is not None]
    assert [seen.small_hello for seen in witnessed] == [True]


async def test_a_variant_where_the_first_address_is_dead(pki: PrivatePKI, settings_of: Settings) -> None:
    """A second hello goes where the first one was answered, when the address of the first connection shows nothing."""
    async with serve_origin(pki.issue([EXAM])) as origin, serve_fault(Fault.RESET, host="::1", port=origin.port):
        settings = settings_of(resolver=FixedResolver("::1", LOOPBACK), hello="both")
        async with Detector(**settings) as subject:
            (result,) = (await subject.check([f"{EXAM}:{origin.port}"])).results
    assert result.verdict == "clean"
    assert [bool(seen.chain) for seen in result.other_observations] == [True]


@pytest.mark.parametrize("by", ["check", "scan"])
@pytest.mark.parametrize("addresses", [3, ADDRESSES_MAX, 1000])
async def test_addresses_beyond_the_bound_are_counted(
    addresses: int, by: str, pki: PrivatePKI, settings_of: Settings
) -> None:
    """Of a thousand addresses as many are probed as one run probes, and the report counts the others."""
    hosts = [f"127.0.{number // 200}.{number % 200 + 1}" for number in range(addresses)]
    async with serve_origin(pki.issue([EXAM]), host="0.0.0.0") as origin:
        settings = settings_of(resolver=FixedResolver(*hosts), all_addresses=True)
        target = f"{EXAM}:{origin.port}"
        async with Detector(**settings) as subject:
            if by == "check":
                (result,) = (await subject.check([target])).results
            else:
                (result,) = [result async for result in subject.scan([target])]
    probed = {seen.address for seen in (result.observation, *result.other_observations) if seen.key_kind is None}
    left_out = addresses - min(addresses, ADDRESSES_MAX)
    assert len(probed) == addresses - left_out
    assert result.observation.left_out == left_out
    assert [f.data["left_out"] for f in result.findings if f.outcome == "left-out"] == [left_out] * bool(left_out)
    assert result.verdict == "clean"


def rounds(kinds: dict[str, float], *, limit: int, until: float = 10.0) -> tuple[list[str], list[Any], float]:
    """Run first probes that take so long, and further ones; returns the order in which they began, and the findings."""
    begun: list[str] = []
    endpoints = [Endpoint(host=name) for name in kinds]

    async def first(endpoint: Endpoint) -> tuple[Observation, ...]:
        begun.append(endpoint.host)
        await asyncio.sleep(kinds[endpoint.host])
        return (Observation(outcome=Outcome.COMPLETE),)

    async def further(endpoint: Endpoint, seen: Awaitable[tuple[Observation, ...]]) -> FurtherProbes:
        begun.append(f"{endpoint.host} again")
        await seen
        return FurtherProbes((Observation(outcome=Outcome.RESET),) * 2, left_out=1)

    async def run() -> tuple[list[tuple[Observation, ...]], float]:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        found = await probe_all(endpoints, first, limit=limit, until=begin + until, probe_further=further)
        return found, loop.time() - begin

    found, took = simulate(run)
    return begun, found, took


def test_every_first_probe_begins_before_any_further_one() -> None:
    """However many endpoints and however few at once; one that is silent does not keep the others from theirs."""
    names = [f"h{number}.example" for number in range(10)]
    begun, found, took = rounds({name: 8.0 if name == "h0.example" else 0.1 for name in names}, limit=2)
    assert begun[:10] == names
    assert sorted(begun[10:]) == sorted(f"{name} again" for name in names)
    assert [[seen.outcome for seen in each] for each in found] == [["complete", "reset", "reset"]] * 10
    assert [each[0].left_out for each in found] == [1] * 10
    assert took < 8.5


def test_first_probes_that_take_all_the_time() -> None:
    """What the first probes showed is kept, and the further ones are left out, within the deadline."""
    begun, found, took = rounds({f"h{number}.example": 3.0 for number in range(10)}, limit=2)
    assert took <= 10.3
    assert [each[0].outcome for each in found] == ["complete"] * 6 + ["deadline"] * 4
    assert sum("again" in each for each in begun) > 0


@pytest.mark.parametrize("hello", ["browser", "both"])
async def test_sixty_four_at_once_fit_the_usual_limit_of_open_files(hello: str, settings_of: Settings) -> None:
    """With two silent addresses each, and every further address: never 256 descriptors, and none is left."""
    process, most = psutil.Process(), 0

    def ours(port: int) -> int:
        return sum(bool(each.raddr) and each.raddr.port == port for each in process.net_connections("tcp"))

    async def count(port: int) -> None:
        nonlocal most
        while True:
            most = max(most, ours(port))
            await asyncio.sleep(0.05)

    async with serve_fault(Fault.SILENCE) as one, serve_fault(Fault.SILENCE, host="127.0.0.2", port=one.port):
        endpoints = [Endpoint(host=f"h{number}.example", port=one.port) for number in range(64)]
        settings = settings_of(resolver=FixedResolver(LOOPBACK, "127.0.0.2"), all_addresses=True, hello=hello)
        async with Detector(**settings) as subject:
            counting = asyncio.create_task(count(one.port))
            report = await subject.check(endpoints, deadline=3.0)
            counting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await counting
        assert ours(one.port) == 0
    assert {result.observation.outcome for result in report.results} <= {Outcome.DEADLINE, Outcome.HANDSHAKE_TIMEOUT}
    assert 64 < most < 256 - 32  # what a process has open anyway
