"""The commands that let people in and hold them to account, against both databases. Room: tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from detector_collect.review.access import records
from detector_collect.review.access.permissions import COMMAND
from detector_collect.store.database import Store
from detector_collect.store.schema import access_records, chain_heads
from support.collect_access import START
from support.command import run

from detector.trust.envelope import key_identifier, public_key_of
from detector.trust.key_files import load_signing_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.command import Done


class Server:
    """Runs commands on one database."""

    def __init__(self, database: str) -> None:
        self.database = database

    def run(self, *words: str) -> Done:
        return run("collect", *words, env={"DETECTOR_COLLECT_DATABASE": self.database})

    def __call__(self, *words: str, code: int = 0) -> str:
        done = self.run(*words)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def work(self, statement: Callable[[Store], sa.Executable | None], *, append: int = 0) -> None:
        """Append records, and run a statement without the triggers that would refuse it."""

        async def change() -> None:
            async with await Store.open(self.database) as store:
                for number in range(append):
                    await records.record(store, now=START, person=COMMAND, action="view", subject=str(number))
                made = statement(store)
                if made is not None:
                    async with store.begin() as connection:
                        for trigger in (
                            ["ALTER TABLE access_records DISABLE TRIGGER ALL"]
                            if store.is_postgres
                            else ["DROP TRIGGER access_records_no_update", "DROP TRIGGER access_records_no_delete"]
                        ):
                            await connection.exec_driver_sql(trigger)
                        await connection.execute(made)

        asyncio.run(change())


@pytest.fixture
def server(database: str) -> Server:
    made = Server(database)
    made("migrate")
    made("institution", "add", "north", "North University")
    return made


def test_people_are_let_in_and_sent_away(server: Server) -> None:
    """Two people become administrators once; a token opens no more than its scopes; who is revoked has nothing left."""
    assert server("person", "add", "https://id.example", "a1", "Ann").strip() == "1"
    assert server("person", "add", "https://id.example", "b2", "Bob").strip() == "2"
    assert "no person 3" in server("grant", "bootstrap", "1", "3", code=2)
    server("grant", "bootstrap", "1", "2", "--days", "90")
    assert "administrators already" in server("grant", "bootstrap", "1", "2", code=2)
    assert server("grant", "list").count("administrator") == 2
    secret = server("token", "issue", "1", "dashboard", "--scope", "view", "--institution", "north").strip()
    assert secret.startswith("tic_")
    assert secret not in server("token", "list")
    assert "is a token called" in server("token", "issue", "1", "dashboard", "--scope", "view", code=2)
    server("token", "revoke", "dashboard")
    assert "no token called" in server("token", "revoke", "dashboard", code=2)
    server("person", "revoke", "1")
    server("grant", "revoke", "2")
    assert server("grant", "list", "--json").count('"counts":false') == 2
    assert "Ann" in server("person", "list")
    actions = server("audit", "list", "--json")
    for action in ("bootstrap", "token-issue", "token-revocation", "grant-revocation", "person-revocation"):
        assert f'"action":"{action}"' in actions
    assert "records follow each other" in server("audit", "verify")


def test_platforms_are_added_and_removed(server: Server) -> None:
    """A deployment lets one institution in; its addresses are HTTPS, and those of its client agree."""
    urls = ["--authorization-url", "https://lms.example/auth", "--keys-url", "https://lms.example/keys"]
    server("platform", "add", "north", "https://lms.example", "client", "1", *urls)
    assert "already" in server("platform", "add", "north", "https://lms.example", "client", "1", *urls, code=2)
    plain = ["--authorization-url", "http://lms.example/auth", "--keys-url", "https://lms.example/keys"]
    assert "HTTPS" in server("platform", "add", "north", "https://lms.example", "client", "2", *plain, code=2)
    other = [*urls[:-1], "https://lms.example/other"]
    assert "one key set" in server("platform", "add", "north", "https://lms.example", "client", "2", *other, code=2)
    assert "no institution" in server("platform", "add", "south", "https://lms.example", "client", "2", *urls, code=2)
    assert "https://lms.example/keys" in server("platform", "list")
    server("platform", "remove", "https://lms.example", "client", "1")
    assert "no such deployment" in server("platform", "remove", "https://lms.example", "client", "1", code=2)


def test_records_are_verified_against_heads_that_were_kept(server: Server, tmp_path: Path) -> None:
    """A head that was kept elsewhere finds records that were cut off with every head in the database."""
    key = tmp_path / "audit.pem"
    assert run("witness", "keygen", "-o", str(key)).returncode == 0
    public = key_identifier(public_key_of(load_signing_key(str(key))))
    assert "no access records" in server("audit", "sign-head", "--signing-key", str(key), code=2)
    server.work(lambda _: None, append=12)
    printed = server("audit", "sign-head", "--signing-key", str(key))
    heads = tmp_path / "heads.jsonl"
    server("audit", "export-heads", "-o", str(heads))
    assert heads.read_text() == printed
    verified = ("audit", "verify", "--heads", str(heads), "--key", public)
    agreed = server(*verified)
    assert "12 records follow each other" in agreed
    assert "up to record 12, none was changed or cut off" in agreed
    assert "Heads in the database agree: 1." in agreed
    assert "Not found this way" not in agreed
    assert "none of the keys" in server("audit", "verify", "--key", key_identifier(bytes(31) + b"\1"), code=2)
    assert "public key" in server("audit", "verify", "--heads", str(heads), code=2)
    other = key_identifier(bytes(31) + b"\1")
    assert "line 1" in server("audit", "verify", "--heads", str(heads), "--key", other, code=2)
    server.work(lambda _: sa.delete(access_records).where(access_records.c.number > 9))
    assert "Record 10 is missing" in server(*verified, code=1)

    async def forget() -> None:
        async with await Store.open(server.database) as store, store.begin() as connection:
            await connection.execute(sa.delete(chain_heads))

    asyncio.run(forget())
    unaware = server("audit", "verify", "--key", public)
    assert "9 records follow each other" in unaware
    assert "Not found this way: records that were all made up again, or cut off at the end." in unaware
    assert "Record 10 is missing" in server(*verified, code=1)


def test_a_changed_record_is_named(server: Server) -> None:
    """The number of the first record that is not what it was, and exit code 1."""
    server.work(lambda _: sa.update(access_records).where(access_records.c.number == 7).values(record=b"{}"), append=12)
    assert "Record 7 was changed" in server("audit", "verify", code=1)
