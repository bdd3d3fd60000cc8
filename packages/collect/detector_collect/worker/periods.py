"""Assesses the institutions by what was found in a period, and stores the statements under a number of their own.

Room: detector_collect.worker. Uses the store; time is an argument.

The database counts: what comes here is one row per student of the largest exams, and one per interceptor that a student
met, however many findings there are.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from detector.aio.tasks import run_in_thread
from detector.model import encode
from detector_collect import responsibility
from detector_collect.responsibility import DeviceResult, Interception
from detector_collect.store import assessments, findings

if TYPE_CHECKING:
    import datetime as dt

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector_collect.assessment import Material
    from detector_collect.responsibility import Assessment, Policy
    from detector_collect.store.database import Store
    from detector_collect.store.findings import Met

UNKNOWN_NETWORK: Final = ""
"""Where a client does not say which network it is in: all of these count as one network, the milder assumption."""


async def assess_period(  # noqa: PLR0913 - keyword-only past the material; a period and how to assess it
    store: Store,
    material: Material,
    *,
    since: dt.datetime,
    until: dt.datetime,
    now: dt.datetime,
    policy: Policy | None = None,
) -> tuple[Assessment, ...]:
    """Assess every institution by the findings from `since` until `until`, and store what it says.

    Each assessment spends its part of the error, by its number, so each number is used once. One that is not stored was
    not made: nobody has seen it. Raises `StoreError`, also where another assessment was made at the same time.
    """
    async with store.connect() as connection:
        number = await assessments.next_number(connection)
        results = await _results(connection, since, until)
    assess = functools.partial(
        responsibility.assess,
        results,
        number=number,
        products=material.products,
        policy=policy or responsibility.Policy(),
    )
    assessed = await run_in_thread(assess)
    new = [assessments.NewConclusion(one.institution, one.conclusion, encode(one)) for one in assessed]
    async with store.begin() as connection:
        await assessments.add(connection, number, at=now, since=since, until=until, new=new)
    return assessed


async def _results(connection: AsyncConnection, since: dt.datetime, until: dt.datetime) -> list[DeviceResult]:
    """The results of the largest exam of each institution: the only ones that an assessment reads.

    A student counts with any endpoint whose chain could be assessed, whatever that said.
    """
    results: list[DeviceResult] = []
    for exam in await findings.largest_exams(connection, since, until):
        of_exam = functools.partial(DeviceResult, institution=exam.institution, exam=exam.exam)
        students = findings.students(connection, exam, since, until)
        results.extend([of_exam(student=one.hex(), network=UNKNOWN_NETWORK) async for one in students])
        interceptions = findings.interceptions(connection, exam, since, until)
        results.extend([of_exam(**_met(one)) async for one in interceptions])
    return results


def _met(met: Met) -> dict[str, Any]:
    """The fields of a result that are about one interception."""
    return {
        "student": met.student.hex(),
        "network": UNKNOWN_NETWORK if met.network is None else met.network.hex(),
        "interception": Interception(product=met.product, key=None if met.ca_key is None else met.ca_key.hex()),
    }
