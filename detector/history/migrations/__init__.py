"""Migrations from older schemas. Room: history. Run by `detector.history.store`, through Alembic."""
