"""The head that every data file of the knowledge begins with, and strict, bounded decoding of such a file.

Room: knowledge. Pure: bytes and the name of their file in, records out.

An update brings these files from elsewhere, so each is decoded as foreign input: bounded in bytes, every number, text
and list bounded by its field, unknown fields refused. A file in a newer form says so by its `schema`, which is read
even when nothing else can be.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, TypeVar

import msgspec

from detector.errors import KnowledgeError, UnknownSchemaError
from detector.model import KnowledgeKind, Record, json_text
from detector.model.record import Count  # noqa: TC001 - msgspec reads the annotations at run time
from detector.trust.ct_logs import LIST_HORIZON
from detector.trust.roots import ROOTS_HORIZON

PART_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest data file read, in bytes. The largest shipped one has 0.3 MB (2026), and a whole set has under 1.5 MB."""

Text = Annotated[str, msgspec.Meta(max_length=1024)]
"""A text in a data file, in characters: the longest shipped one has under 500."""

Sources = Annotated[tuple[Text, ...], msgspec.Meta(max_length=256)]
"""Where the content of a file comes from, one phrase for each source."""

Sha256 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""A SHA-256 digest, in base64."""

HexSha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""A SHA-256 digest, in lower-case hexadecimal."""

CodePoint = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
"""A number of two bytes, as IANA's registries of TLS parameters give."""

CodePointList = Annotated[tuple[CodePoint, ...], msgspec.Meta(max_length=1024)]
"""A list of a ClientHello; the registry of cipher suites, the longest, has about 350."""

HORIZONS: Final = {
    KnowledgeKind.ROOTS: ROOTS_HORIZON,
    KnowledgeKind.LOGS: LIST_HORIZON,
    KnowledgeKind.INTERMEDIATES: ROOTS_HORIZON,
    KnowledgeKind.REVOCATIONS: ROOTS_HORIZON,
    KnowledgeKind.CATALOGUE: dt.timedelta(days=365),
    KnowledgeKind.CLIENT_HELLOS: dt.timedelta(days=180),
    KnowledgeKind.BROWSER_OFFERS: dt.timedelta(days=180),
    KnowledgeKind.CANARIES: dt.timedelta(days=365),
    KnowledgeKind.PINS: dt.timedelta(days=365),
}
"""The age at which each part counts as old, whatever its own head says.

Roots and logs: what the rules that silence themselves then need. Intermediates and revocations come from the same
releases as roots. Catalogue: a year, in which a product releases its next version; no verdict depends on it, because
what it does not know only leaves an interceptor without name and mark. Hellos and offers: Chromium's and Firefox's last
changes of theirs lie 6 to 12 months apart (docs/adr/0006-browser-hello.md). Pin files say themselves when they expire;
a year is the longest that one counts as current."""

_ADVICE: Final = "Use the file as it was published, or leave it out: then what ships with this package serves."


class Head(Record, frozen=True, kw_only=True):
    """The head of a data file.

    `version` grows with each release of the file, `date` is the day up to which it knows of changes, `horizon` the last
    day on which it counts as current.
    """

    schema: Count
    version: Count
    date: dt.date
    horizon: dt.date

    def current_until(self, kind: KnowledgeKind) -> dt.date:
        """The last day on which it counts as current (`horizon_of`)."""
        return horizon_of(kind, self.date, self.horizon)

    def verify(self) -> None:
        """Raise ValueError for content whose check costs too much at each start (see `decode`)."""


class _Schema(msgspec.Struct, frozen=True):
    schema: Count


def horizon_of(kind: KnowledgeKind, date: dt.date, own: dt.date | None = None) -> dt.date:
    """The last day on which a part of this date counts as current: its `own` horizon, but at most `HORIZONS` later."""
    latest = date + min(HORIZONS[kind], dt.date.max - date)
    return latest if own is None else min(own, latest)


P = TypeVar("P", bound=Head)


def decode(data: bytes, kind: type[P], *, name: str, schema: int) -> P:
    """Decode a data file from elsewhere, and verify all of it. Arguments and errors are those of `decode_shipped`."""
    part = decode_shipped(data, kind, name=name, schema=schema)
    try:
        part.verify()
    except ValueError as error:
        raise KnowledgeError(f"{name}: {error}.", advice=_ADVICE) from error
    return part


def decode_shipped(data: bytes, kind: type[P], *, name: str, schema: int) -> P:
    """Decode a data file of this package in the form `schema`, which tests verify. `name` is the file's, for messages.

    Raises `UnknownSchemaError` for a file in another form, and `KnowledgeError`, which names the field, for bytes that
    are no such file.
    """
    if len(data) > PART_BYTES_MAX:
        raise KnowledgeError(f"{name}: larger than {PART_BYTES_MAX} bytes.", advice=_ADVICE)
    try:
        part = json_text.decode(data, kind)
    except json_text.MalformedError as error:
        _refuse_schema(_schema_of(data), schema, name)
        raise KnowledgeError(f"{name}: {error}.", advice=_ADVICE) from error
    _refuse_schema(part.schema, schema, name)
    if part.horizon < part.date:
        raise KnowledgeError(f"{name}: `horizon` is before `date`.", advice=_ADVICE)
    return part


def _schema_of(data: bytes) -> int | None:
    try:
        return json_text.decode(data, _Schema).schema
    except json_text.MalformedError:
        return None


def _refuse_schema(found: int | None, schema: int, name: str) -> None:
    if found not in (None, schema):
        raise UnknownSchemaError(
            f"{name}: `schema` is {found}, and this version reads {schema}.",
            advice="Update this package to use the file; until then what ships with it serves.",
        )
