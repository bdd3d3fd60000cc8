"""An endpoint and what is expected of it.

Room: model. Pure.
"""

from __future__ import annotations

import base64
import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time

from detector.errors import TargetError

from .record import Port, Record
from .validate import PORT_MAX, digests
from .vocabulary import Category, RecordedIdentity, RootOrigin


def encode_pin(digest: bytes) -> str:
    """Encode a 32-byte SHA-256 digest as `sha256/<base64>`, the form of reports and pin files."""
    return "sha256/" + base64.b64encode(digest).decode("ascii")


class Endpoint(Record, frozen=True, kw_only=True):
    """A host and port to assess, with what is expected of it.

    `pins` and `backup_pins` are SHA-256 digests (32 raw bytes) of SubjectPublicKeyInfo (RFC 7469 section 2.4);
    `certificates` are SHA-256 digests of whole DER certificates; `private_roots` are DER certificates of a declared
    private PKI; `roots` are public roots by certifi's label. `witness` are Ed25519 public keys (32 raw bytes, RFC 8032)
    one of which signs the statements of a witness at this endpoint (docs/witness.md); two while a key is being rotated.
    `quic` says that it is known to answer over QUIC. `address` is where to connect instead of resolving `host`.
    `expires` is the last day on which the pins are evaluated. `source` names the pin file, and `identity` is what that
    file records about the origin of its pins. `canary` says that the endpoint's public identity is part of the
    detector's knowledge, `runs_ca` that its operator issues its certificates with a CA of its own. `witness_is_end`
    records that the operator of the witness terminates TLS there itself, so that no front of the operator explains a
    different session.

    Raises:
        TargetError: for a port that is out of range, or a digest or key that is not of 32 bytes.
    """

    host: str
    port: int = 443
    category: Category = Category.OTHER
    pins: tuple[bytes, ...] = ()
    backup_pins: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()
    roots: tuple[str, ...] = ()
    operator: str | None = None
    private_roots: tuple[bytes, ...] = ()
    witness: tuple[bytes, ...] = ()
    quic: bool = False
    address: tuple[str, int] | None = None
    expires: dt.date | None = None
    source: str | None = None
    identity: RecordedIdentity = RecordedIdentity.UNKNOWN
    canary: bool = False
    runs_ca: bool = False
    witness_is_end: bool = False

    def __post_init__(self) -> None:
        """Validate. Runs for every decoded endpoint too, so the usual case must be cheap."""
        address = self.address
        if not self.host:
            raise TargetError("host: is empty.", advice="Give a host name or an IP address.")
        if not 0 < self.port <= PORT_MAX or (address is not None and not 0 < address[1] <= PORT_MAX):
            port = self.port if address is None or not 0 < self.port <= PORT_MAX else address[1]
            raise TargetError(f"{self.host}: port {port} is out of range.", advice=f"Give a port from 1 to {PORT_MAX}.")
        if self.pins or self.backup_pins or self.certificates or self.witness:
            digests("pins", self.pins, error=TargetError)
            digests("backup_pins", self.backup_pins, error=TargetError)
            digests("certificates", self.certificates, error=TargetError)
            digests("witness", self.witness, error=TargetError)

    @property
    def name(self) -> str:
        """`host:port`, with an IPv6 literal in brackets (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EndpointName(Record, frozen=True, kw_only=True):
    """An endpoint as a report names it."""

    host: str
    port: Port
    category: Category

    @property
    def name(self) -> str:
        """`host:port`, with an IPv6 literal in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MachineRoot(Record, frozen=True, kw_only=True):
    """A root (DER) that a machine trusts and that was never public, and its origin."""

    der: bytes
    origin: RootOrigin = RootOrigin.UNKNOWN
