"""`detector pins`: learn pins, lint pin files, show what they say, exchange pins with other programs.

Room: cli.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector import pins as pin_files
from detector.errors import LearnError, PinFileError
from detector.judge.evidence import recorded_identity
from detector.knowledge.data_set import canaries_folder
from detector.model import Category, Detail, RecordedIdentity
from detector.model.toml_files import MAX_BYTES
from detector.pins import formats
from detector.session.seams import utc_now
from detector.session.session import Detector, observe
from detector.session.settings import Expectations

from . import common, options, streams
from .stderr import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint

PINS_LIVE: Final = 90
"""Days that learned pins are evaluated: public leaves live at most 200 days (CA/Browser Forum ballot SC-081, from
March 2026), and a pin file that is not renewed should stop accusing before its pins are stale."""


_data: Final = options.settings(only={"data"})


@options.group(
    "detector pins learn exam.example.edu -o pins.toml",
    "detector pins lint pins.toml",
    sections={"Read": ("show", "lint"), "Make": ("learn",), "Exchange": ("import", "export")},
)
def pins() -> None:
    """Learn, lint and show pins; exchange them with other programs."""


@pins.subcommand("detector pins show", "detector pins show pins.toml -o pins.txt")
def show(
    *,
    paths: tuple[str, ...] = options.argument(nargs=-1, metavar="[FILE|DIR]..."),
    settings: dict[str, Any] = _data,
    output: str | None = options.output,
) -> int:
    """Show the endpoints of pin files.

    Without a name those of the data set; with vendor:NAME the installed ones of a vendor.
    """
    with common.result_stream(output) as stream:
        stream.writelines(f"{line}\n" for line in _described(Expectations(**settings, pins=paths or None)))
    return common.CLEAN


def _described(expected: Expectations) -> Iterator[str]:
    """The lines that describe a pin set."""
    pin_set = expected.pin_set
    until = f", pins evaluated until {pin_set.expires}" if pin_set.expires else ""
    yield (f"{pin_set.name}: {len(pin_set.endpoints)} endpoint(s), updated {pin_set.updated or 'unknown'}{until}")
    for endpoint in pin_set.endpoints:
        operator = f" ({endpoint.operator})" if endpoint.operator else ""
        canary = ", canary" if endpoint.canary else ""
        yield (f"\n{endpoint.name}  {endpoint.category}{operator}{canary}")
        if endpoint.pins or endpoint.certificates or endpoint.identity is not RecordedIdentity.UNKNOWN:
            yield (f"  {'identity':<12}{recorded_identity(endpoint, expected.data_set)}")
        for title, digests in (("pin", endpoint.pins), ("backup", endpoint.backup_pins)):
            for digest in digests:
                yield (f"  {title:<12}{pin_files.encode_pin(digest)}")
        for digest in endpoint.certificates:
            yield (f"  {'certificate':<12}sha256:{digest.hex()}")
        for root in endpoint.roots:
            yield (f"  {'root':<12}{root}")
        if endpoint.private_roots:
            yield (f"  {'private':<12}{len(endpoint.private_roots)} declared private root(s)")


@pins.subcommand("detector pins lint", "detector pins lint pins.toml -q")
def lint(
    *,
    paths: tuple[str, ...] = options.argument(nargs=-1, metavar="[FILE|DIR]..."),
    settings: dict[str, Any] = _data,
    detail: Detail = options.detail,
    output: str | None = options.output,
) -> int:
    """Report what is stale or weak in pin files.

    Exit code: 0 nothing, or warnings only, 2 errors.
    """
    expected = Expectations(**settings, pins=paths or None)
    pin_set, data = expected.pin_set, expected.data_set
    shipped = {str(data.canaries.path), *map(str, canaries_folder().glob("*.toml"))}
    roots = data.public_roots().labels
    messages = pin_files.lint(pin_set, at=utc_now().date(), data=data, root_labels=roots, shipped=shipped)
    errors = sum(message.severity is pin_files.Severity.ERROR for message in messages)
    with common.result_stream(output) as stream:
        for message in messages if detail is not Detail.VERDICT else ():
            place = f"{message.source}: {message.endpoint}: " if message.endpoint else f"{message.source}: "
            stream.write(f"{message.severity}: {place}{message.message}\n")
        warnings = len(messages) - errors
        stream.write(f"{len(pin_set.endpoints)} endpoint(s), {errors} error(s), {warnings} warning(s)\n")
    return common.BAD_INPUT if errors else common.CLEAN


@pins.subcommand(
    "detector pins learn exam.example.edu lms.example.org -o pins.toml",
    "detector pins learn exam.example.edu --category exam --name finals --expires-in 60 -o pins.toml",
    "detector pins learn intranet.example.edu --allow-private",
)
@click.pass_obj
def learn(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    targets: tuple[str, ...] = options.argument(nargs=-1, required=True, metavar="HOST[:PORT]..."),
    output: str | None = options.output,
    name: str = options.result("--name", "Name of the pin file.", default="learned"),
    category: Category = options.result(
        "--category", "What these endpoints are for.", type=options.Choice(Category), default="other"
    ),
    expires_in: int = options.result(
        "--expires-in",
        "Days that the pins are evaluated.",
        type=click.IntRange(1, 3650),
        default=PINS_LIVE,
        metavar="DAYS",
    ),
    allow_private: bool = options.trusting(
        "--allow-private", "Also learn from chains without a public root.", is_flag=True
    ),
    deadline: float = options.deadline(),
    settings: dict[str, Any] = options.settings(without={"pins", "vantage"}, proxy="env"),
) -> int:
    """Connect to each host and write its keys to a pin file.

    Refuses chains that are not publicly trusted, unless --allow-private: run it on a network you trust. Name all hosts
    in one run: keys that unrelated hosts have in common are left out. Nothing is written unless every host could be
    learned; exit code 3 if one could not.
    """
    streams.for_programs()
    detector = Detector(**settings, pins=pin_files.PinSet(name=name, endpoints=()))
    endpoints = detector.endpoints(targets)
    with common.result_stream(output) as stream:
        evidence = asyncio.run(_observe(detector, endpoints, common.remaining(deadline, started)))
        today = utc_now().date()
        expires = today + dt.timedelta(days=expires_in)
        learned = pin_files.learn_all(evidence, allow_private=allow_private)
        pinned = tuple(msgspec.structs.replace(found.endpoint, category=category, expires=expires) for found in learned)
        pin_set = pin_files.PinSet(name=name, updated=today, expires=expires, endpoints=pinned)
        comments = {one.endpoint.name: [*_how(one), *found.notes] for one, found in zip(evidence, learned, strict=True)}
        stream.write(
            pin_files.dump(pin_set, header=("Learned from what these endpoints presented.",), comments=comments)
        )
    return common.CLEAN


async def _observe(
    detector: Detector, endpoints: tuple[Endpoint, ...], deadline: float
) -> tuple[EndpointEvidence, ...]:
    async with detector:
        return await observe(detector, endpoints, deadline=deadline)


def _how(evidence: EndpointEvidence) -> list[str]:
    """Comment lines: the certificate and the roots behind each learned key."""
    leaf = evidence.leaf
    if leaf is None:
        raise LearnError(f"{evidence.endpoint.name}: presented no certificate.", advice="Try again.")
    subject, issuer = (name.text if name else "unreadable" for name in (leaf.subject, leaf.issuer))
    accepted = evidence.chain.accepted if evidence.chain else ()
    roots = sorted({f"root: {path.anchor.label}" for path in accepted if path.anchor})
    return [f"leaf: {subject}, issued by {issuer}", *roots]


@pins.subcommand(
    "detector pins import network_security_config.xml --from android -o pins.toml",
    "detector pins import Info.plist --from trustkit --host exam.example.edu --host lms.example.org",
    "detector pins import headers.txt --from hpkp --host exam.example.edu",
    name="import",
)
def import_(  # noqa: PLR0913 - one parameter per option
    *,
    file: str = options.argument(metavar="FILE|-"),
    output: str | None = options.output,
    form: formats.PinFormat = options.target(
        "--from", "Format of the file.", type=options.Choice(formats.PinFormat), required=True, metavar="FORMAT"
    ),
    hosts: tuple[str, ...] = options.target(
        "--host", "Import the pins of this host alone; repeatable.", multiple=True, metavar="HOST"
    ),
    name: str = options.result("--name", "Name of the pin file.", default="imported"),
    settings: dict[str, Any] = _data,
) -> int:
    """Make a pin file of the pins of another program.

    Formats: trustkit, ats (App Transport Security), android (network security configuration), okhttp (source), hpkp
    (header Public-Key-Pins), seb (Safe Exam Browser, unencrypted). What a pin file cannot say is refused. A pattern is
    not expanded: name its hosts with --host.
    """
    streams.for_programs()
    data = common.read_file(file, MAX_BYTES, PinFileError, "Name a readable file with pins.")
    source = "standard input" if file == common.STDIN else file
    wanted = [pin_files.parse_host(host) for host in hosts]
    with common.result_stream(output) as stream:
        pin_set, notes = formats.import_pins(
            data,
            form,
            file=source,
            at=utc_now().date(),
            known=Expectations(**settings).data_set,
            name=name,
            hosts=wanted,
        )
        for note in notes:
            say(f"Note: {note}")
        header = (f"Imported from {formats.FORMATS[form].title}. Where the pins come from is not known.", *notes)
        stream.write(pin_files.dump(pin_set, header=header))
    return common.CLEAN


@pins.subcommand(
    "detector pins export pins.toml --to android --leave-out category --leave-out identity -o config.xml",
    "detector pins export pins.toml --to okhttp --leave-out category --leave-out identity --leave-out expires",
    name="export",
)
def export(  # noqa: PLR0913 - one parameter per option
    *,
    paths: tuple[str, ...] = options.argument(nargs=-1, required=True, metavar="FILE|DIR..."),
    output: str | None = options.output,
    form: formats.PinFormat = options.result(
        "--to", "Format to write.", type=options.Choice(formats.PinFormat), required=True, metavar="FORMAT"
    ),
    leave_out: tuple[str, ...] = options.result(
        "--leave-out", "Field that may be lost; repeatable.", type=click.Choice(formats.FIELDS_LEFT_OUT), multiple=True
    ),
    backups_as_pins: bool = options.result("--backups-as-pins", "Write backup pins like the others.", is_flag=True),
    keys_of: formats.KeysOf | None = options.result(
        "--keys-of", "Whose keys all pins are, for ats.", type=options.Choice(formats.KeysOf)
    ),
    settings: dict[str, Any] = _data,
) -> int:
    """Write the pins of pin files for another program.

    Formats: trustkit, ats, android, okhttp, hpkp. An endpoint with something that the format cannot say is refused,
    unless --leave-out names the field. The name and the date of the pin file stay behind.
    """
    streams.for_programs()
    pin_set = Expectations(**settings, pins=paths).pin_set
    with common.result_stream(output) as stream:
        stream.write(
            formats.export_pins(
                pin_set,
                form,
                at=utc_now().date(),
                leave_out=leave_out,
                backups_as_pins=backups_as_pins,
                keys_of=keys_of,
            )
        )
    return common.CLEAN
