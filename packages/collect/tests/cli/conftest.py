"""Databases for commands. Room: tests."""

from support.collect_stores import collect_postgres, database, store

__all__ = ["collect_postgres", "database", "store"]
