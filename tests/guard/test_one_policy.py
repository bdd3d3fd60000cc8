"""One policy for the gate and the guard: what lets an exam begin lets its answers be sent, and nothing else does.

Every kind of server, on every kind of device, under every policy: the gate decides on the very evidence that the guard
assesses, and an ordinary client, Python's own TLS, says what it would take.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pytest
from detector_testing.pki import to_pem
from detector_testing.streams import server_context
from hypothesis import example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from support.guarding import EXAM, guard_of
from support.profiles import examples

from detector.exam import Action, OnStalePin, OnUnconfirmed, Policy, PolicyScope, decide
from detector.guard import Guard
from detector.judge import network
from detector.model import Category, Endpoint, Observation, Outcome, RecordedIdentity, RootOrigin
from detector.pins import PinSet
from detector.trust.certificate import Certificate
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World
    from detector_testing import CA, Issued, PrivatePKI

    from detector.guard import Assessment
    from detector.model import Report

DAY: Final = dt.timedelta(days=1)
MOMENTS: Final = {"now": (-30, 60), "expired": (-90, -1), "future": (5, 90)}
"""When a certificate holds: days from now."""


class Server(NamedTuple):
    """What answers, on which device, and what is known of it beforehand."""

    issuer: str
    name: str
    moment: str
    scts: int
    carried: bool
    installed: bool
    pinned: str
    identity: RecordedIdentity
    category: Category
    outcome: Outcome = Outcome.COMPLETE
    key_proved: bool = True

    def issued(self, pki: PrivatePKI, ca: CA) -> Issued:
        """Its certificate."""
        names = [{"right": EXAM, "wrong": "portal.example.com", "wildcard": "*.example.edu"}[self.name]]
        begins, ends = MOMENTS[self.moment]
        at: dict[str, Any] = {"not_before": pki.now + begins * DAY, "not_after": pki.now + ends * DAY}
        if self.issuer == "public":
            return pki.issue(names, scts=self.scts, **at)
        if self.issuer == "self-signed":
            return pki.self_signed(names)
        issued = ca.issue(names, **at)
        return issued.with_chain(issued.leaf, ca.certificate)

    def endpoint(self, issued: Issued, ca: CA) -> Endpoint:
        """What the pin file says of it."""
        known: dict[str, Any] = {
            "nothing": {},
            "leaf": {"pins": (issued.spki_sha256,)},
            "stale": {"pins": (bytes(32),)},
            "ca": {"pins": (ca.spki_sha256,)},
            "declared": {"private_roots": (ca.certificate,)},
            "declared and stale": {"private_roots": (ca.certificate,), "pins": (bytes(32),)},
        }[self.pinned]
        return Endpoint(host=EXAM, category=self.category, identity=self.identity, **known)


SERVERS: Final = st.builds(
    Server,
    issuer=st.sampled_from(["public", "public", "private", "self-signed"]),
    name=st.sampled_from(["right", "right", "right", "wildcard", "wrong"]),
    moment=st.sampled_from(["now", "now", "now", "expired", "future"]),
    scts=st.sampled_from([2, 2, 1, 0]),
    carried=st.booleans(),
    installed=st.booleans(),
    pinned=st.sampled_from(["nothing", "leaf", "stale", "stale", "ca", "declared", "declared and stale"]),
    identity=st.sampled_from(RecordedIdentity),
    category=st.sampled_from([Category.EXAM, Category.OTHER]),
    outcome=st.just(Outcome.COMPLETE),
    key_proved=st.sampled_from([True]),
)
"""Servers with which a handshake was completed."""

POLICIES: Final = st.sampled_from(
    [
        Policy(on_unconfirmed=unconfirmed, on_stale_pin=stale_pin, scope=scope, require_witness=witness)
        for unconfirmed in OnUnconfirmed
        for stale_pin in OnStalePin
        for scope in PolicyScope
        for witness in ((), (EXAM,))
    ]
)
"""Every policy, as far as it concerns one endpoint."""


class Met(NamedTuple):
    """A server as it was met: what the guard and the gate say of it."""

    assessed: Assessment
    gate: Action
    issued: Issued
    roots: tuple[bytes, ...]


def meet(world: World, server: Server, policy: Policy) -> Met:
    """Judge one connection to a server as the guard does, and decide on the same result as the gate does."""
    ca = world.pki.private_ca("Campus CA")
    issued = server.issued(world.pki, ca)
    endpoint = server.endpoint(issued, ca)
    installed = [ca.certificate] if server.installed else []
    machine = from_der(installed, name="machine", origin=RootOrigin.ADDED)
    guard = guard_of(world, endpoint, policy=policy, machine_roots=lambda: machine)
    observation = Observation(
        outcome=server.outcome,
        key_proved=server.key_proved,
        scts_carried=server.carried,
        chain=tuple(Certificate.read(der).presented() for der in issued.chain),
    )
    assessed = guard.assess(endpoint, observation)
    gate = decide(policy, _reported(assessed), named=[endpoint.name]).action
    roots = (*installed, *endpoint.private_roots, world.pki.root_a.certificate, world.pki.root_b.certificate)
    return Met(assessed, gate, issued, roots)


def _reported(assessed: Assessment) -> Report:
    """The report of a gate that saw this result alone."""
    decided = network.decide_network([assessed.result], named=[assessed.result.endpoint.name])
    return msgspec.structs.replace(assessed.report, verdict=decided.verdict, confidence=decided.confidence)


def ordinary_client_takes(issued: Issued, roots: tuple[bytes, ...]) -> bool:
    """Whether Python's own TLS, trusting these roots, completes a handshake with such a server for the exam's name."""
    context = ssl.create_default_context(cadata=b"".join(map(to_pem, roots)).decode())
    server = SSL.Connection(server_context(issued), None)
    server.set_accept_state()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=EXAM)
    for _ in range(10):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            server.bio_write(outgoing.read())
            with contextlib.suppress(SSL.WantReadError):
                server.do_handshake()
            incoming.write(server.bio_read(65536))
        except ssl.SSLCertVerificationError:
            return False
        else:
            return True
    raise AssertionError("the handshake did not end")


PLAIN: Final = Server(
    issuer="public",
    name="right",
    moment="now",
    scts=2,
    carried=True,
    installed=False,
    pinned="nothing",
    identity=RecordedIdentity.UNKNOWN,
    category=Category.OTHER,
)
"""A genuine server, of which nothing is known beforehand."""
WARNING: Final = Policy(on_unconfirmed=OnUnconfirmed.WARN)


@settings(max_examples=examples(300))
@given(server=SERVERS, policy=POLICIES)
@example(server=PLAIN._replace(issuer="private", pinned="declared and stale"), policy=WARNING)
@example(server=PLAIN._replace(issuer="private", installed=True), policy=WARNING)
def test_the_guard_does_what_the_gate_did(world: World, server: Server, policy: Policy) -> None:
    """The same action on the same endpoint; where the guard is stricter, no client would take the certificate."""
    met = meet(world, server, policy)
    assert (met.assessed.refused is None) is (met.assessed.action is not Action.BLOCK)
    if met.assessed.action is not met.gate:
        assert (policy.on_unconfirmed, met.gate) == (OnUnconfirmed.WARN, Action.WARN)
        assert met.assessed.action is Action.BLOCK
        assert not ordinary_client_takes(met.issued, met.roots)


@settings(max_examples=examples(300))
@given(server=SERVERS, policy=POLICIES)
def test_never_weaker_than_an_ordinary_client(world: World, server: Server, policy: Policy) -> None:
    """Whatever the policy, only a pinned key makes the guard take what Python's own TLS refuses."""
    met = meet(world, server, policy)
    if met.assessed.refused is None and met.assessed.result.reason != "pinned":
        assert ordinary_client_takes(met.issued, met.roots)


