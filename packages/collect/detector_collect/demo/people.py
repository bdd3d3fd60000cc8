"""Staff of the demonstration: everybody who uses this machine may sign in as any of them.

Room: detector_collect.demo. Uses the store and the review room's rules.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from detector_collect.review.access import people
from detector_collect.review.access.permissions import Role

if TYPE_CHECKING:
    from detector_collect.store.database import Store

ISSUER: Final = "demonstration"
_GRANTED: Final = dt.timedelta(days=30)
_ADMINISTRATORS: Final = ("Ada, administrator (simulated)", "Ben, administrator (simulated)")
_OTHERS: Final = {"Cleo, reviewer (simulated)": Role.REVIEWER, "Dan, auditor (simulated)": Role.AUDITOR}


async def add_people(store: Store, *, now: dt.datetime) -> tuple[int, ...]:
    """Add two administrators, and a reviewer and an auditor of all institutions; returns their numbers.

    Every grant is requested by one administrator and approved by the other, as real ones are. Raises `StoreError`.
    """
    numbers = []
    async with store.begin() as connection:
        for number, name in enumerate((*_ADMINISTRATORS, *_OTHERS)):
            numbers.append(await people.add_person(connection, issuer=ISSUER, subject=str(number), name=name, now=now))
        first, second, *others = numbers
        await people.bootstrap(connection, first=first, second=second, expires=now + _GRANTED, now=now)
        requester, approver = [await people.load_person(connection, number) for number in (first, second)]
        for person, role in zip(others, _OTHERS.values(), strict=True):
            grant = await people.request_grant(
                connection,
                by=requester,
                person=person,
                role=role,
                institution=None,
                expires=now + _GRANTED,
                now=now,
            )
            await people.approve_grant(connection, by=approver, grant=grant, now=now)
    return tuple(numbers)
