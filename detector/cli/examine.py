"""`detector examine`: assess certificates that were captured elsewhere, offline.

Room: cli.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click

from detector.errors import ChainError
from detector.judge import network
from detector.model import Endpoint, Reason, Verdict
from detector.model.validate import naming
from detector.pins import failure_report, parse_target
from detector.session.seams import utc_now
from detector.session.session import assessment_context
from detector.session.session import examine as examine_chain
from detector.session.settings import Expectations
from detector.trust import certificate_files
from detector.trust.certificate_files import FILE_BYTES_MAX, CertificateFile
from detector.version import VERSION

from . import chains, common, options
from .stderr import say

if TYPE_CHECKING:
    from detector.model import Confidence, Result
    from detector.pins.failure_report import FailureReport

PASSWORD_BYTES_MAX: Final = 1024
"""Largest password file, in bytes: key derivation hashes the password once for each key."""


def _moment(text: str) -> dt.datetime:
    """An RFC 3339 time with an offset. Raises ValueError."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-11-23T09:00:00Z.") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write Z for UTC: 2026-11-23T09:00:00Z.")
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after the year 9999 in UTC.") from None


@options.command(
    "detector examine chain.pem --host exam.example.edu",
    "detector examine chain.pem --host https://exam.example.edu/ --at 2026-11-23T09:00:00Z --json",
    "detector examine chain.pem --host exam.example.edu:8443 --pins pins.toml -v",
    "detector examine --report report.json",
)
def examine(  # noqa: PLR0913 - one parameter per option
    *,
    chain: str = options.argument(metavar="FILE|-"),
    host: str | None = options.target("--host", "The host that presented the certificates.", metavar="HOST[:PORT]"),
    at: dt.datetime | None = options.target(
        "--at", "Assess as of this time instead of now.", type=options.Parsed("RFC3339", _moment)
    ),
    key_not_proved: bool = options.target(
        "--key-not-proved", "The handshake that showed this chain was not completed.", is_flag=True
    ),
    as_presented: bool = options.target(
        "--as-presented", "Keep the file's order, even where the first certificate is another one.", is_flag=True
    ),
    is_report: bool = options.target(
        "--report", "FILE is a client's report of pins that did not fit (RFC 7469, TrustKit).", is_flag=True
    ),
    password_file: str | None = options.target(
        "--password-file", "File with the password of a PKCS #12 file.", metavar="FILE"
    ),
    fail_on: Confidence = options.fail_on(),
    save_chain: str | None = options.save_chain,
    settings: dict[str, Any] = options.settings(only={"data", "pins", "roots", "add-roots", "ct-logs", "vantage"}),
    out: options.Output = options.report,
) -> int:
    """Assess certificates that were captured elsewhere.

    They are in a file, or on standard input (-), the server's own first: PEM as it was copied or exported, output of
    openssl s_client -showcerts, DER, PKCS #7 or PKCS #12. Makes no connection.

    With --report the chain, the host and the time come from a client's report. What the client made of them is not
    believed, and the report proves no key.
    """
    common.refuse_same_file(output=out.file, save_chain=save_chain)
    if is_report:
        claims = _report(chain, at)
        name, port = (claims.host, claims.port) if host is None else parse_target(host)
        found, at = CertificateFile(claims.certificates, claims.notes), claims.at
        key_not_proved = as_presented = True
    elif host is None:
        raise click.UsageError(f"Missing option '--host': the host that presented the certificates.{_named(chain)}")
    else:
        name, port = parse_target(host)
        found = read_certificates(chain, "" if password_file is None else _password(password_file))
    if not as_presented:
        with _naming(chain):
            found = certificate_files.leaf_first(found, name)
    started = utc_now()
    trusted: dict[str, Any] = {name: settings.get(name) for name in ("data", "roots", "add_roots", "logs")}
    context = assessment_context(Expectations(**trusted), at=at)
    names = [Endpoint(host=name, port=port).name]
    with (
        common.later(out.file) as show,
        chains.saver(save_chain, names) if save_chain else contextlib.nullcontext() as save,
    ):
        result = examine_chain(
            found.certificates,
            host=name,
            port=port,
            at=context.at,
            data=context.data,
            pins=settings.get("pins"),
            roots=context.roots,
            logs=context.logs,
            key_proved=found.key_proved and not key_not_proved,
        )
        if not as_presented:
            with _naming(chain):
                _require_issuer(found, result)
        report = network.report(
            [result],
            context,
            started=started,
            finished=utc_now(),
            vantage=settings["vantage"],
            version=VERSION,
            named={result.endpoint.name},
        )
        for note in (*found.notes, *_notes_on_result(found, result)):
            say(f"Note: {note}")
        common.in_order(
            lambda: show(lambda stream: common.write(report, out, stream)),
            lambda: save and save(report.results),
        )
    return common.exit_code(report, fail_on)


def read_certificates(path: str, password: str = "") -> CertificateFile:
    """The certificates of a file, - for standard input. Raises `ChainError`, which names it."""
    data = common.read_file(path, FILE_BYTES_MAX, ChainError, "Name a readable file of certificates.")
    with _naming(path):
        return certificate_files.read(data, password)


def _report(path: str, at: dt.datetime | None) -> FailureReport:
    """What a client's report claims. Raises `ChainError`, which names the file."""
    data = common.read_file(path, FILE_BYTES_MAX, ChainError, "Name a readable file with a report.")
    with _naming(path):
        return failure_report.read(data, now=utc_now(), at=at)


def _require_issuer(found: CertificateFile, result: Result) -> None:
    """Refuse a publicly logged certificate without its issuer's: a file says nothing of what the server left out."""
    if result.reason is Reason.INCOMPLETE_CHAIN and len(found.certificates) == 1:
        raise ChainError(
            "This holds the server's certificate alone, and its issuer is not known here.",
            advice="Give the whole chain, as `openssl s_client -showcerts` prints it; "
            "or add --as-presented if the server presented this certificate alone.",
        )


def _notes_on_result(found: CertificateFile, result: Result) -> tuple[str, ...]:
    if result.verdict is Verdict.CLEAN or len(found.certificates) > 1:
        return ()
    return ("The file holds one certificate. If the server presented more, give all of them.",)


def _naming(path: str) -> contextlib.AbstractContextManager[None]:
    return naming("standard input" if path == common.STDIN else path)


def _named(path: str) -> str:
    """A sentence with the names in a file's first certificate, of which the user may mean one."""
    try:
        names = certificate_files.names_of(read_certificates(path).certificates[0])
    except ChainError:
        return ""
    return f" The first certificate is for {names}." if names else ""


def _password(path: str) -> str:
    """The password in a file: its first line."""
    advice = "Name a file whose first line is the password, in UTF-8."
    data = common.read_file(path, PASSWORD_BYTES_MAX, ChainError, advice)
    try:
        return data.decode().partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise ChainError(f"--password-file {path}: not UTF-8.", advice=advice) from None
