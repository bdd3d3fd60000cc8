"""Text that others chose, in every field that a page shows: it stays text, and shows what is invisible.

Room: tests. Templates in memory; Hypothesis chooses the text.
"""

from __future__ import annotations

import datetime as dt
import functools
import html.parser
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import msgspec
from detector_collect.responsibility import Alternative, Assessment, Basis, Conclusion, Share
from detector_collect.review import plots, queries, wording
from detector_collect.review.access.permissions import Role
from detector_collect.review.cases import RULES
from detector_collect.review.pages.overview import listed
from detector_collect.review.pages.rendering import Page, Viewer, render
from detector_collect.review.pages.staff import AuditRow, GrantRow
from detector_collect.review.withholding import withhold
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.results import NOW, intercepted, report

from detector.model import Attribution, Category, Confidence, Verdict
from detector.report.html import evidence_content

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES: Final[dict[str, Callable[[str], dict[str, Any]]]] = {}
"""What each template shows, made of one text that stands wherever others choose one."""
SHARE: Final = Share(25, 30, 0.5, 1.0)


def _page(text: str) -> Page:
    viewer = Viewer(text, (("/", "Institutions"),), reviews=True, reads_evidence=True)
    return Page(text, viewer, crumbs=[("/", text)], place="/", csrf="token")


def _case(text: str) -> queries.Case:
    return queries.Case(id=1, institution="north", title=text, opened=NOW, state="open", changed=NOW)


def _basis(text: str) -> Basis:
    return Basis(
        conclusion=Conclusion.INSTITUTION,
        product=text,
        key="a" * 64,
        here=SHARE,
        elsewhere=SHARE,
        networks=1,
        p_value=0.001,
        alternatives=tuple(Alternative),
    )


def _assessed(text: str) -> queries.Assessed:
    made = Assessment(
        institution="north", conclusion=Conclusion.INSTITUTION, students=30, error=0.001, bases=(_basis(text),) * 2
    )
    return queries.Assessed(number=1, at=NOW, since=NOW, until=NOW, assessment=made)


def _summary(text: str) -> queries.Summary:
    cell = queries.Cell(
        exam=text,
        network="a" * 64,
        host=text,
        port=443,
        category=Category.EXAM,
        students=30,
        intercepted=25,
        uncertain=0,
        clean=5,
    )
    week = queries.WeekCount(week=dt.date(2026, 11, 30), verdict=Verdict.CLEAN, confidence=None, students=5)
    return queries.Summary(
        made=NOW,
        students=30,
        intercepted=25,
        claimed=0,
        quarantined=5,
        since=NOW.date(),
        until=NOW.date(),
        weeks=(week,),
        exams=(),
        other_exams=0,
        networks=(),
        other_networks=0,
        endpoints=(),
        cells=(cell,),
    )


def _evidence(text: str) -> queries.Evidence:
    return queries.Evidence(
        id=1,
        digest="a" * 64,
        institution="north",
        kind=text,
        exam=text,
        made=NOW,
        received=NOW,
        size=1,
        state="quarantined",
        reason=text,
    )


def _overview(text: str) -> dict[str, Any]:
    row = queries.Institution(
        id="north",
        title=text,
        conclusion=Conclusion.INSTITUTION,
        previous=None,
        students=30,
        intercepted=25,
        open_cases=1,
        last_visit=NOW,
        changes=tuple(queries.Change),
    )
    return listed([row], {"show": text, "sort": text, "page": text})


def _institution(text: str) -> dict[str, Any]:
    numbers = _summary(text)
    return {
        "institution": text,
        "words": wording.CONCLUSIONS[Conclusion.INSTITUTION],
        "latest": _assessed(text),
        "earlier": (_assessed(text),),
        "bases_most": 1,
        "numbers": numbers,
        "weeks": plots.by_week(numbers.weeks),
        "map": plots.coverage(numbers.cells),
        "cases": [_case(text)],
        "older": 1,
    }


def _of_case(text: str) -> dict[str, Any]:
    entry = queries.Entry(id=1, at=NOW, person=text, entry="answer", state=None, text=text, evidence="a" * 64)
    return {
        "institution": text,
        "case": _case(text),
        "words": wording.CONCLUSIONS[Conclusion.INSTITUTION],
        "bases": (_basis(text),),
        "alternatives": list(Alternative),
        "entries": [entry, msgspec.structs.replace(entry, id=2, entry="state", state="open")],
        "next": None,
        "read": 1,
        "steps": [(step.value, rule) for step, rule in RULES.items()],
        "problem": text,
        "draft": text,
        "chosen": text,
        "purpose_least": 3,
        "purpose_most": 300,
    }


def _listed_evidence(text: str) -> dict[str, Any]:
    return {
        **_reading(text),
        "rows": [_evidence(text)],
        "next": 1,
        "filters": [("", "everything")],
        "verdict": "",
    }


