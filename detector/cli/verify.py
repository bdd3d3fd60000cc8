"""`detector verify`: does an evidence bundle hold?

Room: cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector import bundle as bundles
from detector.aio.lazy import LazyModule
from detector.bundle.form import BUNDLE_BYTES_MAX
from detector.errors import BundleError
from detector.judge import wording
from detector.knowledge import roots as trusted
from detector.knowledge.age import describe, differing
from detector.model import Detail
from detector.model.validate import naming
from detector.pins.encoding import parse_witness_key
from detector.session.settings import Expectations
from detector.trust.key_files import load_public_key

from . import common, options
from .streams import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich import console as rich_console
    from rich import text as rich_text

    from detector import report as reports
    from detector.bundle import Verification
    from detector.bundle.form import Claim
else:
    rich_console = LazyModule("rich.console")
    rich_text = LazyModule("rich.text")
    reports = LazyModule("detector.report")

_EXIT_CODES: Final = {"holds": common.CLEAN, "fails": common.MIDDLEWARE}
"""By `detector.bundle.Conclusion`; every other leaves open whether the bundle holds."""


def _public_key(text: str) -> bytes:
    """An Ed25519 public key as encoded in pin files. Raises ValueError."""
    try:
        return parse_witness_key(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: this key {error}.") from None


signer_keys: Final = options.trusting(
    "--key",
    "Key of which a signature is required; repeatable: one of them suffices. Without one nothing holds.",
    type=options.Parsed("ed25519/BASE64", _public_key),
    multiple=True,
)
signer_key_files: Final = options.trusting(
    "--key-file", "The same, from a file; repeatable.", multiple=True, metavar="PEM"
)


@options.command(
    "detector verify evidence.json --key-file recorder.pem",
    "detector verify evidence.json --key ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= --json",
    "detector verify evidence.json --key-file recorder.pem -q",
)
def verify(  # noqa: PLR0913 - one parameter per option
    *,
    bundle: str = options.argument(metavar="BUNDLE"),
    keys: tuple[bytes, ...] = signer_keys,
    key_files: tuple[str, ...] = signer_key_files,
    settings: dict[str, Any] = options.trust,
    authorities: str | None = options.trusting(
        "--tsa-root",
        "Believe timestamps of authorities below these roots (RFC 3161; extra timestamp).",
        metavar="PEM",
    ),
    pins: tuple[str, ...] = options.trusting(
        "--pins", "Pins to use instead of the recorded ones.", multiple=True, metavar="FILE|DIR"
    ),
    out: options.Output = options.record,
) -> int:
    """Assess an evidence bundle again, offline.

    It is assessed from the raw bytes in it.

    Exit code: 0 it holds: nothing was changed, a given key signed it, and it is assessed as it was; 1 it does not hold;
    2 bad usage or input; 3 undecided: no given key signed it, evidence was taken out, or it is assessed otherwise with
    other roots, logs or rules than the recorder's.
    """
    expected = Expectations(**settings, pins=pins or None)
    reader = brought(keys, key_files, expected)
    reader["pins"] = expected.pin_set.endpoints if pins else ()
    reader["authorities"] = None if authorities is None else trusted.load(authorities)
    _, verification = assess(bundle, reader)
    with common.result_stream(out.file) as stream:
        common.write_record(verification, out, stream, _render)
    return _EXIT_CODES.get(verification.conclusion, common.INCONCLUSIVE)


def brought(keys: tuple[bytes, ...], key_files: tuple[str, ...], expected: Expectations) -> dict[str, Any]:
    """What a reader brings, as arguments of `bundle.verify`. Raises `InputError`."""
    return {
        "keys": (*keys, *map(load_public_key, key_files)),
        "roots": expected.public_roots,
        "logs": expected.log_list,
        "known": expected.data_set,
    }


def assess(path: str, reader: dict[str, Any]) -> tuple[bytes, Verification]:
    """The bytes of a bundle, and what they show to this reader. Raises `BundleError`, which names the file."""
    data = read_file(path)
    with naming(path):
        return data, bundles.verify(data, **reader)


def read_file(path: str) -> bytes:
    """The bytes of a bundle. Raises `BundleError` naming the file."""
    return common.read_file(path, BUNDLE_BYTES_MAX, BundleError, "Name a readable evidence bundle.")


_HEADLINE: Final = {
    "holds": ("HOLDS: nothing was changed, and the evidence is assessed as it was.", "bold green"),
    "not-vouched": (
        "NOT VOUCHED FOR: assessed as claimed, but signed by no key that you gave, so anyone can have made it.",
        "bold yellow",
    ),
    "assessed-otherwise": (
        "ASSESSED OTHERWISE: with the recorder's roots, logs and rules it may give what was claimed.",
        "bold yellow",
    ),
    "incomplete": (
        "INCOMPLETE: nothing is wrong with what is there, but it does not show all that was claimed.",
        "bold yellow",
    ),
    "fails": ("DOES NOT HOLD.", "bold red"),
}


def _render(verification: Verification, detail: Detail) -> rich_console.RenderableType:
    """The conclusion, why, what the evidence shows per endpoint, and which claims cannot be verified."""
    headline, style = _HEADLINE[verification.conclusion]
    if detail is Detail.VERDICT:
        return rich_text.Text(" ".join(map(printable, (headline, *verification.reasons[:1]))), style=style)
    signers = ", ".join(signature.key for signature in verification.signatures) or "nobody"
    explanation = (
        *verification.reasons,
        f"Signed by: {signers} ({verification.signature}).",
        f"Assessed again: {reports.headline(verification.report)}",
    )
    titles, rows = ["part", "endpoint", "claimed", "assessed again"], []
    for check in verification.endpoints:
        cells = [check.part, check.endpoint.name, *(_claim(one, detail) for one in (check.claimed, check.judged))]
        rows.append(cells + [check.key, check.witness or "-"] * (detail is Detail.EVIDENCE))
    titles += ["key", "witness"] * (detail is Detail.EVIDENCE)
    return rich_console.Group(
        rich_text.Text(headline, style=style),
        *(rich_text.Text(printable(line)) for line in (*explanation, "")),
        reports.plain_table(titles, [map(printable, cells) for cells in rows]),
        *(rich_text.Text(printable(line)) for line in ("", *_footer(verification, detail))),
    )


def _claim(claim: Claim, detail: Detail) -> str:
    """What is said of one endpoint: a state, and what it rests on where evidence is wanted."""
    if detail is not Detail.EVIDENCE:
        return wording.state(claim.verdict, claim.confidence)
    return f"{claim.verdict} {claim.confidence or claim.assurance or ''}".strip() + f" [{claim.reason}]"


def _footer(verification: Verification, detail: Detail) -> Iterator[str]:
    if detail is Detail.EVIDENCE:
        yield from dict.fromkeys(f"{wording.why(one)} [{one.reason}]" for one in verification.report.results)
    for part in verification.parts:
        if part.state != "intact":
            yield f"Part {part.name}: {part.state}."
    for number, stamp in enumerate(verification.timestamps, 1):
        if stamp.state == "not-checked":
            yield f"Timestamp {number}: not checked; name the root of its authority (--tsa-root)."
        if stamp.state == "refused":
            yield f"Timestamp {number} shows nothing: {stamp.problem}."
    for word in verification.words:
        names = f" ({', '.join(word.endpoints)})" if word.endpoints else ""
        yield f"Not verifiable: {word.summary}{names}"
    recorded = verification.recorded
    yield (
        f"Recorded by detector {recorded.detector_version} with {describe(recorded.knowledge)} "
        f"(here {differing(recorded.others)})."
    )
