"""A collector as small as it can be: it verifies submissions, keeps them in memory, and signs receipts.

Room: tests of outbox. What a test replaces is `answer`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from detector_testing import Request, Response
from support.guarding import guard_of

from detector.exam.policy import OnUnconfirmed, Policy
from detector.guard import GuardedConnector
from detector.model import encode
from detector.outbox import contents, receipt
from detector.outbox.receipt import Receipt
from detector.outbox.sender import Connectors
from detector.outbox.settings import ReportSettings
from detector.outbox.submission import PAYLOAD_TYPE, Submission, digest
from detector.trust import envelope

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World

HOST = "collect.example.org"
URL = f"https://{HOST}"
INSTITUTION_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
RECEIPT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
NOW = dt.datetime(2026, 11, 30, 9, 0, tzinfo=dt.UTC)


@dataclasses.dataclass
class Receiver:
    """What was received: submissions by digest, and the body of every request."""

    submissions: dict[str, Submission] = dataclasses.field(default_factory=dict)
    bodies: list[bytes] = dataclasses.field(default_factory=list)
    institution_key: bytes = dataclasses.field(default_factory=lambda: envelope.public_key_of(INSTITUTION_KEY))
    answer: Callable[[Request], Response | None] = lambda _: None
    """Answers in place of a receipt where it returns something."""

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        self.bodies.append(request.body)
        if (instead := self.answer(request)) is not None:
            return instead
        opened = envelope.open_envelope(request.body, payload_type=PAYLOAD_TYPE, keys=[self.institution_key])
        if request.method != "POST" or request.target != "/v1/evidence" or opened.problem is not None:
            return refusal("bad-signature")
        submission = msgspec.json.decode(opened.payload, type=Submission)
        try:
            contents.decode(submission.kind, bytes(submission.content))
        except ValueError:
            return refusal("bad-content")
        found = digest(opened.payload)
        is_new = self.submissions.setdefault(found, submission) is submission
        return receipt_of(found, submission.institution, status=201 if is_new else 200)


def receipt_of(
    found: str, institution: str = "example-university", *, key: Ed25519PrivateKey = RECEIPT_KEY, status: int = 201
) -> Response:
    """The receipt for a submission."""
    payload = encode(Receipt(digest=found, institution=institution, received=NOW))
    return Response(status=status, body=envelope.seal(payload, payload_type=receipt.PAYLOAD_TYPE, keys=[key]))


def refusal(name: str, status: int = 400) -> Response:
    """A problem document that names a refusal."""
    body = msgspec.json.encode({"type": f"urn:tls-interception:refusal:{name}", "title": name})
    return Response(status=status, headers=(("Content-Type", "application/problem+json"),), body=body)


def settings_in(folder: Path, **more: object) -> ReportSettings:
    """Settings with keys in this folder, for an outbox in it."""
    files = {"key": folder / "institution.key", "pseudonym_key": folder / "pseudonyms.key"}
    if not files["key"].exists():
        form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        files["key"].write_bytes(INSTITUTION_KEY.private_bytes(*form))
        files["pseudonym_key"].write_bytes(bytes(range(32)))
        for file in files.values():
            file.chmod(0o600)
    known = {
        "to": URL,
        "institution": "example-university",
        "exam": "algebra-1",
        "receipt_key": (envelope.key_identifier(envelope.public_key_of(RECEIPT_KEY)),),
        "outbox": str(folder / "outbox"),
        **{name: str(file) for name, file in files.items()},
    }
    return ReportSettings.of({**known, **more})


def connectors_to(world: World, address: tuple[str, int], *, proxy: str = "none", **known: object) -> Connectors:
    """Connectors to a collector at this address, which trust the test PKI; `known` is for the guards."""
    strict = guard_of(world, **known)
    lenient = guard_of(world, policy=Policy(on_unconfirmed=OnUnconfirmed.WARN), **known)
    where: Any = {"resolve": {(HOST, 443): address}, "proxy": proxy}
    return Connectors((lambda: GuardedConnector(strict, **where),), lambda: GuardedConnector(lenient, **where))
