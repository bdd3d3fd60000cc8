"""`detector examine`: assess a certificate chain that was captured elsewhere, offline.

Room: cli.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click

from detector.errors import ChainError
from detector.judge import network
from detector.pins import parse_target
from detector.session.seams import utc_now
from detector.session.session import assessment_context
from detector.session.session import examine as examine_chain
from detector.session.settings import Expectations
from detector.trust.roots import certificates_in_pem
from detector.version import VERSION

from . import common, options

if TYPE_CHECKING:
    from detector.model import Confidence, Detail

CHAIN_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of a chain file that are read: a hundred times the longest genuine chain."""


class _Moment(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """An RFC 3339 time with an offset."""

    name = "RFC3339"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an RFC 3339 time such as 2026-11-23T09:00:00Z.", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no offset; write Z for UTC: 2026-11-23T09:00:00Z.", param, ctx)
        return moment.astimezone(dt.UTC)


@click.command(
    cls=options.Command,
    examples=(
        "detector examine chain.pem --host exam.example.edu",
        "detector examine chain.pem --host https://exam.example.edu/ --at 2026-11-23T09:00:00Z --json",
        "detector examine chain.pem --host exam.example.edu:8443 --pins pins.toml -v",
    ),
)
@click.argument("chain", metavar="CHAIN.pem")
@options.target("--host", "The host that presented the chain.", required=True, metavar="HOST[:PORT]")
@options.target("--at", "Assess as of this time instead of now.", type=_Moment())
@options.target("--key-not-proved", "The handshake that showed this chain was not completed.", is_flag=True)
@options.fail_on()
@options.settings(only={"pins", "roots", "add-roots", "ct-logs", "vantage"})
@options.report_form
@options.output
def examine(  # noqa: PLR0913 - one parameter per option
    *,
    settings: dict[str, Any],
    chain: str,
    host: str,
    at: dt.datetime | None,
    key_not_proved: bool,
    fail_on: Confidence,
    form: options.Format,
    detail: Detail,
    output: str | None,
) -> int:
    """Assess a certificate chain that was captured elsewhere.

    The chain is in a PEM file, leaf first, exactly as it was presented. Makes no connection.
    """
    certificates = read_chain(chain)
    name, port = parse_target(host)
    started = utc_now()
    trusted: dict[str, Any] = {name: settings.get(name) for name in ("roots", "add_roots", "logs")}
    context = assessment_context(Expectations(**trusted), at=at)
    with common.result_stream(output) as stream:
        result = examine_chain(
            certificates,
            host=name,
            port=port,
            at=context.at,
            pins=settings.get("pins"),
            roots=context.roots,
            logs=context.logs,
            key_proved=not key_not_proved,
        )
        report = network.report(
            [result],
            context,
            started=started,
            finished=utc_now(),
            vantage=settings["vantage"],
            version=VERSION,
            named={result.endpoint.name},
        )
        common.write(report, form, stream, detail)
    return common.exit_code(report, fail_on)


def read_chain(path: str) -> list[bytes]:
    """DER certificates from a PEM file, or from one DER file. Raises `ChainError`."""
    data = common.read_file(path, CHAIN_BYTES_MAX, ChainError, "Name a readable PEM file of one chain.")
    found = [der for _, der in certificates_in_pem(data)]
    if found and len(found) == data.count(b"-----BEGIN ") - data.count(b" PRIVATE KEY-----") // 2:
        return found
    if found:
        raise ChainError(
            f"{path}: a block in it is damaged.", advice="Every block must be base64 between BEGIN and END lines."
        )
    if data[:1] == b"\x30":
        return [data]
    raise ChainError(
        f"{path}: contains no certificate.", advice="It must be PEM: -----BEGIN CERTIFICATE----- blocks, leaf first."
    )
