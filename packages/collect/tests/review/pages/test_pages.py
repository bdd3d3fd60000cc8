"""The pages with a small world in them, as each kind of person gets them.

Room: tests. The whole application in memory, on SQLite.
"""

from __future__ import annotations

import html.parser
import itertools
import re
from typing import TYPE_CHECKING

from support.collect_review import HOSTILE

if TYPE_CHECKING:
    from support.collect_review import Room, Visitor

PURPOSE = "purpose=checking%20the%20key"


def _evidence(room: Room, path: str) -> str:
    """The address of a page with evidence."""
    return f"/institutions/north/{path}?case={room.case}&{PURPOSE}"


def _pages(room: Room) -> dict[str, list[str]]:
    """Every page with the person who may see it."""
    return {
        "Rita Reviewer": [
            "/",
            "/institutions/north",
            "/institutions/south",
            f"/institutions/north/cases/{room.case}",
            _evidence(room, "evidence"),
            _evidence(room, f"evidence/{room.digest}"),
            _evidence(room, f"evidence/{room.digest}/names"),
            _evidence(room, "dossier"),
            "/nothing/of/the/kind",
        ],
        "Vera Viewer": ["/", "/institutions/north", f"/institutions/north/cases/{room.case}"],
        "Anna Auditor": ["/audit", "/institutions/north"],
        "Adam Admin": ["/grants"],
        "Lena Learning": ["/own"],
    }


class _Structure(html.parser.HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))


async def _every_page(room: Room) -> dict[tuple[str, str], str]:
    found = {}
    for name, paths in _pages(room).items():
        async with room.client(name) as visitor:
            for path in paths:
                answer = await visitor.get(path)
                assert answer.status_code in {200, 403, 404}, (path, answer.text)
                found[name, path] = answer.text
    return found


async def test_structure(room: Room) -> None:
    """Landmarks, a language, one top heading, no level left out, ids once, labels for fields, captions for tables."""
    for (_, path), text in (await _every_page(room)).items():
        elements = _Structure(text).elements
        tags = [tag for tag, _ in elements]
        assert [tags.count(tag) for tag in ("html", "header", "main", "footer", "h1")] == [1] * 5, path
        assert elements[0] == ("html", {"lang": "en"})
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in itertools.pairwise([0, *levels])), (path, levels)
        ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
        assert len(ids) == len(set(ids)), path
        local = {a["href"][1:] for tag, a in elements if tag == "a" and a["href"].startswith("#")}
        assert local <= set(ids), path
        if "dossier" not in path:  # its tables are those of reports, under headings of their own
            assert tags.count("table") == tags.count("caption"), path


async def test_pages_load_one_style_sheet_and_run_nothing(room: Room) -> None:
    """No script, no inline style, no picture or frame, and no address of another host; nor do the headers allow any."""
    for (_, path), text in (await _every_page(room)).items():
        elements = _Structure(text).elements
        assert not {tag for tag, _ in elements} & {"script", "style", "iframe", "object", "embed", "img", "base"}, path
        assert not [a for _, a in elements if "style" in a or any(name.startswith("on") for name in a)], path
        assert [a["href"].partition("?")[0] for tag, a in elements if tag == "link"] == ["/static/review.css"]
        addresses = [a.get(name, "") for _, a in elements for name in ("href", "src", "action", "formaction")]
        assert all(not address or address[0] in "#/?" for address in addresses), path
        assert not [address for address in addresses if address.startswith("//")]
    async with room.client("Rita Reviewer") as visitor:
        answer = await visitor.get("/")
        style = await visitor.get("/static/review.css")
    policy = answer.headers["content-security-policy"]
    assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["cache-control"] == "no-store"
    assert style.headers["content-type"].startswith("text/css")
    assert not re.search(r"url\(|@import", style.text)


async def test_nothing_is_a_download(room: Room) -> None:
    """No answer with evidence is stored by a browser or offered as a file."""
    async with room.client("Rita Reviewer") as visitor:
        for path in _pages(room)["Rita Reviewer"][4:8]:
            answer = await visitor.get(path)
            assert answer.status_code == 200
            assert "content-disposition" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"
            assert "BEGIN CERTIFICATE" not in answer.text


async def test_every_page_with_evidence_has_the_watermark(room: Room) -> None:
    """Name and number of the reader, case and time are all over each page with evidence, and on no other."""
    for (_, path), text in (await _every_page(room)).items():
        marked = len(re.findall(r"Rita Reviewer \([1-9]\), case 1, 2026-11-30 09:30 UTC", text))
        assert (marked > 10) == ("purpose=" in path), path


