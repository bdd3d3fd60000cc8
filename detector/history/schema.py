"""Tables of the history, as the migrations create them.

Room: history. Pure: descriptions only.

`runs` has one row per run, written when it begins; `finished` stays empty until it ends, so that a killed run is
recognizable. `results` has one row per endpoint and run: the columns to query, and the whole result as JSON (`detail`)
whose certificates are stored once each in `certificates`.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

REVISION: Final = "0002"
"""The newest migration, which results in these tables. Revisions are numbers of four digits, in order."""

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

runs: Final = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("vantage", sa.Text, nullable=False),
    sa.Column("started", sa.DateTime(timezone=True), nullable=False),
    sa.Column("finished", sa.DateTime(timezone=True)),
    sa.Column("verdict", sa.String(16)),
    sa.Column("confidence", sa.String(16)),
    sa.Column("head", sa.LargeBinary, nullable=False),
    sa.Index(None, "vantage", "started"),
)
"""`head` is the report without its results, as JSON."""

certificates: Final = sa.Table(
    "certificates",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("der", sa.LargeBinary, nullable=False),
)

results: Final = sa.Table(
    "results",
    metadata,
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
    sa.Index(None, "host", "port", "run_id"),
)
"""`number` is the result's place within its run; a result that amends another takes its row."""
