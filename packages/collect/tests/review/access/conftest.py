"""Stores and rooms of the tests here. Room: tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.collect_access import Room
from support.collect_stores import collect_postgres, database, store

if TYPE_CHECKING:
    from detector_collect.store.database import Store

__all__ = ["collect_postgres", "database", "room", "store"]


@pytest.fixture
async def room(store: Store) -> Room:
    """A review room with the institutions `north` (whose key the store has) and `south`."""
    made = Room(store)
    await made.institution("south")
    return made