async def test_names_are_shown_only_where_they_are_asked_for(room: Room) -> None:
    """The name of a CA, which may be a person's, is on the page of the raw chain alone, and harmless there."""
    pages = await _every_page(room)
    for (_, path), text in pages.items():
        assert ("Erika" in text) == ("/names?" in path), path
        assert "<script" not in text
        assert "\u202e" not in text
        assert "\u200b" not in text
    named = next(text for (_, path), text in pages.items() if "/names?" in path)
    assert "&lt;script" in named
    assert r"\E2\80\AEgnp.txe\E2\80\8B PC of Erika" in named
    assert HOSTILE not in named


async def test_the_conclusion_leads(room: Room) -> None:
    """Only the institution that the assessment names is said to decrypt; the dossier says whose devices they are."""
    pages = await _every_page(room)
    assert "very probably decrypts" in pages["Rita Reviewer", "/institutions/north"]
    assert "decrypts" not in pages["Rita Reviewer", "/institutions/south"]
    assert "campus-filter" not in pages["Rita Reviewer", "/institutions/south"]
    assert "does not say whose the interceptor is" in pages["Rita Reviewer", _evidence(room, "dossier")]


async def test_who_sees_what(room: Room) -> None:
    """A viewer gets no evidence, an auditor no institution, an administrator neither, LTI staff what is theirs."""
    refused = {
        "Vera Viewer": [_evidence(room, "evidence"), "/audit", "/grants", "/own"],
        "Anna Auditor": ["/", "/institutions/north", _evidence(room, f"evidence/{room.digest}"), "/grants"],
        "Adam Admin": ["/", "/institutions/north", _evidence(room, "dossier"), "/audit"],
        "Lena Learning": ["/", "/institutions/north", "/institutions/south", _evidence(room, "evidence"), "/audit"],
        "Rita Reviewer": ["/audit", "/grants", "/own", "/institutions/missing", "/institutions/north/cases/99"],
    }
    for name, paths in refused.items():
        async with room.client(name) as visitor:
            for path in paths:
                answer = await visitor.get(path)
                assert answer.status_code == 403, (name, path)
                assert "Not for you" in answer.text
    pages = await _every_page(room)
    assert "Open a case" in pages["Rita Reviewer", "/institutions/north"]
    assert "Open a case" not in pages["Vera Viewer", "/institutions/north"]
    assert "Purpose of reading" not in pages["Vera Viewer", f"/institutions/north/cases/{room.case}"]


async def test_evidence_needs_a_purpose(room: Room) -> None:
    """Without case or purpose, or with a case of another institution, there is no evidence."""
    async with room.client("Rita Reviewer") as visitor:
        for query in ("", f"?case={room.case}", f"?{PURPOSE}", f"?case=99&{PURPOSE}", f"?case={room.case}&purpose=+"):
            assert (await visitor.get(f"/institutions/north/evidence/{room.digest}{query}")).status_code == 403, query
        other = f"/institutions/south/evidence/{room.digest}?case={room.case}&{PURPOSE}"
        assert (await visitor.get(other)).status_code == 403


async def _read(visitor: Visitor, path: str) -> int:
    """The number of the last entry on a case's page."""
    found = re.search(r'name="read" value="(\d+)"', (await visitor.get(path)).text)
    assert found is not None
    return int(found[1])


async def test_a_review(room: Room) -> None:
    """A case goes from its opening to its resolution by forms, and each entry stays on the page."""
    path = f"/institutions/north/cases/{room.case}"
    async with room.client("Rita Reviewer") as visitor:
        for step, text in (
            ("ask", "Is it yours?"),
            ("answer", "Yes, a filter. <b>We exempt the exam.</b>"),
            ("review-rights", "It came back."),
            ("resolve", "Exempted for good."),
        ):
            answer = await visitor.post(path, step=step, text=text, read=await _read(visitor, path))
            assert (answer.status_code, answer.headers["location"]) == (303, path), answer.text
        text = (await visitor.get(path)).text
        assert "The case is resolved" in text
        assert "Yes, a filter. &lt;b&gt;We exempt the exam.&lt;/b&gt;" in text
        assert "The institution's answer of" in text
        opened = await visitor.post("/institutions/north/cases", title="Again", text="It is back.")
        assert opened.status_code == 303
        assert "Again" in (await visitor.get(opened.headers["location"])).text
        assert (await visitor.post("/institutions/north/cases", title="", text="x")).status_code == 422


