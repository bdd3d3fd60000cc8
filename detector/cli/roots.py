"""`detector roots audit`: what this machine trusts beyond the public roots.

Room: cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector import audit as auditing
from detector.aio.lazy import LazyModule
from detector.session.seams import utc_now
from detector.session.settings import Expectations

from . import common, options

if TYPE_CHECKING:
    from detector.audit import table
else:
    table = LazyModule("detector.audit.table")

_EXIT: Final = {
    "public-only": common.CLEAN,
    "interceptor-trusted": common.MIDDLEWARE,
    "unknown-trusted": common.INCONCLUSIVE,
    "incomplete": common.INCONCLUSIVE,
}
"""By `detector.audit.Verdict`."""


@options.group("detector roots audit", sections={"Read": ("audit",)})
def roots() -> None:
    """Audit the roots this machine trusts."""


@roots.subcommand(
    "detector roots audit",
    "detector roots audit --certificates exported.pem -v",
    "detector roots audit --json -o audit.json",
)
def audit(
    *,
    bundles: tuple[str, ...] = options.target(
        "--certificates",
        "Audit this file of certificates instead of the machine; repeatable.",
        multiple=True,
        metavar="FILE",
    ),
    settings: dict[str, Any] = options.settings(only={"data", "roots", "add-roots"}),
    out: options.Output = options.record,
) -> int:
    """List every root this machine trusts beyond the public set.

    Says what is known about each. Reads the stores of the operating system and, for the current user, those of Firefox
    and Chromium. A root that is installed decrypts nothing by itself; `detector check` shows whether it is used.

    Exit code: 0 nothing beyond the public set; 1 a root with a publicly known private key, or of a known interception
    product, is trusted; 3 other roots beyond the public set are trusted, or a store could not be read; 2 bad usage or
    input.
    """
    expected = Expectations(**settings)
    public, data = expected.public_roots, expected.data_set
    known = data.known_roots.keys
    with common.result_stream(out.file) as stream:
        scanned = auditing.read_bundles(bundles) if bundles else auditing.read_machine(known)
        report = auditing.audit(
            scanned, public=public, known=known, catalogue=data.catalogue, at=utc_now().replace(microsecond=0)
        )
        common.write_record(report, out, stream, table.render)
    return _EXIT[report.verdict]
