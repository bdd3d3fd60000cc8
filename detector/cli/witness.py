"""`detector witness`: run an endpoint that signs what it sees of each connection, and create its signing key.

Room: cli. The protocol, key rollover and deployment are in docs/witness.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from detector.aio.lazy import LazyModule
from detector.model.validate import PORT_MAX
from detector.trust import witness_statement
from detector.trust.envelope import key_identifier, public_key_of
from detector.trust.key_files import create_signing_key, load_signing_key

from . import common, options, signals
from .stderr import say
from .streams import put

if TYPE_CHECKING:
    from OpenSSL import SSL

    from detector.witness import server
else:
    server = LazyModule("detector.witness.server")  # aiohttp takes 0.4 s to import

PORT_DEFAULT: Final = 8443
"""A port that needs no privilege; a deployment on 443 names it."""


@options.group("detector witness keygen -o witness.key", sections={"Set up": ("keygen",), "Run": ("serve",)})
def witness() -> None:
    """Run a witness, which signs what it sees of connections."""


@witness.subcommand("detector witness keygen -o witness.key")
def keygen(
    *,
    output: str = options.result("-o --output", "New file for the private key.", required=True, metavar="FILE"),
) -> int:
    """Create a signing key and print its public key.

    The key is Ed25519 (PKCS #8 PEM, mode 0600); the public key is printed as pin files have it.
    """
    key = create_signing_key(output)
    put(key_identifier(public_key_of(key)))
    return common.CLEAN


@witness.subcommand(
    "detector witness serve --certificate chain.pem --key tls.key --signing-key witness.key",
    "detector witness serve --certificate chain.pem --key tls.key --signing-key witness.key --port 443",
)
def serve(  # noqa: PLR0913 - one parameter per option
    *,
    certificate: str = options.service(
        "--certificate", "Certificate chain to present, leaf first.", required=True, metavar="PEM"
    ),
    key: str = options.service("--key", "Private key of the certificate, not encrypted.", required=True, metavar="PEM"),
    signing_keys: tuple[str, ...] = options.service(
        "--signing-key",
        "Sign with this Ed25519 key (PKCS #8), from `witness keygen`; twice during a key rollover.",
        required=True,
        multiple=True,
        metavar="PEM",
    ),
    host: str = options.service("--host", "Address to listen on.", default="127.0.0.1", metavar="ADDRESS"),
    port: int = options.service(
        "--port", "Port to listen on; 0 is any free one.", type=click.IntRange(0, PORT_MAX), default=PORT_DEFAULT
    ),
    peer_address: bool = options.service("--peer-address", "Include the client's address in statements.", is_flag=True),
    limits: tuple[str, ...] = options.service(
        "--limit",
        "A resource limit (docs/witness.md), such as connections=5000; repeatable.",
        multiple=True,
        metavar="NAME=NUMBER",
    ),
) -> int:
    """Answer clients until interrupted.

    TLS must be terminated here, not in front of it. Prints where it listens and the line for the pin file. On SIGTERM,
    SIGHUP or Ctrl-C, requests in progress are answered and the exit code is 0; standard error says how many connections
    had to wait, were replaced or refused, if any.
    """
    chosen = server.read_limits(limits)
    if len(signing_keys) > server.SIGNING_KEYS_MAX:
        raise click.UsageError(f"--signing-key: at most {server.SIGNING_KEYS_MAX} keys sign at once.")
    keys = [load_signing_key(path) for path in signing_keys]
    pins = [key_identifier(public_key_of(one)) for one in keys]
    if len(set(pins)) != len(pins):
        raise click.UsageError("--signing-key: the same key was given twice.")
    tls = server.tls_context(certificate, key)
    asyncio.run(_serve(server.Witness(keys, peer_address=peer_address), tls, host, port, pins, chosen))
    return common.CLEAN


async def _serve(  # noqa: PLR0913, PLR0917 - what a server is made of
    witness: server.Witness, tls: SSL.Context, host: str, port: int, pins: list[str], limits: server.Limits
) -> None:
    stop = asyncio.Event()
    async with server.serve(witness, tls=tls, host=host, port=port, limits=limits) as running:
        address, listening_port = running.address
        place = f"[{address}]" if ":" in address else address
        quoted = ", ".join(f'"{pin}"' for pin in pins)
        with signals.setting(stop):
            put(f"https://{place}:{listening_port}{witness_statement.PATH}")
            put(f"witness = [{quoted}]")
            await stop.wait()
    counts = running.counts
    if counts.held or counts.displaced or counts.refused:
        say(f"Connections: {counts.held} had to wait, {counts.displaced} were replaced, {counts.refused} refused.")
