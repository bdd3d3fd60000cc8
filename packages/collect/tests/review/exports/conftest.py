"""Stores on SQLite and on a real PostgreSQL. Room: tests."""

from support.collect_stores import collect_postgres, database, store

__all__ = ["collect_postgres", "database", "store"]
