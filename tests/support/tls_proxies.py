"""Real programs that decrypt TLS on its way to a server on loopback, each with its own ClientHello towards it.

Room: tests. Starts programs. Every one is entered with a server's port and a folder, and gives a `Proxy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from detector_testing import run_mitmproxy
from detector_testing.streams import LOOPBACK
from support.lab_programs import free_port, running, running_haproxy, running_nginx
from support.origin_clients import HOST, PATIENCE
from support.system import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_testing import PrivatePKI

GO: Final = Path(__file__).resolve().parents[1] / "lab" / "go_proxy"
NODE: Final = Path(__file__).resolve().parents[1] / "lab" / "node_proxy" / "main.js"
CERTGEN: Final = "/usr/lib/squid/security_file_certgen"
"""Squid's program that signs certificates, of the same package."""


class Proxy:
    """Where a client connects to, and the port that its CONNECT request asks for; None where it makes none."""

    def __init__(self, port: int, asks_for: int | None = None) -> None:
        self.port: Final = port
        self.asks_for: Final = asks_for

    async def get(self, path: str, **headers: str) -> bytes:
        """Request a page as a client that trusts everybody; `headers` are called `user_agent`, their bytes Latin-1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host = HOST if self.asks_for is None else f"{HOST}:{self.asks_for}"
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            try:
                if self.asks_for is not None:
                    writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                await writer.start_tls(context, server_hostname=HOST)
                lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
                request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{''.join(lines)}\r\n"
                writer.write(request.encode("latin-1"))
                return await reader.read()
            finally:
                writer.close()


class Proxies:
    """The programs, with the certificates they decrypt under; `folder` is one that programs without rights can read."""

    def __init__(self, pki: PrivatePKI, folder: Path) -> None:
        self._ca: Final = pki.private_ca("Campus Filter CA")
        self._folder: Final = folder
        issued = self._ca.issue([HOST])
        self._chain, self._key, self._both = folder / "proxy.pem", folder / "proxy.key", folder / "proxy-both.pem"
        self._ca_pem, self._ca_key = folder / "ca.pem", folder / "ca.key"
        self._chain.write_bytes(issued.chain_pem)
        self._key.write_bytes(issued.key_pem)
        self._both.write_bytes(issued.chain_pem + issued.key_pem)
        self._ca_pem.write_bytes(self._ca.pem)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._ca_key.write_bytes(self._ca.key.private_bytes(*form))

    @contextlib.asynccontextmanager
    async def mitmproxy(self, server: int) -> AsyncIterator[Proxy]:
        """mitmproxy in reverse mode."""
        async with run_mitmproxy(f"reverse:https://{LOOPBACK}:{server}", options={"keep_host_header": "true"}) as mitm:
            yield Proxy(mitm.port)

    @contextlib.asynccontextmanager
    async def squid_stare(self, server: int) -> AsyncIterator[Proxy]:
        """Squid that stares at the ClientHello before it decrypts."""
        async with self._squid(server, "ssl_bump stare step1\nssl_bump bump all\n") as proxy:
            yield proxy

    @contextlib.asynccontextmanager
    async def squid_bump(self, server: int) -> AsyncIterator[Proxy]:
        """Squid that decrypts at once."""
        async with self._squid(server, "ssl_bump bump all\n") as proxy:
            yield proxy

    @contextlib.asynccontextmanager
    async def squid_splice(self, server: int) -> AsyncIterator[Proxy]:
        """Squid that passes TLS on and decrypts nothing."""
        async with self._squid(server, "ssl_bump peek step1\nssl_bump splice all\n") as proxy:
            yield proxy

    @contextlib.asynccontextmanager
    async def _squid(self, server: int, rules: str) -> AsyncIterator[Proxy]:
        port, database = free_port(), self._folder / "certificates"
        subprocess.run([program(CERTGEN), "-c", "-s", str(database), "-M", "4MB"], check=True, capture_output=True)  # noqa: S603, ASYNC221 - Squid's own program, done in a moment
        for path in (database, *database.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        self._ca_key.chmod(0o644)
        configuration, names = self._folder / "squid.conf", self._folder / "hosts"
        names.write_text(f"{LOOPBACK} {HOST}\n")
        configuration.write_text(
            f"http_port {LOOPBACK}:{port} ssl-bump tls-cert={self._ca_pem} tls-key={self._ca_key} "
            "generate-host-certificates=on\n"
            f"sslcrtd_program {CERTGEN} -s {database} -M 4MB\nsslcrtd_children 1\nacl step1 at_step SslBump1\n{rules}"
            "tls_outgoing_options flags=DONT_VERIFY_PEER\nsslproxy_cert_error allow all\nhttp_access allow all\n"
            "cache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\nshutdown_lifetime 0 seconds\n"
            f"coredump_dir {self._folder}\nhosts_file {names}\nmax_filedescriptors 1024\n"
        )
        async with running(port, "squid", "-N", "-f", str(configuration)):
            yield Proxy(port, asks_for=server)

    @contextlib.asynccontextmanager
    async def sslsplit(self, server: int) -> AsyncIterator[Proxy]:
        """SSLsplit, forwarding to one server."""
        port = free_port()
        listens = ("ssl", LOOPBACK, str(port), LOOPBACK, str(server))
        async with running(port, "sslsplit", "-D", "-k", str(self._ca_key), "-c", str(self._ca_pem), *listens):
            yield Proxy(port)

    @contextlib.asynccontextmanager
    async def haproxy(self, server: int) -> AsyncIterator[Proxy]:
        """HAProxy that encrypts again."""
        port = free_port()
        configuration = (
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            f"listen proxy\n bind {LOOPBACK}:{port} ssl crt {self._both}\n"
            f" server exam {LOOPBACK}:{server} ssl verify none sni str({HOST})\n"
        )
        async with running_haproxy(port, self._folder, configuration):
            yield Proxy(port)

    @contextlib.asynccontextmanager
    async def nginx(self, server: int) -> AsyncIterator[Proxy]:
        """nginx with proxy_pass to https."""
        port = free_port()
        http = (
            f"access_log off; server {{ listen {LOOPBACK}:{port} ssl;\n"
            f"ssl_certificate {self._chain}; ssl_certificate_key {self._key};\n"
            f"location / {{ proxy_pass https://{LOOPBACK}:{server}; proxy_ssl_server_name on; proxy_ssl_name {HOST};\n"
            "proxy_set_header Host $host; } }"
        )
        async with running_nginx(port, self._folder, http):
            yield Proxy(port)

    @contextlib.asynccontextmanager
    async def go(self, server: int) -> AsyncIterator[Proxy]:
        """A reverse proxy of Go's standard library."""
        port, built = free_port(), self._folder / "goproxy"
        subprocess.run([program("go"), "build", "-o", str(built), "."], check=True, cwd=GO, capture_output=True)  # noqa: S603, ASYNC221 - nothing else runs in this loop meanwhile
        where = (f"{LOOPBACK}:{port}", str(self._chain), str(self._key), f"https://{LOOPBACK}:{server}")
        async with running(port, str(built), *where):
            yield Proxy(port)

    @contextlib.asynccontextmanager
    async def node(self, server: int) -> AsyncIterator[Proxy]:
        """A proxy of Node.js."""
        port = free_port()
        async with running(port, "node", str(NODE), str(port), str(self._chain), str(self._key), str(server)):
            yield Proxy(port)


DECRYPTING: Final = ("mitmproxy", "squid_stare", "squid_bump", "sslsplit", "haproxy", "nginx", "go", "node")
"""The methods of `Proxies` that decrypt."""
