"""`detector pins`: learn pins, lint pin files, show what they say.

Room: cli.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Final

import click

from detector import pins as pin_files
from detector.errors import LearnError
from detector.judge.evidence import recorded_identity
from detector.knowledge.roots import public_roots
from detector.model import Category, RecordedIdentity
from detector.session.seams import utc_now
from detector.session.session import DEADLINE_DEFAULT, Detector
from detector.session.settings import Expectations

from . import common

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint

PINS_LIVE: Final = 90
"""Days that learned pins are evaluated: public leaves live at most 200 days (CA/Browser Forum ballot SC-081, from
March 2026), and a pin file nobody renews should stop accusing before its pins go stale."""


@click.group()
def pins() -> None:
    """Learn pins, lint pin files, show what they say."""


@pins.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
def show(paths: tuple[str, ...]) -> int:
    """Show the endpoints of pin files, of the shipped ones when none is named."""
    pin_set = Expectations(pins=paths or None).pin_set
    until = f", pins evaluated until {pin_set.expires}" if pin_set.expires else ""
    click.echo(f"{pin_set.name}: {len(pin_set.endpoints)} endpoint(s), updated {pin_set.updated or 'unknown'}{until}")
    for endpoint in pin_set.endpoints:
        operator = f" ({endpoint.operator})" if endpoint.operator else ""
        canary = ", canary" if endpoint.canary else ""
        click.echo(f"\n{endpoint.name}  {endpoint.category}{operator}{canary}")
        if endpoint.pins or endpoint.certificates or endpoint.identity is not RecordedIdentity.UNKNOWN:
            click.echo(f"  {'identity':<12}{recorded_identity(endpoint)}")
        for title, digests in (("pin", endpoint.pins), ("backup", endpoint.backup_pins)):
            for digest in digests:
                click.echo(f"  {title:<12}{pin_files.spell(digest)}")
        for digest in endpoint.certificates:
            click.echo(f"  {'certificate':<12}sha256:{digest.hex()}")
        for root in endpoint.roots:
            click.echo(f"  {'root':<12}{root}")
        if endpoint.private_roots:
            click.echo(f"  {'private':<12}{len(endpoint.private_roots)} declared private root(s)")
    return common.CLEAN


@pins.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
def lint(paths: tuple[str, ...]) -> int:
    """Say what in pin files is stale or weak. Exit code 2 when something is wrong, 0 when there are only warnings."""
    pin_set = Expectations(pins=paths or None).pin_set
    messages = pin_files.lint(pin_set, at=utc_now().date(), root_labels=public_roots().labels)
    for message in messages:
        place = f"{message.source}: {message.endpoint}: " if message.endpoint else f"{message.source}: "
        click.echo(f"{message.severity}: {place}{message.message}")
    errors = sum(message.severity is pin_files.Severity.ERROR for message in messages)
    click.echo(f"{len(pin_set.endpoints)} endpoint(s), {errors} error(s), {len(messages) - errors} warning(s)")
    return 2 if errors else common.CLEAN


@pins.command()
@click.argument("targets", nargs=-1, required=True, metavar="HOST[:PORT]...")
@click.option("-o", "--output", metavar="FILE", help="Write the pin file there instead of to standard output.")
@click.option("--name", default="learned", show_default=True, help="Name of the pin file.")
@click.option(
    "--category",
    type=click.Choice([c.value for c in Category]),
    default=Category.OTHER.value,
    show_default=True,
    help="What these endpoints are for.",
)
@click.option(
    "--expires-in",
    type=click.IntRange(1, 3650),
    default=PINS_LIVE,
    show_default=True,
    metavar="DAYS",
    help="Days that the pins are evaluated.",
)
@click.option("--allow-private", is_flag=True, help="Also learn from chains without a public root.")
@click.option(
    "--deadline", type=click.FloatRange(min=0.1), default=DEADLINE_DEFAULT, show_default=True, metavar="SECONDS"
)
@click.option("--roots", metavar="PEM", help="Public roots to use instead of certifi's.")
@click.option("--add-roots", metavar="PEM", help="Public roots to use besides.")
@click.option("--ct-logs", metavar="FILE", help="Known CT logs, Google log list v3 JSON, instead of the shipped ones.")
@click.option("--resolve", multiple=True, metavar="HOST:PORT:ADDRESS:PORT", help="Connect there instead; repeatable.")
@click.option("--proxy", default="env", show_default=True, metavar="URL|env|none", help="HTTP proxy to go through.")
def learn(  # noqa: PLR0913 - one parameter per option
    targets: tuple[str, ...],
    *,
    output: str | None,
    name: str,
    category: str,
    expires_in: int,
    allow_private: bool,
    deadline: float,
    roots: str | None,
    add_roots: str | None,
    ct_logs: str | None,
    resolve: tuple[str, ...],
    proxy: str,
) -> int:
    """Connect to each host and write down its keys as a pin file.

    Refuses chains that no public root vouches for, unless --allow-private: run it on a network you trust. Name all
    hosts in one run: keys that unrelated hosts have in common are left out. Nothing is written unless every host could
    be learned. Exit code 3 when one could not.
    """
    detector = Detector(
        pins=pin_files.PinSet(name=name, endpoints=()),
        roots=roots,
        add_roots=add_roots,
        logs=ct_logs,
        proxy=proxy,
        resolve=resolve,
        offline=True,
    )
    endpoints = detector.endpoints(targets)
    with common.result_stream(output) as stream:
        cases = asyncio.run(_observe(detector, endpoints, deadline))
        today = utc_now().date()
        expires = today + dt.timedelta(days=expires_in)
        learned = pin_files.learn_all(cases, allow_private=allow_private)
        pinned = tuple(_with(found.endpoint, category, expires) for found in learned)
        pin_set = pin_files.PinSet(name=name, updated=today, expires=expires, endpoints=pinned)
        comments = {case.endpoint.name: [*_how(case), *found.notes] for case, found in zip(cases, learned, strict=True)}
        stream.write(
            pin_files.dump(pin_set, header=("Learned from what these endpoints presented.",), comments=comments)
        )
    return common.CLEAN


async def _observe(
    detector: Detector, endpoints: tuple[Endpoint, ...], deadline: float
) -> tuple[EndpointEvidence, ...]:
    async with detector:
        return await detector.observe(endpoints, deadline=deadline)


def _with(endpoint: Endpoint, category: str, expires: dt.date) -> Endpoint:
    import msgspec  # noqa: PLC0415 - already loaded by model; named here for `replace` only

    return msgspec.structs.replace(endpoint, category=Category(category), expires=expires)


def _how(case: EndpointEvidence) -> list[str]:
    """Comment lines: what stood behind each learned key."""
    leaf = case.leaf
    if leaf is None:
        raise LearnError(f"{case.endpoint.name}: nothing was seen.", advice="Try again.")
    subject, issuer = (name.text if name else "unreadable" for name in (leaf.subject, leaf.issuer))
    lines = [f"leaf: {subject}, issued by {issuer}"]
    lines += sorted(
        {f"root: {path.anchor.label}" for path in (case.chain.accepted if case.chain else ()) if path.anchor}
    )
    return lines
