"""The gate over real sockets on loopback: its answers, its deadline, its evidence, and what it refuses at once."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import detector
from detector import Category, Detector, Endpoint
from detector import bundle as bundles
from detector.errors import InputError, PinFileError, PolicyError, RequestError, RootsError, TargetError
from detector.exam import Action, Policy, ReasonCode
from detector.exam.exchange import Request as GateRequest
from detector.exam.gatekeeper import serve_request
from detector.exam.policy import ENDPOINTS_MAX
from detector.model import Assurance, Outcome
from detector.testing import (
    Lie,
    Response,
    Script,
    run_mitmproxy,
    serve_middlebox,
    serve_origin,
    serve_proxy,
    serve_script,
)
from detector.trust.envelope import public_octets
from detector.witness import protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from detector.testing import PrivatePKI, Request

    Settings = Callable[..., dict[str, Any]]
    Where = dict[tuple[str, int], tuple[str, int]]

EXAM, LMS = "exam.example.edu", "lms.example.org"
PATIENCE = 20
"""Seconds after which a gate with a deadline of one second counts as hanging, however busy the machine is."""


@contextlib.asynccontextmanager
async def town(pki: PrivatePKI) -> AsyncIterator[tuple[tuple[Endpoint, ...], Where]]:
    """An exam platform and a course platform, pinned, and where they are."""
    async with contextlib.AsyncExitStack() as stack:
        endpoints, where = [], {}
        for host, category in ((EXAM, Category.EXAM), (LMS, Category.LMS)):
            issued = pki.issue([host])
            origin = await stack.enter_async_context(serve_origin(issued))
            endpoints.append(Endpoint(host=host, category=category, pins=(issued.spki_sha256,)))
            where[host, 443] = origin.address
        yield tuple(endpoints), where


class TestAnswers:
    async def test_clean_network_is_allowed(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Everything in order: allowed, with the report and evidence that can be judged again."""
        async with town(pki) as (endpoints, where):
            decision = await detector.exam.gate(**settings_of(*endpoints, resolve=where))
        assert (decision.action, decision.policy) == (Action.ALLOW, "default")
        assert [reason.code for reason in decision.reasons] == [ReasonCode.CLEAN]
        assert decision.report.verdict is detector.Verdict.CLEAN
        assert len(bundles.read(decision.evidence).parts) > len(endpoints)

    async def test_decrypted_network_is_blocked(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A filter that decrypts the exam platform alone blocks, and the message says what to do."""
        async with (
            town(pki) as (endpoints, where),
            serve_middlebox(pki.private_ca("School CA"), upstream=where, only_hosts={EXAM}) as box,
        ):
            decision = await detector.exam.gate(**settings_of(*endpoints, route=f"http://127.0.0.1:{box.port}"))
        assert decision.action is Action.BLOCK
        assert decision.reasons[0].endpoints == (f"{EXAM}:443",)
        assert EXAM in decision.message
        assert "School CA" not in decision.message

    @pytest.mark.lab
    async def test_real_mitmproxy_is_blocked(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The real mitmproxy in the way blocks too, and the student hears its name."""
        async with town(pki) as (endpoints, where), run_mitmproxy(upstream_hosts=where) as mitm:
            decision = await detector.exam.gate(**settings_of(*endpoints, route=f"http://127.0.0.1:{mitm.port}"))
        assert decision.action is Action.BLOCK
        assert "mitmproxy" in decision.message

    async def test_unreachable_network_warns(self, settings_of: Settings) -> None:
        """No answer is no accusation and no clean bill."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        endpoint = Endpoint(host=EXAM, category=Category.EXAM, address=("127.0.0.1", port))
        decision = await detector.exam.gate(**settings_of(endpoint))
        assert decision.action is Action.WARN
        assert decision.report.results[0].observation.outcome is Outcome.CONNECT_REFUSED
        assert decision.report.verdict is detector.Verdict.INCONCLUSIVE

    async def test_nothing_to_look_at_is_not_clean(self, settings_of: Settings) -> None:
        """Without any endpoint there is neither an all-clear nor evidence."""
        decision = await detector.exam.gate(**settings_of())
        assert (decision.action, decision.evidence) == (Action.WARN, b"")

    async def test_evidence_is_signed_by_every_key(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The bundle names its signers, and their signatures verify."""
        keys = [Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()]
        async with town(pki) as (endpoints, where):
            decision = await detector.exam.gate(**settings_of(*endpoints, resolve=where), keys=keys)
        signers = bundles.read(decision.evidence).signers
        assert {signer.key for signer in signers} == {public_octets(key) for key in keys}
        assert all(signer.verifies for signer in signers)

    async def test_one_detector_serves_many_gates(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A client that keeps a detector ready may use it again and again, also side by side."""
        async with town(pki) as (endpoints, where), Detector(**settings_of(*endpoints, resolve=where)) as ready:
            decisions = await asyncio.gather(*(detector.exam.gate(detector=ready) for _ in range(3)))
            one = await detector.exam.gate([LMS], detector=ready)
        assert [decision.action for decision in decisions] == [Action.ALLOW] * 3
        assert [result.endpoint.host for result in one.report.results] == [LMS]

    async def test_targets_go_before_the_policy_and_that_before_the_pins(
        self, pki: PrivatePKI, settings_of: Settings
    ) -> None:
        """What is named must be cleared: a course platform that fails then matters as the exam's does."""
        async with town(pki) as (endpoints, where), serve_script(Script.alert(40)) as broken:
            settings = settings_of(*endpoints, resolve={**where, (LMS, 443): broken.address})
            everything = await detector.exam.gate(**settings)
            policy = Policy(endpoints=(LMS, EXAM))
            by_policy = await detector.exam.gate(policy=policy, **settings)
            by_call = await detector.exam.gate([EXAM], policy=policy, **settings)
        assert (everything.action, by_policy.action, by_call.action) == (Action.ALLOW, Action.WARN, Action.ALLOW)
        assert by_policy.report.verdict is detector.Verdict.INCONCLUSIVE
        assert by_policy.reasons[0].endpoints == (f"{LMS}:443",)

    async def test_policy_and_pins_come_from_files(self, pki: PrivatePKI, tmp_path: Path) -> None:
        """One policy file is all a client has to name; its pin files stand beside it."""
        written = pki.write(tmp_path)
        async with town(pki) as (endpoints, where):
            address, port = where[EXAM, 443]
            (tmp_path / "pins.toml").write_text(
                f'schema = 1\n[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\n'
                f'pins = ["sha256:{endpoints[0].pins[0].hex()}"]\naddress = "{address}:{port}"\n'
            )
            (tmp_path / "policy.toml").write_text('schema = 1\nname = "finals"\npins = ["pins.toml"]\n')
            decision = await detector.exam.gate(
                policy=tmp_path / "policy.toml", roots=written.roots, logs=written.ct_logs, route="none", offline=True
            )
        assert (decision.action, decision.policy) == (Action.ALLOW, "finals")
        assert decision.report.results[0].assurance is Assurance.PINNED


class TestDeadline:
    """Whatever hangs, there is an answer in time; how exactly is the session's business and tested there."""

    async def test_tarpit(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A silent server costs its own answer and nobody else's."""
        async with town(pki) as (endpoints, where), serve_script(Script.silence()) as silent, asyncio.timeout(PATIENCE):
            settings = settings_of(*endpoints, resolve={**where, (EXAM, 443): silent.address})
            decision = await detector.exam.gate(deadline=1.0, **settings)
        assert decision.action is Action.WARN
        assert [r.verdict for r in decision.report.results] == ["inconclusive", "clean"]

    async def test_proxy_that_hangs(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A proxy that takes the request and never answers."""
        async with town(pki) as (endpoints, _), serve_proxy(lie=Lie.HANG) as proxy, asyncio.timeout(PATIENCE):
            settings = settings_of(*endpoints, route=f"http://127.0.0.1:{proxy.port}")
            decision = await detector.exam.gate(deadline=1.0, **settings)
        assert decision.action is Action.WARN
        assert {r.verdict for r in decision.report.results} == {"inconclusive"}

    async def test_name_resolution_that_hangs(self, settings_of: Settings, hanging_resolver: threading.Event) -> None:
        """A resolver that never answers."""
        async with asyncio.timeout(PATIENCE):
            decision = await detector.exam.gate([EXAM], deadline=1.0, **settings_of())
        assert not hanging_resolver.is_set()
        assert (decision.action, decision.report.results[0].verdict) == (Action.WARN, "inconclusive")

    async def test_policy_sets_it(self, settings_of: Settings) -> None:
        """Without an argument the policy's deadline counts."""
        async with serve_script(Script.silence()) as silent, asyncio.timeout(PATIENCE):
            endpoint = Endpoint(host=EXAM, address=silent.address)
            decision = await detector.exam.gate(policy=Policy(deadline=0.5), **settings_of(endpoint))
        assert decision.report.results[0].observation.outcome is Outcome.DEADLINE

    async def test_cancelled_gate_leaves_nothing_behind(self, settings_of: Settings) -> None:
        """A client that gives up has no connection and no task left."""
        before = asyncio.all_tasks()
        async with serve_script(Script.silence()) as silent:
            endpoint = Endpoint(host=EXAM, address=silent.address)
            task = asyncio.create_task(detector.exam.gate(deadline=30, **settings_of(endpoint)))
            while silent.connections < 1:  # noqa: ASYNC110 - the server counts, it does not signal
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert asyncio.all_tasks() == before

    @pytest.fixture
    def hanging_resolver(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        """The system's resolver blocks until the test is over."""
        answer = threading.Event()

        def hang(*_: object, **__: object) -> list[Any]:
            answer.wait()
            return []

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        yield answer
        answer.set()


class TestWitness:
    async def test_only_a_witness_satisfies(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Direct, the witness confirms; without its word nothing is allowed, however well pinned."""
        key = Ed25519PrivateKey.generate()
        issued = pki.issue([EXAM])
        policy = Policy(require_witness=Category.EXAM, on_inconclusive=Action.ALLOW)
        endpoint = Endpoint(
            host=EXAM, category=Category.EXAM, pins=(issued.spki_sha256,), witness=(public_octets(key),)
        )

        def witness(request: Request) -> Response:
            assert request.export_keying_material is not None
            statement = protocol.Statement(
                nonce=parse_qs(urlsplit(request.target).query)["nonce"][0],
                exporter=request.export_keying_material(
                    protocol.EXPORTER_LABEL, protocol.EXPORTER_OCTETS, protocol.EXPORTER_CONTEXT
                ),
                client_hello=protocol.HelloSeen(sha256="0" * 64),
                time=dt.datetime.now(dt.UTC),
            )
            return Response(body=protocol.sign(statement, [key]))

        async with serve_origin(issued, handler=witness) as origin, serve_origin(issued) as other:
            told = await detector.exam.gate(
                policy=policy, **settings_of(endpoint, resolve={(EXAM, 443): origin.address})
            )
            untold = await detector.exam.gate(
                policy=policy, **settings_of(endpoint, resolve={(EXAM, 443): other.address})
            )
        assert (told.action, told.report.results[0].assurance) == (Action.ALLOW, Assurance.WITNESSED)
        assert untold.action is Action.WARN

    async def test_requirement_without_a_key_is_a_mistake_in_the_files(self, settings_of: Settings) -> None:
        """A policy that nobody could satisfy is refused, not held against the network."""
        endpoint = Endpoint(host=EXAM, category=Category.EXAM, source="pins.toml")
        with pytest.raises(PolicyError, match=r"no witness key is pinned for exam\.example\.edu:443") as caught:
            await detector.exam.gate(policy=Policy(require_witness=(EXAM,)), **settings_of(endpoint))
        assert "pins.toml" in caught.value.advice
        with pytest.raises(PolicyError, match="category bank"):
            await detector.exam.gate(policy=Policy(require_witness=Category.BANK), **settings_of(endpoint))

    async def test_required_endpoints_are_looked_at_unasked(self, settings_of: Settings) -> None:
        """Choosing other endpoints does not get around the requirement."""
        required = Endpoint(host=EXAM, witness=(bytes(32),), address=("127.0.0.1", 1))
        other = Endpoint(host=LMS, address=("127.0.0.1", 1))
        decision = await detector.exam.gate(
            [LMS], policy=Policy(require_witness=(EXAM,)), **settings_of(required, other)
        )
        assert {result.endpoint.host for result in decision.report.results} == {EXAM, LMS}


class TestRefusals:
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"policy": "absent.toml"}, PolicyError),
            ({"pins": "absent.toml"}, PinFileError),
            ({"roots": "absent.pem"}, RootsError),
            ({"deadline": 0.0}, PolicyError),
            ({"deadline": float("nan")}, PolicyError),
            ({"targets": ["https://exam.example.edu"]}, TargetError),
            ({"targets": [f"h{n}.example" for n in range(ENDPOINTS_MAX + 1)]}, PolicyError),
        ],
    )
    async def test_bad_input_is_refused_before_anything_is_sent(
        self, pki: PrivatePKI, settings_of: Settings, wrong: dict[str, Any], error: type[InputError]
    ) -> None:
        """What the caller got wrong is raised at once, naming it, and no server hears of it."""
        async with serve_origin(pki.issue([EXAM])) as origin:
            settings = settings_of(Endpoint(host=EXAM, address=origin.address))
            with pytest.raises(error):
                await detector.exam.gate(**{**settings, **wrong})
            assert origin.connections == 0

    async def test_detector_or_settings_not_both(self, settings_of: Settings) -> None:
        """Settings beside a ready detector would be ignored, so they are refused."""
        with pytest.raises(TypeError, match="offline"):
            await detector.exam.gate(detector=Detector(**settings_of()), offline=True)

    async def test_clients_choose_among_what_the_institution_listed(
        self, pki: PrivatePKI, settings_of: Settings
    ) -> None:
        """A request cannot have other hosts of the student's network connected to."""
        async with town(pki) as (endpoints, where), serve_origin(pki.issue(["printer.local"])) as printer:
            ready = Detector(**settings_of(*endpoints, resolve={**where, ("printer.local", 443): printer.address}))
            chosen = await serve_request(GateRequest(endpoints=(LMS,)), policy=Policy(), detector=ready)
            with pytest.raises(RequestError, match=r"printer\.local"):
                await serve_request(GateRequest(endpoints=(LMS, "printer.local")), policy=Policy(), detector=ready)
            assert printer.connections == 0
        assert [result.endpoint.host for result in chosen.report.results] == [LMS]


async def test_settings_pins_go_before_the_policys(pki: PrivatePKI, settings_of: Settings) -> None:
    """A client may bring its own pins; the policy's are then not even read."""
    async with town(pki) as (endpoints, where):
        decision = await detector.exam.gate(
            policy=Policy(pins=("absent.toml",)), **settings_of(*endpoints, resolve=where)
        )
    assert decision.action is Action.ALLOW
    with pytest.raises(PinFileError):
        await detector.exam.gate(policy=Policy(pins=("absent.toml",)), **{**settings_of(), "pins": None})


def test_import_of_the_package_does_not_load_the_gate() -> None:
    """`detector.exam` is there after `import detector`, loaded when first used; others do not wait for it."""
    code = (
        "import sys, detector\n"
        "assert 'detector.exam' not in sys.modules\n"
        "assert callable(detector.exam.gate)\n"
        "assert not hasattr(detector, 'exams')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
