"""Creates every table. Room: detector_collect.store."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables, and the secret of this database."""
    op.create_table(
        "access_records",
        sa.Column("number", ID, nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_access_records"),
    )
    op.create_table(
        "assessments",
        sa.Column("number", ID, nullable=False, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_assessments"),
    )
    op.create_table(
        "chain_heads",
        sa.Column("number", ID, nullable=False, autoincrement=False),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_chain_heads"),
    )
    op.create_table(
        "counters",
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("institution", "name", name="pk_counters"),
    )
    op.create_table(
        "erased",
        sa.Column("mark", sa.LargeBinary(32), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mark", name="pk_erased"),
    )
    op.create_table(
        "institutions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_institutions"),
    )
    op.create_table(
        "people",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.UniqueConstraint("issuer", "subject", name="uq_people_issuer_subject"),
    )
    op.create_table(
        "retention",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_retention"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.create_table(
        "sign_ins",
        sa.Column("state", sa.LargeBinary(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("detail", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_sign_ins"),
    )
    op.create_table(
        "cases",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_cases_institution"),
    )
    op.create_index("ix_cases_institution", "cases", ["institution"])
    op.create_table(
        "conclusions",
        sa.Column("number", ID, nullable=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("conclusion", sa.String(32), nullable=False),
        sa.Column("detail", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", "institution", name="pk_conclusions"),
        sa.ForeignKeyConstraint(["number"], ["assessments.number"], name="fk_conclusions_number", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_conclusions_institution"),
    )
    op.create_index("ix_conclusions_institution_number", "conclusions", ["institution", "number"])
    op.create_table(
        "summaries",
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detail", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("institution", name="pk_summaries"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_summaries_institution"),
    )
    op.create_table(
        "grants",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("person", ID, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("institution", sa.String(64)),
        sa.Column("requested_by", ID, nullable=False),
        sa.Column("requested", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by", ID),
        sa.Column("approved", sa.DateTime(timezone=True)),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_grants"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_grants_person"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_grants_institution"),
        sa.ForeignKeyConstraint(["requested_by"], ["people.id"], name="fk_grants_requested_by"),
        sa.ForeignKeyConstraint(["approved_by"], ["people.id"], name="fk_grants_approved_by"),
    )
    op.create_index("ix_grants_person", "grants", ["person"])
    op.create_table(
        "holds",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("exam", sa.String(64)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("placed", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_holds_institution"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.Column("rate", sa.Integer, nullable=False),
        sa.Column("bytes_max", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_keys_institution"),
    )
    op.create_table(
        "platforms",
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("authorization_url", sa.Text, nullable=False),
        sa.Column("keys_url", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "client", "deployment", name="pk_platforms"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_platforms_institution"),
    )
    op.create_table(
        "receivers",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("institution", sa.String(64)),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receivers"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_receivers_institution"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.LargeBinary(32), nullable=False),
        sa.Column("person", ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("institution", sa.String(64)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_sessions_person"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_sessions_institution"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.LargeBinary(32), nullable=False),
        sa.Column("person", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("institution", sa.String(64)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_tokens_person"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_tokens_institution"),
    )
    op.create_table(
        "visits",
        sa.Column("person", ID, nullable=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("person", "institution", name="pk_visits"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_visits_person"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_visits_institution"),
    )
    op.create_table(
        "approvals",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("case", ID, nullable=False),
        sa.Column("detail", sa.LargeBinary, nullable=False),
        sa.Column("requested_by", ID, nullable=False),
        sa.Column("requested", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("first_by", ID),
        sa.Column("first", sa.DateTime(timezone=True)),
        sa.Column("second_by", ID),
        sa.Column("second", sa.DateTime(timezone=True)),
        sa.Column("used", sa.DateTime(timezone=True)),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
        sa.ForeignKeyConstraint(["case"], ["cases.id"], name="fk_approvals_case"),
        sa.ForeignKeyConstraint(["requested_by"], ["people.id"], name="fk_approvals_requested_by"),
        sa.ForeignKeyConstraint(["first_by"], ["people.id"], name="fk_approvals_first_by"),
        sa.ForeignKeyConstraint(["second_by"], ["people.id"], name="fk_approvals_second_by"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("receiver", ID, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("delivered", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["receiver"], ["receivers.id"], name="fk_deliveries_receiver", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_receiver_delivered_id", "deliveries", ["receiver", "delivered", "id"])
    op.create_table(
        "evidence",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("exam", sa.String(64)),
        sa.Column("student", sa.LargeBinary(32)),
        sa.Column("network", sa.LargeBinary(32)),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_evidence_institution"),
        sa.ForeignKeyConstraint(["key"], ["keys.id"], name="fk_evidence_key"),
        sa.UniqueConstraint("digest", name="uq_evidence_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_evidence_institution_id", "evidence", ["institution", "id"])
    op.create_index("ix_evidence_institution_made", "evidence", ["institution", "made"])
    op.create_index("ix_evidence_kind_received", "evidence", ["kind", "received"])
    op.create_index("ix_evidence_state_id", "evidence", ["state", "id"])
    op.create_index("ix_evidence_student", "evidence", ["student"])
    op.create_table(
        "case_entries",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("case", ID, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person", ID, nullable=False),
        sa.Column("entry", sa.String(16), nullable=False),
        sa.Column("state", sa.String(32)),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("evidence", ID),
        sa.PrimaryKeyConstraint("id", name="pk_case_entries"),
        sa.ForeignKeyConstraint(["case"], ["cases.id"], name="fk_case_entries_case"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_case_entries_person"),
        sa.ForeignKeyConstraint(["evidence"], ["evidence.id"], name="fk_case_entries_evidence", ondelete="SET NULL"),
    )
    op.create_index("ix_case_entries_case_id", "case_entries", ["case", "id"])
    op.create_table(
        "contents",
        sa.Column("evidence", ID, nullable=False),
        sa.Column("encoding", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("evidence", name="pk_contents"),
        sa.ForeignKeyConstraint(["evidence"], ["evidence.id"], name="fk_contents_evidence", ondelete="CASCADE"),
    )
    op.create_table(
        "findings",
        sa.Column("evidence", ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("exam", sa.String(64)),
        sa.Column("student", sa.LargeBinary(32)),
        sa.Column("network", sa.LargeBinary(32)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("category", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("confidence", sa.String(16)),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("product", sa.Text),
        sa.Column("ca_key", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("evidence", "number", name="pk_findings"),
        sa.ForeignKeyConstraint(["evidence"], ["evidence.id"], name="fk_findings_evidence", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_findings_institution"),
    )
    op.create_index("ix_findings_institution_at", "findings", ["institution", "at"])
    for column, rare in (
        ("verdict", "verdict <> 'clean'"),
        ("product", "product IS NOT NULL"),
        ("ca_key", "ca_key IS NOT NULL"),
    ):
        op.create_index(
            f"ix_findings_institution_{column}_evidence",
            "findings",
            ["institution", column, "evidence"],
            postgresql_where=sa.text(rare),
            sqlite_where=sa.text(rare),
        )
    op.create_index("ix_findings_student", "findings", ["student"])
    op.create_table(
        "handshakes",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("evidence", ID, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_handshakes"),
        sa.ForeignKeyConstraint(["evidence"], ["evidence.id"], name="fk_handshakes_evidence", ondelete="CASCADE"),
    )
    op.create_index("ix_handshakes_evidence", "handshakes", ["evidence"])
    op.create_table(
        "verifications",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("evidence", ID, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detector_version", sa.String(32), nullable=False),
        sa.Column("knowledge", sa.LargeBinary(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_verifications"),
        sa.ForeignKeyConstraint(["evidence"], ["evidence.id"], name="fk_verifications_evidence", ondelete="CASCADE"),
    )
    op.create_index("ix_verifications_evidence_id", "verifications", ["evidence", "id"])
    op.create_table(
        "work",
        sa.Column("id", ID, nullable=False, autoincrement=True),
        sa.Column("evidence", ID, nullable=False),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_work"),
        sa.ForeignKeyConstraint(["evidence"], ["evidence.id"], name="fk_work_evidence", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["institution"], ["institutions.id"], name="fk_work_institution"),
        sa.UniqueConstraint("evidence", name="uq_work_evidence"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_work_due", "work", ["due"])
    op.create_index("ix_work_institution_due_id", "work", ["institution", "due", "id"])
    settings = sa.table("settings", sa.column("name"), sa.column("value"))
    op.execute(sa.insert(settings).values(name="erasure-key", value=secrets.token_bytes(32)))
