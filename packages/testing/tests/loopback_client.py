"""A TLS client for the tests of this room: stock OpenSSL, verifying nothing, keeping what it saw. Loopback only."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from detector_testing.streams import PlainStream, TLSStream, connect
from OpenSSL import SSL

if TYPE_CHECKING:
    import ssl

EXAM = "exam.example.edu"


@dataclasses.dataclass(frozen=True)
class Visit:
    """What one connection showed; `error` is OpenSSL's last reason or the name of an operating system error."""

    error: str = ""
    version: str = ""
    alpn: bytes = b""
    chain: tuple[bytes, ...] = ()
    body: bytes = b""
    exporter: bytes = b""
    stapled: bytes = b""


def client_connection(
    host: str = EXAM,
    *,
    version: ssl.TLSVersion | None = None,
    alpn: tuple[bytes, ...] = (b"http/1.1",),
    staples: list[bytes] | None = None,
) -> SSL.Connection:
    """A client connection that has yet to send its hello; with `staples` it asks for one and puts it there."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.set_min_proto_version(int(version or 0))
    context.set_max_proto_version(int(version or 0))
    if staples is not None:

        def keep(_connection: SSL.Connection, response: bytes, _data: object) -> bool:
            staples.append(response)
            return True

        context.set_ocsp_client_callback(keep)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    if staples is not None:
        connection.request_ocsp()
    if host:
        connection.set_tlsext_host_name(host.encode())
    if alpn:
        connection.set_alpn_protos(list(alpn))
    return connection


def client_hello(host: str = EXAM, *, version: ssl.TLSVersion | None = None) -> bytes:
    """The first flight of a stock client."""
    connection = client_connection(host, version=version)
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(1 << 16)


async def tunnel(address: tuple[str, int], target: str, *headers: str) -> tuple[PlainStream, bytes]:
    """Ask a proxy for a tunnel; gives the stream and what the proxy answered first."""
    plain = await connect(address)
    await plain.write("\r\n".join((f"CONNECT {target} HTTP/1.1", f"Host: {target}", *headers, "", "")).encode())
    return plain, await plain.read()


async def visit(  # noqa: PLR0913 - each is something clients do
    address: tuple[str, int],
    host: str = EXAM,
    *,
    through: str | None = None,
    version: ssl.TLSVersion | None = None,
    alpn: tuple[bytes, ...] = (b"http/1.1",),
    asks: bool = False,
) -> Visit:
    """Shake hands with `address` (as a proxy, for a tunnel to `through`), get `/`, and say what happened.

    `asks` is for a stapled OCSP response.
    """
    plain = (await tunnel(address, through))[0] if through else await connect(address)
    staples: list[bytes] = []
    connection = client_connection(host, version=version, alpn=alpn, staples=staples if asks else None)
    stream = TLSStream(connection, plain)
    error, body, exporter = "", b"", b""
    try:
        await stream.handshake()
        exporter = connection.export_keying_material(b"EXPORTER-test", 32, None)
        await stream.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        while data := await stream.read():
            body += data
    except SSL.Error as failure:
        reasons = failure.args[0] if failure.args and isinstance(failure.args[0], list) else [("", "", str(failure))]
        error = reasons[-1][2]
    except OSError as failure:
        error = type(failure).__name__
    finally:
        await stream.close()
    chain = connection.get_peer_cert_chain(as_cryptography=True) if "ASN1" not in error else None
    return Visit(
        error=error,
        version=connection.get_protocol_version_name(),
        alpn=connection.get_alpn_proto_negotiated(),
        chain=tuple(one.public_bytes(serialization.Encoding.DER) for one in chain or ()),
        body=body,
        exporter=exporter,
        stapled=b"".join(staples),
    )


async def read_all(stream: PlainStream) -> tuple[bytes, str]:
    """Read to the end; gives what came and the name of the error it ended with, if any."""
    data = b""
    try:
        while chunk := await stream.read():
            data += chunk
    except ConnectionError as failure:
        return data, type(failure).__name__
    finally:
        await stream.close()
    return data, ""
