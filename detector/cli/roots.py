"""`detector roots audit`: what this machine trusts beyond the public roots.

Room: cli.
"""

from __future__ import annotations

from typing import Final

import click
import msgspec

from detector.knowledge.catalogue import shipped
from detector.knowledge.known_roots import known_roots
from detector.model import encode
from detector.session.seams import utc_now
from detector.session.settings import Expectations

from . import common

_EXIT: Final = {
    "public-only": common.CLEAN,
    "interceptor-trusted": common.MIDDLEWARE,
    "unknown-trusted": common.INCONCLUSIVE,
    "incomplete": common.INCONCLUSIVE,
}
"""By `detector.audit.Verdict`."""


@click.group()
def roots() -> None:
    """Audit the roots this machine trusts."""


@roots.command()
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    help="Audit this file of certificates instead of the machine; repeatable.",
)
@click.option("--roots", "public", metavar="PEM", help="Public roots to use instead of certifi's.")
@click.option("--add-roots", metavar="PEM", help="Roots to hold for public besides, such as the institution's own.")
@click.option(
    "--format",
    "form",
    type=click.Choice([common.Format.TABLE.value, common.Format.JSON.value]),
    default=common.Format.TABLE.value,
    show_default=True,
    help="Form of the result.",
)
@click.option("--output", metavar="FILE", help="Write the result there instead of to standard output.")
def audit(bundles: tuple[str, ...], *, public: str | None, add_roots: str | None, form: str, output: str | None) -> int:
    """List every root this machine trusts beyond the public set, and what is known about each.

    Looks into the stores of the operating system and, for the current user, those of Firefox and Chromium. A root that
    is installed decrypts nothing by itself; `detector check` sees whether it is used.

    Exit code: 0 nothing beyond the public set; 1 a root with a publicly known private key, or of a known interception
    product, is trusted; 3 other roots beyond the public set are trusted, or a store could not be read; 2 bad usage or
    input.
    """
    from detector import audit as auditing  # noqa: PLC0415 - 20 ms of readers that no other command needs

    held_for_public = Expectations(roots=public, add_roots=add_roots).public_roots
    with common.result_stream(output) as stream:
        scanned = auditing.read_bundles(bundles) if bundles else auditing.read_machine()
        report = auditing.audit(
            scanned,
            public=held_for_public,
            known=known_roots(),
            catalogue=shipped(),
            at=utc_now().replace(microsecond=0),
        )
        if common.Format(form) is common.Format.JSON:
            stream.write(msgspec.json.format(encode(report), indent=2).decode("utf-8") + "\n")
        else:
            from detector.audit.table import render  # noqa: PLC0415 - 100 ms of rich that JSON does not need

            stream.write(common.as_text(render(report), stream))
    return _EXIT[report.verdict]
