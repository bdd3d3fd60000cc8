"""Room: tests of detector_collect.review.exports.routes, through the whole application."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from detector_collect.review.access import records
from detector_collect.review.exports.archive import verify
from detector_collect.store.schema import case_entries, evidence, people
from support.collect_review import NOW, SIGNING_KEY, review_room

from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from pathlib import Path

    from httpx import Response
    from support.collect_review import Room

PURPOSE = "Answer to the institution <script>"
REQUESTER, FIRST, SECOND = "Rita Reviewer", "Rolf Reviewer", "Ruth Reviewer"


async def _refer(room: Room) -> None:
    """Let an entry of the case refer to the room's real submission."""
    async with room.store.begin() as connection:
        wanted = sa.select(evidence.c.id).where(evidence.c.digest == bytes.fromhex(room.digest))
        person = await connection.scalar(sa.select(people.c.id).where(people.c.name == REQUESTER))
        values = {"case": room.case, "at": NOW, "person": person, "entry": "note", "text": "x"}
        await connection.execute(sa.insert(case_entries).values(evidence=await connection.scalar(wanted), **values))


def _exports(room: Room) -> str:
    return f"/institutions/north/cases/{room.case}/exports"


async def _request(room: Room, what: str = "archive", *, by: str = REQUESTER) -> Response:
    async with room.client(by) as visitor:
        return await visitor.post(_exports(room), what=what, purpose=PURPOSE)


async def _decide(room: Room, by: str, decision: str = "approve", *, export: int = 1) -> Response:
    async with room.client(by) as visitor:
        return await visitor.post(f"{_exports(room)}/{export}", decision=decision)


async def _use(room: Room, *, by: str = REQUESTER, purpose: str = PURPOSE, path: str = "") -> Response:
    async with room.client(by) as visitor:
        return await visitor.post(f"{path or _exports(room)}/1/file?purpose={quote(purpose)}")


async def test_an_archive_leaves_after_two_approvals(tmp_path: Path) -> None:
    """The file is signed, has the submission as it was sent, and the chain has its hash before anybody has the file."""
    async with review_room(tmp_path) as room:
        await _refer(room)
        assert (await _request(room)).status_code == 303
        assert [(await _decide(room, by)).status_code for by in (FIRST, SECOND)] == [303, 303]
        answer = await _use(room)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == 'attachment; filename="export-1.tar"'
        manifest = verify(answer.content, keys=[public_key_of(SIGNING_KEY)])
        assert [file.name for file in manifest.files] == [
            "access-records.json",
            f"assessments/{room.digest}.json",
            "case.json",
            f"evidence/{room.digest}.json",
        ]
        assert manifest.purpose == PURPOSE
        assert [name.partition(" (")[0] for name in manifest.approved_by] == [FIRST, SECOND]
        latest = (await records.listed(room.store, limit=1))[0].record
        assert latest.action == "export"
        assert f"{len(answer.content)} bytes" in (latest.subject or "")


async def test_the_dossier_is_a_pdf_with_its_case_and_approvers(tmp_path: Path) -> None:
    """The PDF comes by the same rule."""
    async with review_room(tmp_path) as room:
        await _request(room, "dossier")
        await _decide(room, FIRST)
        assert (await _use(room)).status_code == 403
        await _decide(room, SECOND)
        answer = await _use(room)
        assert answer.content.startswith(b"%PDF")
        assert answer.headers["content-type"] == "application/pdf"


@pytest.mark.parametrize("by", [REQUESTER, FIRST])
async def test_nobody_approves_twice_or_what_they_requested(tmp_path: Path, by: str) -> None:
    """The second approval is by somebody who neither requested nor approved; the page says why it is refused."""
    async with review_room(tmp_path) as room:
        await _request(room, "dossier")
        await _decide(room, FIRST)
        answer = await _decide(room, by)
        assert answer.status_code == 403
        assert 'role="alert"' in answer.text
        assert (await _use(room)).status_code == 403


