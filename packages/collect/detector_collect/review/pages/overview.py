"""The overview of institutions.

Room: detector_collect.review.pages. Reads through `queries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Request, Response, get

from detector_collect.responsibility import Conclusion
from detector_collect.review import queries, wording
from detector_collect.review.access.permissions import Permission, Person

from .rendering import now_of, page_of, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detector_collect.review.queries import Institution

ROWS: Final = 25
"""Institutions on one page: a few screens on a phone."""

ORDERS: Final[Mapping[str, tuple[str, Callable[[Institution], Any]]]] = {
    "conclusion": ("gravest conclusion", lambda row: (_gravity(row), row.title)),
    "changes": ("most recent changes", lambda row: (not row.changes, row.title)),
    "cases": ("open cases", lambda row: (-row.open_cases, row.title)),
    "title": ("name", lambda row: row.title.casefold()),
}
_FILTERS: Final[Mapping[str, tuple[str, Callable[[Institution], bool]]]] = {
    "all": ("all", lambda _: True),
    "changed": ("changed since my last visit", lambda row: bool(row.changes)),
    "open": ("with an open case", lambda row: bool(row.open_cases)),
}
_CHANGES: Final = {
    queries.Change.CASE: "a new entry in a case",
    queries.Change.ANSWER: "an answer of the institution",
}


@get("/", opt={"permission": Permission.VIEW})
async def overview(request: Request[Person, Any, Any]) -> Response[str]:
    """Show the institutions that this person may see, sorted, filtered, and page by page."""
    person, now = request.user, now_of(request)
    async with request.app.state.store.connect() as connection:
        rows = await queries.overview(connection, person=person.id)
    allowed = person.institutions(Permission.VIEW, now=now)
    visible = [row for row in rows if allowed is None or row.id in allowed]
    query = request.query_params
    return respond("overview", page_of(request, "Institutions", place="/"), **listed(visible, query))


def listed(rows: Sequence[Institution], query: Mapping[str, str]) -> dict[str, Any]:
    """What the overview shows of these rows. Unknown filters, orders and pages count as the first of each."""
    show, sort = query.get("show", ""), query.get("sort", "")
    filters = {**_FILTERS, **{one.value: (wording.CONCLUSIONS[one].short, _concluding(one)) for one in Conclusion}}
    show, sort = (show if show in filters else "all"), (sort if sort in ORDERS else "conclusion")
    found = sorted(filter(filters[show][1], rows), key=ORDERS[sort][1])
    pages = max(1, -(-len(found) // ROWS))
    number = min(_number(query.get("page", "")), pages)
    return {
        "rows": [
            (row, wording.CONCLUSIONS[row.conclusion] if row.conclusion else wording.NO_ASSESSMENT, _changes(row))
            for row in found[(number - 1) * ROWS : number * ROWS]
        ],
        "total": len(found),
        "number": number,
        "pages": pages,
        "show": show,
        "sort": sort,
        "filters": [(name, words) for name, (words, _) in filters.items()],
        "orders": [(name, words) for name, (words, _) in ORDERS.items()],
    }


def _gravity(row: Institution) -> int:
    order = list(Conclusion)
    return len(order) if row.conclusion is None else order.index(row.conclusion)


def _concluding(conclusion: Conclusion) -> Callable[[Institution], bool]:
    return lambda row: row.conclusion is conclusion


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and int(text[:6]) > 0 and len(text) <= 6 else 1  # noqa: PLR2004 - digits of a page that could exist


def _changes(row: Institution) -> list[str]:
    return [
        f"was: {wording.CONCLUSIONS[row.previous].short if row.previous else wording.NO_ASSESSMENT.short}"
        if change is queries.Change.CONCLUSION
        else _CHANGES[change]
        for change in row.changes
    ]
