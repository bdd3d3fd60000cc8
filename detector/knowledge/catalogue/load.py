"""Reads the catalogue's data file.

Room: catalogue. Reads the package's own data and nothing else.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import functools
import hashlib
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from .entries import Entry, Field, Match, Unnamed
from .match import Catalogue, fold

SCHEMA: Final = 1
"""Version of the data file's form."""

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class Edition(NamedTuple):
    """Which catalogue it is: the day its facts were last looked over, and the SHA-256 (hexadecimal) of the file."""

    date: dt.date
    sha256: str


class _Head(msgspec.Struct, frozen=True):
    date: dt.date


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    date: dt.date
    entries: tuple[Entry, ...]
    unnamed: tuple[Unnamed, ...] = ()


class _Loose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file before its entries are read, so that a message can name the entry by its id."""

    schema: int
    entries: tuple[dict[str, Any], ...]
    unnamed: tuple[Unnamed, ...] = ()
    date: dt.date | None = None


@functools.cache
def shipped() -> Catalogue:
    """Give the catalogue that comes with the package. Its soundness is a matter of the tests, not of each start."""
    listed = msgspec.json.decode(_data(), type=_Listed)
    return Catalogue(listed.entries, listed.unnamed)


@functools.cache
def edition() -> Edition:
    """Say which catalogue `shipped` is, without loading it."""
    data = _data()
    return Edition(msgspec.json.decode(data, type=_Head).date, hashlib.sha256(data).hexdigest())


def parse(data: bytes) -> Catalogue:
    """Read a catalogue, checking everything `match` relies on.

    Raises `ValueError` naming the entry and the field: not JSON, not of the form of `Entry`, an id given twice, a
    superseded id that does not exist, a pattern that does not compile, a hash that is none.
    """
    try:
        loose = msgspec.json.decode(data, type=_Loose)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"catalogue: {error}") from error
    if loose.schema != SCHEMA:
        raise ValueError(f"catalogue: schema: is {loose.schema}, must be {SCHEMA}")
    entries: dict[str, Entry] = {}
    for number, table in enumerate(loose.entries):
        where = f"catalogue entry {table.get('id', number)!r}"
        try:
            entry = msgspec.convert(table, Entry)
        except msgspec.ValidationError as error:
            raise ValueError(f"{where}: {error}") from error
        if entry.id in entries:
            raise ValueError(f"{where}: id: given twice")
        entries[entry.id] = entry
        _check_facts(entry, where)
    for entry in entries.values():
        for other in entry.supersedes:
            if other not in entries:
                raise ValueError(f"catalogue entry {entry.id!r}: supersedes: there is no entry {other!r}")
    return Catalogue(entries.values(), loose.unnamed)


def _check_facts(entry: Entry, where: str) -> None:
    for index, fact in enumerate(entry.facts):
        place = f"{where}: facts[{index}].value"
        if not fact.value:
            raise ValueError(f"{place}: is empty, which matches everything")
        if fact.field in (Field.SHA256, Field.SPKI_SHA256):
            if fact.match is not Match.EXACT or not _HASH.match(fact.value):
                raise ValueError(f"{place}: is not a whole SHA-256 in lower-case hexadecimal, matched exactly")
        elif fact.match is not Match.REGEX:
            if fact.value != fold(fact.value):
                raise ValueError(f"{place}: write {fold(fact.value)!r}: names are compared without odd blanks")
        else:
            try:
                pattern = re.compile(fact.value)
            except re.error as error:
                raise ValueError(f"{place}: does not compile: {error}") from error
            if pattern.search(""):
                raise ValueError(f"{place}: matches the empty text, so it matches everything")


def _data() -> bytes:
    return Path(__file__).with_name("data").joinpath("interceptors.json").read_bytes()
