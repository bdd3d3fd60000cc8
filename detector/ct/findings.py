"""What following logs finds, as records and in one sentence each.

Room: ct. Pure. Nobody is accused: a certificate that no pin knows is, most often, one that the host's operator ordered
and did not pin. What foreign certificates and logs say is escaped and bounded.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from detector.model import Record, encode, schema
from detector.model.endpoint import encode_pin

if TYPE_CHECKING:
    from .matching import Match

TEXT_MAX: Final = 400
"""Characters of a name in a certificate that are shown: a sentence should stay one. Usual issuers have under 100."""
NAMES_MAX: Final = 20
"""Names of a certificate, and hosts, that a finding lists."""
FINDING_SCHEMA: Final = 1
ASK: Final = "ask the host's operator"


class FindingKind(enum.StrEnum):
    """What a finding is about. docs/ct-watch.md explains each."""

    CERTIFICATE = "certificate"
    UNREADABLE = "unreadable"
    LOG = "log"


class LogProblem(enum.StrEnum):
    """Why a log could not be followed to its end."""

    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    FORGED = "forged"
    SHRUNK = "shrunk"
    SPLIT_VIEW = "split-view"
    WRONG_HASH = "wrong-hash"
    STALE = "stale"
    MISNUMBERED = "misnumbered"


WORDS: Final = {
    LogProblem.UNREACHABLE: "did not answer with what is needed",
    LogProblem.MALFORMED: "sent what is not in the format of a static log",
    LogProblem.FORGED: "sent a checkpoint that its key did not sign",
    LogProblem.SHRUNK: "shows a smaller tree than before",
    LogProblem.SPLIT_VIEW: "shows a tree that does not contain the one it showed before",
    LogProblem.WRONG_HASH: "sent data that do not hash to its signed root",
    LogProblem.STALE: "sent a checkpoint that is too old",
    LogProblem.MISNUMBERED: "has entries that say they have another index",
}
"""What each problem is, after the log's name. Somebody in between can cause all but a split view and wrong numbers:
those the log has signed."""


class LogName(Record, frozen=True, kw_only=True):
    """A log: `id` is the SHA-256 of its key (hexadecimal)."""

    id: str
    name: str
    operator: str = ""


class LoggedCertificate(Record, frozen=True, kw_only=True):
    """What a logged certificate says of itself.

    `sha256` is that of the certificate, or of the precertificate as the log serves it (None where it does not fit);
    `tbs_sha256` is the same for both of them and in every log. `names` are its DNS names that cover our hosts first.
    """

    sha256: str | None
    tbs_sha256: str
    spki: str | None
    issuer: str | None
    serial: str | None
    not_before: dt.datetime | None
    not_after: dt.datetime | None
    names: tuple[str, ...]
    precertificate: bool


class Finding(Record, frozen=True, kw_only=True):
    """One line of `detector ct watch`.

    `id` identifies it: a line that is there twice, because the program was killed between writing it and noting that,
    has the same. `hosts` are those for which nothing known explains the certificate. `in_history` says that the history
    saw this key in use, clean as logged. `checkpoint` and `earlier` are what a log signed, where that is the evidence.
    """

    schema: int = FINDING_SCHEMA
    kind: FindingKind
    id: str
    at: dt.datetime
    summary: str
    log: LogName
    hosts: tuple[str, ...] = ()
    index: int | None = None
    logged_at: dt.datetime | None = None
    certificate: LoggedCertificate | None = None
    in_history: bool = False
    problem: LogProblem | None = None
    checkpoint: str | None = None
    earlier: str | None = None

    def to_json(self) -> bytes:
        """The finding as JSON, without a line end."""
        return encode(self)


def finding_schema() -> dict[str, Any]:
    """The JSON Schema of a finding."""
    return schema(Finding, title="Finding of detector ct watch")


def shown(text: str | None) -> str | None:
    """Text of others, printable and bounded."""
    if text is None:
        return None
    cut = text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def describe(match: Match) -> LoggedCertificate:
    """What a certificate says of itself."""
    certificate, sha256 = match.certificate, match.certificate_sha256
    names = sorted(certificate.dns_names, key=lambda name: not _concerns(name, match.hosts))
    return LoggedCertificate(
        sha256=None if sha256 is None else sha256.hex(),
        tbs_sha256=match.tbs_sha256.hex(),
        spki=encode_pin(certificate.spki_sha256) if certificate.spki_sha256 else None,
        issuer=shown(certificate.issuer.text) if certificate.issuer else None,
        serial=shown(None if certificate.serial is None else f"{certificate.serial:x}"),
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        names=tuple(str(shown(name)) for name in names[:NAMES_MAX]),
        precertificate=match.entry.issuer_key_hash is not None,
    )


def _concerns(name: str, hosts: tuple[str, ...]) -> bool:
    lowered = name.lower().rstrip(".")
    return lowered in hosts or any(lowered == "*." + host.partition(".")[2] for host in hosts)


def of_certificate(match: Match, hosts: tuple[str, ...], log: LogName, at: dt.datetime, *, in_history: bool) -> Finding:
    """The finding that no pin and no history knows the key of a certificate."""
    described = describe(match)
    seen = " The history saw this key in use." if in_history else ""
    starts = f"{described.not_before:%Y-%m-%d}" if described.not_before else "unreadable"
    what = "precertificate SHA-256" if described.precertificate else "SHA-256"
    summary = (
        f"A certificate for {_listed(hosts)} that no pin or history knows; {ASK}.{seen} "
        f"Issuer {described.issuer or 'unreadable'}, {what} {described.sha256 or 'unknown'}, "
        f"not before {starts}, in {log.name}, entry {match.entry.number}."
    )
    found = _of_entry(FindingKind.CERTIFICATE, match, hosts, log, at, summary)
    return msgspec.structs.replace(found, certificate=described, in_history=in_history)


def of_unreadable(match: Match, log: LogName, at: dt.datetime) -> Finding:
    """The finding that an entry with the name of a host in it cannot be read."""
    summary = (
        f"An entry that contains the name {_listed(match.hosts)} cannot be read as a certificate; {ASK}. "
        f"It is in {log.name}, entry {match.entry.number}."
    )
    return _of_entry(FindingKind.UNREADABLE, match, match.hosts, log, at, summary)


def _of_entry(  # noqa: PLR0913, PLR0917 - what both findings about an entry say
    kind: FindingKind, match: Match, hosts: tuple[str, ...], log: LogName, at: dt.datetime, summary: str
) -> Finding:
    return Finding(
        kind=kind,
        id=match.tbs_sha256.hex(),
        at=at,
        summary=summary,
        log=log,
        hosts=hosts[:NAMES_MAX],
        index=match.entry.number,
        logged_at=match.entry.logged_at,
    )


def _listed(hosts: tuple[str, ...]) -> str:
    more = len(hosts) - NAMES_MAX
    return ", ".join(hosts[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
