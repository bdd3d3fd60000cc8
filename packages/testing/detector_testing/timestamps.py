"""A time-stamping authority on loopback (RFC 3161), whose answers OpenSSL makes.

Room: testing. Needs the program `openssl`, which runs in a directory of the caller's; `serve_tsa` opens a socket on
loopback.

    authority = TimeStampingAuthority.create(pki.private_ca("Example TSA Root"), folder)
    async with serve_tsa(authority) as tsa:
        ...  # a client of http://127.0.0.1:{tsa.port}/
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from .origin import Origin, Request, Response, answer
from .pki import Issued, distinguished_name, generate_key, to_pem
from .streams import LOOPBACK, PlainStream, listen

if TYPE_CHECKING:
    import datetime as dt
    import pathlib
    from collections.abc import AsyncIterator, Sequence

    from .pki import CA

MEDIA_TYPE: Final = "application/timestamp-reply"
"""Of an answer (RFC 3161 section 3.4)."""

_CONFIGURATION: Final = """\
[tsa]
default_tsa = authority
[authority]
serial = serial
signer_digest = sha256
default_policy = 1.3.6.1.4.1.32473.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""
"""The policy is below the enterprise number for examples (RFC 5612)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeStampingAuthority:
    """An authority below `root`; its key, certificate and serial numbers are files in `folder`."""

    root: CA
    folder: pathlib.Path

    @classmethod
    def create(
        cls,
        root: CA,
        folder: pathlib.Path,
        *,
        purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.TIME_STAMPING,),
        critical: bool = True,
        not_after: dt.datetime | None = None,
    ) -> TimeStampingAuthority:
        """Make an authority, which a certificate of other `purposes` makes an impostor."""
        key = generate_key()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(distinguished_name("Example TSA"))
            .issuer_name(root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(x509.load_der_x509_certificate(root.certificate).not_valid_before_utc)
            .not_valid_after(not_after or x509.load_der_x509_certificate(root.certificate).not_valid_after_utc)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
            .sign(root.key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key.pem").write_bytes(Issued(chain=(), key=key).key_pem)
        (folder / "certificate.pem").write_bytes(to_pem(certificate.public_bytes(Encoding.DER)))
        (folder / "serial").write_text("01\n")
        (folder / "openssl.cnf").write_text(_CONFIGURATION)
        return cls(root=root, folder=folder)

    def answer(self, query: bytes) -> bytes:
        """Answer a request (TimeStampReq in DER) with the present time. Raises subprocess.CalledProcessError."""
        files = ("-config", "openssl.cnf", "-signer", "certificate.pem", "-inkey", "key.pem")
        (self.folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", *files, "-queryfile", "query", "-out", "answer"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)  # noqa: S603 - no shell; program and options are chosen here
        return (self.folder / "answer").read_bytes()


@contextlib.asynccontextmanager
async def serve_tsa(authority: TimeStampingAuthority, *, host: str = LOOPBACK, port: int = 0) -> AsyncIterator[Origin]:
    """Serve an authority over plain HTTP until the block ends."""
    origin = Origin()

    def respond(request: Request) -> Response:
        return Response(headers=(("Content-Type", MEDIA_TYPE),), body=authority.answer(request.body))

    async def serve(stream: PlainStream) -> None:
        await answer(stream, respond, origin.requests)

    async with listen(serve, origin, host=host, port=port):
        yield origin
