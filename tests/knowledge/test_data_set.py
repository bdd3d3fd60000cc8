"""Data sets: what the package ships, what an update installed, and which of the two serves, part by part.

Room: tests of knowledge. Files only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import certifi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.profiles import examples
from support.stored_sets import (
    NEWER,
    PUBLISHED,
    REPOSITORY,
    VENDOR_FILE,
    canaries,
    certificates,
    install,
    part,
    whole,
    write_set,
)

from detector import pins
from detector.errors import KnowledgeError, PinFileError
from detector.knowledge import data_set, store
from detector.knowledge.data_set import PARTS, ROOT_CERTIFICATES, SHIPPED, DataSet, installed, read, shipped
from detector.knowledge.part import HORIZONS
from detector.model import KnowledgeKind, encode
from detector.session.settings import Expectations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.model import Knowledge

JSON_PARTS = [kind for kind in PARTS if kind is not KnowledgeKind.CANARIES]
READ: dict[KnowledgeKind, Callable[[DataSet], object]] = {
    KnowledgeKind.ROOTS: lambda data: data.public_roots().keys,
    KnowledgeKind.LOGS: lambda data: data.logs.logs.keys(),
    KnowledgeKind.INTERMEDIATES: lambda data: data.intermediates.certificates,
    KnowledgeKind.REVOCATIONS: lambda data: data.revocations.keys,
    KnowledgeKind.CATALOGUE: lambda data: data.catalogue.entries,
    KnowledgeKind.CLIENT_HELLOS: lambda data: [profile.client for profile in data.client_hellos.profiles],
    KnowledgeKind.BROWSER_OFFERS: lambda data: data.browser_offers,
    KnowledgeKind.CANARIES: lambda data: pins.shipped(data, root_labels=data.known_roots.labels).endpoints[0].host,
}
"""Uses each part."""


def names(data: DataSet) -> dict[KnowledgeKind, str]:
    """Where each part comes from, once every part has been used."""
    for use in READ.values():
        use(data)
    return {part.kind: part.name for part in data.parts()}


def test_every_part_is_used_here() -> None:
    """The table of this file has every part of a data set."""
    assert READ.keys() == PARTS.keys()


class TestShipped:
    def test_it_is_one_and_reads_a_part_when_it_is_needed(self) -> None:
        """Every caller gets the same set; a fresh one has read nothing."""
        assert shipped() is shipped()
        data = DataSet()
        assert data._candidates == {}
        assert data.known_roots is data.known_roots
        assert list(data._candidates) == [KnowledgeKind.ROOTS]

    def test_to_be_named_it_is_not_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A report names every part; what no update can replace is decoded when it is used."""
        data = DataSet()
        monkeypatch.setattr(data_set, "decode_shipped", None)
        assert {part.kind for part in data.parts()} == set(data_set.PARTS)
        assert not any(map(data.is_updated, data_set.PARTS))

    def test_parts_say_what_they_are(self) -> None:
        """Name, version, date and horizon from the head, and the hash of the very file."""
        for known in shipped().parts():
            path = shipped().path_of(known.kind)
            assert known.name == SHIPPED
            assert known.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert known.date is not None
            assert known.horizon is not None
            assert known.date < known.horizon <= known.date + HORIZONS[known.kind]
        assert [known.kind for known in shipped().parts()] == list(PARTS)

    def test_certificates_are_those_of_the_roots(self) -> None:
        """They stand in the order of the roots."""
        hashes = [hashlib.sha256(der).hexdigest() for der in shipped().root_certificates]
        assert hashes == [root.sha256 for root in shipped().known_roots.roots]


