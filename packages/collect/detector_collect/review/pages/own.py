"""What an institution's own staff see, who come from its learning platform: its findings, and what to exempt.

Room: detector_collect.review.pages. Reads through `queries`. The institution is that of the session, never of the URL.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import PermissionDeniedException

from detector.model import Category
from detector_collect.review import plots, queries, wording
from detector_collect.review.access.permissions import Permission, Person

from .institution import title_of
from .rendering import now_of, page_of, respond

EXEMPTED: Final = frozenset({Category.EXAM, Category.LMS})
"""Categories whose hosts the institution is asked to exempt; others are its own decision."""


@get("/own", opt={"permission": Permission.OWN_INSTITUTION})
async def own(request: Request[Person, Any, Any]) -> Response[str]:
    """Show the institution of the session."""
    institution = request.user.institution
    if institution is None:
        raise PermissionDeniedException
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, institution)
        assessed = await queries.assessed(connection, institution, limit=1)
        numbers = await queries.summary(connection, institution, now=now_of(request))
    assessment = assessed[0].assessment if assessed else None
    bases = assessment.bases if assessment else ()
    return respond(
        "own",
        page_of(request, title, place="/own"),
        words=wording.conclusion(assessment),
        numbers=numbers,
        exempt=exempt(numbers),
        weeks=plots.by_week(numbers.weeks),
        map=plots.coverage(numbers.cells),
        bases=bases,
        alternatives=dict.fromkeys(itertools.chain.from_iterable(basis.alternatives for basis in bases)),
    )


def exempt(numbers: queries.Summary) -> list[str]:
    """The hosts to exempt: of exams and courses, with interception of as many students as may be shown."""
    return sorted({cell.host for cell in numbers.cells if cell.intercepted and cell.category in EXEMPTED})
