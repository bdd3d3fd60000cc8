"""NSS databases in their own schema: trust is what counts, and no file can hurt the reader."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.profiles import examples
from support.store_makers import (
    NSS_ANCHOR,
    NSS_PEER,
    NSS_REFUSED,
    PKCS_ANCHOR,
    PKCS_REFUSED,
    identity,
    nss_database,
    ulong,
)

from detector.audit import InstalledRoot, UnreadableStore, files, nss
from detector.audit.files import StoreError
from detector.model import RootOrigin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector_testing import PrivatePKI


@pytest.mark.parametrize("pkcs", [False, True], ids=["CKO_NSS_TRUST", "CKO_TRUST"])
def test_only_trust_counts(pki: PrivatePKI, tmp_path: Path, *, pkcs: bool) -> None:
    """An anchor is trusted, a refused CA distrusted; a peer, and a certificate without trust, are neither."""
    anchor, refused, peer, cached = (pki.private_ca(f"CA {n}").certificate for n in range(4))
    levels = (PKCS_ANCHOR, PKCS_REFUSED, 1) if pkcs else (NSS_ANCHOR, NSS_REFUSED, NSS_PEER)
    entries = [*zip((anchor, refused, peer), levels, strict=True), (cached, None)]
    path = nss_database(tmp_path / "cert9.db", entries, pkcs=pkcs)
    assert list(nss.database_roots(path, "nss:test")) == [
        InstalledRoot(der=anchor, store="nss:test", origin=RootOrigin.ADDED),
        InstalledRoot(der=refused, store="nss:test", origin=RootOrigin.ADDED, distrusted=True),
    ]


def test_reading_leaves_no_trace(pki: PrivatePKI, tmp_path: Path) -> None:
    """The database and its directory are as before, and a directory without write permission is no obstacle."""
    path = nss_database(tmp_path / "cert9.db", [(pki.root_a.certificate, NSS_ANCHOR)])
    before = path.read_bytes()
    tmp_path.chmod(0o500)
    assert len(list(nss.database_roots(path, "nss:test"))) == 1
    tmp_path.chmod(0o700)
    assert ([p.name for p in tmp_path.iterdir()], path.read_bytes()) == (["cert9.db"], before)


@pytest.mark.parametrize(
    ("platform", "below", "store"),
    [
        ("linux", ".pki/nssdb", "nss:user database (Chromium and others)"),
        ("linux", ".mozilla/firefox/ada.default", "nss:Firefox profile"),
        ("linux", "snap/firefox/common/.mozilla/firefox/ada", "nss:Firefox profile (snap)"),
        ("linux", ".var/app/org.mozilla.firefox/.mozilla/firefox/ada", "nss:Firefox profile (flatpak)"),
        ("win32", "AppData/Roaming/Mozilla/Firefox/Profiles/ada", "nss:Firefox profile"),
        ("darwin", "Library/Application Support/Firefox/Profiles/ada #1?", "nss:Firefox profile"),
    ],
)
def test_places(platform: str, below: str, store: str, pki: PrivatePKI, tmp_path: Path) -> None:
    """Databases are found where browsers keep them, and named by kind, never by profile."""
    (tmp_path / below).mkdir(parents=True)
    nss_database(tmp_path / below / "cert9.db", [(pki.root_a.certificate, NSS_ANCHOR)])
    assert [(type(r), r.store) for r in nss.nss_roots(tmp_path, platform)] == [(InstalledRoot, store)]
    assert list(nss.nss_roots(tmp_path / "nobody", platform)) == []


def test_malformed_databases_are_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a database, another schema, too large, too many objects: a reason each, never an exception."""
    monkeypatch.setattr("detector.audit.files.CERTIFICATES_MAX", 3)
    (tmp_path / "text").write_bytes(b"This is no database, but long enough to look like one." * 20)
    with contextlib.closing(sqlite3.connect(tmp_path / "other")) as other, other:
        other.execute("CREATE TABLE nssPrivate (id)")
    with contextlib.closing(sqlite3.connect(tmp_path / "many")) as many, many:
        many.execute("CREATE TABLE nssPublic (id, a0)")
        many.executemany("INSERT INTO nssPublic VALUES (?, NULL)", [(n,) for n in range(4)])
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(65 * 1024 * 1024)
    for name, words in (
        ("text", "not a readable NSS database"),
        ("other", "no table of objects"),
        ("many", "more than 3 objects"),
        ("sparse", "larger than 64 MiB"),
    ):
        (found,) = nss.database_roots(tmp_path / name, "nss:test")
        assert isinstance(found, UnreadableStore)
        assert words in found.reason
    assert list(nss.database_roots(tmp_path / "missing", "nss:test")) == []


