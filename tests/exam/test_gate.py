"""The gate over real sockets on loopback: its answers, its deadline, its evidence, and what it refuses at once."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import (
    Lie,
    Script,
    run_mitmproxy,
    serve_middlebox,
    serve_origin,
    serve_proxy,
    serve_script,
)
from detector_testing.streams import Listener, listen
from support.witnesses import answering

import detector
from detector import Category, Detector, Endpoint
from detector import bundle as bundles
from detector.errors import InputError, PinFileError, PolicyError, RequestError, RootsError, TargetError
from detector.exam import Action, OnStalePin, OnUnconfirmed, Policy, PolicyScope, ReasonCode
from detector.exam.gatekeeper import serve_request
from detector.exam.policy import ENDPOINTS_MAX
from detector.exam.protocol import Request as GateRequest
from detector.model import Assurance, Audience, Confidence, Outcome, RecordedIdentity, UnfollowedProxy
from detector.probe.routes.system import SystemProxies
from detector.session import machine_proxy
from detector.session.follow_up import Control
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from detector_testing import PrivatePKI
    from detector_testing.streams import PlainStream

    Settings = Callable[..., dict[str, Any]]
    Where = dict[tuple[str, int], tuple[str, int]]

EXAM, LMS = "exam.example.edu", "lms.example.org"
WARNING = Policy(on_unconfirmed=OnUnconfirmed.WARN)
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
        """Everything in order: allowed, with the report and evidence that can be assessed again."""
        async with town(pki) as (endpoints, where):
            decision = await detector.exam.gate(**settings_of(*endpoints, resolve=where))
        assert (decision.action, decision.policy) == (Action.ALLOW, "default")
        assert [reason.code for reason in decision.reasons] == [ReasonCode.CONFIRMED]
        assert decision.report.verdict is detector.Verdict.CLEAN
        assert len(bundles.read(decision.evidence).parts) > len(endpoints)

    async def test_language(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The caller's takes precedence over the policy's; an unknown one is an error before anything is sent."""
        async with town(pki) as (endpoints, where):
            options = settings_of(*endpoints, resolve=where)
            german = await detector.exam.gate(language="de-CH", **options)
            with pytest.raises(InputError, match="language: 'xx'"):
                await detector.exam.gate(language="xx", **options)
        assert (german.language, german.message) == (
            "de",
            "Der Prüfungsserver wurde bestätigt. Sie können mit der Prüfung beginnen.",
        )
        assert german.reasons[0].sentence.startswith("These endpoints are clean")

    async def test_decrypted_network_is_blocked(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Where a filter decrypts the exam platform alone, that is not confirmed; the message says what to do."""
        async with (
            town(pki) as (endpoints, where),
            serve_middlebox(pki.private_ca("School CA"), upstream=where, only_hosts={EXAM}) as box,
        ):
            decision = await detector.exam.gate(**settings_of(*endpoints, proxy=f"http://127.0.0.1:{box.port}"))
        assert decision.action is Action.BLOCK
        assert decision.reasons[0].endpoints == (f"{EXAM}:443",)
        assert f"The exam server could not be confirmed: {EXAM}." in decision.message
        assert "School CA" not in decision.message

    @pytest.mark.lab
    async def test_real_mitmproxy_is_blocked(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The real mitmproxy in the way blocks too. Below `probable` its name is not said, from there on it is."""
        async with town(pki) as (endpoints, where), run_mitmproxy(upstream_hosts=where) as mitm:
            public = [msgspec.structs.replace(e, identity=RecordedIdentity.PUBLIC) for e in endpoints]
            for known in (endpoints, public):
                decision = await detector.exam.gate(**settings_of(*known, proxy=f"http://127.0.0.1:{mitm.port}"))
                assert decision.action is Action.BLOCK
                sure = {r.confidence for r in decision.report.results} - {Confidence.POSSIBLE}
                assert ("mitmproxy" in decision.message) is bool(sure)
        assert sure

    async def test_unreachable_server_is_not_confirmed(self, settings_of: Settings) -> None:
        """No answer is no accusation and no clean bill."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        endpoint = Endpoint(host=EXAM, category=Category.EXAM, address=("127.0.0.1", port))
        decision = await detector.exam.gate(**settings_of(endpoint))
        lenient = await detector.exam.gate(policy=WARNING, **settings_of(endpoint))
        assert (decision.action, lenient.action) == (Action.BLOCK, Action.WARN)
        assert decision.report.results[0].observation.outcome is Outcome.CONNECT_REFUSED
        assert decision.report.verdict is detector.Verdict.INCONCLUSIVE

    async def test_nothing_to_probe_is_not_confirmed(self, settings_of: Settings) -> None:
        """Without any endpoint there is neither an all-clear nor evidence."""
        decision = await detector.exam.gate(**settings_of())
        assert (decision.action, decision.evidence) == (Action.BLOCK, b"")

    async def test_evidence_is_signed_by_every_key(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The bundle names its signers, and their signatures verify."""
        keys = [Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()]
        async with town(pki) as (endpoints, where):
            decision = await detector.exam.gate(**settings_of(*endpoints, resolve=where), keys=keys)
        signers = bundles.read(decision.evidence).signers
        assert {signer.key for signer in signers} == {public_key_of(key) for key in keys}
        assert all(signer.verifies for signer in signers)

    async def test_one_detector_serves_many_gates(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A client that keeps a detector ready may use it again and again, also side by side."""
        async with town(pki) as (endpoints, where), Detector(**settings_of(*endpoints, resolve=where)) as ready:
            decisions = await asyncio.gather(*(detector.exam.gate(detector=ready) for _ in range(3)))
            one = await detector.exam.gate([LMS], detector=ready)
        assert [decision.action for decision in decisions] == [Action.ALLOW] * 3
        assert [result.endpoint.host for result in one.report.results] == [EXAM, LMS]

    async def test_targets_come_on_top_of_the_policys_endpoints(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """What the policy names is probed whatever is asked for; without either, everything in the pin files is."""
        async with town(pki) as (endpoints, where), serve_script(Script.alert(40)) as broken:
            unpinned = Endpoint(host=LMS, category=Category.LMS)
            settings = settings_of(endpoints[0], unpinned, resolve={**where, (LMS, 443): broken.address})
            everything = await detector.exam.gate(**settings)
            by_call = await detector.exam.gate([EXAM], **settings)
            by_policy = await detector.exam.gate(policy=Policy(endpoints=(LMS, EXAM)), **settings)
            by_both = await detector.exam.gate([EXAM], policy=Policy(endpoints=(LMS,)), **settings)
        assert (everything.action, by_call.action) == (Action.ALLOW, Action.ALLOW)
        assert (by_policy.action, by_both.action) == (Action.BLOCK, Action.BLOCK)
        assert [len(d.report.results) for d in (everything, by_call, by_policy, by_both)] == [2, 1, 2, 2]
        assert by_policy.report.verdict is detector.Verdict.INCONCLUSIVE
        assert by_policy.reasons[0].endpoints == (f"{LMS}:443",)

    @pytest.mark.parametrize("pinned", ["pins", "backup_pins", "certificates", "private_roots", "witness"])
    async def test_pinned_endpoints_must_be_confirmed(
        self, pki: PrivatePKI, settings_of: Settings, pinned: str
    ) -> None:
        """An endpoint of which the pin file holds something of its own matters as the exam's does."""
        issued = pki.issue([EXAM])
        known: dict[str, Any] = {pinned: (pki.private_ca().certificate if pinned == "private_roots" else bytes(32),)}
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nowhere = closed.getsockname()
        async with serve_origin(issued) as origin:
            exam = Endpoint(host=EXAM, category=Category.EXAM, address=origin.address)
            lms = Endpoint(host=LMS, category=Category.LMS, address=nowhere)
            alongside = await detector.exam.gate(**settings_of(exam, lms))
            required = await detector.exam.gate(**settings_of(exam, msgspec.structs.replace(lms, **known)))
        assert (alongside.action, required.action) == (Action.ALLOW, Action.BLOCK)

    async def test_policy_and_pins_come_from_files(self, pki: PrivatePKI, tmp_path: Path) -> None:
        """One policy file is all a client has to name; its pin files stand next to it."""
        written = pki.write(tmp_path)
        async with town(pki) as (endpoints, where):
            address, port = where[EXAM, 443]
            (tmp_path / "pins.toml").write_text(
                f'schema = 1\n[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\n'
                f'pins = ["sha256:{endpoints[0].pins[0].hex()}"]\naddress = "{address}:{port}"\n'
            )
            (tmp_path / "policy.toml").write_text('schema = 1\nname = "finals"\npins = ["pins.toml"]\n')
            decision = await detector.exam.gate(
                policy=tmp_path / "policy.toml", roots=written.roots, logs=written.ct_logs, proxy="none", offline=True
            )
        assert (decision.action, decision.policy) == (Action.ALLOW, "finals")
        assert decision.report.results[0].assurance is Assurance.PINNED


class TestMachineSettings:
    """A proxy setting of this machine that was found, and could not be followed."""

    @pytest.mark.parametrize(
        ("found", "why"),
        [
            (SystemProxies(file="pac.js"), UnfollowedProxy.FILE_FAULTY),
            (SystemProxies(proxy="gopher://proxy.example:70"), UnfollowedProxy.KIND_UNKNOWN),
            (SystemProxies(), None),
        ],
    )
    async def test_the_best_is_a_warning(
        self,
        pki: PrivatePKI,
        settings_of: Settings,
        monkeypatch: pytest.MonkeyPatch,
        found: SystemProxies,
        why: UnfollowedProxy | None,
    ) -> None:
        """The exam was confirmed on another route than a browser takes; the reasons say which, and what IT can do."""
        monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: found)
        for name in [name for name in os.environ if "proxy" in name.lower()]:
            monkeypatch.delenv(name)
        async with town(pki) as (endpoints, where):
            settings = settings_of(*endpoints, resolve=where)
            del settings["proxy"]
            decision = await detector.exam.gate(**settings)
        if why is None:
            assert decision.action is Action.ALLOW
            return
        assert {result.unfollowed_proxy for result in decision.report.results} == {why}
        first = decision.reasons[0]
        assert (decision.action, first.code) == (Action.WARN, ReasonCode.PROXY_NOT_FOLLOWED)
        assert "directly" in first.sentence
        assert first.advice[Audience.IT]


class TestDeadline:
    """Whatever hangs, there is an answer in time; how exactly is the session's business and tested there."""

    async def test_tarpit(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A silent server costs its own answer and nobody else's."""
        async with town(pki) as (endpoints, where), serve_script(Script.silence()) as silent, asyncio.timeout(PATIENCE):
            settings = settings_of(*endpoints, resolve={**where, (EXAM, 443): silent.address})
            decision = await detector.exam.gate(deadline=3.0, **settings)
        assert decision.action is Action.BLOCK
        assert [r.verdict for r in decision.report.results] == ["inconclusive", "clean"]

    async def test_proxy_that_hangs(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A proxy that takes the request and never answers."""
        async with town(pki) as (endpoints, _), serve_proxy(lie=Lie.HANG) as proxy, asyncio.timeout(PATIENCE):
            settings = settings_of(*endpoints, proxy=f"http://127.0.0.1:{proxy.port}")
            decision = await detector.exam.gate(deadline=1.0, **settings)
        assert decision.action is Action.BLOCK
        assert {r.verdict for r in decision.report.results} == {"inconclusive"}

    async def test_name_resolution_that_hangs(self, settings_of: Settings, hanging_resolver: threading.Event) -> None:
        """A resolver that never answers."""
        async with asyncio.timeout(PATIENCE):
            decision = await detector.exam.gate([EXAM], deadline=1.0, **settings_of())
        assert not hanging_resolver.is_set()
        assert (decision.action, decision.report.results[0].verdict) == (Action.BLOCK, "inconclusive")

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
        policy = Policy(require_witness=Category.EXAM)
        endpoint = Endpoint(
            host=EXAM, category=Category.EXAM, pins=(issued.spki_sha256,), witness=(public_key_of(key),)
        )

        async with serve_origin(issued, handler=answering(key)) as origin, serve_origin(issued) as other:
            reported = await detector.exam.gate(
                policy=policy, **settings_of(endpoint, resolve={(EXAM, 443): origin.address})
            )
            untold = await detector.exam.gate(
                policy=policy, **settings_of(endpoint, resolve={(EXAM, 443): other.address})
            )
        assert (reported.action, reported.report.results[0].assurance) == (Action.ALLOW, Assurance.WITNESSED)
        assert (untold.action, untold.reasons[0].code) == (Action.BLOCK, ReasonCode.WITNESS_MISSING)

    async def test_requirement_without_a_key_is_a_mistake_in_the_files(self, settings_of: Settings) -> None:
        """A policy that nobody could satisfy is refused, not held against the network."""
        endpoint = Endpoint(host=EXAM, category=Category.EXAM, source="pins.toml")
        with pytest.raises(PolicyError, match=r"no witness key is pinned for exam\.example\.edu:443") as caught:
            await detector.exam.gate(policy=Policy(require_witness=(EXAM,)), **settings_of(endpoint))
        assert "pins.toml" in caught.value.advice
        with pytest.raises(PolicyError, match="category bank"):
            await detector.exam.gate(policy=Policy(require_witness=Category.BANK), **settings_of(endpoint))

    async def test_required_endpoints_are_probed_unasked(self, settings_of: Settings) -> None:
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
            ({"targets": ["http://exam.example.edu"]}, TargetError),
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
        """Settings next to a ready detector would be ignored, so they are refused."""
        with pytest.raises(TypeError, match="offline"):
            await detector.exam.gate(detector=Detector(**settings_of()), offline=True)

    @pytest.mark.parametrize(
        "wanted", [{"route": "direct"}, {"proxy": "env"}, {"all_addresses": True}, {"locate": True}]
    )
    async def test_a_detector_probes_as_the_policy_says(self, settings_of: Settings, wanted: dict[str, Any]) -> None:
        """A detector that was made without the policy is refused where the two differ, naming the key."""
        policy, settings = Policy(**wanted), settings_of(Endpoint(host=EXAM, address=("127.0.0.1", 1)))
        with pytest.raises(PolicyError, match=next(iter(wanted))):
            await detector.exam.gate(policy=policy, detector=Detector(**settings))
        del settings["proxy"]
        ready = detector.exam.make_detector(policy, **settings)
        assert (await detector.exam.gate(policy=policy, detector=ready)).action is Action.BLOCK

    async def test_clients_ask_for_what_the_institution_listed(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A request cannot have other hosts of the student's network connected to."""
        async with town(pki) as (endpoints, where), serve_origin(pki.issue(["printer.local"])) as printer:
            ready = Detector(**settings_of(*endpoints, resolve={**where, ("printer.local", 443): printer.address}))
            with pytest.raises(RequestError, match=r"printer\.local"):
                await serve_request(GateRequest(endpoints=(LMS, "printer.local")), policy=Policy(), detector=ready)
            assert printer.connections == 0


class TestRequests:
    """A request adds to what the policy probes, and omits nothing."""

    @pytest.mark.parametrize("asked", [(), (LMS,), (LMS, EXAM), (f"{LMS}:443",), ("LMS.example.org.",)])
    @pytest.mark.parametrize("named", [(EXAM,), (EXAM, LMS), ()])
    async def test_no_request_omits_the_intercepted_exam(
        self, pki: PrivatePKI, settings_of: Settings, asked: tuple[str, ...], named: tuple[str, ...]
    ) -> None:
        """Whatever it asks for, and whether the policy names endpoints or has everything in the pin files probed."""
        async with (
            town(pki) as (endpoints, where),
            serve_origin(pki.private_ca("Campus Web Filter CA").issue([EXAM])) as box,
        ):
            ready = Detector(**settings_of(*endpoints, resolve={**where, (EXAM, 443): box.address}))
            request = GateRequest(endpoints=asked)
            decision = await serve_request(request, policy=Policy(endpoints=named), detector=ready)
        assert decision.action is Action.BLOCK
        assert decision.reasons[0].endpoints == (f"{EXAM}:443",)
        assert EXAM in {result.endpoint.host for result in decision.report.results}

    async def test_what_is_asked_for_must_be_confirmed(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """An endpoint that decides nothing by itself is named by a request, and by nothing that was asked before."""
        async with town(pki) as (endpoints, where), serve_script(Script.alert(40)) as broken:
            unpinned = Endpoint(host=LMS, category=Category.LMS)
            ready = Detector(**settings_of(endpoints[0], unpinned, resolve={**where, (LMS, 443): broken.address}))
            actions = [
                (await serve_request(GateRequest(endpoints=asked), policy=Policy(), detector=ready)).action
                for asked in ((), (LMS,), ())
            ]
        assert actions == [Action.ALLOW, Action.BLOCK, Action.ALLOW]

    async def test_short_deadline_confirms_nothing(self, settings_of: Settings) -> None:
        """A request that leaves no time to probe gets no exam."""
        async with serve_script(Script.silence()) as silent:
            ready = Detector(**settings_of(Endpoint(host=EXAM, category=Category.EXAM, address=silent.address)))
            decision = await serve_request(GateRequest(deadline=0.1), policy=Policy(), detector=ready)
        assert decision.action is Action.BLOCK


class TestPortals:
    """The exam server behind a sign-in page: 'sign in, then try again', and nobody is accused."""

    @pytest.mark.parametrize("pinned", ["leaf", "public", "nothing"])
    @pytest.mark.parametrize("certificate", ["self-signed", "private", "public"])
    @pytest.mark.parametrize("control", ["portal", "open", "offline"])
    async def test_signing_in_comes_first(
        self, pki: PrivatePKI, settings_of: Settings, pinned: str, certificate: str, control: str
    ) -> None:
        """Whatever certificate the portal has, what is pinned, and whether the control request reveals it."""
        names = ["portal.hotel.example"]
        portal = {
            "self-signed": pki.self_signed,
            "private": pki.private_ca("Hotel CA").issue,
            "public": pki.issue,
        }[certificate](names)
        exam = Endpoint(host=EXAM, category=Category.EXAM)
        if pinned != "nothing":
            exam = msgspec.structs.replace(
                exam,
                pins=(pki.issue([EXAM]).spki_sha256,),
                identity=RecordedIdentity.PUBLIC if pinned == "public" else RecordedIdentity.UNKNOWN,
            )
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsign in"
        if control == "open":
            answer = b"HTTP/1.1 204 No Content\r\n\r\n"

        async def control_request(stream: PlainStream) -> None:
            await stream.read()
            await stream.write(answer)
            await stream.close()

        server = Listener()
        async with serve_origin(portal) as origin, listen(control_request, server):
            decision = await detector.exam.gate(
                **settings_of(
                    msgspec.structs.replace(exam, address=origin.address),
                    offline=control == "offline",
                    control=Control(f"http://127.0.0.1:{server.port}/generate_204"),
                )
            )
        first = decision.reasons[0]
        assert (decision.action, first.code, first.confidence) == (Action.BLOCK, ReasonCode.UNCONFIRMED, None)
        assert re.search("^[^.]*sign in[^.]*, then try again", decision.message)
        assert f"The exam server could not be confirmed: {EXAM}." in decision.message
        assert "decrypt" not in decision.message
        assert decision.report.confidence is Confidence.POSSIBLE
        assert decision.report.interceptors == ()

    async def test_portal_that_speaks_no_tls(self, settings_of: Settings) -> None:
        """A page in plain HTTP where TLS was asked for."""
        async with serve_script(Script.plain_http()) as portal:
            endpoint = Endpoint(host=EXAM, category=Category.EXAM, address=portal.address)
            decision = await detector.exam.gate(**settings_of(endpoint))
        assert decision.action is Action.BLOCK
        assert "sign in" in decision.message


class TestStalePins:
    """A genuine certificate that is publicly logged, next to pins that do not fit any more."""

    @pytest.mark.parametrize("identity", list(RecordedIdentity))
    @pytest.mark.parametrize("why", ["category", "named", "pinned"])
    async def test_the_student_may_begin(
        self, pki: PrivatePKI, settings_of: Settings, identity: RecordedIdentity, why: str
    ) -> None:
        """A warning, and no word about connections that are opened; whatever makes the endpoint matter."""
        async with serve_origin(pki.issue([EXAM])) as origin:
            endpoint = Endpoint(
                host=EXAM,
                category=Category.EXAM if why == "category" else Category.OTHER,
                pins=(b"1" * 32,),
                backup_pins=(bytes(32),),
                identity=identity,
                address=origin.address,
            )
            asked = [EXAM] if why == "named" else None
            settings = settings_of(endpoint)
            decision = await detector.exam.gate(asked, **settings)
            refusing = await detector.exam.gate(asked, policy=Policy(on_stale_pin=OnStalePin.REFUSE), **settings)
        assert (decision.action, decision.reasons[0].code) == (Action.WARN, ReasonCode.STALE_PIN)
        begins = "You can go ahead with the exam." if why == "category" else "You can go ahead. "
        assert decision.message.startswith(begins)
        assert not re.search("decrypt|confirmed", decision.message)
        assert (refusing.action, refusing.reasons[0].code) == (Action.BLOCK, ReasonCode.STALE_PIN)

    @pytest.mark.parametrize("presented", ["private", "unlogged", "expired"])
    async def test_a_certificate_that_is_not_genuine_is_no_stale_pin(
        self, pki: PrivatePKI, settings_of: Settings, presented: str
    ) -> None:
        """What does not fit the pins and is not accepted and logged blocks."""
        month = dt.timedelta(days=30)
        issued = {
            "private": lambda: pki.private_ca().issue([EXAM]),
            "unlogged": lambda: pki.issue([EXAM], scts=0),
            "expired": lambda: pki.issue([EXAM], not_before=pki.now - 3 * month, not_after=pki.now - month),
        }[presented]()
        async with serve_origin(issued) as origin:
            endpoint = Endpoint(host=EXAM, category=Category.EXAM, pins=(b"1" * 32,), address=origin.address)
            decision = await detector.exam.gate(**settings_of(endpoint))
        assert (decision.action, decision.reasons[0].code) == (Action.BLOCK, ReasonCode.UNCONFIRMED)


class TestCanaries:
    """Substituted canaries next to a confirmed exam endpoint: IT may have exempted the exam."""

    @pytest.mark.parametrize("category", [Category.CANARY, Category.SEARCH, Category.MAIL])
    async def test_they_warn_or_block_by_the_scope(
        self, pki: PrivatePKI, settings_of: Settings, category: Category
    ) -> None:
        """The exam may begin, unless the policy asks for a network on which nothing is decrypted."""
        search = "search.example.com"
        box = pki.private_ca("School CA")
        async with serve_origin(pki.issue([EXAM])) as exam, serve_origin(box.issue([search])) as forged:
            endpoints = (
                Endpoint(host=EXAM, category=Category.EXAM, address=exam.address),
                Endpoint(host=search, category=category, canary=True, address=forged.address),
            )
            settings = settings_of(*endpoints)
            warned = await detector.exam.gate(**settings)
            blocked = await detector.exam.gate(policy=Policy(scope=PolicyScope.NETWORK), **settings)
        assert (warned.action, warned.reasons[0].code) == (Action.WARN, ReasonCode.INTERCEPTED)
        assert warned.reasons[0].confidence is Confidence.PROVEN
        assert "You can go ahead with the exam." in warned.message
        assert (blocked.action, blocked.reasons[0].code) == (Action.BLOCK, ReasonCode.INTERCEPTED)


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
