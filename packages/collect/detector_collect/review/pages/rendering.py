"""Renders the review pages, and says what every page has.

Room: detector_collect.review.pages. Pure but for the requests that it reads.

Pages run no script and load one style sheet from the same server, and nothing else. All that was sent by anybody passes
`detector.report.html`, which escapes it and makes invisible characters, and those that change the direction of text,
visible. Nothing is offered for download.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litestar import MediaType, Response

from detector.report.html import TEMPLATES as REPORT_TEMPLATES
from detector.report.html import environment
from detector_collect.review import cases, plots, wording
from detector_collect.review.access.permissions import Permission

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from jinja2 import Environment
    from litestar import Request

    from detector_collect.review.access.permissions import Person

_ROOM: Final = Path(__file__).parent.parent
TEMPLATES: Final = _ROOM / "templates"
STYLE: Final = (REPORT_TEMPLATES / "report.css").read_text("utf-8") + (_ROOM / "static" / "review.css").read_text(
    "utf-8"
)
STYLE_PATH: Final = "/static/review.css"
STYLE_URL: Final = f"{STYLE_PATH}?{hashlib.sha256(STYLE.encode()).hexdigest()[:16]}"
"""With a part of its hash, so that a browser loads a new style sheet at once."""

STATES: Final[dict[str | None, str]] = {
    None: "open",
    **{state.value: state.value.replace("-", " ") for state in cases.State},
}
ENTRIES: Final = {
    cases.EntryKind.STATE: "State",
    cases.EntryKind.NOTE: "Note",
    cases.EntryKind.ANSWER: "Answer of the institution",
    cases.EntryKind.MEASUREMENT: "Measurement of the institution",
}


class Viewer(NamedTuple):
    """Who sees a page: the name, the places of the navigation, and what the present institution allows."""

    name: str
    places: tuple[tuple[str, str], ...]
    reviews: bool = False
    reads_evidence: bool = False


class Page(NamedTuple):
    """What every page has. `crumbs` lead to it (address, words), `place` is its entry in the navigation."""

    title: str
    viewer: Viewer | None = None
    crumbs: Sequence[tuple[str, str]] = ()
    place: str = ""
    csrf: str = ""


_PLACES: Final = (
    ("/", "Institutions", Permission.VIEW),
    ("/audit", "Audit", Permission.AUDIT),
    ("/grants", "Grants", Permission.ADMINISTER),
    ("/own", "Your institution", Permission.OWN_INSTITUTION),
)


def viewer_of(person: Person, *, now: dt.datetime, institution: str | None = None) -> Viewer:
    """The viewer that this person is, at this institution."""
    return Viewer(
        person.name,
        tuple((address, words) for address, words, permission in _PLACES if person.may(permission, None, now=now)),
        reviews=institution is not None and person.may(Permission.REVIEW, institution, now=now),
        reads_evidence=institution is not None and person.may(Permission.EVIDENCE, institution, now=now),
    )


def now_of(request: Request[Any, Any, Any]) -> dt.datetime:
    """The time of a request, by the clock of the application."""
    now: dt.datetime = request.app.state.clock()
    return now


def page_of(
    request: Request[Any, Any, Any],
    title: str,
    *,
    crumbs: Sequence[tuple[str, str]] = (),
    place: str = "",
    institution: str | None = None,
) -> Page:
    """A page for the person of a request."""
    person: Person = request.user
    return Page(title, viewer_of(person, now=now_of(request), institution=institution), crumbs, place, person.csrf)


def respond(template: str, page: Page, *, status: int = 200, **content: object) -> Response[str]:
    """The answer with a page."""
    return Response(render(template, page, **content), status_code=status, media_type=MediaType.HTML)


def render(template: str, page: Page, **content: object) -> str:
    """The text of a page."""
    return _environment().get_template(f"{template}.html.jinja").render(page=page, **content)


def compile_templates() -> None:
    """Compile every template, which takes longer than most pages: at the start, so that nobody's first page waits."""
    made = _environment()
    for name in made.list_templates(extensions=["jinja"]):
        made.get_template(name)


def _environment() -> Environment:
    made = environment(TEMPLATES)
    made.globals.update(
        style=STYLE_URL,
        people=plots.number,
        plot_height=plots.HEIGHT,
        tones=plots.TONES,
        conclusions=wording.CONCLUSIONS,
        explanations=wording.ALTERNATIVES,
        share=wording.share,
        tested=wording.tested,
        state_words=lambda state: STATES.get(state, str(state)),
        entry_words=ENTRIES,
    )
    return made
