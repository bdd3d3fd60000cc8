"""`detector witness`: run an endpoint that signs what it sees of each connection, and make the key it signs with.

Room: cli. What the endpoint says, how its keys are exchanged and where it belongs is in docs/witness.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Final

import click

from detector.trust.envelope import key_identifier, public_key_of
from detector.trust.key_files import create_signing_key, load_signing_key

from . import common

if TYPE_CHECKING:
    from OpenSSL import SSL

    from detector.witness.server import Witness

PORT_DEFAULT: Final = 8443
"""A port that needs no privilege; a deployment on 443 names it."""

_LAST_PORT: Final = 65535


@click.group()
def witness() -> None:
    """Run a witness, which signs what it sees of each TLS connection."""


@witness.command()
@click.option("-o", "--output", required=True, metavar="FILE", help="Write the private key there; must be a new file.")
def keygen(output: str) -> int:
    """Make a signing key (Ed25519, PKCS #8 PEM, mode 0600) and print its public half as pin files spell it."""
    key = create_signing_key(output)
    click.echo(key_identifier(public_key_of(key)))
    return common.CLEAN


@witness.command()
@click.option("--certificate", required=True, metavar="PEM", help="Certificate chain to present, leaf first.")
@click.option("--key", required=True, metavar="PEM", help="Private key of the certificate, not encrypted.")
@click.option(
    "--signing-key",
    "signing_keys",
    required=True,
    multiple=True,
    metavar="FILE",
    help="Key to sign with, from `witness keygen`; twice while it is being exchanged.",
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, _LAST_PORT),
    default=PORT_DEFAULT,
    show_default=True,
    help="Port to listen on; 0 is any free one.",
)
@click.option("--peer-address", is_flag=True, help="Say in statements from which address the client came.")
def serve(  # noqa: PLR0913 - one parameter per option
    *, certificate: str, key: str, signing_keys: tuple[str, ...], host: str, port: int, peer_address: bool
) -> int:
    """Answer clients until interrupted; TLS has to end here, not in front of it.

    Prints where it listens and the line for the pin file. On SIGTERM or SIGINT requests in progress are answered and
    the exit code is 0.
    """
    from detector.witness import server  # noqa: PLC0415 - aiohttp takes 0.4 s to import and is needed here alone

    if len(signing_keys) > server.SIGNING_KEYS_MAX:
        raise click.UsageError(f"--signing-key: at most {server.SIGNING_KEYS_MAX} keys sign at once.")
    keys = [load_signing_key(path) for path in signing_keys]
    pins = [key_identifier(public_key_of(one)) for one in keys]
    if len(set(pins)) != len(pins):
        raise click.UsageError("--signing-key: the same key is given twice.")
    tls = server.tls_context(certificate, key)
    asyncio.run(_serve(server.Witness(keys, peer_address=peer_address), tls, host, port, pins))
    return common.CLEAN


async def _serve(witness: Witness, tls: SSL.Context, host: str, port: int, pins: list[str]) -> None:
    from detector.trust import witness_statement  # noqa: PLC0415 - as above
    from detector.witness import server  # noqa: PLC0415 - as above

    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: an interrupt raises instead, and ends it as well
            loop.add_signal_handler(number, told_to_stop.set)
    async with server.serve(witness, tls=tls, host=host, port=port) as running:
        address, listening_port = running.address
        place = f"[{address}]" if ":" in address else address
        click.echo(f"https://{place}:{listening_port}{witness_statement.PATH}")
        quoted = ", ".join(f'"{pin}"' for pin in pins)
        click.echo(f"witness = [{quoted}]")
        await told_to_stop.wait()
