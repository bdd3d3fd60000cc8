"""A small world that never changes: its keys and certificates, its networks, and the seams that fix all else.

Room: tests. What is random or of this machine is replaced here: the clock, handshakes' random bytes, salts, timings,
trust stores, chance and waiting. `given/` holds what `make` wrote once; to write it again, and then all that was
recorded:

    PYTHONPATH=.:tests python tests/golden/golden_world.py
    DETECTOR_GOLDEN=write pytest tests/golden
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import functools
import hashlib
import itertools
import json
import os
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from detector_testing import CA, PrivatePKI
from support.simulation import Machine, simulate

from detector import cli
from detector.aio.tasks import WorkerThread
from detector.bundle import pack
from detector.cli import scan as scan_command
from detector.judge.evidence import no_machine_roots
from detector.knowledge.data_set import DataSet
from detector.knowledge.part import HORIZONS
from detector.model import (
    Category,
    Endpoint,
    HandshakeSignature,
    Knowledge,
    KnowledgeKind,
    Observation,
    Outcome,
)
from detector.pins import encode_pin
from detector.probe import probe
from detector.probe.mock import AwaitClient, Close, Fails, MockNetwork, Reset, Script, Send, TLSServer
from detector.probe.tls.native import NativeHandshake
from detector.session.seams import Seams, utc_now
from detector.session.session import Detector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    import pytest

    Peer = Script | TLSServer | Fails
    Peers = dict[tuple[str, int], Peer | Sequence[Peer]]

GIVEN: Final = Path(__file__).parents[1] / "golden" / "given"
NOW: Final = dt.datetime(2026, 12, 1, 9, 0, tzinfo=dt.UTC)
EXAM, LMS, MAIL = "exam.example.edu", "lms.example.org", "mail.example.net"
SEARCH, SOCIAL = "search.example.com", "social.example.com"
HOSTS: Final = (EXAM, LMS, MAIL, SEARCH, SOCIAL)
CANARIES: Final = tuple(
    Endpoint(host=host, category=category, operator=operator, canary=True, runs_ca=True)
    for host, category, operator in (
        (SEARCH, Category.SEARCH, "Example Search"),
        (SOCIAL, Category.SOCIAL, "Example Social"),
    )
)
PORTAL: Final = ("connectivitycheck.gstatic.com", 80)
"""Where the control request for captive portals goes."""
NO_PORTAL: Final = Script(AwaitClient(), Send(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), Close())
JA4: Final = "t13d0000h2_000000000000_000000000000"
"""In the place of a fingerprint that differs with the version of OpenSSL."""
PARTS_OF: Final = dt.date(2026, 11, 1)
"""The day of which reports say that the parts of the knowledge are, whatever is shipped by now."""
OF_TERMINALS: Final = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@functools.cache
def server(authority: str, host: str) -> TLSServer:
    """A server of this host with a certificate of `genuine`, `campus` or `vendor`."""
    certificates, mark, key_pem = (GIVEN / f"{authority}-{host}.pem").read_bytes().partition(b"-----BEGIN PRIVATE KEY")
    key = load_pem_private_key(mark + key_pem, password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    chain = [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(certificates)]
    return TLSServer(chain=chain, key=key)


def served(authority: str, *hosts: str) -> Peers:
    """These hosts (default: all), each with a certificate of this authority."""
    return {(host, 443): server(authority, host) for host in hosts or HOSTS}


def turning() -> Peers:
    """Every host genuine at first, then by the campus filter, then gone, then genuine again."""
    gone = Fails(Outcome.CONNECT_REFUSED)
    return {
        (host, 443): [*[server("genuine", host)] * 2, *[server("campus", host)] * 3, gone, server("genuine", host)]
        for host in HOSTS
    }


WORLDS: Final[dict[str, Callable[[], Peers]]] = {
    "clean": lambda: served("genuine"),
    "intercepted": lambda: served("campus"),
    "mixed": lambda: served("vendor") | served("genuine", EXAM),
    "unreachable": lambda: {
        (EXAM, 443): Fails(Outcome.CONNECT_REFUSED),
        (LMS, 443): Script(),
        (SEARCH, 443): Script(AwaitClient(), Reset()),
        (SOCIAL, 443): Script(AwaitClient(), Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()),
    },
    "stale": lambda: served("genuine"),
    "turning": turning,
}
"""The networks there are. Each is made for every command: it remembers who called."""


def _fixed_part(_: DataSet, kind: KnowledgeKind) -> Knowledge:
    return Knowledge(
        kind=kind,
        name="shipped",
        version="1",
        date=PARTS_OF,
        horizon=PARTS_OF + HORIZONS[kind],
        sha256=hashlib.sha256(kind.encode()).hexdigest(),
    )


class Surroundings:
    """The machine that commands believe to run on, until the test ends: `network` and `clock` may be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.network = MockNetwork({})
        self._fix_the_clock()
        self._fix_environment()
        self._fix_handshakes()
        self._fix_detectors()
        salts = map(str, itertools.count())
        monkeypatch.setitem(_defaults(pack), "salts", lambda size: hashlib.sha256(next(salts).encode()).digest()[:size])
        monkeypatch.setattr(DataSet, "part", _fixed_part)

    def go_to(self, world: str, *, days: int = 0) -> None:
        """Be in one of `WORLDS`, so many days after `NOW`."""
        self.network = MockNetwork({PORTAL: NO_PORTAL, **WORLDS[world]()})
        self._monkeypatch.setattr(utc_now, "__defaults__", (NOW + dt.timedelta(days=days),))

    def _fix_the_clock(self) -> None:
        """The function itself is changed, so that every module that imported it has the fixed one."""
        self._monkeypatch.setattr(utc_now, "__code__", _fixed.__code__)
        self._monkeypatch.setattr(utc_now, "__defaults__", (NOW,))
        self._monkeypatch.setitem(_defaults(probe), "clock", lambda: 0.0)
        self._monkeypatch.setattr(scan_command, "time", types.SimpleNamespace(monotonic=lambda: 0.0))
        self._monkeypatch.setattr(asyncio, "run", _run)
        self._monkeypatch.setattr(asyncio, "to_thread", _do_at_once)
        self._monkeypatch.setattr(WorkerThread, "run", lambda _, work: _do_at_once(work))

    def _fix_environment(self) -> None:
        for name in (*(name for name in os.environ if name.startswith("DETECTOR_")), *OF_TERMINALS):
            self._monkeypatch.delenv(name, raising=False)
        self._monkeypatch.setenv("DETECTOR_CONFIG", os.devnull)

    def _fix_handshakes(self) -> None:
        """What a server's random bytes decide is as it was in the one handshake that was recorded of its leaf."""
        sessions = {leaf: _Session(**kept) for leaf, kept in json.loads((GIVEN / "sessions.json").read_text()).items()}
        real = NativeHandshake.observation

        def observation(handshake: NativeHandshake, outcome: Outcome = Outcome.DEADLINE) -> Observation:
            found = real(handshake, outcome)
            found = msgspec.structs.replace(found, ja4=found.ja4 and JA4)
            if not found.chain:
                return found
            session = sessions[found.chain[0].sha256]
            return msgspec.structs.replace(
                found,
                server_hello=session.server_hello,
                group=session.group,
                handshake_signature=found.handshake_signature and session.signature,
            )

        self._monkeypatch.setattr(NativeHandshake, "observation", observation)

    def _fix_detectors(self) -> None:
        """Every detector is on the network of this machine, which trusts nothing of its own."""
        begin, watch = Detector.__init__, Detector.watch

        def begin_here(detector: Detector, **given: Any) -> None:  # noqa: ANN401 - as `Detector`
            seams = Seams(utc_now, self.network, None, no_machine_roots, lambda _: None)
            begin(detector, **{**given, "canaries": CANARIES, "seams": seams})

        def watch_here(detector: Detector, *given: Any, **more: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - as `real`
            machine = Machine(utc_now())
            self._monkeypatch.setattr(detector, "_seams", detector._seams._replace(clock=machine.wall))
            return watch(detector, *given, **more, environment=machine.environment)

        self._monkeypatch.setattr(Detector, "__init__", begin_here)
        self._monkeypatch.setattr(Detector, "watch", watch_here)


def run(words: Sequence[str]) -> int:
    """Run a command line in this process and give its exit code."""
    return cli.run(words)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a function's keywords: what is put there holds for all who call it."""
    found = function.__kwdefaults__
    assert found is not None
    return found


def _fixed(moment: dt.datetime = NOW) -> dt.datetime:
    """In the place of `utc_now`: it has nothing but its default."""
    return moment


def _run(main: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as asyncio.run
    """In the place of `asyncio.run`: waiting takes no time, so that no deadline depends on how busy a machine is."""
    return simulate(lambda: main)


async def _do_at_once(work: Callable[..., Any], *given: Any) -> Any:  # noqa: ANN401 - as `work`
    """In the place of a thread, so that what is ready first does not depend on chance."""
    return work(*given)


class _Session:
    """What was random in a recorded handshake."""

    def __init__(self, *, group: str, server_hello: str, scheme: int, signed: str, signature: str) -> None:
        self.group = group
        self.server_hello = base64.b64decode(server_hello)
        self.signature = HandshakeSignature(
            scheme=scheme, signed=base64.b64decode(signed), signature=base64.b64decode(signature)
        )


def make(folder: Path) -> None:
    """Write new keys, certificates, handshakes and pin files into a folder."""
    folder.mkdir(exist_ok=True)
    pki = PrivatePKI.create(NOW)
    pki.write(folder)
    authorities: dict[str, PrivatePKI | CA] = {
        "genuine": pki,
        "campus": pki.private_ca("Campus Filter CA"),
        "vendor": pki.private_ca(_name(C="US", O="Fortinet", OU="Certificate Authority", CN="FG100FTK00000000")),
    }
    for authority, ca in authorities.items():
        for host in HOSTS:
            issued = ca.issue([host])
            (folder / f"{authority}-{host}.pem").write_bytes(issued.chain_pem + issued.key_pem)
            if (authority, host) == ("genuine", EXAM):
                (folder / "pins.toml").write_text(_pins(encode_pin(issued.spki_sha256), expires="2027-03-01"), "utf-8")
    for name, expires in (("stale", "2027-03-01"), ("expired", "2026-11-01")):
        old = encode_pin(hashlib.sha256(b"a key of last year").digest())
        (folder / f"{name}.toml").write_text(_pins(old, expires=expires), "utf-8")
    recorder = Ed25519PrivateKey.generate()
    (folder / "recorder.key").write_bytes(recorder.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "recorder.pem").write_bytes(
        recorder.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    sessions = {leaf: session for authority in authorities for leaf, session in asyncio.run(_sessions(authority))}
    (folder / "sessions.json").write_text(json.dumps(sessions, indent=1) + "\n", "utf-8")


def _name(**attributes: str) -> x509.Name:
    kinds = {
        "C": NameOID.COUNTRY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in attributes.items()])


def _pins(exam: str, *, expires: str) -> str:
    return f"""schema = 1
name = "campus"
updated = 2026-10-01
expires = {expires}

[[endpoint]]
host = "{EXAM}"
category = "exam"
operator = "Example Exams"
pins = ["{exam}"]

[[endpoint]]
host = "{LMS}"
category = "lms"
operator = "Example University"

[[endpoint]]
host = "{MAIL}"
category = "mail"
operator = "Example Mail"
"""


async def _sessions(authority: str) -> list[tuple[str, dict[str, str | int | None]]]:
    """One handshake with every server of an authority."""
    sessions = []
    for host in HOSTS:
        seen = (await probe(Endpoint(host=host), dialer=MockNetwork(served(authority, host)))).observation
        assert seen.handshake_signature is not None
        assert seen.server_hello is not None
        kept = {
            "group": seen.group,
            "server_hello": base64.b64encode(seen.server_hello).decode(),
            "scheme": seen.handshake_signature.scheme,
            "signed": base64.b64encode(seen.handshake_signature.signed).decode(),
            "signature": base64.b64encode(seen.handshake_signature.signature).decode(),
        }
        sessions.append((seen.chain[0].sha256, kept))
    return sessions


if __name__ == "__main__":
    make(GIVEN)
