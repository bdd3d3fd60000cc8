"""The search for traces of persons finds what it is for.

Room: tests of the collector. In memory.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from support.collect_traces import traces, traces_in_database

NAME = "Ada.Lovelace@example.edu"


@pytest.mark.parametrize(
    "value",
    [
        f"from {NAME.upper()}",
        NAME.encode("utf-16-le"),
        {"a": [{NAME: 1}]},
        json.dumps({"payload": base64.b64encode(json.dumps({"x": NAME}).encode()).decode()}),
        gzip.compress(json.dumps({"x": base64.b64encode(NAME.encode()).decode()}).encode()),
        hashlib.sha256(NAME.lower().encode()).digest(),
        hashlib.sha256(NAME.encode()).hexdigest().upper(),
        NAME.encode().hex(),
    ],
    ids=["text", "utf-16", "key", "nested", "gzip", "hash", "hex hash", "hex"],
)
def test_a_text_is_found_in_any_encoding(value: object) -> None:
    """A name is found whatever it was packed into, and another one is not."""
    assert traces(value, [NAME, "somebody else"]) == {NAME}


def test_an_address_is_found_in_any_notation() -> None:
    """An IPv6 address is found as bytes and written out."""
    assert traces("2001:0DB8:0000:0000:0000:0000:0000:0007", ["2001:db8::7"]) == {"2001:db8::7"}
    assert traces(bytes.fromhex("20010db8000000000000000000000007"), ["2001:db8::7"]) == {"2001:db8::7"}


async def test_every_cell_of_a_database_is_searched() -> None:
    """A name is found in any table and column, which is named."""
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE one (a TEXT, b BLOB)"))
        await connection.execute(sa.text("CREATE TABLE two (c INTEGER, d)"))
        await connection.execute(sa.text("INSERT INTO one VALUES ('x', :name)"), {"name": NAME.encode()})
        await connection.execute(sa.text("INSERT INTO two VALUES (1, :name)"), {"name": NAME})
        assert await traces_in_database(connection, [NAME]) == {"one.b": {NAME}, "two.d": {NAME}}
    await engine.dispose()
