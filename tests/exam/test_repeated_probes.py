"""Several probes of one endpoint: an interceptor that lets some connections pass, and drops or decrypts the others."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import ssl
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import Script, serve_middlebox, serve_origin, serve_script
from detector_testing.tls_server import Step
from support.boxes import DROP, FORGE, PASS, fickle
from support.simulation import simulate
from support.witnesses import answering

import detector
from detector import Category, Detector, Endpoint
from detector import bundle as bundles
from detector.bundle.form import RecordedEndpoint
from detector.errors import InputError
from detector.exam import Action, OnUnconfirmed, Policy, ReasonCode
from detector.model import Observation, Outcome, RecordedIdentity
from detector.session.run import Repeats, repeat
from detector.session.settings import PROBES_MAX
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector_testing import PrivatePKI

    from detector.model import Report

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
PATIENCE: Final = 20
"""Seconds after which a gate with a deadline of a few seconds counts as hanging, however busy the machine is."""


def rounds(report: Report, host: str = EXAM) -> list[int]:
    """Which repetitions the observations of a host are."""
    result = next(result for result in report.results if result.endpoint.host == host)
    return sorted(one.repeat for one in (result.observation, *result.other_observations))


class TestInterceptors:
    @pytest.mark.parametrize("probes", [1, 2, 3])
    async def test_one_that_lets_the_first_connection_pass(
        self, pki: PrivatePKI, settings_of: Settings, probes: int
    ) -> None:
        """Two probes find what one does not; the evidence holds both, and the policy says how many there are."""
        issued = pki.issue([EXAM])
        exam = Endpoint(host=EXAM, category=Category.EXAM, identity=RecordedIdentity.PUBLIC, pins=(issued.spki_sha256,))
        async with (
            serve_origin(issued) as origin,
            serve_middlebox(pki.private_ca("School CA"), upstream={(EXAM, 443): origin.address}, pass_first=1) as box,
        ):
            decision = await detector.exam.gate(policy=Policy(probes=probes), **settings_of(exam, proxy=box.url))
        assert rounds(decision.report) == list(range(probes))
        assert (box.passed, box.intercepted) == ([EXAM], [EXAM] * (probes - 1))
        assert decision.action is (Action.ALLOW if probes == 1 else Action.BLOCK)
        recorded = [part.content for part in bundles.read(decision.evidence).parts]
        connections = [each.looks for each in recorded if isinstance(each, RecordedEndpoint)]
        assert [[one.repeat for one in each] for each in connections] == [list(range(probes))]

    async def test_default_is_two_probes(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Without a word in the policy, the first connection that passes is not enough."""
        async with (
            serve_origin(pki.issue([EXAM])) as origin,
            serve_middlebox(pki.private_ca("School CA"), upstream={(EXAM, 443): origin.address}, pass_first=1) as box,
        ):
            decision = await detector.exam.gate([EXAM], **settings_of(proxy=box.url))
        assert (decision.action, decision.reasons[0].code) == (Action.BLOCK, ReasonCode.UNCONFIRMED)

    @pytest.mark.parametrize("script", list(itertools.product((PASS, FORGE, DROP), repeat=3)), ids="-".join)
    async def test_whatever_becomes_of_each_connection(
        self, pki: PrivatePKI, settings_of: Settings, script: tuple[str, ...]
    ) -> None:
        """An exam begins only where no connection was decrypted, and as many were answered as the policy asks for."""
        box_ca = pki.private_ca("School CA")
        async with (
            serve_origin(pki.issue([EXAM])) as genuine,
            serve_origin(box_ca.issue([EXAM])) as forged,
            fickle(genuine.address, forged.address, script) as box,
            asyncio.timeout(PATIENCE),
        ):
            exam = Endpoint(host=EXAM, category=Category.EXAM, address=box.address)
            decision = await detector.exam.gate(deadline=4.0, **settings_of(exam))
        assert decision.action in {Action.ALLOW, Action.BLOCK}
        if decision.action is Action.ALLOW:
            assert FORGE not in box.served
            assert box.served.count(PASS) >= 2
        if set(script) == {PASS}:
            assert (decision.action, box.served) == (Action.ALLOW, [PASS, PASS])

    @pytest.mark.parametrize("on_unconfirmed", list(OnUnconfirmed))
    async def test_one_that_is_silent_after_the_first_connection(
        self, pki: PrivatePKI, settings_of: Settings, on_unconfirmed: OnUnconfirmed
    ) -> None:
        """A second probe without an answer does not confirm, and the answer is in time."""
        async with (
            serve_origin(pki.issue([EXAM])) as genuine,
            serve_script(Script.silence()) as silent,
            fickle(genuine.address, silent.address, (PASS, FORGE)) as box,
            asyncio.timeout(PATIENCE),
        ):
            exam = Endpoint(host=EXAM, category=Category.EXAM, address=box.address)
            policy = Policy(on_unconfirmed=on_unconfirmed, deadline=3.0)
            decision = await detector.exam.gate(policy=policy, **settings_of(exam))
        assert decision.action is Action(on_unconfirmed.value)
        assert decision.reasons[0].code is ReasonCode.UNREPEATED
        assert decision.reasons[0].endpoints == (f"{EXAM}:443",)
        assert decision.report.results[0].verdict is detector.Verdict.CLEAN
        assert f"The exam server could not be confirmed: {EXAM}." in decision.message

    async def test_a_server_that_limits_new_connections(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Connections that come too soon are dropped at once; with time left, the later probe is made once more."""
        async with (
            serve_origin(pki.issue([EXAM])) as genuine,
            fickle(genuine.address, genuine.address, (PASS, DROP, DROP, PASS)) as box,
        ):
            exam = Endpoint(host=EXAM, category=Category.EXAM, address=box.address)
            decision = await detector.exam.gate(deadline=4.0, **settings_of(exam))
        assert (decision.action, rounds(decision.report)) == (Action.ALLOW, [0, 1])
        assert decision.report.results[0].other_observations[0].attempts > 2

    async def test_a_replayed_chain_is_no_answer(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Stale pins only warn, but not where a later probe ended before the key was proved."""
        issued = pki.issue([EXAM])
        cut = dataclasses.replace(Script.genuine(issued, version=ssl.TLSVersion.TLSv1_2), stop=Step.CERTIFICATE)
        async with (
            serve_origin(issued) as genuine,
            serve_script(cut) as other,
            fickle(genuine.address, other.address, (PASS, FORGE)) as box,
        ):
            exam = Endpoint(host=EXAM, category=Category.EXAM, address=box.address, pins=(b"\1" * 32,))
            decision = await detector.exam.gate(deadline=4.0, **settings_of(exam))
        assert (decision.action, decision.reasons[0].code) == (Action.BLOCK, ReasonCode.UNREPEATED)

    async def test_a_witness_confirms_every_probe(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Where a witness is required, a later probe that it does not confirm is not confirmed by the first one."""
        key, issued = Ed25519PrivateKey.generate(), pki.issue([EXAM])
        async with serve_origin(issued, handler=answering(key)) as witnessing, serve_origin(issued) as other:
            for script in ((PASS,), (PASS, FORGE)):
                async with fickle(witnessing.address, other.address, script) as box:
                    exam = Endpoint(
                        host=EXAM, category=Category.EXAM, witness=(public_key_of(key),), address=box.address
                    )
                    policy = Policy(require_witness=Category.EXAM)
                    decision = await detector.exam.gate(policy=policy, **settings_of(exam))
                    assert decision.action is (Action.ALLOW if script == (PASS,) else Action.BLOCK)


class TestCost:
    async def test_only_what_must_be_confirmed_is_probed_again(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """One more connection to each endpoint that must be confirmed, and none to the others."""
        hosts = {EXAM: Category.EXAM, LMS: Category.LMS, SEARCH: Category.SEARCH}
        async with contextlib.AsyncExitStack() as stack:
            origins = {host: await stack.enter_async_context(serve_origin(pki.issue([host]))) for host in hosts}
            endpoints = [
                Endpoint(host=host, category=category, address=origins[host].address)
                for host, category in hosts.items()
            ]
            policy = Policy(endpoints=(LMS,))
            decision = await detector.exam.gate([SEARCH], policy=policy, **settings_of(*endpoints))
            assert {host: origin.connections for host, origin in origins.items()} == dict.fromkeys(hosts, 2)
            await detector.exam.gate(**settings_of(*endpoints))
            await detector.exam.gate(policy=Policy(probes=1), **settings_of(*endpoints))
            assert {host: origin.connections for host, origin in origins.items()} == {EXAM: 5, LMS: 4, SEARCH: 4}
        assert decision.action is Action.ALLOW

    async def test_without_an_exam_endpoint_all_are_probed_again(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Where the network as a whole must be clean, the decision rests on every endpoint."""
        async with serve_origin(pki.issue([LMS])) as origin:
            decision = await detector.exam.gate(**settings_of(Endpoint(host=LMS, address=origin.address)))
        assert (decision.action, rounds(decision.report, LMS)) == (Action.ALLOW, [0, 1])


async def test_no_observation_of_many_is_left_out(pki: PrivatePKI, settings_of: Settings) -> None:
    """With as many probes, hellos and routes as there can be, the one connection that was decrypted decides."""
    async with (
        serve_origin(pki.issue([EXAM])) as genuine,
        serve_origin(pki.private_ca("School CA").issue([EXAM])) as forged,
    ):
        for at in (0, 7, 15):
            async with fickle(genuine.address, forged.address, [PASS] * at + [FORGE] + [PASS]) as box:
                exam = Endpoint(host=EXAM, category=Category.EXAM, address=box.address)
                policy = Policy(probes=PROBES_MAX, hello="both", route="all", all_addresses=True, deadline=10.0)
                decision = await detector.exam.gate(policy=policy, **settings_of(exam))
            result = decision.report.results[0]
            assert len(result.other_observations) + 1 >= len(box.served) > 2 * PROBES_MAX
            assert decision.action is Action.BLOCK


class TestSettings:
    async def test_detectors_probe_as_often_as_their_settings_say(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """`check`, a scan and the watch take the same setting; a gate prefers it to the policy's."""
        async with serve_origin(pki.issue([EXAM])) as origin:
            exam = Endpoint(host=EXAM, category=Category.EXAM, address=origin.address)
            subject = Detector(**settings_of(exam, probes=3))
            checked = (await subject.check()).results
            scanned = [result async for result in subject.scan([exam])]
            async with contextlib.aclosing(subject.watch([exam], duration=1.0)) as events:
                watched = await anext(events)
            gated = await detector.exam.gate(detector=subject)
            once = await detector.exam.gate(policy=Policy(probes=1), **settings_of(exam, probes=2))
        for results in (checked, scanned):
            assert [one.repeat for result in results for one in result.other_observations] == [1, 2]
        assert watched is not None
        assert (rounds(gated.report), rounds(once.report)) == ([0, 1, 2], [0, 1])

    @pytest.mark.parametrize(("field", "wrong"), [("probes", 0), ("probes", 9), ("probes", True), ("spread", 1)])
    def test_values_are_validated(self, field: str, wrong: object) -> None:
        """A number of probes that makes no sense is refused, naming the field."""
        options: dict[str, Any] = {field: wrong}
        with pytest.raises(InputError, match=field):
            Detector(**options)


class TestSchedule:
    """When rounds begin, in virtual time: seconds after the first probe began."""

    @pytest.mark.parametrize(
        ("first_takes", "times", "begins"),
        [
            (1.0, Repeats(2), [1.0]),  # right after everything else
            (9.0, Repeats(2), [4.0]),  # at a third of the time at the latest
            (1.0, Repeats(2, spread=True), [6.0]),
            (9.0, Repeats(3), [3.0, 6.0]),
            (1.0, Repeats(4, spread=True), [3.0, 6.0, 9.0]),
        ],
    )
    def test_rounds_begin_last_but_with_time_left(
        self, first_takes: float, times: Repeats, begins: list[float]
    ) -> None:
        """A later probe comes after everything else, and never so late that it cannot be answered."""
        began: list[float] = []

        async def scene() -> list[tuple[Observation, ...]]:
            loop = asyncio.get_running_loop()
            start = loop.time()

            async def probe_round(_: Sequence[Endpoint]) -> list[tuple[Observation, ...]]:
                began.append(loop.time() - start)
                return [(Observation(outcome=Outcome.COMPLETE),), ()]

            first = asyncio.create_task(asyncio.sleep(first_takes))
            found = await repeat(probe_round, [], first, times, start + 12.0)
            await first
            return found

        seen = simulate(scene)
        assert began == pytest.approx(begins)
        assert [[one.repeat for one in each] for each in seen] == [list(range(1, times.probes)), []]

    @pytest.mark.parametrize("takes", [5.0, 6.0, 7.0, 8.0])
    def test_a_slow_network_answers_twice(self, takes: float) -> None:
        """A connection may take up to two thirds of the time, and the second one still ends within it."""
        ended: list[float] = []

        async def scene() -> None:
            loop = asyncio.get_running_loop()
            start = loop.time()

            async def probe_round(_: Sequence[Endpoint]) -> list[tuple[Observation, ...]]:
                await asyncio.sleep(takes)
                ended.append(loop.time() - start)
                return []

            first = asyncio.create_task(asyncio.sleep(takes))
            await repeat(probe_round, [], first, Repeats(2), start + 12.0)
            await first

        simulate(scene)
        assert ended[0] <= 12.0


async def test_a_repeat_that_shows_more_has_its_follow_up(pki: PrivatePKI, settings_of: Settings) -> None:
    """What only a later probe shows is followed up like what the first one shows: canaries are probed."""
    box_ca = pki.private_ca("School CA")
    canaries = [
        Endpoint(host=f"{name}.example", canary=True, runs_ca=True, operator=name, category=Category.SEARCH)
        for name in ("one", "two")
    ]
    async with contextlib.AsyncExitStack() as stack:
        genuine = await stack.enter_async_context(serve_origin(pki.issue([EXAM])))
        forged = await stack.enter_async_context(serve_origin(box_ca.issue([EXAM])))
        box = await stack.enter_async_context(fickle(genuine.address, forged.address, (PASS, FORGE)))
        placed = []
        for canary in canaries:
            origin = await stack.enter_async_context(serve_origin(box_ca.issue([canary.host])))
            placed.append(msgspec.structs.replace(canary, address=origin.address))
        exam = Endpoint(host=EXAM, category=Category.EXAM, address=box.address)
        settings = settings_of(exam, offline=False, control=None, canaries=placed)
        decision = await detector.exam.gate([EXAM], **settings)
    assert decision.action is Action.BLOCK
    assert {result.endpoint.host for result in decision.report.results} == {EXAM, "one.example", "two.example"}