@given(
    server=SERVERS,
    policy=POLICIES,
    outcome=st.sampled_from([one for one in Outcome if one is not Outcome.COMPLETE]),
    key_proved=st.booleans(),
)
def test_nothing_is_sent_where_no_handshake_was_completed(
    world: World, server: Server, policy: Policy, outcome: Outcome, *, key_proved: bool
) -> None:
    """However good the chain: without a finished handshake, and a proved key, the connection is refused."""
    unfinished = meet(world, server._replace(outcome=outcome, key_proved=key_proved), policy)
    unproved = meet(world, server._replace(key_proved=False), policy)
    for met in (unfinished, unproved):
        assert met.assessed.refused is not None
        assert met.assessed.message.endswith("Nothing of the request was sent.")


@given(server=SERVERS, policy=POLICIES)
def test_words_follow_confidence(world: World, server: Server, policy: Policy) -> None:
    """Below `probable` no message says that anything is decrypted, or names anybody."""
    assessed = meet(world, server, policy).assessed
    if assessed.result.confidence not in {"probable", "proven"}:
        assert not re.search("decrypt|intercept", assessed.message)
        assert "Campus CA" not in assessed.message
        assert assessed.refused != "middleware"
    assert bool(assessed.message) is (assessed.action is not Action.ALLOW)


