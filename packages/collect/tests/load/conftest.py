"""A real PostgreSQL. Room: tests."""

from support.collect_stores import collect_postgres

__all__ = ["collect_postgres"]