def _reading(text: str) -> dict[str, Any]:
    return {"watermark": text[:200], "institution": text, "case": 1, "purpose": text}


def _shown_evidence(text: str) -> dict[str, Any]:
    party = Attribution(issuer=text, basis=text, product=text, vendor=text)
    made = report(intercepted("exam.example.edu", attribution=party, confidence=Confidence.PROVEN))
    verified = queries.Verification(
        at=NOW, detector_version=text, knowledge="a" * 64, state="verified", detail=msgspec.Raw(b"{}")
    )
    return {
        **_reading(text),
        "row": _evidence(text),
        "reference": "ab" * 32,
        "state_sentence": "Quarantined",
        "verifications": [verified],
        "is_named": True,
        "nothing": "",
        "with_pem": False,
        **evidence_content([made]),
    }


def _withheld_evidence(text: str) -> dict[str, Any]:
    party = Attribution(issuer=text, basis=text)
    made = withhold(report(intercepted("exam.example.edu", attribution=party)))
    return {**_shown_evidence("x"), "is_named": False, **evidence_content([made])}


def _audit(text: str) -> dict[str, Any]:
    row = AuditRow(1, NOW, text, text, text, text, text, text, text, "a" * 64)
    return {"rows": [row], "next": 1}


def _grants(text: str) -> dict[str, Any]:
    row = GrantRow(1, text, "viewer", text, text, text, NOW, "waits for approval", waits=True, ended=False)
    account = type("Account", (), {"id": 1, "name": text, "issuer": text})
    return {
        "problem": text,
        "rows": [row],
        "accounts": [account],
        "roles": list(Role),
        "least": NOW.date(),
        "most": NOW.date(),
    }


def _own(text: str) -> dict[str, Any]:
    numbers = _summary(text)
    return {
        "words": wording.CONCLUSIONS[Conclusion.INSTITUTION],
        "numbers": numbers,
        "exempt": [text],
        "weeks": plots.by_week(numbers.weeks),
        "map": plots.coverage(numbers.cells),
        "bases": (_basis(text),),
        "alternatives": list(Alternative),
    }


def _error(text: str) -> dict[str, Any]:
    return {"message": text, "advice": text}


def _sign_in(text: str) -> dict[str, Any]:
    return {"has_provider": True, "people": [type("Row", (), {"id": 1, "name": text})]}


PAGES.update(
    {
        "overview": _overview,
        "institution": _institution,
        "case": _of_case,
        "evidence-list": _listed_evidence,
        "evidence-page": _shown_evidence,
        "audit": _audit,
        "grants": _grants,
        "own": _own,
        "error": _error,
        "sign-in": _sign_in,
    }
)


class _Elements(html.parser.HTMLParser):
    """The elements of a page and the names of their attributes: what text must never change."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))


HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)",
    "</textarea></title></svg><script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% include 'base' %}",
    "\u202eexe.gnp\u2066\u200b\ufeff\u00ad",
    "a\0b\x1b[31m\x7f\x85\u2028",
    "\U000e0041\U000f0000",
    "W" * 100_000,
    "../../etc/passwd?a=b&c=d#e%00",
)
TEXTS: Final = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=200))


@settings(max_examples=25, deadline=None)
@given(TEXTS)
@example(HOSTILE[0])
@example(HOSTILE[6])
@example(HOSTILE[7])
@example(HOSTILE[9])
def test_text_stays_text(text: str) -> None:
    """Whatever a field holds, the page has the same elements, and no character that hides or reverses others."""
    for name, content in PAGES.items():
        page = render(name, _page(text), **content(text))
        assert _shape(page) == _expected(name), name
        hidden = {
            c for c in page if c not in "\n\t\u2003" and unicodedata.category(c) in {"Cc", "Cf", "Co", "Cs", "Zl"}
        }
        assert hidden == set(), name
        assert len(page) < 1_000_000, name


@functools.cache
def _expected(name: str) -> list[tuple[str, ...]]:
    """The elements of a page with harmless text."""
    return _shape(render(name, _page("x"), **PAGES[name]("x")))


def _shape(page: str) -> list[tuple[str, ...]]:
    """The elements, but for marks of what is chosen: a text can be the same as an option's."""
    return [tuple(part for part in element if part not in {"selected", "checked"}) for element in _Elements(page).found]


@settings(max_examples=10, deadline=None)
@given(TEXTS.filter(lambda text: len(text.strip()) > 3))
def test_withheld_names_are_nowhere(text: str) -> None:
    """The page without names has nothing of a name, not even in the text of a picture."""
    marked = f"Erika{text}"
    assert "Erika" not in render("evidence-page", _page("x"), **_withheld_evidence(marked))
    assert "Erika" in render("evidence-page", _page("x"), **_shown_evidence(marked))
