"""Loads the catalogue's data file.

Room: knowledge. Reads the package's own data only.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from .entries import Entry  # noqa: TC001 - msgspec reads the annotations at run time
from .match import Catalogue


class Edition(NamedTuple):
    """Which catalogue it is: the day its facts were last reviewed, and the SHA-256 (hexadecimal) of the file."""

    date: dt.date
    sha256: str


class _Head(msgspec.Struct, frozen=True):
    date: dt.date


class _File(_Head, frozen=True, forbid_unknown_fields=True):
    schema: int
    entries: tuple[Entry, ...]
    unnamed: tuple[dict[str, str], ...] = ()
    """Products whose operator names their CA, so that no certificate can name the product. For maintainers."""


@functools.cache
def shipped() -> Catalogue:
    """The catalogue that comes with the package. Tests validate its contents, not each start."""
    return Catalogue(msgspec.json.decode(_data(), type=_File).entries)


@functools.cache
def edition() -> Edition:
    """Which catalogue `shipped` is, without loading it."""
    data = _data()
    return Edition(msgspec.json.decode(data, type=_Head).date, hashlib.sha256(data).hexdigest())


def _data() -> bytes:
    return Path(__file__).with_name("data").joinpath("interceptors.json").read_bytes()
