"""What the review room reads: everything that pages, the API, digests and exports show.

Room: detector_collect.review. Reads the database; `summarize` and `visit` write.

* Every number of persons is rounded as `review.anonymity` says. A row without a student's hash counts as one person at
  most, however many such rows there are.
* Numbers of an institution come from its summary, which `summarize_due` makes at intervals: counting distinct students
  of a million results takes seconds, and numbers that changed with each submission would show what one student sent.
* `evidence_page`, `evidence` and `content` are about single students: they belong behind the permission for evidence,
  whose access record precedes them. They take the institution, so that a digest of another one is not found.
* Lists are read in pages after a key, never by an offset: what is inserted meanwhile repeats and skips nothing.
"""

from __future__ import annotations

import datetime as dt
import enum
import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from detector.model import Confidence, Record, Verdict, encode
from detector.outbox.submission import SUBMISSION_BYTES_MAX
from detector_collect.responsibility import STUDENTS_LEAST, Assessment, Conclusion
from detector_collect.store.database import insert
from detector_collect.store.deliveries import Event, announce
from detector_collect.store.schema import (
    access_records,
    assessments,
    case_entries,
    cases,
    conclusions,
    contents,
    findings,
    institutions,
    people,
    summaries,
    verifications,
    visits,
)
from detector_collect.store.schema import (
    evidence as evidence_table,
)

from .anonymity import coarse, coarse_assessment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.sql.compiler import SQLCompiler

    from detector_collect.store.database import Store

SUMMARY_LIFE: Final = dt.timedelta(minutes=30)
"""How old the numbers of a page may be. Counting a million results takes eight seconds with PostgreSQL."""
PAGE_MAX: Final = 200
"""Rows of one page of a list: what a screen shows at most, and a few hundred kilobytes of JSON."""
ENDPOINTS_MAX: Final = 60
"""Endpoints in a coverage map, those with the most students first; an exam checks about forty."""
CELLS_MAX: Final = 100
"""Endpoints of exams in the map of what was seen where, those with interception first: what a person reads."""
MAP_EXAMS: Final = 4
"""Exams of that map, those with the most students."""
MAP_NETWORKS: Final = 3
"""Networks with columns of their own, those with the most students: as many as fit a page."""
ROWS_MAX: Final = 500
"""Exams and networks in a summary, those with the most students first; the others are counted."""


class Change(enum.StrEnum):
    """What changed at an institution since somebody's last visit."""

    CONCLUSION = "conclusion"
    CASE = "case"
    ANSWER = "answer"


class Institution(Record, frozen=True, kw_only=True):
    """One row of the overview. `conclusion` is None before the first assessment that covers it."""

    id: str
    title: str
    conclusion: Conclusion | None
    previous: Conclusion | None
    students: int
    intercepted: int
    open_cases: int
    last_visit: dt.datetime | None
    changes: tuple[Change, ...]


class WeekCount(Record, frozen=True, kw_only=True):
    """Students with such a result in the week that begins on `week`, a Monday (UTC)."""

    week: dt.date
    verdict: Verdict
    confidence: Confidence | None
    students: int


class Coverage(Record, frozen=True, kw_only=True):
    """Students of one exam or network: those with any result, and those with at least probable interception."""

    name: str
    students: int
    intercepted: int


class EndpointWeek(Record, frozen=True, kw_only=True):
    """One cell of the coverage map: the students for whom an endpoint was checked in a week."""

    host: str
    port: int
    week: dt.date
    students: int
    intercepted: int


class Cell(Record, frozen=True, kw_only=True):
    """One cell of the map of what was seen where: students of one exam and network for whom an endpoint was checked.

    `network` None means all networks, `exam` None that none was named. One student can count in several states.
    """

    exam: str | None
    network: str | None
    host: str
    port: int
    category: str
    students: int
    intercepted: int
    uncertain: int
    clean: int