def test_endless_queries_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view in the table's place that never ends is stopped, and the store unreadable."""
    monkeypatch.setattr(nss, "_STEPS_MAX", 100_000)
    with contextlib.closing(sqlite3.connect(tmp_path / "cert9.db")) as database, database:
        database.execute(
            "CREATE VIEW nssPublic AS WITH RECURSIVE n(a0) AS (SELECT 1 UNION ALL SELECT a0 + 1 FROM n) "
            "SELECT a0 FROM n WHERE a0 < 0"
        )
    (found,) = nss.database_roots(tmp_path / "cert9.db", "nss:test")
    assert isinstance(found, UnreadableStore)


CELLS = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from([b"", b"i", b"s", *map(ulong, (1, 2, 3, 0xB, NSS_ANCHOR, NSS_REFUSED, 0xCE534353))]),
)


@given(st.lists(st.tuples(*[CELLS] * 6), max_size=8))
def test_any_rows_are_interpreted(rows: list[Sequence[object]]) -> None:
    """Whatever types stand in the columns, nothing raises and only DER bytes come out."""
    assert all(isinstance(assessed.der, bytes) for assessed in nss.interpret(rows))


def test_trust_is_matched_by_issuer_and_serial(pki: PrivatePKI) -> None:
    """Trust belongs to the certificate it names; refusal wins over trust for the same one."""
    a, b = pki.root_a.certificate, pki.root_b.certificate
    rows: list[tuple[object, ...]] = [
        (ulong(1), a, *identity(a), None, None),
        (ulong(1), b, *identity(b), None, None),
        (ulong(0xCE534353), None, *identity(a), ulong(NSS_ANCHOR), None),
    ]
    assert nss.interpret(rows) == (files.Block(a),)
    rows.append((ulong(0xB), None, *identity(a), None, ulong(PKCS_REFUSED)))
    assert nss.interpret(rows) == (files.Block(a, distrusted=True),)


def test_a_schema_that_is_no_text_is_said(pki: PrivatePKI, tmp_path: Path) -> None:
    """SQLite names the broken table in its error; sqlite3 cannot read that name as UTF-8, and says so its own way."""
    database = tmp_path / nss.DATABASE
    nss_database(database, [(pki.root_a.certificate, NSS_ANCHOR)])
    content = database.read_bytes()
    assert b"tablenssPublic" in content  # type and name of the table, in the schema
    database.write_bytes(content.replace(b"tablenssPublic", b"tablens\x80\xffblic"))
    with pytest.raises(StoreError, match="is not a readable NSS database"):
        nss.rows(database)


@given(data=st.data())
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_databases_never_escape(data: st.DataObject, pki: PrivatePKI, tmp_path: Path) -> None:
    """A database with bytes changed anywhere gives rows or `StoreError`."""
    source = tmp_path / "source.db"
    if not source.exists():
        nss_database(source, [(pki.root_a.certificate, NSS_ANCHOR), (pki.root_b.certificate, None)])
    content = bytearray(source.read_bytes())
    changes = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=20)
    for place, byte in data.draw(changes):
        content[place] = byte
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(StoreError):
        assert isinstance(nss.interpret(nss.rows(damaged)), tuple)
