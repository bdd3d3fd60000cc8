"""What the tests of the collector share: submissions made of real certificates and handshake signatures.

Room: tests of the collector. In memory. The collector of these tests ships its knowledge and knows two endpoints of its
own, `SEARCH` and `EXAM`, by the keys of their genuine certificates.
"""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec
from detector_collect.assessment import Assessed, Material, assess_submission
from detector_testing import PrivatePKI
from support.bundle_recordings import KEY, PUBLIC, handshake_signature, packed, recorded, with_its_ca

from detector.judge.evidence import Context
from detector.knowledge import data_set
from detector.model import Category, Endpoint, RecordedIdentity, RootOrigin
from detector.outbox import contents
from detector.outbox.submission import Kind, Submission
from detector.trust.certificate import Certificate
from detector.trust.roots import from_der

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from detector_testing import Issued
    from detector_testing.pki import CA

    from detector.judge.evidence import EndpointEvidence

SEARCH: Final = "search.example.com"
EXAM: Final = "exam.example.org"
UNKNOWN: Final = "portal.example.net"
"""A host that the collector knows nothing of."""


class Recorder:
    """A client with the knowledge that ships, and the genuine servers that it reaches unless something decrypts."""

    def __init__(self) -> None:
        self.pki: Final = PrivatePKI.create()
        self.now: Final = self.pki.now
        self.genuine: Final = {host: self.pki.issue([host]) for host in (SEARCH, EXAM)}
        self.material: Final = Material(data_set.shipped(), tuple(map(self.endpoint, self.genuine)))

    def endpoint(self, host: str) -> Endpoint:
        """What the vendor knows of an endpoint."""
        leaf = Certificate.read(self.genuine[host].chain[0])
        assert leaf.spki_sha256 is not None
        category = Category.EXAM if host == EXAM else Category.SEARCH
        return Endpoint(
            host=host,
            category=category,
            pins=(leaf.spki_sha256,),
            identity=RecordedIdentity.PUBLIC,
            canary=host == SEARCH,
            operator=host,
        )

    def context(self, at: dt.datetime | None = None, machine: Sequence[bytes] = ()) -> Context:
        """What this client assesses against; `machine` are roots that somebody added to its store."""
        data, installed = data_set.shipped(), from_der(machine, name="machine", origin=RootOrigin.ADDED)
        at = at or self.now
        return Context(
            at=at, data=data, roots=data.public_roots(at.date()), logs=data.logs, machine_roots=lambda: installed
        )

    def case(self, host: str, issued: Issued | None = None, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `recorded`
        """One connection to a host: to its genuine server, or to who presents `issued`; a handshake of its own."""
        issued = issued or self.genuine[host]
        seen = {"handshake_signature": handshake_signature(issued, secrets.token_bytes(32)), **more.pop("seen", {})}
        known = host in self.genuine
        expected = {name: getattr(self.endpoint(host), name) for name in _OF_ENDPOINT} if known else {}
        return recorded(self, host, issued, seen=seen, **(expected | more))  # type: ignore[arg-type] # has `context`

    def intercepted(self, ca: CA, *hosts: str) -> list[EndpointEvidence]:
        """Connections that an interceptor with this CA ends."""
        return [self.case(host, with_its_ca(ca, host)) for host in hosts]

    def bundle(self, *cases: EndpointEvidence) -> bytes:
        """The bundle of these connections, as a client sends it."""
        return contents.reduce(packed(*cases), keys=[KEY])

    def submission(self, content: bytes, **more: Any) -> Submission:  # noqa: ANN401 - fields of Submission
        """One student's submission of a bundle, or of another kind of content."""
        fields: dict[str, Any] = {
            "institution": "college",
            "exam": "exam",
            "student": "5" * 64,
            "network": "6" * 64,
            "made": self.now,
            "kind": Kind.BUNDLE,
        }
        return Submission(content=msgspec.Raw(content), **(fields | more))

    def assess(self, content: bytes, **more: Any) -> Assessed:  # noqa: ANN401 - fields of Submission
        """What the collector says of it."""
        return assess_submission(self.submission(content, **more), keys=[PUBLIC], material=self.material)


_OF_ENDPOINT: Final = ("category", "pins", "identity", "canary", "operator")


@functools.cache
def recorder() -> Recorder:
    """The client of these tests; its keys are made once."""
    return Recorder()
