"""How older schemas become the current one. Room: history. Run by `detector.history.store`, through Alembic."""
