"""Stores on SQLite and on a real PostgreSQL, and a service on each. Room: tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.collect_service import running_service
from support.collect_stores import collect_postgres, database, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_collect.store.database import Store
    from support.collect_service import Running

__all__ = ["collect_postgres", "database", "store"]


@pytest.fixture
async def service(store: Store) -> AsyncIterator[Running]:
    """A service on loopback."""
    async with running_service(store) as running:
        yield running
