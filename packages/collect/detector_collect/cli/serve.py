"""`detector-collect serve`: receive evidence and show the review room over HTTP.

Room: detector_collect.cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from detector.cli import common, options, signals
from detector.cli.streams import put
from detector.errors import InputError
from detector.trust.key_files import load_signing_key
from detector_collect import review
from detector_collect.service import logs
from detector_collect.service.app import create_app
from detector_collect.service.serving import TLS, serving
from detector_collect.service.settings import ServiceSettings, client_certificates
from detector_collect.store.database import Store
from detector_collect.worker import MaterialConfig, Worker

from .common import database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LISTEN_DEFAULT: Final = "127.0.0.1:8080"
"""A port that needs no privilege, reached from this machine alone: a proxy in front ends TLS."""

LOG: Final = logging.getLogger("detector_collect.service")


@click.command(
    cls=options.Command,
    examples=(
        "detector-collect serve --database sqlite:///collect.sqlite --signing-key service.key",
        (
            "detector-collect serve --database postgresql://collector@db.example.com/collector --signing-key key.pem"
            " --listen 0.0.0.0:8080 --proxy 192.0.2.0/28 --origin https://review.example.com"
        ),
    ),
)
@database
@options.service(
    "--signing-key",
    "Sign receipts with this Ed25519 key (PKCS #8), from `detector witness keygen`; the same for all processes.",
    metavar="PEM",
)
@options.service("--listen", "Where to listen; port 0 is any free one.", default=LISTEN_DEFAULT, metavar="HOST:PORT")
@options.service("--only", "Serve one part alone, as for two host names.", type=click.Choice(["ingest", "review"]))
@options.service(
    "--worker/--no-worker", "Assess what was received in this process, too.", default=True, show_default=True
)
@options.service(
    "--origin", "Address of the review room as browsers see it; this machine's own by default.", metavar="URL"
)
@options.service(
    "--proxy proxies",
    "Believe client certificates that a proxy at this address or in this network passes; repeatable.",
    multiple=True,
    metavar="NETWORK",
)
@options.service("--certificate-header", "The header that it passes them in.", default="Client-Cert", metavar="NAME")
@options.service(
    "--certificate-form",
    "How: RFC 9440, or PEM with URL encoding ($ssl_client_escaped_cert of nginx).",
    type=click.Choice(["rfc9440", "pem"]),
    default="rfc9440",
)
@options.service("--tls-cert", "End TLS here: the certificate chain, leaf first.", metavar="PEM")
@options.service("--tls-key", "Its private key, not encrypted.", metavar="PEM")
def serve(  # noqa: PLR0913 - one parameter per option
    *,
    database: str | None,
    signing_key: str | None,
    listen: str,
    only: str | None,
    worker: bool,
    origin: str | None,
    proxies: tuple[str, ...],
    certificate_header: str,
    certificate_form: str,
    tls_cert: str | None,
    tls_key: str | None,
) -> int:
    """Receive evidence, and show the review room, until interrupted.

    Prints where it listens; logs are JSON on standard error. One process: to serve more, start more behind one
    PostgreSQL and a proxy that spreads requests. On SIGTERM, SIGHUP or Ctrl-C, requests in progress are answered and
    the exit code is 0.
    """
    if database is None:
        raise click.UsageError("Name the database: --database URL, or set DETECTOR_COLLECT_DATABASE.")
    if signing_key is None:
        raise click.UsageError("Name the key that signs receipts: --signing-key PEM.")
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("Give --tls-cert and --tls-key together.")
    host, port = _address(listen)
    settings = ServiceSettings(
        load_signing_key(signing_key),
        origin=origin or f"http://127.0.0.1:{port}",
        certificates=client_certificates(proxies, header=certificate_header, form=certificate_form),
    )
    tls = None if tls_cert is None or tls_key is None else TLS(Path(tls_cert), Path(tls_key))
    logs.install()
    asyncio.run(_serve(database, settings, host, port, tls, only, with_worker=worker))
    return common.CLEAN


async def _serve(  # noqa: PLR0913, PLR0917 - what a service is made of
    url: str, settings: ServiceSettings, host: str, port: int, tls: TLS | None, only: str | None, *, with_worker: bool
) -> None:
    stop = asyncio.Event()
    async with await Store.open(url) as store, _working(store, stop, runs=with_worker):
        app = create_app(
            store,
            settings,
            receives=only != "review",
            review=() if only == "ingest" else [review.routes()],
        )
        async with serving(app, host=host, port=port, limits=settings.limits, tls=tls) as listening:
            with signals.setting(stop):
                LOG.info("started")
                put(f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{listening}")
                await stop.wait()
            LOG.info("stopping")
    LOG.info("stopped")


@contextlib.asynccontextmanager
async def _working(store: Store, stop: asyncio.Event, *, runs: bool) -> AsyncIterator[None]:
    """Assess what was received until the block ends; a worker that fails stops the service, and its error is raised."""
    if not runs:
        yield
        return
    async with Worker(store, MaterialConfig()) as worker:
        task = asyncio.create_task(worker.run())
        task.add_done_callback(lambda _: stop.set())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _address(listen: str) -> tuple[str, int]:
    """Split `host:port`. Raises `InputError`."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal():
        raise InputError(f"--listen: {listen[:100]!r} is no host and port.", advice=f"Write {LISTEN_DEFAULT}.")
    return host.strip("[]"), int(port)
