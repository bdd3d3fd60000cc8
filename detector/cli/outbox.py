"""`detector outbox`: the reports that wait for a collector.

Room: cli.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from detector import outbox as outboxes
from detector.outbox import keys, pseudonyms, table
from detector.outbox.sender import Sender
from detector.outbox.settings import ThroughInterceptor, collector_url
from detector.session.seams import utc_now

from . import common, options, reporting
from .stderr import say

if TYPE_CHECKING:
    from detector.outbox.sender import Sending
    from detector.outbox.store import Part


_folder: Final = options.option("--outbox", options.WAITING, section=options.REPORTING, metavar="DIR")
_reaching: Final = options.settings(only=("data", "ct-logs", "roots", "add-roots", "proxy", "resolve", "connect-to"))


@options.group(
    "detector outbox status", sections={"Read": ("status", "list"), "Change": ("send", "drop"), "Set up": ("keygen",)}
)
def outbox() -> None:
    """Show and send reports that wait for a collector.

    What is reported, and how, is in docs/reporting.md.
    """


@outbox.subcommand("detector outbox status", "detector outbox status --json")
def status(*, folder: str | None = _folder, out: options.Output = options.record) -> int:
    """Summarize what waits, what was set aside, and what was dropped.

    Exit code: 0; 2 bad usage or input.
    """
    found = outboxes.Outbox(folder).status()
    with common.result_stream(out.file) as stream:
        common.write_record(found, out, stream, table.of_status)
    return common.CLEAN


@outbox.subcommand("detector outbox list", name="list")
def list_(*, folder: str | None = _folder, out: options.Output = options.record) -> int:
    """List the reports, the oldest first.

    Exit code: 0; 2 bad usage or input.
    """
    found = outboxes.Outbox(folder).listing()
    with common.result_stream(out.file) as stream:
        common.write_record(found, out, stream, table.of_listing)
    return common.CLEAN


@outbox.subcommand(
    "detector outbox send --report-to https://collect.example.org --report-receipt-key collector.pem",
    "detector outbox send --refused --report-to https://collect.example.org --report-receipt-key collector.pem",
)
def send(
    *,
    report: dict[str, Any] = options.collector,
    refused: bool = options.target("--refused", "Also send again what the collector refused.", is_flag=True),
    settings: dict[str, Any] = _reaching,
) -> int:
    """Send what waits for a collector, now.

    Exit code: 0 nothing waits any more, 2 bad usage or input, 3 something still waits, 74 no room.
    """
    if not report.get("to") or not report.get("receipt_key"):
        raise click.UsageError("Name the collector, and its key: --report-to URL --report-receipt-key KEY.")
    box = outboxes.Outbox(report.get("outbox"))
    if refused:
        box.put_back()
    to = collector_url(report["to"])
    sender = Sender(
        box,
        to=to,
        receipt_keys=keys.load_receipt_keys(report["receipt_key"]),
        connectors=reporting.connectors_of(settings, report.get("pins", ())),
        through_interceptor=ThroughInterceptor(report.get("through_interceptor", ThroughInterceptor.NEVER)),
        clock=utc_now,
    )
    done = asyncio.run(_send(sender))
    say(table.sentence(done))
    return common.INCONCLUSIVE if done.problem or done.busy else common.CLEAN


async def _send(sender: Sender) -> Sending:
    async with sender:
        return await sender.send(at_once=True)


@outbox.subcommand("detector outbox drop --refused", "detector outbox drop --all")
def drop(
    *,
    digests: tuple[str, ...] = options.argument(nargs=-1, metavar="[DIGEST]..."),
    folder: str | None = _folder,
    everything: bool = options.target("--all", "Everything that waits.", is_flag=True),
    refused: bool = options.target("--refused", "What the collector refused.", is_flag=True),
    damaged: bool = options.target("--damaged", "What is damaged.", is_flag=True),
) -> int:
    """Drop reports without sending them; they are counted.

    Exit code: 0; 2 bad usage or input, 74 no room.
    """
    if not (digests or everything or refused or damaged):
        raise click.UsageError("Say what to drop: digests as `detector outbox list` shows them, --all, --refused ...")
    box = outboxes.Outbox(folder)
    parts: dict[Part, bool] = {"": everything, "refused": refused, "damaged": damaged}
    count = sum(box.drop(part) for part, chosen in parts.items() if chosen)
    for digest in digests:
        found = sum(box.drop(part, digest) for part in parts)
        if not found:
            raise click.UsageError(f"No report has the digest {digest[:80]!r}; see detector outbox list.")
        count += found
    say(f"Dropped {count} report(s).")
    return common.CLEAN


@outbox.subcommand("detector outbox keygen -o pseudonyms.key")
def keygen(
    *,
    output: str = options.result("-o --output", "New file for the key.", required=True, metavar="FILE"),
) -> int:
    """Create a key for pseudonyms of students and networks.

    Give every client of the institution the same, and the collector none.
    """
    pseudonyms.create_key(output)
    return common.CLEAN
