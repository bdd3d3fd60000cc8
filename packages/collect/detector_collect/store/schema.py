"""Tables of the collector, as the migrations create them.

Room: detector_collect.store. Pure: descriptions only.

`institutions` and `keys` say who may send. `evidence` has one row per submission, `contents` its bytes as signed,
`verifications` what each assessment of it said, `findings` the current conclusions, one row per endpoint. `work` is the
queue. `assessments` are the statements about institutions (`detector_collect.responsibility`).

`people`, `grants`, `sessions` and `tokens` say who may see what; `cases` and `case_entries` are the reviews;
`access_records` are the hash chain of every reading, `chain_heads` its signed heads; `approvals` what needs two people;
`deliveries` is what goes out to others.

No column holds an address, a name or a device of a student. `student` and `network` are HMACs made by clients.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


class Utc(sa.TypeDecorator[dt.datetime]):
    """A time with an offset, stored and returned in UTC. SQLite stores none, and would drop any other."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The time in UTC. Raises ValueError for one without an offset."""
        if value is not None and value.tzinfo is None:
            raise ValueError("A time without an offset.")
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The time in UTC, with its offset."""
        return (
            None
            if value is None
            else value.replace(tzinfo=dt.UTC)
            if value.tzinfo is None
            else value.astimezone(dt.UTC)
        )


metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

Id: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""A row number. SQLite counts rows up only in a column of type INTEGER."""
Moment: Final = Utc()
Slug: Final = sa.String(64)
Sha256: Final = sa.LargeBinary(32)


def _institution(*, nullable: bool = False) -> sa.Column[str]:
    return sa.Column("institution", Slug, sa.ForeignKey("institutions.id"), nullable=nullable)


def _evidence() -> sa.ForeignKey:
    return sa.ForeignKey("evidence.id", ondelete="CASCADE")


# Who may send

institutions: Final = sa.Table(
    "institutions",
    metadata,
    sa.Column("id", Slug, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("created", Moment, nullable=False),
)

keys: Final = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    _institution(),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("expires", Moment),
    sa.Column("revoked", Moment),
    sa.Column("rate", sa.Integer, nullable=False),
    sa.Column("bytes_max", sa.Integer, nullable=False),
)
"""`id` is `ed25519/<base64>` of a signing key or `certificate/<sha256>` of a client certificate (`kind`: `signing`,
`certificate`); `rate` is submissions per minute."""

# What was sent

