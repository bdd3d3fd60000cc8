"""docs/witness.md: its test vectors are what this package makes and reads, and its program runs.

Room: tests of witness. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.witnesses import EXAM, until

from detector import Detector, Endpoint
from detector.judge.checks import witness
from detector.judge.evidence import EndpointEvidence
from detector.model import WitnessObservation, WitnessOutcome
from detector.origin.rules import TABLE
from detector.pins.encoding import encode_witness_key, parse_witness_key
from detector.trust import envelope, witness_statement
from detector.trust.envelope import public_key_of
from detector.trust.key_files import create_signing_key
from detector.trust.witness_statement import Statement
from detector.witness import server

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import PrivatePKI

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "witness.md").read_text("utf-8")
VALUES = dict(re.findall(r"^\| ([^|]+?) \| `([^`]+)` \|$", PAGE, re.MULTILINE))
BLOCKS = dict(re.findall(r"^```(json \w+|python)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL))
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VALUES[f"private key {number}"])) for number in (1, 2)]
PINS = [parse_witness_key(VALUES[f"pin {number}"]) for number in (1, 2)]
NONCE, EXPORTER = bytes.fromhex(VALUES["nonce"]), bytes.fromhex(VALUES["exporter"])
ENVELOPE = BLOCKS["json envelope"].encode()
STATEMENT = BLOCKS["json statement"].encode()


def test_keys_and_nonce() -> None:
    """Public halves and the request are written as the page has them."""
    assert [public_key_of(key) for key in KEYS] == PINS
    assert [encode_witness_key(pin) for pin in PINS] == [VALUES["pin 1"], VALUES["pin 2"]]
    assert witness_statement.request_target(NONCE) == VALUES["request target"]


def test_signatures() -> None:
    """The bytes that are signed, and both signatures over them; Ed25519 signs the same way every time."""
    signed = envelope._pre_authentication_encoding(witness_statement.PAYLOAD_TYPE, STATEMENT)
    assert hashlib.sha256(signed).hexdigest() == VALUES["SHA-256 of the signed bytes"]
    assert [key.sign(signed).hex() for key in KEYS] == [VALUES["signature 1"], VALUES["signature 2"]]


def test_statement_and_envelope() -> None:
    """The statement is what a witness writes, the envelope what it sends, and reading gives the statement back."""
    statement = msgspec.json.decode(STATEMENT, type=Statement)
    assert msgspec.json.encode(statement) == STATEMENT
    assert statement.exporter == EXPORTER
    assert statement.browser is not None
    assert set(statement.browser.contradictions) < {rule.name for rule in TABLE}
    assert witness_statement.sign(statement, KEYS[:1]) == ENVELOPE
    assert witness_statement.read(ENVELOPE, keys=PINS) == (statement, PINS[0], None)
    both = msgspec.json.decode(witness_statement.sign(statement, KEYS))
    assert [base64.b64decode(one["sig"]).hex() for one in both["signatures"]] == [
        VALUES["signature 1"],
        VALUES["signature 2"],
    ]


@pytest.mark.parametrize(
    ("pinned", "nonce", "exporter", "body", "outcome"),
    [
        (PINS[:1], NONCE, EXPORTER, ENVELOPE, "equal"),
        (PINS, NONCE, EXPORTER, ENVELOPE, "equal"),
        (PINS[:1], NONCE, EXPORTER[:-1] + b"\x3e", ENVELOPE, "differs"),
        (PINS[:1], NONCE[:-1] + b"\x1e", EXPORTER, ENVELOPE, "replayed"),
        (PINS[1:], NONCE, EXPORTER, ENVELOPE, "unknown-key"),
        (PINS[:1], NONCE, EXPORTER, ENVELOPE.replace(b'"payload":"ey', b'"payload":"ay'), "bad-signature"),
    ],
    ids=["equal", "both-pinned", "differs", "replayed", "unknown-key", "bad-signature"],
)
def test_outcomes(  # noqa: PLR0913, PLR0917 - pytest passes by name what an outcome depends on
    pinned: list[bytes], nonce: bytes, exporter: bytes, body: bytes, outcome: str, world: World, pki: PrivatePKI
) -> None:
    """What the page says that a client makes of the envelope is what the check says."""
    observed = WitnessObservation(
        outcome=WitnessOutcome.ANSWERED, nonce=nonce, exporter=exporter, status=200, body=body
    )
    plain = world.case(EXAM, pki.issue([EXAM]), witness=tuple(pinned))
    case = EndpointEvidence(plain.endpoint, msgspec.structs.replace(plain.observation, witness=observed), plain.context)
    assert [finding.outcome for finding in witness.check(case)] == [outcome]


def test_every_outcome_and_field_is_on_the_page() -> None:
    """Statements have no field, and the check no outcome, that the page does not name."""
    tables = PAGE[PAGE.index("### The statement") : PAGE.index("## Test vectors")]
    for field in msgspec.structs.fields(Statement):
        assert f"| `{field.name}" in tables
    named = set(re.findall(r"`([a-z-]+)`", tables))
    assert {str(problem) for problem in envelope.Problem} <= named
    assert {"equal", "differs", "replayed", "refused", "no-answer", "no-binding"} <= named


def test_limits_on_the_page() -> None:
    """The defaults are those of the code."""
    limits = server.DEFAULT_LIMITS
    numbers = [
        *(limits.connections, limits.patience, limits.handshake, limits.handshake_bytes // 1024, limits.head),
        *(limits.head_bytes // 1024, limits.idle, limits.stall, limits.requests, limits.shutdown),
    ]
    table = PAGE[PAGE.index("| limit | name | default |") : PAGE.index("When all connections are taken")]
    cells = [row.split("|")[3] for row in table.strip().splitlines()[2:]]
    assert [float(number) for cell in cells for number in re.findall(r"\d+", cell)] == numbers


async def test_the_program_runs(
    pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings_of: Callable[..., dict[str, Any]]
) -> None:
    """The exam platform of the page answers as a witness and as itself."""
    issued = pki.issue([EXAM])
    (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
    (tmp_path / "key.pem").write_bytes(issued.key_pem)
    key = public_key_of(create_signing_key(tmp_path / "signing.pem"))
    monkeypatch.chdir(tmp_path)
    program = types.ModuleType("program")
    exec(BLOCKS["python"], program.__dict__)  # noqa: S102 - the page's own program
    running: list[server.WitnessServer] = []
    start = server.WitnessServer.start

    async def noted(self: server.WitnessServer, host: str, port: int) -> None:
        await start(self, host, port)
        running.append(self)

    monkeypatch.setattr(server.WitnessServer, "start", noted)
    stopped = asyncio.Event()
    platform = asyncio.ensure_future(program.exam_platform(0, stopped))
    await until(lambda: bool(running))
    endpoint = Endpoint(host=EXAM, address=running[0].address, witness=(key,))
    async with Detector(**settings_of(endpoint)) as subject:
        (result,) = (await subject.check(deadline=60)).results
    stopped.set()
    await platform
    assert (result.verdict, result.assurance) == ("clean", "witnessed")
