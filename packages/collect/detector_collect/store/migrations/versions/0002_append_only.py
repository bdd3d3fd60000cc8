"""Refuses to change or delete access records. Room: detector_collect.store.

An administrator of the database can drop the triggers; `detector-collect audit verify` finds what is then changed.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_POSTGRESQL = (
    """CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'access records are append-only'; END $$""",
    """CREATE TRIGGER access_records_append_only BEFORE UPDATE OR DELETE ON access_records
    FOR EACH ROW EXECUTE FUNCTION refuse_change()""",
    """CREATE TRIGGER access_records_not_truncated BEFORE TRUNCATE ON access_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
)
_SQLITE = tuple(
    f"""CREATE TRIGGER access_records_no_{change.lower()} BEFORE {change} ON access_records
    BEGIN SELECT RAISE(ABORT, 'access records are append-only'); END"""
    for change in ("UPDATE", "DELETE")
)


def upgrade() -> None:
    """Create the triggers."""
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)