async def test_the_second_of_two_reviewers_is_refused(room: Room) -> None:
    """Who wrote while somebody else made an entry gets the page again with the text that was not saved."""
    path = f"/institutions/north/cases/{room.case}"
    async with room.client("Rita Reviewer") as rita, room.client("Rolf Reviewer") as rolf:
        read = await _read(rolf, path)
        assert (await rita.post(path, step="ask", text="Is it yours?", read=read)).status_code == 303
        answer = await rolf.post(path, step="resolve", text="It was nothing.", read=read)
        assert answer.status_code == 409
        assert "The case changed while you wrote" in answer.text
        assert "It was nothing.</textarea>" in answer.text
        assert "Is it yours?" in answer.text
        assert "<li id" in answer.text
        assert "The case is asked" in answer.text


async def test_forms_need_the_token_of_their_session(room: Room) -> None:
    """A form without the session's token, or with another one's, changes nothing."""
    path = f"/institutions/north/cases/{room.case}"
    async with room.client("Rita Reviewer") as visitor, room.client("Rolf Reviewer") as other:
        read = await _read(visitor, path)
        for csrf in ("", other.csrf):
            forged = visitor._replace(csrf=csrf)
            assert (await forged.post(path, step="note", text="x", read=read)).status_code == 403
        assert await _read(visitor, path) == read


async def test_grants_are_made_by_two(room: Room) -> None:
    """A requested role counts once another administrator approved it, until it is revoked; broken rules are named."""
    fields = {"what": "request", "person": 3, "role": "reviewer", "institution": "north", "expires": "2027-01-31"}
    async with room.client("Adam Admin") as adam, room.client("Ada Admin") as ada:
        assert (await adam.post("/grants", **fields)).status_code == 303
        text = (await adam.get("/grants")).text
        number = max(map(int, re.findall(r'name="grant" value="(\d+)"', text)))
        assert "waits for approval" in text
        own = await adam.post("/grants", what="approve", grant=number)
        assert own.status_code == 403
        assert "Somebody else approves" in own.text
        assert (await ada.post("/grants", what="approve", grant=number)).status_code == 303
        async with room.client("Vera Viewer") as vera:
            assert "Open a case" in (await vera.get("/institutions/north")).text
            assert (await adam.post("/grants", what="revoke", grant=number)).status_code == 303
            assert "Open a case" not in (await vera.get("/institutions/north")).text
        wrong = {"role": "emperor", "expires": "soon", "person": "nobody", "institution": "missing"}
        for name, value in wrong.items():
            assert (await adam.post("/grants", **{**fields, name: value})).status_code == 403, name
        assert (await adam.post("/grants", what="dance")).status_code == 403


async def test_an_auditor_sees_records_and_no_evidence(room: Room) -> None:
    """Who read what, for which case and purpose, and who was refused: with numbers and hashes, page by page."""
    async with room.client("Rita Reviewer") as visitor:
        await visitor.get(_evidence(room, f"evidence/{room.digest}"))
        await visitor.get("/audit")
        await visitor.get(_evidence(room, f"evidence/{room.digest}/names"))
    async with room.client("Anna Auditor") as visitor:
        text = (await visitor.get("/audit")).text
    assert f"GET /institutions/north/evidence/{room.mark}/names" in text
    assert room.digest not in text
    assert "Rita Reviewer" in text
    assert "checking the key" in text
    assert "no-grant" in text
    assert "Erika" not in text


async def test_what_changed_since_the_last_visit(room: Room) -> None:
    """The overview says what is new since a person saw the institution, and nothing once that is seen."""
    path = f"/institutions/north/cases/{room.case}"
    async with room.client("Rita Reviewer") as rita, room.client("Vera Viewer") as vera:
        assert "not visited yet" in (await vera.get("/")).text
        await vera.get("/institutions/north")
        assert "nothing <small>" in (await vera.get("/?show=open")).text
        await rita.post(path, step="note", text="x", read=await _read(rita, path))


async def test_errors_are_pages(room: Room) -> None:
    """What goes wrong is said in plain words, and nothing that was sent is repeated; programs get no page."""
    async with room.client("Rita Reviewer") as visitor:
        missing = await visitor.get("/%3Cscript%3E")
        assert missing.status_code == 404
        assert "There is no such page" in missing.text
        assert "script" not in missing.text
        program = await visitor.client.get("/nothing", headers={"Accept": "application/json"})
        assert program.status_code == 404
        assert "json" in program.headers["content-type"]
        for _ in range(300):
            last = await visitor.get("/")
            if last.status_code == 429:
                break
        assert last.status_code == 429
        assert "Wait a minute" in last.text
        assert last.headers["retry-after"] == "60"


async def test_strangers_are_sent_to_the_sign_in(room: Room) -> None:
    """Who is not signed in gets to the page to sign in, and sees nothing else."""
    async with room.client("Rita Reviewer") as visitor:
        visitor.client.cookies.clear()
        answer = await visitor.get("/institutions/north")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
