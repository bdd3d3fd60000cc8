"""Runs, their results, and the certificates seen. Room: history."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("vantage", sa.Text, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True)),
        sa.Column("verdict", sa.String(16)),
        sa.Column("confidence", sa.String(16)),
        sa.Column("head", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "certificates",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("der", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "results",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("category", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("confidence", sa.String(16)),
        sa.Column("assurance", sa.String(16)),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("product", sa.Text),
        sa.Column("issuer", sa.Text),
        sa.Column("detail", sa.LargeBinary, nullable=False),
    )
