"""A run records its kind (check, scan, fleet), and what people search for is indexed. Room: history."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column, what was there being checks, and the indexes."""
    op.add_column("runs", sa.Column("kind", sa.String(16), nullable=False, server_default="check"))
    op.create_index("ix_runs_vantage_started", "runs", ["vantage", "started"])
    op.create_index("ix_results_host_port_run_id", "results", ["host", "port", "run_id"])
