"""`detector-collect deliver`: send notices.

Room: detector_collect.cli. A process of its own: it has the secrets of webhooks and reaches receivers outside, and
reads no evidence.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from detector.cli import common, options
from detector.cli.streams import put
from detector.errors import InputError, KeyFileError
from detector.model.files import read_file
from detector.session.seams import utc_now
from detector_collect.review.outwards import secret_files
from detector_collect.review.outwards.digests import mail_address
from detector_collect.review.outwards.sender import MailServer, Outwards, deliver_due
from detector_collect.review.upkeep import keep_delivering

from .common import database, with_store
from .receiver import secrets

if TYPE_CHECKING:
    from detector_collect.store.database import Store

PASSWORD_BYTES_MAX = 1024
"""Bytes of the file with a mail server's password."""
_FILE = click.Path(dir_okay=False, path_type=Path)


@options.command(
    "detector-collect deliver --origin https://review.example.com --secrets hooks.json",
    (
        "detector-collect deliver --origin https://review.example.com --secrets hooks.json"
        " --smtp smtp://review@mail.example.com:587 --smtp-password mail.secret --sender review@example.com"
    ),
)
def deliver(  # noqa: PLR0913 - one parameter per option
    *,
    origin: str | None = options.service(
        "--origin", "The address of the review room, as links have it.", metavar="URL"
    ),
    secrets: Path | None = secrets,
    smtp: str | None = options.service("--smtp", "The mail server: smtp:// with STARTTLS, or smtps://.", metavar="URL"),
    smtp_password: Path | None = options.service(
        "--smtp-password", "The file with its password.", type=_FILE, metavar="FILE"
    ),
    sender: str | None = options.service("--sender", "The address that mail comes from.", metavar="ADDRESS"),
    ca: Path | None = options.service(
        "--ca", "Trust this CA for receivers and the mail server, too.", type=_FILE, metavar="PEM"
    ),
    once: bool = options.service("--once", "End when nothing is due any more.", is_flag=True),
    database: str | None = database,
) -> int:
    """Send notices to receivers, until it is interrupted.

    Any number of these may serve one database. One that is killed loses nothing; what it was sending is sent again
    with the same identifier.
    """
    parts = urlsplit(origin or "")
    if parts.scheme not in {"https", "http"} or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
        raise click.UsageError("Name the address of the review room: --origin https://review.example.com.")
    context = ssl.create_default_context()
    if ca is not None:
        _trust(context, ca)
    outwards = Outwards(
        base_url=origin,
        secrets=dict if secrets is None else functools.partial(secret_files.load, secrets),
        mail=None if smtp is None else mail_server(smtp, sender, smtp_password),
        context=context,
    )
    if secrets is not None:
        secret_files.load(secrets)

    async def work(store: Store) -> int:
        if not once:
            await keep_delivering(store, outwards)
        sent = 0
        while found := await deliver_due(store, now=utc_now(), outwards=outwards):
            sent += found
        return sent

    put(f"Rounds with something to send: {with_store(database, work)}.")
    return common.CLEAN


def mail_server(url: str, sender: str | None, password: Path | None) -> MailServer:
    """Read the options of the mail server. Raises `InputError` and `KeyFileError`."""
    advice = "Write smtp://user@host:587 or smtps://user@host; the password is in a file: --smtp-password."
    parts = None
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port
    if (
        parts is None
        or parts.scheme not in {"smtp", "smtps"}
        or not parts.hostname
        or parts.password is not None
        or parts.path not in {"", "/"}
    ):
        raise InputError("--smtp: not the URL of a mail server.", advice=advice)
    if sender is None:
        raise InputError("--smtp: mail needs an address that it comes from.", advice="Give it: --sender.")
    implicit = parts.scheme == "smtps"
    secret = None
    if password is not None:
        read = read_file(password, most=PASSWORD_BYTES_MAX, kind="password file", error=KeyFileError)
        secret = read.decode("utf-8", "replace").rstrip("\r\n")
    port = parts.port or (465 if implicit else 587)
    return MailServer(parts.hostname, port, mail_address(sender), implicit, parts.username, secret)


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ValueError) as error:
        raise InputError(f"{ca}: no CA certificate can be read.", advice="Give it in PEM.") from error