async def test_a_declined_or_used_export_gives_nothing(tmp_path: Path) -> None:
    """Who declines ends the export, and a second use is refused."""
    async with review_room(tmp_path) as room:
        await _request(room, "dossier")
        await _request(room, "dossier")
        await _decide(room, FIRST, "decline", export=2)
        assert (await _decide(room, SECOND, export=2)).status_code == 403
        await _decide(room, FIRST)
        await _decide(room, SECOND)
        assert [(await _use(room)).status_code for _ in range(2)] == [200, 403]


async def test_the_guard_stands_before_the_file(tmp_path: Path) -> None:
    """No purpose, another purpose, another institution's path, another role, no session, a link: never a file."""
    async with review_room(tmp_path) as room:
        await _request(room, "dossier")
        await _decide(room, FIRST)
        await _decide(room, SECOND)
        other = _exports(room).replace("north", "south")
        assert (await _use(room, purpose="")).status_code == 403
        assert (await _use(room, purpose="Another purpose")).status_code == 403
        assert (await _use(room, path=other)).status_code == 403
        for by in ("Vera Viewer", "Anna Auditor", "Adam Admin", "Lena Learning"):
            assert (await _use(room, by=by)).status_code == 403
            assert (await _decide(room, by)).status_code == 403
            assert (await _request(room, by=by)).status_code == 403
        assert (await _use(room, by=FIRST)).status_code == 403
        async with room.client(REQUESTER) as visitor:
            path = f"{_exports(room)}/1/file?purpose={quote(PURPOSE)}"
            without_token = await visitor.client.post(path, headers={"Origin": "https://evil.example"})
            assert without_token.status_code == 403
            assert (await visitor.get(path)).status_code in {403, 404, 405}
            visitor.client.cookies.clear()
            assert (await visitor.post(path)).status_code in {303, 401}
        assert (await _use(room)).status_code == 200


async def test_the_page_escapes_and_offers_only_what_is_possible(tmp_path: Path) -> None:
    """Hostile purposes are text; the requester sees no button to approve, an approver none to use."""
    async with review_room(tmp_path) as room:
        await _request(room, "dossier")
        pages = {}
        for by in (REQUESTER, FIRST):
            async with room.client(by) as visitor:
                pages[by] = (await visitor.get(_exports(room))).text
        assert all("<script" not in page for page in pages.values())
        assert "Approve" not in re.sub("Approved by", "", pages[REQUESTER])
        assert "Approve<" in pages[FIRST]
        await _decide(room, FIRST)
        await _decide(room, SECOND)
        async with room.client(REQUESTER) as visitor:
            assert "once</button>" in (await visitor.get(_exports(room))).text
        async with room.client(FIRST) as visitor:
            assert "once</button>" not in (await visitor.get(_exports(room))).text


async def test_nonsense_in_forms_is_refused_with_a_reason(tmp_path: Path) -> None:
    """No purpose, a purpose without letters, an unknown kind, a case without submissions."""
    async with review_room(tmp_path) as room:
        for what, purpose in (("archive", ""), ("archive", "???"), ("everything", PURPOSE), ("archive", PURPOSE)):
            async with room.client(REQUESTER) as visitor:
                answer = await visitor.post(_exports(room), what=what, purpose=purpose)
            assert answer.status_code == 403
        assert (await _decide(room, FIRST)).status_code == 403


async def test_an_archive_has_the_records_of_its_case_alone(tmp_path: Path) -> None:
    """Access records of other cases stay."""
    async with review_room(tmp_path) as room:
        await _refer(room)
        await _request(room)
        await _decide(room, FIRST)
        await _decide(room, SECOND)
        answer = await _use(room)
        found = re.search(rb'\[\{"number":.*?\}\]', answer.content, re.DOTALL)
        assert found is not None
        assert {one["record"].get("case") for one in json.loads(found[0])} == {room.case}
