"""`detector-collect receiver`: who gets notices, and the secrets of webhooks.

Room: detector_collect.cli. Reads and writes the file of secrets that is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from detector.cli import common, options
from detector.cli.streams import put
from detector.errors import InputError
from detector.session.seams import utc_now
from detector_collect.review.access.permissions import COMMAND
from detector_collect.review.access.records import append, entry_of
from detector_collect.review.outwards import secret_files
from detector_collect.review.outwards.digests import mail_address
from detector_collect.review.outwards.sender import webhook_url
from detector_collect.store import deliveries
from detector_collect.store.deliveries import Backlog, Event, ReceiverKind

from .common import database, institution, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.store.database import Store

secrets: Final = options.service(
    "--secrets",
    "The file with the secrets of webhooks, readable by its owner alone.",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
)


@options.group("detector-collect receiver list", sections={"Change": ("add", "remove", "rotate"), "Read": ("list",)})
def receiver() -> None:
    """Manage who gets notices: webhooks and mail addresses of staff.

    A notice says what happened and where to read it. It has no evidence and nothing about a student.
    """


@receiver.subcommand(
    "detector-collect receiver add https://hooks.example.com/tls --secrets hooks.json --event case-opened",
    "detector-collect receiver add reviews@example.com --institution north",
)
def add(  # noqa: PLR0913 - one parameter per option
    *,
    target: str = options.argument(metavar="URL|ADDRESS"),
    events: tuple[str, ...] = options.service(
        "--event",
        "What it gets; repeatable. All events without it.",
        type=click.Choice([event.value for event in Event]),
        multiple=True,
    ),
    institution: str | None = institution,
    private: bool = options.service("--private", "Allow this webhook to have a private address.", is_flag=True),
    secrets: Path | None = secrets,
    database: str | None = database,
) -> int:
    """Add a receiver: an https URL, or a mail address.

    Prints the secret of a webhook, once: its receiver verifies signatures with it.
    """
    is_webhook = "://" in target
    kind = ReceiverKind.WEBHOOK if is_webhook else ReceiverKind.MAIL
    checked = webhook_url(target) if is_webhook else mail_address(target)
    if is_webhook and secrets is None:
        raise click.UsageError("Name the file that keeps the webhook's secret: --secrets FILE.")
    wanted = frozenset(map(Event, events)) or frozenset(Event)

    async def work(store: Store) -> str:
        async with store.begin() as connection:
            number = await deliveries.add_receiver(
                connection,
                kind=kind,
                target=checked,
                events=wanted,
                institution=institution,
                is_private=private,
                now=utc_now(),
            )
            subject = f"receiver {number}: {kind} {checked}"
            await append(
                connection,
                entry_of(
                    now=utc_now(), person=COMMAND, action="receiver-add", institution=institution, subject=subject
                ),
            )
            return secret_files.add(secrets, number) if is_webhook and secrets is not None else f"receiver {number}"

    put(with_store(database, work))
    return common.CLEAN


@receiver.subcommand("detector-collect receiver remove 3 --secrets hooks.json")
def remove(
    *,
    number: int = options.argument(type=click.IntRange(min=1), metavar="NUMBER"),
    secrets: Path | None = secrets,
    database: str | None = database,
) -> int:
    """Remove a receiver, what waits for it, and its secrets."""

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            if not await deliveries.remove_receiver(connection, number):
                raise InputError(f"There is no receiver {number}.", advice="`receiver list` shows them.")
            record = entry_of(now=utc_now(), person=COMMAND, action="receiver-remove", subject=f"receiver {number}")
            await append(connection, record)

    with_store(database, work)
    if secrets is not None:
        secret_files.remove(secrets, number)
    return common.CLEAN


@receiver.subcommand(
    "detector-collect receiver rotate 3 --secrets hooks.json",
    "detector-collect receiver rotate 3 --secrets hooks.json --finish",
)
def rotate(
    *,
    number: int = options.argument(type=click.IntRange(min=1), metavar="NUMBER"),
    finish: bool = options.service("--finish", "Sign with the new secret alone from now on.", is_flag=True),
    secrets: Path | None = secrets,
) -> int:
    """Give a webhook another secret, and print it.

    Messages are signed with both until `--finish`: first the receiver learns the new one, then the old one goes.
    """
    if secrets is None:
        raise click.UsageError("Name the file that keeps the webhook's secret: --secrets FILE.")
    if number not in secret_files.load(secrets):
        raise InputError(f"{secrets}: no secret of receiver {number}.", advice="`receiver list` shows receivers.")
    if finish:
        secret_files.retire(secrets, number)
    else:
        put(secret_files.add(secrets, number))
    return common.CLEAN


@receiver.subcommand("detector-collect receiver list", "detector-collect receiver list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List receivers and their backlogs.

    That is how many notices wait for each, and how many were given up.
    """

    async def work(store: Store) -> tuple[Backlog, ...]:
        async with store.connect() as connection:
            return await deliveries.backlogs(connection)

    rows = [
        {
            "number": one.receiver.id,
            "kind": one.receiver.kind.value,
            "target": one.receiver.target,
            "institution": one.receiver.institution,
            "events": " ".join(sorted(one.receiver.events)),
            "waiting": one.waiting,
            "given_up": one.given_up,
        }
        for one in with_store(database, work)
    ]
    return write_rows(rows, out)