class Summary(Record, frozen=True, kw_only=True):
    """The numbers of one institution as of `made`.

    What fewer than five students have is left out, as if it were not there; `other_exams` and `other_networks` say how
    many of these there are, rounded as well. `cells` are of the largest exams and networks.
    """

    made: dt.datetime
    students: int
    intercepted: int
    claimed: int
    quarantined: int
    since: dt.date | None
    until: dt.date | None
    weeks: tuple[WeekCount, ...]
    exams: tuple[Coverage, ...]
    other_exams: int
    networks: tuple[Coverage, ...]
    other_networks: int
    endpoints: tuple[EndpointWeek, ...]
    cells: tuple[Cell, ...]


class Assessed(Record, frozen=True, kw_only=True):
    """One statement about an institution (`Assessment`, with rounded numbers), and when and over what it was made."""

    number: int
    at: dt.datetime
    since: dt.datetime
    until: dt.datetime
    assessment: Assessment


class Case(Record, frozen=True, kw_only=True):
    """A case and its present state; None before its first entry of that kind."""

    id: int
    institution: str
    title: str
    opened: dt.datetime
    state: str | None
    changed: dt.datetime


class Entry(Record, frozen=True, kw_only=True):
    """One entry of a case. `evidence` is the digest of what it refers to, in hexadecimal."""

    id: int
    at: dt.datetime
    person: str
    entry: str
    state: str | None
    text: str
    evidence: str | None


class Evidence(Record, frozen=True, kw_only=True):
    """What is stored with one submission, without the hashes of its student and network."""

    id: int
    digest: str
    institution: str
    kind: str
    exam: str | None
    made: dt.datetime
    received: dt.datetime
    size: int
    state: str
    reason: str | None


class Verification(Record, frozen=True, kw_only=True):
    """One assessment of a submission from its bytes."""

    at: dt.datetime
    detector_version: str
    knowledge: str
    state: str
    detail: msgspec.Raw


class AccessRecord(Record, frozen=True, kw_only=True):
    """One row of the chain of access records; `record` is JSON."""

    number: int
    at: dt.datetime
    record: msgspec.Raw
    previous: str
    hash: str


# Institutions