evidence: Final = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("digest", Sha256, nullable=False, unique=True),
    _institution(),
    sa.Column("key", sa.String(128), sa.ForeignKey("keys.id"), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("exam", Slug),
    sa.Column("student", Sha256),
    sa.Column("network", Sha256),
    sa.Column("made", Moment, nullable=False),
    sa.Column("received", Moment, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index(None, "institution", "id"),
    sa.Index(None, "institution", "made"),
    sa.Index(None, "student"),
    sa.Index(None, "state", "id"),
    sa.Index(None, "kind", "received"),
    sqlite_autoincrement=True,
)
"""`state`: `waiting`, `verified` (assessed again from bytes, with the same result), `claimed` (holds nothing to assess
again), `quarantined` (does not verify; `reason` says why). A number is never used again: a worker may still hold
that of what was erased."""

contents: Final = sa.Table(
    "contents",
    metadata,
    sa.Column("evidence", Id, _evidence(), primary_key=True),
    sa.Column("encoding", sa.String(16), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""The envelope as it was received (`encoding`: `identity` or `gzip`)."""

verifications: Final = sa.Table(
    "verifications",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("evidence", Id, _evidence(), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("detector_version", sa.String(32), nullable=False),
    sa.Column("knowledge", Sha256, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("detail", sa.LargeBinary, nullable=False),
    sa.Index(None, "evidence", "id"),
)
"""One row per assessment: `knowledge` is a digest of the parts that it was made with, `detail` what it said (JSON)."""

findings: Final = sa.Table(
    "findings",
    metadata,
    sa.Column("evidence", Id, _evidence(), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _institution(),
    sa.Column("exam", Slug),
    sa.Column("student", Sha256),
    sa.Column("network", Sha256),
    sa.Column("at", Moment, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("category", sa.String(16), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("confidence", sa.String(16)),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("product", sa.Text),
    sa.Column("ca_key", Sha256),
    sa.Index(None, "institution", "at"),
    sa.Index(None, "student"),
)
"""The latest conclusions on what is verified, as of that assessment; nothing of what is claimed or quarantined.
`ca_key` is the SHA-256 of the SubjectPublicKeyInfo of the CA that signed the presented leaf."""

for _column, _is_rare in (
    ("verdict", sa.text("verdict <> 'clean'")),
    ("product", sa.text("product IS NOT NULL")),
    ("ca_key", sa.text("ca_key IS NOT NULL")),
):  # partial: most results are clean, and need no row in them
    sa.Index(
        f"ix_findings_institution_{_column}_evidence",
        *(findings.c[name] for name in ("institution", _column, "evidence")),
        postgresql_where=_is_rare,
        sqlite_where=_is_rare,
    )

handshakes: Final = sa.Table(
    "handshakes",
    metadata,
    sa.Column("digest", Sha256, primary_key=True),
    sa.Column("evidence", Id, _evidence(), nullable=False),
    sa.Index(None, "evidence"),
)
"""Recorded TLS handshakes whose signatures verify, by the SHA-256 of what the server signed, and the evidence that
showed each first. The same handshake in other evidence shows nothing more (docs/collect-verification.md)."""

work: Final = sa.Table(
    "work",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("evidence", Id, _evidence(), nullable=False, unique=True),
    _institution(),
    sa.Column("due", Moment, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Index(None, "due"),
    sa.Index(None, "institution", "due", "id"),
    sqlite_autoincrement=True,
)
"""Evidence to be assessed. A worker claims rows by moving `due` to the end of its lease, and deletes them when done.
`institution` is that of the evidence: every institution has its turn (`queue.claim`)."""

counters: Final = sa.Table(
    "counters",
    metadata,
    sa.Column("institution", Slug, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""What was refused or quarantined, by institution (empty where unknown) and reason."""

# How long it is kept

retention: Final = sa.Table(
    "retention",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("days", sa.Integer, nullable=False),
)

holds: Final = sa.Table(
    "holds",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    _institution(),
    sa.Column("exam", Slug),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("placed", Moment, nullable=False),
    sa.Column("released", Moment),
)
"""Legal holds: what is under one is neither erased nor expires."""

erased: Final = sa.Table(
    "erased",
    metadata,
    sa.Column("mark", Sha256, primary_key=True),
    sa.Column("until", Moment, nullable=False),
)
"""Keyed digests of erased submissions, so that none returns while a client may still send it again."""

settings: Final = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
"""Of this database: `erasure-key` is the secret of the marks in `erased`."""

# Statements about institutions

assessments: Final = sa.Table(
    "assessments",
    metadata,
    sa.Column("number", Id, primary_key=True, autoincrement=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("until", Moment, nullable=False),
)

conclusions: Final = sa.Table(
    "conclusions",
    metadata,
    sa.Column("number", Id, sa.ForeignKey("assessments.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("institution", Slug, sa.ForeignKey("institutions.id"), primary_key=True),
    sa.Column("conclusion", sa.String(32), nullable=False),
    sa.Column("detail", sa.LargeBinary, nullable=False),
    sa.Index(None, "institution", "number"),
)
"""`detail` is the `Assessment` as JSON."""

summaries: Final = sa.Table(
    "summaries",
    metadata,
    sa.Column("institution", Slug, sa.ForeignKey("institutions.id"), primary_key=True),
    sa.Column("made", Moment, nullable=False),
    sa.Column("detail", sa.LargeBinary, nullable=False),
)
"""Numbers of each institution for its pages, made at intervals: counting a million results takes seconds. `detail`
is JSON (`detector_collect.review.queries.Summary`)."""

# Who may see

people: Final = sa.Table(
    "people",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.UniqueConstraint("issuer", "subject"),
)
"""Staff who signed in: never students."""

grants: Final = sa.Table(
    "grants",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("person", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    _institution(nullable=True),
    sa.Column("requested_by", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("requested", Moment, nullable=False),
    sa.Column("approved_by", Id, sa.ForeignKey("people.id")),
    sa.Column("approved", Moment),
    sa.Column("expires", Moment, nullable=False),
    sa.Column("revoked", Moment),
    sa.Index(None, "person"),
)
"""A role at one institution (or, where it is null, at all). It counts once somebody else than the requester and the
person itself approved it, until it expires or is revoked."""

sessions: Final = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", Sha256, primary_key=True),
    sa.Column("person", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    _institution(nullable=True),
    sa.Column("created", Moment, nullable=False),
    sa.Column("seen", Moment, nullable=False),
    sa.Column("expires", Moment, nullable=False),
)
"""`id` is the SHA-256 of the cookie. `kind`: `oidc`, `lti` for an institution's own staff, or `demo`; `seen` is when it
was last used."""

sign_ins: Final = sa.Table(
    "sign_ins",
    metadata,
    sa.Column("state", Sha256, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("detail", sa.LargeBinary, nullable=False),
    sa.Column("expires", Moment, nullable=False),
)
"""Sign-ins that have begun (OpenID Connect, LTI), by the hash of their state; and nonces that were used."""

platforms: Final = sa.Table(
    "platforms",
    metadata,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("deployment", sa.Text, primary_key=True),
    _institution(),
    sa.Column("authorization_url", sa.Text, nullable=False),
    sa.Column("keys_url", sa.Text, nullable=False),
)
"""Learning management systems that may launch (LTI 1.3), each for one institution."""

tokens: Final = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Sha256, primary_key=True),
    sa.Column("person", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    _institution(nullable=True),
    sa.Column("created", Moment, nullable=False),
    sa.Column("expires", Moment, nullable=False),
    sa.Column("revoked", Moment),
)
"""Tokens of the vendor's own programs, by hash, under the person who answers for them."""

# Reviews

cases: Final = sa.Table(
    "cases",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    _institution(),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("opened", Moment, nullable=False),
    sa.Index(None, "institution"),
)

case_entries: Final = sa.Table(
    "case_entries",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("case", Id, sa.ForeignKey("cases.id"), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("person", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("entry", sa.String(16), nullable=False),
    sa.Column("state", sa.String(32)),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("evidence", Id, sa.ForeignKey("evidence.id", ondelete="SET NULL")),
    sa.Index(None, "case", "id"),
)
"""Append-only. `entry`: `state` (with `state` the new one), `note`, `answer` (the institution's), `measurement` (the
institution's own evidence). The state of a case is that of its last entry of that kind."""

visits: Final = sa.Table(
    "visits",
    metadata,
    sa.Column("person", Id, sa.ForeignKey("people.id"), primary_key=True),
    sa.Column("institution", Slug, sa.ForeignKey("institutions.id"), primary_key=True),
    sa.Column("at", Moment, nullable=False),
)

access_records: Final = sa.Table(
    "access_records",
    metadata,
    sa.Column("number", Id, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("previous", Sha256, nullable=False),
    sa.Column("hash", Sha256, nullable=False),
)
"""Each reading, refusal, grant and export, before its answer: `record` is JSON, `hash` covers it, its number and
`previous`, the hash of the record before. Numbers have no gaps."""

chain_heads: Final = sa.Table(
    "chain_heads",
    metadata,
    sa.Column("number", Id, primary_key=True, autoincrement=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
)
"""Signed statements (DSSE) of the number and hash of a record, made daily and kept elsewhere too."""

approvals: Final = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("case", Id, sa.ForeignKey("cases.id"), nullable=False),
    sa.Column("detail", sa.LargeBinary, nullable=False),
    sa.Column("requested_by", Id, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("requested", Moment, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("first_by", Id, sa.ForeignKey("people.id")),
    sa.Column("first", Moment),
    sa.Column("second_by", Id, sa.ForeignKey("people.id")),
    sa.Column("second", Moment),
    sa.Column("used", Moment),
    sa.Column("expires", Moment, nullable=False),
)
"""Exports and their two approvals, by two people who did not request it. Each is used once."""

# Outwards

receivers: Final = sa.Table(
    "receivers",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    _institution(nullable=True),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sqlite_autoincrement=True,
)
"""`kind`: `webhook` (`target` is a URL) or `mail` (an address of staff); `events` are separated by blanks; `private`
allows a private address. The secrets of webhooks are in a file, not here."""

deliveries: Final = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("receiver", Id, sa.ForeignKey("receivers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("due", Moment, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("delivered", Moment),
    sa.Index(None, "receiver", "delivered", "id"),
    sqlite_autoincrement=True,
)
"""The outbox, written with what changed. `body` is JSON (`detector_collect.store.deliveries.Notice`); receivers rely on
numbers that only grow."""