class TestInstalled:
    def test_where_nothing_was_installed_the_shipped_set_serves(self, tmp_path: Path) -> None:
        """The user's own folder may be absent or empty; a folder that was named must hold sets."""
        assert installed() is shipped()
        for named in (tmp_path, tmp_path / ("a" * 300)):
            with pytest.raises(KnowledgeError, match=r"no data sets are installed there \(it has no current.json\)"):
                installed(named)

    def test_the_users_own_folder_is_read(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Without a name, what an update installed there is used by everything that takes a data set."""
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        folder = store.default_folder()
        assert folder is not None
        assert folder.is_relative_to(tmp_path)
        install(folder, whole())
        assert set(names(read(None)).values()) == {REPOSITORY}
        assert set(names(Expectations().data_set).values()) == {REPOSITORY}
        assert read("shipped") is Expectations(data="shipped").data_set is shipped()

    def test_a_user_without_a_home_has_what_is_shipped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As in a container, where `~` cannot be expanded."""
        monkeypatch.setattr(store, "default_folder", lambda: None)
        assert installed() is shipped()

    def test_a_data_set_is_taken_as_it_is(self) -> None:
        """Who has made one passes it on."""
        data = DataSet()
        assert read(data) is data

    @pytest.mark.parametrize("kind", PARTS)
    @pytest.mark.parametrize("days", [-1, 0, 1])
    def test_the_newer_serves_part_by_part(self, kind: KnowledgeKind, days: int, tmp_path: Path) -> None:
        """Of two of the same day and version the shipped one, whatever the others are."""
        own = next(part for part in shipped().parts() if part.kind is kind)
        assert own.date is not None
        date = own.date + dt.timedelta(days=days)
        files = whole()
        if kind is KnowledgeKind.CANARIES:
            files[PARTS[kind].name] = canaries(date=date)
        else:
            files[PARTS[kind].name] = part(kind, date=date, version=int(own.version))
            files[ROOT_CERTIFICATES] = certificates(version=int(own.version))
        install(tmp_path, files)
        data = installed(tmp_path)
        expected = {each: SHIPPED if each is kind and days <= 0 else REPOSITORY for each in PARTS}
        assert names(data) == expected
        assert data.warnings == []
        assert {each: data.is_updated(each) for each in PARTS} == {
            each: name == REPOSITORY for each, name in expected.items()
        }

    @pytest.mark.parametrize("kind", JSON_PARTS)
    def test_of_one_day_the_later_version_serves(self, kind: KnowledgeKind, tmp_path: Path) -> None:
        """A part that was released twice on a day."""
        own = next(part for part in shipped().parts() if part.kind is kind)
        assert own.date is not None
        install(tmp_path, {PARTS[kind].name: part(kind, date=own.date), ROOT_CERTIFICATES: certificates()})
        assert {each for each, name in names(installed(tmp_path)).items() if name == REPOSITORY} == {kind}

    @pytest.mark.parametrize("kind", JSON_PARTS)
    def test_a_form_of_a_later_package_is_left_out(self, kind: KnowledgeKind, tmp_path: Path) -> None:
        """It says so in a sentence that names the file and the remedy, and everything else serves."""
        files = {**whole(), PARTS[kind].name: part(kind, schema=99, novelty=[{}])}
        install(tmp_path, files)
        data = installed(tmp_path)
        assert {each for each, name in names(data).items() if name == SHIPPED} == {kind}
        (sentence,) = data.warnings
        assert PARTS[kind].name in sentence
        assert "`schema` is 99" in sentence
        assert "Update this package" in sentence

    @pytest.mark.parametrize("kind", PARTS)
    def test_a_part_of_a_later_day_than_its_set_is_left_out(self, kind: KnowledgeKind, tmp_path: Path) -> None:
        """It would be the newest for ever, whatever is published after it."""
        late = PUBLISHED.date() + dt.timedelta(days=2)
        content = canaries(date=late) if kind is KnowledgeKind.CANARIES else part(kind, date=late)
        install(tmp_path, {**whole(), PARTS[kind].name: content})
        data = installed(tmp_path)
        assert names(data)[kind] == SHIPPED
        assert "after the set was published" in data.warnings[0]

    def test_an_age_is_never_better_than_the_rules_allow(self, tmp_path: Path) -> None:
        """A publisher may say less than the constants, and no more."""
        soon = str(NEWER + dt.timedelta(days=3))
        install(tmp_path, {**whole(), "ct_logs.json": part(KnowledgeKind.LOGS, horizon=soon)})
        horizons = {part.kind: part.horizon for part in installed(tmp_path).parts()}
        assert horizons[KnowledgeKind.LOGS] == NEWER + dt.timedelta(days=3)
        assert horizons[KnowledgeKind.ROOTS] == NEWER + HORIZONS[KnowledgeKind.ROOTS]

    def test_roots_come_with_their_own_certificates(self, tmp_path: Path) -> None:
        """Roots and certificates of different releases are no part; both shipped files serve then."""
        content = json.loads((data_set.DATA / "roots.json").read_bytes())
        fewer = part(KnowledgeKind.ROOTS, roots=content["roots"][1:])
        for files in ({"roots.json": fewer, ROOT_CERTIFICATES: certificates()}, {"roots.json": fewer}):
            install(tmp_path, files)
            data = installed(tmp_path)
            assert len(data.public_roots()) == len(shipped().public_roots())
            assert data.part(KnowledgeKind.ROOTS).name == SHIPPED
            assert ROOT_CERTIFICATES in data.warnings[0]
        removed = part(
            KnowledgeKind.ROOTS, roots=[{**content["roots"][0], "removed": "2027-01-01"}, *content["roots"][1:]]
        )
        install(tmp_path, {"roots.json": removed, ROOT_CERTIFICATES: certificates()})
        assert len(installed(tmp_path).public_roots()) == len(shipped().public_roots()) - 1

    def test_a_certifi_older_than_the_set_withdraws_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A certifi that the package does not know may be one that an updated set does."""
        bundle = tmp_path / "cacert.pem"
        bundle.write_bytes(b"")
        monkeypatch.setattr(certifi, "where", lambda: str(bundle))
        monkeypatch.setattr(certifi, "__version__", "2027.2.1")
        monkeypatch.setattr(
            "detector.knowledge.roots._installer_record",
            lambda _: ("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", 0),  # SHA-256 of nothing
        )
        assert len(DataSet().public_roots()) == 0
        install(tmp_path, {"roots.json": part(KnowledgeKind.ROOTS), ROOT_CERTIFICATES: certificates()})
        assert len(installed(tmp_path).public_roots()) == len(shipped().public_roots()) > 100

    def test_two_sets_live_side_by_side(self, tmp_path: Path) -> None:
        """What one set knows is no other's, also where threads use both at once."""
        install(tmp_path, {**whole(), "interceptors.json": part(KnowledgeKind.CATALOGUE, entries=[])})
        updated, found = installed(tmp_path), []
        users = [
            threading.Thread(target=lambda data=data: found.append((data is updated, len(data.catalogue.entries))))
            for data in (updated, DataSet()) * 8
        ]
        for user in users:
            user.start()
        for user in users:
            user.join()
        assert sorted(set(found)) == [(False, len(shipped().catalogue.entries)), (True, 0)]


class TestDamage:
    """A set with anything wrong is named and left aside; the last good one serves."""

    BEFORE = NEWER - dt.timedelta(days=9)

    def serving(self, folder: Path) -> tuple[set[dt.date | None], list[str]]:
        """The days of the parts that serve, and what was said."""
        data = installed(folder)
        names(data)
        return {part.date for part in data.parts() if part.name == REPOSITORY}, data.warnings

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Two sets, one of which was there before."""
        install(tmp_path, {**whole(), "pins/acme/exam.toml": b"x"}, whole(date=self.BEFORE))
        return tmp_path

    def test_nothing_is_wrong_with_either(self, folder: Path) -> None:
        """The current one serves, without a word."""
        assert self.serving(folder) == ({NEWER}, [])

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
    @given(data=st.data())
    def test_any_damage_of_any_file(self, folder: Path, data: st.DataObject) -> None:
        """A changed bit, a cut or grown end, an emptied or a missing file, the manifest among them; it is named."""
        current = store.read_current(folder)
        assert current is not None
        place = folder / store.SETS / current.set
        files = sorted(path for path in place.rglob("*") if path.is_file())
        file = data.draw(st.sampled_from(files), label="file")
        content = file.read_bytes()
        at = data.draw(st.integers(0, len(content) - 1), label="at")
        kinds = ["flip", "cut", "grown", "empty", "missing", "folder", "pipe"]
        match data.draw(st.sampled_from(kinds), label="damage"):
            case "flip":
                bit = 1 << data.draw(st.integers(0, 7))
                file.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            case "cut":
                file.write_bytes(content[:at])
            case "grown":
                file.write_bytes(content + b" ")
            case "empty":
                file.write_bytes(b"")
            case "missing":
                file.unlink()
            case "folder":
                file.unlink()
                file.mkdir()
            case "pipe":
                file.unlink()
                os.mkfifo(file)
        is_manifest_text = file.name == store.MANIFEST
        try:
            dates, warnings = self.serving(folder)
            if dates == {NEWER}:  # white space, or a letter of a name, in the manifest: every file is still verified
                assert is_manifest_text
            else:
                assert dates == {self.BEFORE}
                assert len(warnings) == 1
                assert str(place) in warnings[0]
        finally:
            if file.is_dir():
                file.rmdir()
            else:
                file.unlink(missing_ok=True)
            file.write_bytes(content)

    @pytest.mark.parametrize("name", ["surplus.json", "pins/acme/more.toml", "pins/other/exam.toml", ".hidden", "a/b"])
    def test_a_surplus_file_is_damage(self, name: str, tmp_path: Path) -> None:
        """What the manifest does not know was put there by somebody."""
        place = install(tmp_path, whole(), whole(date=self.BEFORE))
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"{}")
        dates, warnings = self.serving(tmp_path)
        assert (dates, len(warnings)) == ({self.BEFORE}, 1)
        assert "surplus" in warnings[0]

    def test_a_link_is_no_folder_of_the_set(self, tmp_path: Path) -> None:
        """It could lead anywhere, and go on for ever."""
        place = install(tmp_path, whole(), whole(date=self.BEFORE))
        (place / "pins").symlink_to(place)
        assert self.serving(tmp_path)[0] == {self.BEFORE}

    def test_where_both_are_damaged_the_shipped_one_serves(self, tmp_path: Path) -> None:
        """Each is named."""
        place = install(tmp_path, whole(), whole(date=self.BEFORE))
        for folder in place.parent.iterdir():
            (folder / "ct_logs.json").write_bytes(b"")
        dates, warnings = self.serving(tmp_path)
        assert (dates, len(warnings)) == (set(), 2)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"null",
            b"\xff",
            b"[" * 100_000,
            b'{"schema": 1, "set": 1e999}',
            b'{"schema": 1, "set": "' + b"9" * 100_000 + b'"}',
            b'{"schema": 1, "set": "../../elsewhere", "previous": null}',
            b'{"schema": 1, "set": "7-0000000g", "previous": null}',
            b'{"schema": 1, "set": "7-00000000\\n", "previous": null}',
            b'{"schema": 2, "set": "7-00000000", "previous": null}',
            b'{"schema": 1, "set": "7-00000000", "previous": null, "more": 1}',
            b"x" * (store.RECORD_BYTES_MAX + 1),
        ],
    )
    def test_a_damaged_current_file_leaves_the_shipped_set(self, content: bytes, tmp_path: Path) -> None:
        """Whatever is in it, it names no folder elsewhere, and the sentence names it."""
        install(tmp_path, whole())
        (tmp_path / store.CURRENT).write_bytes(content)
        dates, warnings = self.serving(tmp_path)
        assert (dates, len(warnings)) == (set(), 1)
        assert str(tmp_path / store.CURRENT) in warnings[0]
        assert len(warnings[0]) < 1000

    def test_a_pipe_in_place_of_the_current_file(self, tmp_path: Path) -> None:
        """Nothing waits for somebody who writes to it: no check would ever begin."""
        install(tmp_path, whole())
        (tmp_path / store.CURRENT).unlink()
        os.mkfifo(tmp_path / store.CURRENT)
        opened = store.open_installed(tmp_path)
        assert opened.serving is None
        assert "not a regular file" in opened.warnings[0]

    @pytest.mark.parametrize(
        "change",
        [
            {"files": {"../roots.json": {"sha256": "0" * 64, "length": 1}}},
            {"files": {"/etc/passwd": {"sha256": "0" * 64, "length": 1}}},
            {"files": {"pins/../x.toml": {"sha256": "0" * 64, "length": 1}}},
            {"files": {"pins/Acme/x.toml": {"sha256": "0" * 64, "length": 1}}},
            {"files": {"roots.json": {"sha256": "0" * 63, "length": 1}}},
            {"files": {"roots.json": {"sha256": "0" * 64, "length": 1 << 70}}},
            {"files": {"roots.json": {"sha256": "0" * 64, "length": -1}}},
            {"files": {f"f{n}.json": {"sha256": "0" * 64, "length": store.SET_BYTES_MAX} for n in range(2)}},
            {"files": {f"f{n}.json": {"sha256": "0" * 64, "length": 0} for n in range(store.FILES_MAX + 1)}},
            {"version": 1 << 70},
            {"published": "2027-03-01T00:00:00"},
            {"schema": 2},
            {"more": {}},
        ],
    )
    def test_a_manifest_that_is_none_is_refused(self, change: dict[str, Any], tmp_path: Path) -> None:
        """No path leads out of the set, nothing is larger than a set, and nothing is there that this reader ignores."""
        place = install(tmp_path, whole(), whole(date=self.BEFORE))
        manifest = json.loads((place / store.MANIFEST).read_bytes())
        (place / store.MANIFEST).write_text(json.dumps({**manifest, **change}), encoding="utf-8")
        dates, warnings = self.serving(tmp_path)
        assert (dates, len(warnings)) == ({self.BEFORE}, 1)

    @pytest.mark.parametrize("kind", JSON_PARTS)
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"null",
            b"[]",
            b"\xff\xfe",
            b'{"schema":' * 50_000,
            b'{"schema": 1e999, "version": 1, "date": "2027-01-01", "horizon": "2027-01-01"}',
            b'{"schema": %d, "version": 1' % (1 << 80),
        ],
        ids=["empty", "null", "list", "no UTF-8", "deep", "infinite", "huge"],
    )
    def test_a_part_that_is_no_json_is_left_out(self, kind: KnowledgeKind, content: bytes, tmp_path: Path) -> None:
        """Its hash is right, so somebody signed it; it is named, and what the package ships serves as this part."""
        install(tmp_path, {**whole(), PARTS[kind].name: content})
        data = installed(tmp_path)
        assert {each for each, name in names(data).items() if name == SHIPPED} == {kind}
        (sentence,) = data.warnings
        assert PARTS[kind].name in sentence

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
    @given(data=st.data())
    def test_a_part_of_the_wrong_form_is_left_out(self, data: st.DataObject, tmp_path: Path) -> None:
        """A signed file with any value replaced by another is read, or named and left out: never another error."""
        kind = data.draw(st.sampled_from(JSON_PARTS), label="part")
        content = json.loads(part(kind))
        holder, key = content, data.draw(st.sampled_from(sorted(content)))
        while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        wrong = st.none() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=2) | st.booleans()
        holder[key] = data.draw(wrong | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), label="wrong")
        install(tmp_path, {**whole(), PARTS[kind].name: json.dumps(content).encode()})
        found = installed(tmp_path)
        from_package = {each for each, name in names(found).items() if name == SHIPPED}
        assert from_package <= {kind}
        assert len(found.warnings) == len(from_package)

    def test_canaries_that_no_reader_takes_are_left_out(self, tmp_path: Path) -> None:
        """A pin file that names a root nobody knows, or is no pin file: the shipped one serves, with a sentence."""
        for change in (
            lambda text: text.replace("GTS Root R1", "A root to come", 1),
            lambda text: text + "\n[[endpoint]]\nhots = 1",
            lambda text: text + "\n[[",
            lambda text: text.replace("schema = 1", "schema = 9", 1),
        ):
            install(tmp_path, {"canaries.toml": canaries(change=change)})
            data = installed(tmp_path)
            assert names(data)[KnowledgeKind.CANARIES] == SHIPPED
            (sentence,) = data.warnings
            assert "canaries.toml" in sentence

    def test_what_is_left_aside_is_logged(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A program that uses this package sees it in its log."""
        install(tmp_path, whole())
        (tmp_path / store.CURRENT).write_bytes(b"")
        with caplog.at_level(logging.WARNING, "detector.knowledge"):
            data = installed(tmp_path)
        assert [record.getMessage() for record in caplog.records] == data.warnings

    def test_a_broken_package_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where not even the shipped file can be read there is nothing to fall back to."""
        (tmp_path / "ct_logs.json").write_bytes(b'{"schema": 4, "version": 1, "date": "2026-01-01", "horizon": "x"}')
        monkeypatch.setattr(data_set, "DATA", tmp_path)
        with pytest.raises(KnowledgeError, match=r"ct_logs\.json"):
            _ = DataSet().logs


class TestVendors:
    def pins(self, folder: Path, *sources: str) -> pins.PinSet:
        return Expectations(data=folder, pins=sources).pin_set

    def test_the_pins_of_a_vendor_are_used_when_asked_for(self, tmp_path: Path) -> None:
        """They are named after the vendor, and reports say which they were."""
        second = VENDOR_FILE.replace(b"exam.acme", b"live.acme").replace(b"2027-08-01", b"2027-06-01")
        files = {"pins/acme/exam.toml": VENDOR_FILE, "pins/acme/live.toml": second, "pins/other/exam.toml": VENDOR_FILE}
        install(tmp_path, files)
        found = self.pins(tmp_path, "vendor:acme")
        assert [endpoint.host for endpoint in found.endpoints] == ["exam.acme.example", "live.acme.example"]
        assert found.sources == ("vendor:acme/exam.toml", "vendor:acme/live.toml")
        (known,) = found.knowledge
        assert (known.kind, known.name) == (KnowledgeKind.PINS, "vendor:acme")
        assert (known.date, known.horizon) == (dt.date(2027, 2, 1), dt.date(2027, 6, 1))
        assert not Expectations(data=tmp_path).pin_set.knowledge

    def test_they_go_with_files_of_the_users_own(self, tmp_path: Path) -> None:
        """One list of sources; an endpoint that two of them pin is refused as always."""
        install(tmp_path, {"pins/acme/exam.toml": VENDOR_FILE})
        own = tmp_path / "own.toml"
        own.write_bytes(VENDOR_FILE.replace(b"exam.acme", b"mine.acme"))
        found = self.pins(tmp_path, str(own), "vendor:acme")
        assert [endpoint.host for endpoint in found.endpoints] == ["mine.acme.example", "exam.acme.example"]
        own.write_bytes(VENDOR_FILE)
        with pytest.raises(PinFileError, match="listed here and in"):
            self.pins(tmp_path, str(own), "vendor:acme")

    @pytest.mark.parametrize("name", ["vendor:nobody", "vendor:", "vendor:../acme", "vendor:acme/exam.toml"])
    def test_a_vendor_without_pins_is_refused(self, name: str, tmp_path: Path) -> None:
        """Never "no pins": the error names those that are installed, or how to install some."""
        install(tmp_path, {"pins/acme/exam.toml": VENDOR_FILE})
        with pytest.raises(PinFileError, match=r"no pins of this vendor are installed\. Installed are those of acme"):
            self.pins(tmp_path, name)
        with pytest.raises(PinFileError, match="detector data update"):
            _ = Expectations(data="shipped", pins=name).pin_set

    @pytest.mark.parametrize("line", [b"canary = true", b"runs_ca = true", b'private_roots = ["root.pem"]'])
    def test_a_vendor_states_no_more_than_a_user(self, line: bytes, tmp_path: Path) -> None:
        """A canary's substitution is proof, so no vendor can make one; and its files name no others."""
        install(tmp_path, {"pins/acme/exam.toml": VENDOR_FILE + line})
        with pytest.raises(PinFileError, match=r"^vendor:acme/exam\.toml: endpoint exam\.acme\.example:443: "):
            self.pins(tmp_path, "vendor:acme")


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Manifest and current file come back equal from disk."""
    name = write_set(tmp_path, whole())
    opened = store.open_set(tmp_path / store.SETS / name)
    assert store.open_set(opened.folder).manifest == opened.manifest
    assert (opened.manifest.repository, opened.manifest.version, opened.manifest.published) == (
        REPOSITORY,
        7,
        PUBLISHED,
    )
    for current in (store.Current(set=name), store.Current(set=name, previous=name)):
        (tmp_path / store.CURRENT).write_bytes(encode(current))
        assert store.read_current(tmp_path) == current


def test_a_set_of_the_shipped_files_is_known_by_the_same_hashes(tmp_path: Path) -> None:
    """What identifies a part is its content, wherever it lies."""
    files: dict[str, bytes] = {PARTS[kind].name: shipped().path_of(kind).read_bytes() for kind in PARTS}
    install(tmp_path, {**files, ROOT_CERTIFICATES: (data_set.DATA / ROOT_CERTIFICATES).read_bytes()})
    data = installed(tmp_path)

    def hashes(parts: tuple[Knowledge, ...]) -> list[str]:
        return [part.sha256 for part in parts]

    assert hashes(data.parts()) == hashes(shipped().parts())
    assert not any(map(data.is_updated, PARTS)), "the shipped one serves where both are the same"
