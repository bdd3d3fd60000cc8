"""`detector verify`: does an evidence bundle hold?

Room: cli.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector.errors import BundleError
from detector.knowledge.age import describe
from detector.pins.encoding import parse_witness_key
from detector.session.settings import Expectations
from detector.trust.key_files import load_public_key

from . import common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from detector.bundle import Verification

HOLDS, FAILS, INCOMPLETE = 0, 1, 3
"""Exit codes by `detector.bundle.Conclusion`."""


class _PublicKey(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """An Ed25519 public key as pin files spell it."""

    name = "ed25519/BASE64"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return parse_witness_key(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: this key {error}.", param, ctx)


def reviewing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with what a reviewer brings: `keys`, `key_files`, `roots`, `add_roots` and `ct_logs`."""
    for option in reversed(_REVIEWING):
        command = option(command)
    return command


_REVIEWING: Final = (
    click.option(
        "--key", "keys", type=_PublicKey(), multiple=True, help="A key that must have signed; repeatable: any."
    ),
    click.option("--key-file", "key_files", multiple=True, metavar="PEM", help="The same, from a file; repeatable."),
    click.option("--roots", metavar="PEM", help="Public roots to use instead of certifi's."),
    click.option("--add-roots", metavar="PEM", help="Public roots to use besides."),
    click.option(
        "--ct-logs", metavar="FILE", help="Known CT logs, Google log list v3 JSON, instead of the shipped ones."
    ),
)


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@reviewing
@click.option("--pins", multiple=True, metavar="FILE|DIR", help="Pins to assess by instead of the recorded ones.")
@click.option(
    "--format",
    "form",
    type=click.Choice([common.Format.TABLE.value, common.Format.JSON.value]),
    default=common.Format.TABLE.value,
    show_default=True,
    help="Form of the result.",
)
@click.option("--output", metavar="FILE", help="Write the result there instead of to standard output.")
def verify(  # noqa: PLR0913 - one parameter per option
    *,
    bundle: str,
    keys: tuple[bytes, ...],
    key_files: tuple[str, ...],
    pins: tuple[str, ...],
    roots: str | None,
    add_roots: str | None,
    ct_logs: str | None,
    form: str,
    output: str | None,
) -> int:
    """Assess an evidence bundle again, offline, from the raw bytes in it.

    Exit code: 0 it holds: nothing was changed, a given key signed it, and it is assessed as it was; 1 it does not hold;
    2 bad usage or input; 3 undecided: no given key signed it, or evidence was taken out.
    """
    from detector.bundle import verify as judge_again  # noqa: PLC0415 - no other command needs it

    expected = Expectations(pins=pins or None, roots=roots, add_roots=add_roots, logs=ct_logs)
    public = expected.public_roots
    given = (*keys, *map(load_public_key, key_files))
    logs = expected.log_list
    own_pins = expected.pin_set.endpoints if pins else ()
    data = read_file(bundle)
    with naming(bundle):
        verification = judge_again(data, keys=given, roots=public, logs=logs, pins=own_pins)
    with common.result_stream(output) as stream:
        if common.Format(form) is common.Format.JSON:
            stream.write(msgspec.json.format(msgspec.json.encode(verification), indent=2).decode() + "\n")
        else:
            stream.write(common.as_text(_render(verification), stream))
    return {"holds": HOLDS, "fails": FAILS, "incomplete": INCOMPLETE}[verification.conclusion]


def read_file(path: str) -> bytes:
    """The bytes of a bundle. Raises `BundleError` naming the file."""
    from detector.bundle.form import BUNDLE_OCTETS_MAX  # noqa: PLC0415 - as above

    try:
        with Path(path).open("rb") as file:
            return file.read(BUNDLE_OCTETS_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BundleError(f"{path}: cannot be read ({reason}).", advice="Name a readable evidence bundle.") from error


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the file's name before what is wrong with the bundle in it."""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{path}: {error.message}", advice=error.advice) from error


_HEADLINE: Final = {
    "holds": ("HOLDS: nothing was changed, and the evidence is assessed as it was.", "bold green"),
    "incomplete": (
        "INCOMPLETE: what is there was not found wrong, but it does not show all that was claimed.",
        "bold yellow",
    ),
    "fails": ("DOES NOT HOLD.", "bold red"),
}


def _render(verification: Verification) -> RenderableType:
    """The conclusion, why, what the evidence says, endpoint by endpoint, and what rests on the recorder's word."""
    from rich.console import Group  # noqa: PLC0415 - 40 ms that JSON output does not need
    from rich.text import Text  # noqa: PLC0415 - as above

    headline, style = _HEADLINE[verification.conclusion]
    return Group(
        Text(headline, style=style),
        *(Text(printable(line)) for line in _explanation(verification)),
        Text(""),
        _table(verification),
        Text(""),
        *(Text(printable(line)) for line in _footer(verification)),
    )


def _explanation(verification: Verification) -> Iterator[str]:
    from detector.report import headline  # noqa: PLC0415 - as above

    yield from verification.reasons
    signers = ", ".join(signature.key for signature in verification.signatures) or "nobody"
    yield f"Signed by: {signers} ({verification.signature})."
    yield f"Assessed again: {headline(verification.report)}"


def _table(verification: Verification) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in ("part", "endpoint", "claimed", "assessed again", "key", "witness"):
        table.add_column(title, overflow="fold")
    for check in verification.endpoints:
        rows = [
            f"{claim.verdict} {claim.confidence or claim.assurance or ''}".strip() + f" ({claim.reason})"
            for claim in (check.claimed, check.judged)
        ]
        cells = (check.part, check.endpoint.name, *rows, check.key, check.witness or "-")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _footer(verification: Verification) -> Iterator[str]:
    from detector.judge.wording import why  # noqa: PLC0415 - as above

    yield from dict.fromkeys(f"{result.reason}: {why(result)}" for result in verification.report.results)
    for part in verification.parts:
        if part.state != "intact":
            yield f"Part {part.name}: {part.state}."
    for word in verification.words:
        names = f" ({', '.join(word.endpoints)})" if word.endpoints else ""
        yield f"On the recorder's word: {word.summary}{names}"
    recorded = verification.recorded
    others = " and ".join(recorded.others)
    yield (
        f"Recorded by detector {recorded.detector_version} with {describe(recorded.knowledge)} "
        f"({f'here other {others}' if others else 'the same here'})."
    )


def printable(text: str) -> str:
    """Text from a bundle, made harmless for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
