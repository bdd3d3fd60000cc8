"""`detector-collect key`: the keys and certificates that institutions send with.

Room: detector_collect.cli.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from detector.cli import common, options
from detector.cli.streams import put
from detector.errors import KeyFileError
from detector.model.files import read_file
from detector.outbox.submission import SUBMISSION_BYTES_MAX
from detector.pins.encoding import parse_witness_key
from detector.session.seams import utc_now
from detector.trust.envelope import key_identifier
from detector_collect.store import keys, queue
from detector_collect.store.errors import StoreError
from detector_collect.store.keys import Key

from .common import NAME, database, institution, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.store.database import Store

CERTIFICATE_BYTES_MAX: Final = 64 * 1024
"""Bytes of a file with a certificate; one has a few thousand."""
RATE_DEFAULT: Final = 600
"""Submissions a minute: an exam of 600 students that ends for all within a minute."""
RATE_MAX: Final = 100_000
DAYS_MAX: Final = 3650


class _Sender(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """An Ed25519 public key as encoded in pin files, or the identifier of a registered certificate."""

    name = "key"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the identifier; fails as options do."""
        if value.startswith("certificate/"):
            return value
        try:
            return key_identifier(parse_witness_key(value))
        except ValueError as error:
            return self.fail(f"{value[:80]!r}: this key {error}.", param, ctx)


_KEY: Final = options.argument(type=_Sender(), required=False, metavar="[ed25519/BASE64]")
_CERTIFICATE: Final = options.target(
    "--certificate", "The client certificate in this file, instead of a key.", metavar="PEM"
)


@options.group(
    "detector-collect key list", sections={"Change": ("add", "rotate", "revoke", "disregard"), "Read": ("list",)}
)
def key() -> None:
    """Manage the keys that institutions send with.

    `detector witness keygen` creates a key and prints its public part.
    """


@key.subcommand(
    "detector-collect key add north ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= --expires-in 400",
    "detector-collect key add north --certificate client.pem --rate 60",
)
def add(  # noqa: PLR0913 - one parameter per option
    *,
    institution: str = options.argument(type=NAME, metavar="INSTITUTION"),
    key: str | None = _KEY,
    certificate: str | None = _CERTIFICATE,
    expires_in: int | None = options.service(
        "--expires-in",
        "Days that the key counts; without it, until it is revoked.",
        type=click.IntRange(1, DAYS_MAX),
        metavar="DAYS",
    ),
    rate: int = options.service(
        "--rate", "Submissions a minute.", type=click.IntRange(1, RATE_MAX), default=RATE_DEFAULT
    ),
    size: int = options.service(
        "--size", "Bytes of one submission.", type=click.IntRange(1, SUBMISSION_BYTES_MAX), default=SUBMISSION_BYTES_MAX
    ),
    database: str | None = database,
) -> int:
    """Let an institution send with a key.

    Devices sign with an Ed25519 key; servers that report for others may show a client certificate instead.
    """
    name = _identifier(key, certificate)
    now = utc_now()
    expires = None if expires_in is None else now + dt.timedelta(days=expires_in)

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await keys.add_key(connection, Key(name, institution, _kind(name), now, expires, None, rate, size))

    with_store(database, work)
    return common.CLEAN


@key.subcommand(
    "detector-collect key rotate ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    " --certificate new.pem --overlap 14"
)
def rotate(
    *,
    old: str = options.argument(type=_Sender(), metavar="OLD"),
    key: str | None = _KEY,
    certificate: str | None = _CERTIFICATE,
    overlap: int = options.service(
        "--overlap", "Days that the old one still counts.", type=click.IntRange(0, DAYS_MAX), default=14
    ),
    database: str | None = database,
) -> int:
    """Replace a key by another one of the same institution.

    The new one has the limits of the old one, which expires after the overlap.
    """
    name = _identifier(key, certificate)
    now = utc_now()

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await keys.end_key(connection, old, expires=now + dt.timedelta(days=overlap))
            before = await keys.find_key(connection, old)
            if before is None or not before.is_valid(now - dt.timedelta(microseconds=1)):
                raise StoreError(f"The key {old} does not count any more.", advice="Add a new one: `key add`.")
            new = before._replace(id=name, kind=_kind(name), created=now, expires=None)
            await keys.add_key(connection, new)

    with_store(database, work)
    return common.CLEAN


@key.subcommand("detector-collect key revoke ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
def revoke(*, key: str = options.argument(type=_Sender(), metavar="KEY"), database: str | None = database) -> int:
    """Refuse a key from now on.

    What it sent before is kept; `key disregard` is for what a thief sent.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await keys.end_key(connection, key, revoked=utc_now())

    with_store(database, work)
    return common.CLEAN


@key.subcommand(
    "detector-collect key disregard ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    " --since 2026-11-20 --until 2026-11-27T09:30:00"
)
def disregard(
    *,
    key: str = options.argument(type=_Sender(), metavar="KEY"),
    since: dt.datetime = options.service(
        "--since", "When the key was stolen (UTC).", type=click.DateTime(), required=True
    ),
    until: dt.datetime | None = options.service("--until", "The end (UTC) instead of now.", type=click.DateTime()),
    database: str | None = database,
) -> int:
    """Disregard what a key sent in a period.

    What was received in it is quarantined for good and shown as no finding, also what honest devices sent with the key.
    Other evidence that showed the same handshakes later is assessed again. Earlier statements about institutions
    do not change.
    """
    now = utc_now()
    begun = since.replace(tzinfo=dt.UTC)
    ended = now if until is None else until.replace(tzinfo=dt.UTC)
    if ended <= begun:
        raise click.UsageError("--until must be later than --since.")

    async def work(store: Store) -> int:
        async with store.begin() as connection:
            return await queue.disregard(connection, key, since=begun, until=ended, now=now)

    put(f"Disregarded: {with_store(database, work)}.")
    return common.CLEAN


@key.subcommand("detector-collect key list --institution north", "detector-collect key list --json", name="list")
def list_(
    *,
    institution: str | None = institution,
    database: str | None = database,
    out: options.Output = listed,
) -> int:
    """List keys, with when they end and their limits."""

    async def work(store: Store) -> list[Key]:
        async with store.connect() as connection:
            return await keys.list_keys(connection, institution)

    return write_rows([one._asdict() for one in with_store(database, work)], out)


def _identifier(key: str | None, certificate: str | None) -> str:
    """What a submission is recognized by. Raises click.UsageError and `KeyFileError`."""
    if (key is None) == (certificate is None):
        raise click.UsageError("Give a key (ed25519/…) or a client certificate (--certificate PEM).")
    if certificate is None:
        return str(key)
    data = read_file(certificate, most=CERTIFICATE_BYTES_MAX, kind="certificate", error=KeyFileError)
    try:
        read = x509.load_pem_x509_certificate(data)
    except ValueError:
        raise KeyFileError(f"{certificate}: no certificate in PEM.", advice="Give the client's own one.") from None
    return f"certificate/{read.fingerprint(SHA256()).hex()}"


def _kind(identifier: str) -> str:
    return "certificate" if identifier.startswith("certificate/") else "signing"