async def overview(connection: AsyncConnection, *, person: int | None = None) -> tuple[Institution, ...]:
    """Every institution by name, with its latest conclusion and what changed since a person's last visit."""
    latest = await connection.scalar(sa.select(sa.func.max(assessments.c.number)))
    seen = sa.and_(visits.c.institution == institutions.c.id, visits.c.person == person)
    then = (
        sa.select(conclusions.c.conclusion)
        .join(assessments, assessments.c.number == conclusions.c.number)
        .where(conclusions.c.institution == institutions.c.id, assessments.c.at <= visits.c.at)
        .order_by(conclusions.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    wanted: sa.Select[Any] = (
        sa.select(
            institutions.c.id,
            institutions.c.title,
            conclusions.c.conclusion,
            then.label("previous"),
            summaries.c.detail,
            visits.c.at.label("visited"),
        )
        .select_from(institutions)
        .outerjoin(conclusions, sa.and_(conclusions.c.institution == institutions.c.id, conclusions.c.number == latest))
        .outerjoin(summaries, summaries.c.institution == institutions.c.id)
        .outerjoin(visits, seen)
        .order_by(institutions.c.id)
    )
    of_cases = await _cases_since_visits(connection, person)
    rows = await connection.execute(wanted)
    return tuple(_institution(row, of_cases.get(row.id, (0, frozenset()))) for row in rows)


async def institution_title(connection: AsyncConnection, institution: str) -> str | None:
    """The title of an institution; None if it does not exist."""
    return await connection.scalar(sa.select(institutions.c.title).where(institutions.c.id == institution))


async def summary(connection: AsyncConnection, institution: str, *, now: dt.datetime) -> Summary:
    """The numbers of an institution: the summary that was stored last, else one made now."""
    detail = await connection.scalar(sa.select(summaries.c.detail).where(summaries.c.institution == institution))
    return await _summarized(connection, institution, now) if detail is None else _decode_summary(detail)


async def summarize(store: Store, institution: str, *, now: dt.datetime) -> Summary:
    """Make the summary of an institution and store it; announce more quarantined students than the last one had.

    Raises `StoreError`.

    It is counted on a connection that reads: on SQLite it takes half a minute, in which others write.
    """
    async with store.connect() as connection:
        made = await _summarized(connection, institution, now)
    values = {"made": now, "detail": encode(made)}
    async with store.begin() as connection:
        known = sa.select(summaries.c.detail).where(summaries.c.institution == institution)
        before: bytes | None = await connection.scalar(known)
        new = insert(connection, summaries).values(institution=institution, **values)
        await connection.execute(new.on_conflict_do_update(index_elements=[summaries.c.institution], set_=values))
        if made.quarantined > (0 if before is None else _decode_summary(before).quarantined):
            facts = {"students": made.quarantined}
            path = f"/institutions/{institution}"
            event = Event.QUARANTINE_RISING
            await announce(connection, event, at=now, institution=institution, path=path, facts=facts)
    return made


async def summarize_due(store: Store, *, now: dt.datetime) -> int:
    """Make every summary that is older than `SUMMARY_LIFE`; returns how many. Raises `StoreError`."""
    async with store.connect() as connection:
        due = await unsummarized(connection, before=now - SUMMARY_LIFE)
    for institution in due:
        await summarize(store, institution, now=now)
    return len(due)


async def unsummarized(connection: AsyncConnection, *, before: dt.datetime) -> tuple[str, ...]:
    """The institutions without a summary, or with one made before that time."""
    found = await connection.scalars(
        sa.select(institutions.c.id)
        .outerjoin(summaries, summaries.c.institution == institutions.c.id)
        .where(sa.or_(summaries.c.made.is_(None), summaries.c.made < before))
        .order_by(institutions.c.id)
    )
    return tuple(found)


async def visit(connection: AsyncConnection, *, person: int, institution: str, now: dt.datetime) -> None:
    """Note that a person saw an institution's page."""
    new = insert(connection, visits).values(person=person, institution=institution, at=now)
    await connection.execute(
        new.on_conflict_do_update(index_elements=[visits.c.person, visits.c.institution], set_={"at": now})
    )


async def assessed(connection: AsyncConnection, institution: str, *, limit: int = 20) -> tuple[Assessed, ...]:
    """The latest assessments of an institution, newest first. Only the newest has its bases."""
    rows = await connection.execute(
        sa.select(assessments, conclusions.c.detail)
        .join(conclusions, conclusions.c.number == assessments.c.number)
        .where(conclusions.c.institution == institution)
        .order_by(conclusions.c.number.desc())
        .limit(min(limit, PAGE_MAX))
    )
    return tuple(
        Assessed(
            number=row.number,
            at=row.at,
            since=row.since,
            until=row.until,
            assessment=coarse_assessment(_decode_assessment(row.detail, with_bases=number == 0)),
        )
        for number, row in enumerate(rows)
    )


# Cases


async def case_list(
    connection: AsyncConnection, institution: str, *, before: int | None = None, limit: int = PAGE_MAX
) -> tuple[Case, ...]:
    """The cases of an institution, newest first; those with a smaller number than `before`."""
    wanted = _cases().where(cases.c.institution == institution).order_by(cases.c.id.desc()).limit(min(limit, PAGE_MAX))
    rows = await connection.execute(wanted if before is None else wanted.where(cases.c.id < before))
    return tuple(_case(row) for row in rows)


async def case_of(connection: AsyncConnection, institution: str, case: int) -> Case | None:
    """One case; None if this institution has none of that number."""
    row = (
        await connection.execute(_cases().where(cases.c.institution == institution, cases.c.id == case))
    ).one_or_none()
    return None if row is None else _case(row)


async def entries(
    connection: AsyncConnection, institution: str, case: int, *, after: int = 0, limit: int = PAGE_MAX
) -> tuple[Entry, ...]:
    """The entries of a case, oldest first; those with a greater number than `after`."""
    rows = await connection.execute(
        sa.select(case_entries, people.c.name, evidence_table.c.digest)
        .join(cases, cases.c.id == case_entries.c.case)
        .join(people, people.c.id == case_entries.c.person)
        .outerjoin(evidence_table, evidence_table.c.id == case_entries.c.evidence)
        .where(cases.c.institution == institution, cases.c.id == case, case_entries.c.id > after)
        .order_by(case_entries.c.id)
        .limit(min(limit, PAGE_MAX))
    )
    return tuple(
        Entry(
            id=row.id,
            at=row.at,
            person=row.name,
            entry=row.entry,
            state=row.state,
            text=row.text,
            evidence=None if row.digest is None else row.digest.hex(),
        )
        for row in rows
    )


# Evidence: about single students


async def evidence_page(  # noqa: PLR0913 - each filter is one that a page offers
    connection: AsyncConnection,
    institution: str,
    *,
    before: int | None = None,
    limit: int = PAGE_MAX,
    exam: str | None = None,
    verdict: Verdict | None = None,
    product: str | None = None,
    ca_key: str | None = None,
    of_case: int | None = None,
) -> tuple[Evidence, ...]:
    """Submissions of an institution, newest first; those with a smaller number than `before`.

    With `verdict`, `product` or `ca_key` (SHA-256 in hexadecimal) those with such a finding, with `of_case` those that
    an entry of that case refers to.
    """
    wanted = (
        sa.select(evidence_table)
        .where(evidence_table.c.institution == institution)
        .order_by(evidence_table.c.id.desc())
        .limit(min(limit, PAGE_MAX))
    )
    if before is not None:
        wanted = wanted.where(evidence_table.c.id < before)
    if exam is not None:
        wanted = wanted.where(evidence_table.c.exam == exam)
    if verdict is Verdict.CLEAN:  # most submissions have one: the first page is found by going through them
        wanted = wanted.where(
            sa.exists().where(findings.c.evidence == evidence_table.c.id, findings.c.verdict == verdict.value)
        )
        verdict = None
    rare: list[sa.ColumnElement[bool] | sa.TextClause] = [
        column == value
        for column, value in (
            (findings.c.verdict, None if verdict is None else sa.literal(verdict.value, literal_execute=True)),
            (findings.c.product, product),
            (findings.c.ca_key, None if ca_key is None else bytes.fromhex(ca_key)),
        )
        if value is not None
    ]
    if verdict is not None:
        rare.append(sa.text("verdict <> 'clean'"))  # so that SQLite uses the partial index of those
    if rare:
        matching = sa.select(findings.c.evidence).where(findings.c.institution == institution, *rare)
        wanted = wanted.where(evidence_table.c.id.in_(matching))
    if of_case is not None:
        wanted = wanted.where(
            evidence_table.c.id.in_(sa.select(case_entries.c.evidence).where(case_entries.c.case == of_case))
        )
    return tuple(_evidence(row) for row in await connection.execute(wanted))


async def evidence(connection: AsyncConnection, institution: str, digest: str) -> Evidence | None:
    """One submission by its digest (hexadecimal); None if this institution sent none with it."""
    row = (await connection.execute(_by_digest(sa.select(evidence_table), institution, digest))).one_or_none()
    return None if row is None else _evidence(row)


async def content(connection: AsyncConnection, institution: str, digest: str) -> bytes | None:
    """The envelope of a submission as it was signed; None if this institution sent none with that digest."""
    wanted = sa.select(contents.c.encoding, contents.c.body).join(
        evidence_table, evidence_table.c.id == contents.c.evidence
    )
    row = (await connection.execute(_by_digest(wanted, institution, digest))).one_or_none()
    if row is None:
        return None
    if row.encoding != "gzip":
        return bytes(row.body)
    # It was bounded when it was received: a larger one was not stored by this program.
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(row.body, SUBMISSION_BYTES_MAX)


async def verification_list(connection: AsyncConnection, institution: str, digest: str) -> tuple[Verification, ...]:
    """The latest assessments of a submission, newest first."""
    wanted = sa.select(verifications).join(evidence_table, evidence_table.c.id == verifications.c.evidence)
    rows = await connection.execute(
        _by_digest(wanted, institution, digest).order_by(verifications.c.id.desc()).limit(PAGE_MAX)
    )
    return tuple(
        Verification(
            at=row.at,
            detector_version=row.detector_version,
            knowledge=row.knowledge.hex(),
            state=row.state,
            detail=msgspec.Raw(row.detail),
        )
        for row in rows
    )


# Audit


async def access_record_page(
    connection: AsyncConnection, *, before: int | None = None, limit: int = PAGE_MAX
) -> tuple[AccessRecord, ...]:
    """Access records, newest first; those with a smaller number than `before`."""
    wanted = sa.select(access_records).order_by(access_records.c.number.desc()).limit(min(limit, PAGE_MAX))
    rows = await connection.execute(wanted if before is None else wanted.where(access_records.c.number < before))
    return tuple(
        AccessRecord(
            number=row.number,
            at=row.at,
            record=msgspec.Raw(row.record),
            previous=row.previous.hex(),
            hash=row.hash.hex(),
        )
        for row in rows
    )


# How it is read


class _WeekOf(FunctionElement[str]):
    """The Monday (ISO 8601, UTC) of the week of a moment, as text."""

    inherit_cache = True
    type = sa.String()
    name = "week_of"


@compiles(_WeekOf, "postgresql")
def _week_in_postgresql(element: _WeekOf, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    moment = compiler.process(element.clauses, **kw)
    return f"to_char(date_trunc('week', {moment} AT TIME ZONE 'UTC'), 'YYYY-MM-DD')"


@compiles(_WeekOf, "sqlite")
def _week_in_sqlite(element: _WeekOf, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    # SQLite moves to the next Sunday, or stays on one; six days before it is the week's Monday.
    return f"date({compiler.process(element.clauses, **kw)}, 'weekday 0', '-6 days')"


_INTERCEPTED: Final = sa.and_(
    findings.c.verdict == Verdict.MIDDLEWARE.value,
    findings.c.confidence.in_([Confidence.PROVEN.value, Confidence.PROBABLE.value]),
)
_STUDENT: Final = sa.func.coalesce(findings.c.student, b"")
"""What stands for no student is one more, because SQL counts NULL as nobody."""
_STUDENTS: Final = sa.func.count(_STUDENT.distinct()).label("students")
_STUDENTS_INTERCEPTED: Final = sa.func.count(sa.case((_INTERCEPTED, _STUDENT)).distinct()).label("intercepted")
_CLEAN: Final = findings.c.verdict == Verdict.CLEAN.value
_STUDENTS_CLEAN: Final = sa.func.count(sa.case((_CLEAN, _STUDENT)).distinct()).label("clean")
_STUDENTS_UNCERTAIN: Final = sa.func.count(
    sa.case((sa.or_(_INTERCEPTED, _CLEAN), sa.null()), else_=_STUDENT).distinct()
).label("uncertain")


async def _summarized(connection: AsyncConnection, institution: str, now: dt.datetime) -> Summary:
    of = findings.c.institution == institution
    counts = (_STUDENTS, _STUDENTS_INTERCEPTED)
    week = _WeekOf(findings.c.at).label("week")
    totals = sa.select(*counts, sa.func.min(findings.c.at).label("since"), sa.func.max(findings.c.at).label("until"))
    total = (await connection.execute(totals.where(of))).one()
    by_week = await connection.execute(
        sa.select(week, findings.c.verdict, findings.c.confidence, _STUDENTS)
        .where(of)
        .group_by(week, findings.c.verdict, findings.c.confidence)
        .order_by(week, findings.c.verdict, findings.c.confidence)
    )
    groups = [
        await connection.execute(
            sa.select(column.label("name"), *counts).where(of, column.is_not(None)).group_by(column)
        )
        for column in (findings.c.exam, findings.c.network)
    ]
    endpoints = await connection.execute(
        sa.select(findings.c.host, findings.c.port, week, *counts)
        .where(of)
        .group_by(findings.c.host, findings.c.port, week)
    )
    whose = sa.func.coalesce(evidence_table.c.student, b"")
    not_counted = await connection.execute(
        sa.select(evidence_table.c.state, sa.func.count(whose.distinct()).label("students"))
        .where(evidence_table.c.institution == institution, evidence_table.c.state.in_(["claimed", "quarantined"]))
        .group_by(evidence_table.c.state)
    )
    by_state = {row.state: row.students for row in not_counted}
    by_exam, by_network = (_coverage(rows.all()) for rows in groups)
    return Summary(
        made=now,
        students=coarse(total.students),
        intercepted=coarse(total.intercepted),
        claimed=coarse(by_state.get("claimed", 0)),
        quarantined=coarse(by_state.get("quarantined", 0)),
        since=None if total.since is None else total.since.date(),
        until=None if total.until is None else total.until.date(),
        weeks=tuple(
            WeekCount(
                week=dt.date.fromisoformat(row.week),
                verdict=Verdict(row.verdict),
                confidence=None if row.confidence is None else Confidence(row.confidence),
                students=coarse(row.students),
            )
            for row in by_week
            if coarse(row.students)
        ),
        exams=by_exam[0],
        other_exams=by_exam[1],
        networks=by_network[0],
        other_networks=by_network[1],
        endpoints=_endpoint_weeks(endpoints.all()),
        cells=await _cells(
            connection,
            institution,
            exams=[one.name for one in by_exam[0][:MAP_EXAMS]],
            networks=[bytes.fromhex(one.name) for one in by_network[0][:MAP_NETWORKS]],
        ),
    )


def _coverage(rows: Sequence[sa.Row[Any]]) -> tuple[tuple[Coverage, ...], int]:
    """Those with enough students, the most first, and the number of the others."""
    shown = sorted((row for row in rows if coarse(row.students)), key=lambda row: (-coarse(row.students), row.name))[
        :ROWS_MAX
    ]
    return tuple(
        Coverage(
            name=row.name.hex() if isinstance(row.name, bytes) else row.name,
            students=coarse(row.students),
            intercepted=coarse(row.intercepted),
        )
        for row in shown
    ), coarse(len(rows) - len(shown))


async def _cells(
    connection: AsyncConnection, institution: str, *, exams: Sequence[str], networks: Sequence[bytes]
) -> tuple[Cell, ...]:
    """The cells with enough students: of all networks together, and of the largest ones."""
    place = (findings.c.exam, findings.c.host, findings.c.port, findings.c.category)
    wanted = (
        sa.select(*place, _STUDENTS, _STUDENTS_INTERCEPTED, _STUDENTS_UNCERTAIN, _STUDENTS_CLEAN)
        .where(findings.c.institution == institution, sa.or_(findings.c.exam.is_(None), findings.c.exam.in_(exams)))
        .group_by(*place)
        .having(_STUDENTS >= STUDENTS_LEAST)
        .order_by(_STUDENTS_INTERCEPTED.desc(), _STUDENTS.desc(), *place)
        .limit(CELLS_MAX)
    )
    all_networks = [(None, row) for row in _ordered(await connection.execute(wanted))]
    single = [
        (network.hex(), row)
        for network in networks
        for row in _ordered(await connection.execute(wanted.where(findings.c.network == network)))
    ]
    return tuple(
        Cell(
            exam=row.exam,
            network=network,
            host=row.host,
            port=row.port,
            category=row.category,
            students=coarse(row.students),
            intercepted=coarse(row.intercepted),
            uncertain=coarse(row.uncertain),
            clean=coarse(row.clean),
        )
        for network, row in [*all_networks, *single]
    )


def _ordered(rows: Iterable[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """In the order of the rounded numbers: that of the exact ones would say which of two equal ones is greater."""
    place = ("exam", "host", "port", "category")
    return sorted(
        rows,
        key=lambda row: (
            -coarse(row.intercepted),
            -coarse(row.students),
            *(getattr(row, name) or "" for name in place),
        ),
    )


def _endpoint_weeks(rows: Sequence[sa.Row[Any]]) -> tuple[EndpointWeek, ...]:
    """The cells with enough students, of the endpoints with the most."""
    most: dict[tuple[str, int], int] = {}
    for row in rows:
        most[row.host, row.port] = most.get((row.host, row.port), 0) + row.students
    kept = sorted(most, key=lambda endpoint: (-most[endpoint], endpoint))[:ENDPOINTS_MAX]
    return tuple(
        EndpointWeek(
            host=row.host,
            port=row.port,
            week=dt.date.fromisoformat(row.week),
            students=coarse(row.students),
            intercepted=coarse(row.intercepted),
        )
        for row in sorted(rows, key=lambda row: (row.host, row.port, row.week))
        if (row.host, row.port) in kept and coarse(row.students)
    )


def _decode_assessment(detail: bytes, *, with_bases: bool) -> Assessment:
    read = msgspec.json.decode(detail, type=Assessment)
    return read if with_bases else msgspec.structs.replace(read, bases=())


def _decode_summary(detail: bytes) -> Summary:
    return msgspec.json.decode(detail, type=Summary)


def _institution(row: sa.Row[Any], of_cases: tuple[int, frozenset[Change]]) -> Institution:
    numbers = None if row.detail is None else _decode_summary(row.detail)
    changes = set(of_cases[1])
    if row.visited is not None and row.conclusion != row.previous:
        changes.add(Change.CONCLUSION)
    return Institution(
        id=row.id,
        title=row.title,
        conclusion=None if row.conclusion is None else Conclusion(row.conclusion),
        previous=None if row.previous is None else Conclusion(row.previous),
        students=0 if numbers is None else numbers.students,
        intercepted=0 if numbers is None else numbers.intercepted,
        open_cases=of_cases[0],
        last_visit=None if row.visited is None else row.visited,
        changes=tuple(change for change in Change if change in changes),
    )


async def _cases_since_visits(
    connection: AsyncConnection, person: int | None
) -> dict[str, tuple[int, frozenset[Change]]]:
    """Of each institution with cases: those that are not resolved, and what a person's last visit did not show."""
    new = sa.and_(visits.c.at.is_not(None), case_entries.c.at > visits.c.at)
    rows = await connection.execute(
        sa.select(
            cases.c.institution,
            sa.func.max(sa.case((new, 1), else_=0)).label("case"),
            sa.func.max(sa.case((sa.and_(new, case_entries.c.entry == "answer"), 1), else_=0)).label("answer"),
        )
        .join(case_entries, case_entries.c.case == cases.c.id)
        .outerjoin(visits, sa.and_(visits.c.institution == cases.c.institution, visits.c.person == person))
        .group_by(cases.c.institution)
    )
    changes = {
        row.institution: frozenset(
            change for change, seen in ((Change.CASE, row.case), (Change.ANSWER, row.answer)) if seen
        )
        for row in rows
    }
    states = _cases().subquery()
    counted = await connection.execute(
        sa.select(states.c.institution, sa.func.count().label("open"))
        .where(sa.or_(states.c.state.is_(None), states.c.state != "resolved"))
        .group_by(states.c.institution)
    )
    still_open = {row.institution: row.open for row in counted}
    return {
        institution: (still_open.get(institution, 0), changes.get(institution, frozenset()))
        for institution in changes.keys() | still_open.keys()
    }


def _cases() -> sa.Select[Any]:
    of = case_entries.c.case == cases.c.id
    state = (
        sa.select(case_entries.c.state)
        .where(of, case_entries.c.entry == "state")
        .order_by(case_entries.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    changed = sa.select(case_entries.c.at).where(of).order_by(case_entries.c.id.desc()).limit(1).scalar_subquery()
    return sa.select(cases, state.label("state"), sa.func.coalesce(changed, cases.c.opened).label("changed"))


def _case(row: sa.Row[Any]) -> Case:
    return Case(
        id=row.id,
        institution=row.institution,
        title=row.title,
        opened=row.opened,
        state=row.state,
        changed=row.changed,
    )


def _by_digest(wanted: sa.Select[Any], institution: str, digest: str) -> sa.Select[Any]:
    return wanted.where(evidence_table.c.institution == institution, evidence_table.c.digest == bytes.fromhex(digest))


def _evidence(row: sa.Row[Any]) -> Evidence:
    return Evidence(
        id=row.id,
        digest=row.digest.hex(),
        institution=row.institution,
        kind=row.kind,
        exam=row.exam,
        made=row.made,
        received=row.received,
        size=row.size,
        state=row.state,
        reason=row.reason,
    )
