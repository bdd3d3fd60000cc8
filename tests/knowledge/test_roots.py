"""Trusted roots as values: labels, versions, files that are refused with a reason."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import RootsError
from detector.knowledge import data_set, roots
from detector.knowledge.roots import Installed
from detector.model import MachineRoot, RootOrigin
from detector.trust.paths import build
from detector.trust.roots import NO_ROOTS, Roots, certificates_in_pem, from_der, from_recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import PrivatePKI


KNOWN_ROOTS = data_set.shipped().known_roots
KNOWN = KNOWN_ROOTS.versions[-1]
NEWER = "2099.1.1"


def bundled(*labels: str) -> bytes:
    """Certificates of the knowledge as certifi writes them, without those with these labels."""
    carried = zip(data_set.shipped().known_roots.roots, data_set.shipped().root_certificates, strict=True)
    return b"".join(pem(der, k.label) for k, der in carried if k.is_current(None) and k.label not in labels)


def pem(der: bytes, label: str | None = None) -> bytes:
    comment = "" if label is None else f'# Label: "{label}"\n# Serial: 1\n'
    return comment.encode() + ssl.DER_cert_to_PEM_cert(der).encode()


def as_recorded(data: bytes, version: str = NEWER, *, in_place: bool = True) -> Installed:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return Installed(version, digest, len(data), in_place)


def ders(of: Roots) -> list[bytes]:
    return [root.certificate.der for root in of.roots]


def test_public_roots_are_the_knowledge() -> None:
    """The default roots are labeled as certifi labels them, and have the version and the date of the data set."""
    public = data_set.shipped().public_roots()
    assert len(public) > 100
    assert "ISRG Root X1" in public.labels
    assert (public.name, public.version, public.date) == ("shipped", str(KNOWN_ROOTS.version), KNOWN_ROOTS.date)
    assert {root.origin for root in public.roots} == {RootOrigin.SHIPPED}


def test_retired_roots_are_there_to_be_verified_by_and_are_not_public() -> None:
    """Every root that was public at some time is either public or retired, by key; retired ones keep their label."""
    public = data_set.shipped().public_roots()
    assert public.keys | public.retired.keys == data_set.shipped().known_roots.keys
    assert not public.keys & public.retired.keys
    assert {"Baltimore CyberTrust Root", "DST Root CA X3", "DigiCert Global Root CA"} <= public.retired.labels
    chain = [root.certificate for root in public.retired.roots if root.label == "Baltimore CyberTrust Root"]
    (path,) = build(chain, (public.retired,)).paths
    assert path.anchor is not None


def test_a_root_was_public_until_the_day_it_was_removed() -> None:
    """Past captures are assessed with the roots of their day; a root that came later stays."""
    removed = dt.date(2025, 11, 12)  # CommScope's, in the certifi of that day for the first time missing
    gone = "CommScope Public Trust RSA Root-01"
    before, then, today = (
        data_set.shipped().public_roots(d) for d in (removed - dt.timedelta(days=1), removed, dt.date.max)
    )
    assert gone in before.labels
    assert gone not in before.retired.labels
    assert gone in then.retired.labels
    assert gone not in then.labels
    assert today.keys == data_set.shipped().public_roots().keys
    assert today.keys <= before.keys


def test_roots_that_a_caller_brings_are_public_as_they_are(tmp_path: Path) -> None:
    """The knowledge has no say in them: none is retired, and they are of no date but the one that is given."""
    file = tmp_path / "old.pem"
    retired = data_set.shipped().public_roots().retired.roots[0].certificate.der
    file.write_bytes(pem(retired))
    loaded = roots.load(file)
    assert (ders(loaded), len(loaded.retired), loaded.date) == ([retired], 0, None)
    assert roots.load(file, date=dt.date(2026, 1, 1)).date == dt.date(2026, 1, 1)
    assert len(loaded.unconfirmed) == 0
    together = data_set.shipped().public_roots().with_added(loaded)
    assert retired in ders(together)
    assert retired not in ders(together.retired)
    assert len(together.retired) == len(data_set.shipped().public_roots().retired) - 1


@pytest.mark.parametrize("label", [None, "School Inspection CA", "ISRG Root X1"])
def test_what_somebody_appends_to_certifi_is_added(label: str | None, pki: PrivatePKI) -> None:
    """An institution's CA in certifi's own file, of any version and under any label, is a root that was added."""
    ca, genuine = pki.private_ca("School Inspection CA"), bundled()
    for data in (genuine + pem(ca.certificate, label), pem(ca.certificate, label) + genuine):
        for version in (KNOWN, NEWER):
            found = roots.split_certifi(data, as_recorded(genuine, version), KNOWN_ROOTS)
            assert ders(found.added) == [ca.certificate]
            assert (ders(found.unconfirmed), found.withdrawn) == ([], frozenset())
            assert found.added.roots[0].origin is RootOrigin.ADDED


def test_a_root_of_a_newer_certifi_is_unconfirmed(pki: PrivatePKI) -> None:
    """A new root of Mozilla's looks like one that an institution's mirror built into the package."""
    data = bundled() + pem(pki.root_a.certificate, "Some New Root")
    found = roots.split_certifi(data, as_recorded(data), KNOWN_ROOTS)
    assert (ders(found.unconfirmed), ders(found.added)) == ([pki.root_a.certificate], [])
    assert found.unconfirmed.roots[0].origin is RootOrigin.SHIPPED
    rebuilt = roots.split_certifi(data, as_recorded(data, KNOWN), KNOWN_ROOTS)
    assert ders(rebuilt.added) == [pki.root_a.certificate], "this version never had it"


def test_undetermined_origins_are_unknown(pki: PrivatePKI) -> None:
    """A distribution's bundle in certifi's place, or a newer file that was edited, does not say who put what there."""
    data = bundled() + pem(pki.root_a.certificate, "Some Root")
    for installed in (
        Installed(KNOWN, None, None, in_place=False),  # another bundle
        Installed(NEWER, None, None, in_place=True),  # as in an application that was frozen
        as_recorded(b"something else"),
    ):
        found = roots.split_certifi(data, installed, KNOWN_ROOTS)
        assert (ders(found.added), found.withdrawn) == ([], frozenset())
        assert [(r.certificate.der, r.origin) for r in found.unconfirmed.roots] == [
            (pki.root_a.certificate, RootOrigin.UNKNOWN)
        ]


def test_only_a_newer_untouched_certifi_takes_roots_away() -> None:
    """A root that the newest certifi dropped is no longer public; a gap in an older or edited file means nothing."""
    fewer = bundled("ISRG Root X1")
    gone = bytes.fromhex(next(k.spki_sha256 for k in data_set.shipped().known_roots.roots if k.label == "ISRG Root X1"))
    assert roots.split_certifi(fewer, as_recorded(fewer), KNOWN_ROOTS).withdrawn == {gone}
    assert roots.split_certifi(fewer + b"\n# edited", as_recorded(fewer), KNOWN_ROOTS).withdrawn == {gone}
    assert roots.split_certifi(fewer, as_recorded(fewer, KNOWN), KNOWN_ROOTS).withdrawn == frozenset()
    assert roots.split_certifi(fewer, as_recorded(fewer, "2024.2.2"), KNOWN_ROOTS).withdrawn == frozenset()
    assert roots.split_certifi(fewer, as_recorded(bundled()), KNOWN_ROOTS).withdrawn == frozenset()


@pytest.fixture
def another_certifi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Roots]:
    """Gives the public roots that result with another certifi installed: its file, its version, its record."""

    def install(data: bytes | None, version: str, installed: Installed | None = None) -> Roots:
        file = tmp_path / "cacert.pem"
        if data is not None:
            file.write_bytes(data)
        monkeypatch.setattr(certifi, "where", lambda: str(file))
        monkeypatch.setattr(certifi, "__version__", version)
        if installed is not None:
            monkeypatch.setattr(roots, "Installed", lambda *_: installed)
        return data_set.DataSet().public_roots()

    return install


def test_what_a_newer_certifi_dropped_is_retired(another_certifi: Callable[..., Roots]) -> None:
    """It neither accuses nor clears, and the version says what was left out."""
    fewer = bundled("ISRG Root X1")
    public = another_certifi(fewer, NEWER, as_recorded(fewer))
    assert "ISRG Root X1" not in public.labels
    assert "ISRG Root X1" in public.retired.labels
    assert public.version == f"{KNOWN_ROOTS.version}, less 1 that certifi {NEWER} withdrew"
    assert (public.date, public.sha256) == (KNOWN_ROOTS.date, "")


def test_roots_of_a_newer_certifi_are_kept_apart(pki: PrivatePKI, another_certifi: Callable[..., Roots]) -> None:
    """They are available where a chain leads to them, also with added roots, but are not public."""
    data = bundled() + pem(pki.root_a.certificate, "Some New Root")
    public = another_certifi(data, NEWER, as_recorded(data))
    assert pki.root_a.certificate not in ders(public)
    assert ders(public.unconfirmed) == [pki.root_a.certificate]
    assert ders(public.with_added(NO_ROOTS).unconfirmed) == [pki.root_a.certificate]
    assert ders(public.with_added(from_der([pki.root_a.certificate], name="own")).unconfirmed) == []


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
@pytest.mark.parametrize("version", ["2024.2.2", KNOWN, NEWER, "nightly"])
def test_without_certifi_the_knowledge_is_whole(
    content: bytes | None, version: str, another_certifi: Callable[..., Roots]
) -> None:
    """A file that is missing, empty or damaged takes nothing away and adds no root that could be read."""
    public = another_certifi(content, version)
    assert public.version == str(KNOWN_ROOTS.version)
    assert len(public) > 100
    assert not [r for r in public.unconfirmed.roots if r.certificate.spki is not None]


def test_the_installed_certifi_is_as_recorded() -> None:
    """The file of this installation has no added root."""
    assert ders(data_set.DataSet().certifi.added) == []


def test_load(pki: PrivatePKI, tmp_path: Path) -> None:
    """A PEM file becomes roots labeled by their names and versioned by their hash."""
    file = tmp_path / "roots.pem"
    file.write_bytes(pki.roots_pem())
    loaded = roots.load(file)
    assert loaded.labels == {"Exemplar Root R1", "Exemplar Root X2"}
    assert loaded.version.startswith("sha256:")
    assert loaded.with_added(NO_ROOTS).labels == loaded.labels
    assert len(loaded.without(loaded.keys)) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no certificate here",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
    ],
)
def test_bad_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    """Files without certificates, or with damaged ones, are refused naming the file."""
    file = tmp_path / "bad.pem"
    file.write_bytes(content)
    with pytest.raises(RootsError, match=r"bad\.pem"):
        roots.load(file)


def test_damaged_block_among_good_ones_is_refused(pki: PrivatePKI, tmp_path: Path) -> None:
    """Trusting fewer roots than the file names would be a silent change of meaning."""
    file = tmp_path / "half.pem"
    file.write_bytes(pki.roots_pem() + b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n")
    with pytest.raises(RootsError, match="damaged"):
        roots.load(file)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    """What cannot be read is refused, naming it."""
    for path in (tmp_path / "missing.pem", tmp_path, "a\0b"):
        with pytest.raises(RootsError, match="cannot be read"):
            roots.load(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="POSIX has a file without an end")
def test_a_file_without_an_end_is_refused() -> None:
    """The system reports size 0 for a device, so the bytes read are counted."""
    with pytest.raises(RootsError, match="larger than 16777216 bytes"):
        roots.load("/dev/zero")


def test_machine_roots_are_a_value() -> None:
    """The operating system's roots load on this platform, if only as an empty set."""
    assert roots.machine_roots().name == "operating system"


@given(st.binary(max_size=300))
def test_any_pem_text_is_read(data: bytes) -> None:
    """PEM text of anybody's choice gives certificates or none."""
    assert isinstance(certificates_in_pem(data), list)
    wrapped = b"-----BEGIN CERTIFICATE-----" + data + b"-----END CERTIFICATE-----"
    assert len(certificates_in_pem(wrapped)) <= 2


def test_reading_pem_text_takes_linear_time() -> None:
    """Text that begins like a label or a certificate again and again costs what it is long."""
    data = b'# Label: "a"\n-----BEGIN CERTIFICATE-----' * 200_000
    begin = time.process_time()
    assert certificates_in_pem(data) == []
    assert time.process_time() - begin < 2.0


def test_recorded_roots_keep_their_origin(pki: PrivatePKI) -> None:
    """Roots recorded on another machine keep their recorded origin."""
    recorded = [MachineRoot(der=pki.root_a.certificate, origin=origin) for origin in RootOrigin]
    assert [root.origin for root in from_recorded(recorded, name="there").roots] == list(RootOrigin)
