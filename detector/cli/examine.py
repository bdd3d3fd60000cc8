"""`detector examine`: judge a chain that was captured elsewhere, offline.

Room: cli.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import click

from detector.errors import ChainError
from detector.judge import network
from detector.model import Confidence
from detector.pins import parse_target
from detector.session.seams import utc_now
from detector.session.session import assessment_context
from detector.session.session import examine as examine_chain
from detector.session.settings import Expectations
from detector.trust.roots import certificates_in_pem
from detector.version import VERSION

from . import common

CHAIN_OCTETS_MAX: Final = 4 * 1024 * 1024
"""Octets of a chain file that are read: a hundred times the longest genuine chain."""


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


@click.command()
@click.argument("chain", metavar="CHAIN.pem")
@click.option("--host", required=True, metavar="HOST[:PORT]", help="The host that presented the chain.")
@click.option("--at", type=_Moment(), help="Judge as of this moment instead of now.")
@click.option("--key-not-proved", is_flag=True, help="The handshake that showed this chain was not finished.")
@common.fail_on_option("Least confidence of middleware that makes the exit code 1; below it the exit code is 3.")
@common.common
def examine(  # noqa: PLR0913 - one parameter per option
    *, options: common.Options, chain: str, host: str, at: dt.datetime | None, key_not_proved: bool, fail_on: str
) -> int:
    """Judge a chain of certificates in a PEM file, leaf first, exactly as it was presented. Connects nowhere."""
    certificates = read_chain(chain)
    name, port = parse_target(host)
    started = utc_now()
    context = assessment_context(
        Expectations(roots=options.roots, add_roots=options.add_roots, logs=options.ct_logs), at=at
    )
    with common.result_stream(options.output) as stream:
        result = examine_chain(
            certificates,
            host=name,
            port=port,
            at=context.at,
            pins=options.pins or None,
            roots=context.roots,
            logs=context.logs,
            key_proved=not key_not_proved,
        )
        report = network.report(
            [result],
            context,
            started=started,
            finished=utc_now(),
            vantage=options.vantage,
            version=VERSION,
            named={result.endpoint.name},
        )
        common.write(report, options.format, stream)
    return common.exit_code(report, Confidence(fail_on))


def read_chain(path: str) -> list[bytes]:
    """DER certificates from a PEM file, or from one DER file. Raises `ChainError`."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(CHAIN_OCTETS_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ChainError(f"{path}: cannot be read ({reason}).", advice="Name a readable PEM file.") from error
    if len(data) > CHAIN_OCTETS_MAX:
        raise ChainError(
            f"{path}: larger than {CHAIN_OCTETS_MAX // 1024 // 1024} MiB.", advice="Name a file with one chain."
        )
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
        f"{path}: no certificate in it.", advice="It must be PEM: -----BEGIN CERTIFICATE----- blocks, leaf first."
    )
