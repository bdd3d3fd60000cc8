"""A review room for each test. Room: tests. SQLite in a temporary folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.collect_review import Room, review_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """A room with two institutions, staff of every role, and one case."""
    async with review_room(tmp_path) as made:
        yield made
