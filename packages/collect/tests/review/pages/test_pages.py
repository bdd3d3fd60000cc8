"""The pages with a small world in them, as each kind of person gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.collect_review import Room, review_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with review_room(tmp_path) as made:
        yield made


async def test_a_reviewer_gets_every_page(room: Room) -> None:
    """Overview, institution, case, evidence and dossier are there, each with its heading."""
    async with room.client("Rita Reviewer") as visitor:
        for path, words in (
            ("/", "North University"),
            ("/institutions/north", "very probably decrypts"),
            (f"/institutions/north/cases/{room.case}", "Filter on the campus network"),
            (f"/institutions/north/evidence?case={room.case}&purpose=checking%20the%20key", "Submissions"),
            (
                f"/institutions/north/evidence/{room.digest}?case={room.case}&purpose=checking%20the%20key",
                "Presented here",
            ),
            (f"/institutions/north/dossier?case={room.case}&purpose=checking%20the%20key", "Dossier"),
        ):
            answer = await visitor.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert words in answer.text, path
