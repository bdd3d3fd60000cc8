"""The staff of the demonstration have roles as real ones do, and are for this machine alone. Room: tests."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from detector_collect import demo
from detector_collect.review.access import people
from detector_collect.store import keys
from detector_collect.store.database import Store
from support.command import run

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


async def test_roles_are_requested_and_approved_by_two(tmp_path: Path) -> None:
    """Everybody has one role; nobody approved a grant of their own or one that they requested for others."""
    async with await Store.open(f"sqlite:///{tmp_path}/collect.sqlite", migrate=True) as store:
        numbers = await demo.add_people(store, now=NOW)
        async with store.connect() as connection:
            grants = await people.grants_of(connection)
            names = {account.name for account in await people.accounts(connection)}
    assert {grant.person for grant in grants} == set(numbers)
    assert all(grant.approved_by not in {None, grant.person} for grant in grants)
    assert all(name.endswith("(simulated)") for name in names)


@pytest.mark.parametrize("has", ["institutions", "people"])
async def test_no_demonstration_in_a_database_of_somebody(tmp_path: Path, has: str) -> None:
    """Anybody is signed in to it: a database that is in use is refused, unmodified."""
    url = f"sqlite:///{tmp_path}/collect.sqlite"
    async with await Store.open(url, migrate=True) as store:
        async with store.begin() as connection:
            if has == "institutions":
                await keys.add_institution(connection, keys.Institution("north", "North", NOW))
            else:
                await people.add_person(connection, issuer="https://id.example", subject="a", name="Ada", now=NOW)
        done = await asyncio.to_thread(run, "collect", "serve", "--demo", "--database", url, "--listen", "127.0.0.1:1")
        assert done.returncode == 2
        assert f"the database has {has}" in done.stderr
        async with store.connect() as connection:
            assert [one.name for one in await people.accounts(connection)] == ["Ada"] * (has == "people")
            assert await people.has_institution(connection, "north") is (has == "institutions")


def test_others_cannot_reach_a_demonstration() -> None:
    """It signs anybody in, so that it listens on this machine alone."""
    done = run("collect", "serve", "--demo", "--listen", "0.0.0.0:0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "signs anybody in" in done.stderr