def test_worlds_are_distinguished(world: World) -> None:
    """What is generated above holds every action and every kind of refusal."""
    added = PLAIN._replace(issuer="private", installed=True)
    seen = {
        (assessed.action, assessed.refused)
        for server, policy in (
            (PLAIN, Policy()),
            (PLAIN._replace(pinned="stale"), Policy()),
            (PLAIN._replace(scts=0, carried=False), Policy()),
            (PLAIN._replace(scts=0), Policy()),
            (added, Policy()),
            (added, WARNING),
            (added._replace(identity=RecordedIdentity.PUBLIC), Policy()),
            (added._replace(installed=False), WARNING),
        )
        for assessed in [meet(world, server, policy).assessed]
    }
    assert seen == {
        (Action.ALLOW, None),
        (Action.WARN, None),
        (Action.BLOCK, "unconfirmed"),
        (Action.BLOCK, "certificate"),
        (Action.BLOCK, "middleware"),
    }


class TestFromPolicy:
    def test_policy_file(self, tmp_path: Path, world: World) -> None:
        """One file for the gate and the guard: its pins are the guard's, and its words hold."""
        (tmp_path / "pins.toml").write_text(f'schema = 1\n[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\n', "utf-8")
        path = tmp_path / "policy.toml"
        path.write_text('schema = 1\non_stale_pin = "refuse"\npins = ["pins.toml"]\n', "utf-8")
        guard = Guard(path, roots=world.roots, logs=world.logs)
        assert [endpoint.name for endpoint in guard.pins.endpoints] == [f"{EXAM}:443"]
        assert guard.policy.on_stale_pin is OnStalePin.REFUSE
        assert Guard(str(path)).policy == guard.policy

    def test_pins_that_are_given_take_precedence(self, world: World) -> None:
        """A client may bring its own pins; the policy's are then not even read."""
        own = PinSet(name="own", endpoints=())
        policy = Policy(pins=("absent.toml",))
        assert Guard(policy, pins=own, roots=world.roots, logs=world.logs).pins is own
        with pytest.raises(ValueError, match=r"absent\.toml"):
            Guard(policy)

    def test_warnings_are_handed_on(self, world: World) -> None:
        """Each connection that passes with a warning is reported once, with what was found."""
        warned: list[Assessment] = []
        stale = Endpoint(host=EXAM, pins=(bytes(32),))
        guard = guard_of(world, stale, on_warning=warned.append)
        chain = tuple(Certificate.read(der).presented() for der in world.pki.issue([EXAM]).chain)
        seen = Observation(outcome=Outcome.COMPLETE, key_proved=True, scts_carried=True, chain=chain)
        assessed = guard.assess(stale, seen)
        guard.assess(Endpoint(host=EXAM), seen)
        assert warned == [assessed]
        assert assessed.message.startswith(f"{EXAM}:443: The certificate is publicly trusted and logged")
