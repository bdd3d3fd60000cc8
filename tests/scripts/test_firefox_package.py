"""Tests of scripts/firefox_package.py: tables of Firefox's libraries and Mozilla's collections, from made packages.

Room: tests. A made library has the layout that the real one has: pointers in a writable segment, to read-only data.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import json
import os
import shutil
import ssl
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from detector.knowledge import data_set
from detector.trust import der
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from detector_testing import CA, PrivatePKI

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))  # scripts are run from their own folder, and not installed

import build_data  # noqa: E402 - after the path
import firefox_package  # noqa: E402 - after the path

HEADERS: Final = 64 + 2 * 56
"""Bytes of an ELF header and two program headers."""
SHIFT: Final = 0x10000
"""By how much the writable segment is loaded behind its place in the file."""


class MadeLibrary:
    """A library under construction: what is read-only, and words that may be pointers to it."""

    def __init__(self) -> None:
        self._constant = bytearray(HEADERS)
        self._words = bytearray()

    def put(self, data: bytes) -> int:
        """Add read-only data; return its address."""
        at = len(self._constant)
        self._constant += data
        return at

    def add(self, form: str, *values: int | bytes) -> None:
        """Add a structure to the writable segment."""
        self._words += struct.pack(f"<{form}", *values)

    def build(self) -> bytes:
        """The file."""
        size = len(self._constant)
        header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
            "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
        )
        constant = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
        writable = struct.pack("<IIQQQQQQ", 1, 6, size, size + SHIFT, 0, len(self._words), len(self._words), 4096)
        self._constant[:HEADERS] = header + constant + writable
        return bytes(self._constant + self._words)


def log_key() -> bytes:
    """The SubjectPublicKeyInfo of a P-256 key, as most logs have."""
    key = generate_private_key(SECP256R1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


KEYS: Final = [log_key() for _ in range(3)]
STATE_SINCE: Final = 1_767_225_600_000
"""2026-01-01 in milliseconds."""


def xul(roots: dict[bytes, bytes], *, operators: tuple[str, ...] = ("Alder", "Birch")) -> bytes:
    """A library with three logs and a placeholder, and with these trust anchors (certificate to distrust date)."""
    made = MadeLibrary()
    made.add("QQ", 0, 0)  # something before the table
    logs = [("Alder 2026h1", 0, 0, 0), ("Birch 2026h1", 1, 0, 1), ("Birch 2027h1", 0, 1, 1), ("Bogus log", 0, 0, 1)]
    for number, (name, state, kind, operator) in enumerate(logs):
        key = KEYS[number % len(KEYS)]
        made.add(
            "QIIQQQQ", made.put(name.encode() + b"\0"), state, kind, STATE_SINCE, operator, made.put(key), len(key)
        )
    for number, name in enumerate(operators):
        made.add("QQ", made.put(name.encode() + b"\0"), number)
    made.add("QQ", 0, 99)
    for root, limit in roots.items():
        label, trust, policy = made.put(b"A root\0"), made.put(bytes(8)), made.put(b"\x01")
        made.add("QQQQ", label, 7, made.put(root), len(root))
        made.add("QQQQQQ", trust, 8, trust, 8, policy, 1)
        made.add("QQQQ", made.put(limit), len(limit), made.put(b"\0"), 1)
        made.add("32s", hashlib.sha256(root).digest())
    return made.build()


def nss(subject: bytes, constraint: bytes) -> bytes:
    """A library with the name constraint of one subject."""
    made = MadeLibrary()
    made.add("6Q", 0, made.put(subject), len(subject), 0, made.put(constraint), len(constraint))
    return made.build()


def names(*suffixes: str) -> bytes:
    """A nameConstraints extension that permits these."""
    trees = b"".join(der.encode(0x30, der.encode(0x82, suffix.encode())) for suffix in suffixes)
    return der.encode(0x30, der.encode(0xA0, trees))


def der_of(authority: CA) -> bytes:
    """The certificate of a CA."""
    return ssl.PEM_cert_to_DER_cert(authority.pem.decode())


def package(folder: Path, files: dict[str, bytes], settings: dict[str, Any] | None = None) -> Path:
    """A Debian package of Firefox with these files."""
    omni = io.BytesIO()
    with zipfile.ZipFile(omni, "w") as archive:
        for name, content in (settings or {}).items():
            archive.writestr(f"defaults/settings/security-state/{name}.json", json.dumps(content))
    ini = b"[App]\nVersion=160.1.0\nBuildID=20270301120000\n"
    every = {"browser/omni.ja": omni.getvalue(), "application.ini": ini, **files}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, content in every.items():
            info = tarfile.TarInfo(f"./usr/lib/firefox-esr/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = folder / "firefox-esr.deb"
    members = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data.getvalue())]
    path.write_bytes(
        b"!<arch>\n"
        + b"".join(
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
            + content
            + b"\n" * (len(content) % 2)
            for name, content in members
        )
    )
    return path


def test_logs_are_read_with_operator_kind_and_state(tmp_path: Path) -> None:
    """The whole table, whichever of its keys is found first, without placeholders."""
    made = firefox_package.read(package(tmp_path, {"libxul.so": xul({}), "libnss3.so": b""}))
    assert made.source == "Firefox ESR 160.1 of 2027-03-01, as packaged by Debian"
    found = firefox_package.logs(made)
    assert [(log["description"], log["operator"], log["kind"], log["state"]) for log in found] == [
        ("Alder 2026h1", "Alder", "rfc6962", "usable"),
        ("Birch 2026h1", "Birch", "rfc6962", "retired"),
        ("Birch 2027h1", "Birch", "static-ct", "usable"),
    ]
    for log, key in zip(found, KEYS, strict=True):
        assert log["since"] == "2026-01-01T00:00:00+00:00"
        assert base64.b64decode(log["key"]) == key
        assert base64.b64decode(log["log_id"]) == hashlib.sha256(key).digest()


def test_a_table_of_another_layout_is_an_error(tmp_path: Path) -> None:
    """Operators that are missing, no table at all, and files that are no library: never a guess."""
    for library, message in (
        (xul({}, operators=("Alder",)), "names operators"),
        (MadeLibrary().build(), "no table of CT"),
    ):
        made = firefox_package.read(package(tmp_path, {"libxul.so": library, "libnss3.so": b""}))
        with pytest.raises(firefox_package.PackageError, match=message):
            firefox_package.logs(made)
    made = firefox_package.read(package(tmp_path, {"libxul.so": b"MZ", "libnss3.so": b""}))
    with pytest.raises(firefox_package.PackageError, match="ELF"):
        firefox_package.logs(made)


def test_what_roots_are_limited_to(pki: PrivatePKI, tmp_path: Path) -> None:
    """The last day of new certificates, and the names that NSS permits, of roots that are known here."""
    limited, free, unknown = (pki.private_ca(name) for name in ("Limited", "Free", "Unknown"))
    ders = [der_of(one) for one in (limited, free, unknown)]
    library = xul({ders[0]: b"260415235959Z", ders[1]: b"\0"})
    subject = Certificate.read(ders[1]).subject
    assert subject is not None
    made = firefox_package.read(
        package(tmp_path, {"libxul.so": library, "libnss3.so": nss(subject.der, names(".tr", ".example"))})
    )
    assert firefox_package.anchors(made, ders) == {
        hashlib.sha256(ders[0]).digest(): dt.date(2026, 4, 15),
        hashlib.sha256(ders[1]).digest(): None,
    }
    subjects = [name.der for one in ders if (name := Certificate.read(one).subject)]
    assert firefox_package.permitted_names(made, subjects) == {subject.der: (".example", ".tr")}
    with pytest.raises(firefox_package.PackageError, match="no table of trust anchors"):
        firefox_package.anchors(made, [ders[2]])


def test_other_constraints_are_an_error(pki: PrivatePKI, tmp_path: Path) -> None:
    """What the data files have no field for is not left out in silence."""
    subject = Certificate.read(der_of(pki.root_a)).subject
    assert subject is not None
    excluded = der.encode(0x30, der.encode(0xA1, der.encode(0x30, der.encode(0x82, b".tr"))))
    made = firefox_package.read(package(tmp_path, {"libxul.so": xul({}), "libnss3.so": nss(subject.der, excluded)}))
    with pytest.raises(firefox_package.PackageError, match="no list of permitted"):
        firefox_package.permitted_names(made, [subject.der])


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "ar archive"), (b"!<arch>\n", r"no data\.tar"), (b"PK\x03\x04", "ar archive")]
)
def test_what_is_no_package_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """Other files say what they are not."""
    (tmp_path / "other.deb").write_bytes(data)
    with pytest.raises(firefox_package.PackageError, match=message):
        firefox_package.read(tmp_path / "other.deb")
    with pytest.raises(firefox_package.PackageError, match=r"no libnss3\.so"):
        firefox_package.read(package(tmp_path, {"libxul.so": b""}))


SETTINGS: Final[dict[str, Any]] = {
    "intermediates": {
        "timestamp": 1_794_754_622_332,
        "data": [
            {
                "derHash": base64.b64encode(bytes([2]) * 32).decode(),
                "pubKeyHash": base64.b64encode(bytes([3]) * 32).decode(),
            },
            {"derHash": base64.b64encode(bytes([1]) * 32).decode()},
        ],
    },
    "onecrl": {
        "timestamp": 1_794_348_206_673,
        "data": [
            {
                "issuerName": "MAA=",
                "serialNumber": "AQ==",
                "last_modified": 1_794_348_206_673,
                "details": {"created": ""},
            },
            {
                "issuerName": "MAA=",
                "serialNumber": "Ag==",
                "last_modified": 1_794_348_206_673,
                "details": {"created": "2016-01-18T14:43:00Z"},
            },
            {"issuerName": "MAA=", "serialNumber": "Ag==", "last_modified": 1_794_348_206_673, "details": {}},
            {
                "subject": "MAA=",
                "pubKeyHash": base64.b64encode(bytes(32)).decode(),
                "last_modified": 1_500_000_000_000,
                "details": {},
            },
        ],
    },
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped data files, to be rebuilt."""
    folder = tmp_path / "data"
    shutil.copytree(data_set.DATA, folder)
    monkeypatch.setattr(build_data, "DATA", folder)
    return folder


def test_collections_become_parts(tmp_path: Path, data: Path) -> None:
    """Hashes are sorted; a revocation has the day of its record, the earliest where it is listed twice."""
    made = package(tmp_path, {"libxul.so": xul({}), "libnss3.so": b""}, SETTINGS)
    parts = build_data.collections(firefox_package.read(made))
    known = json.loads(parts["intermediates.json"])
    assert (known["date"], len(known["certificates"]), len(known["keys"])) == ("2026-11-15", 2, 1)
    assert known["certificates"] == sorted(known["certificates"])
    revoked = json.loads(parts["revocations.json"])
    assert revoked["issuers"] == [{"issuer": "MAA=", "serials": {"2016-01-18": ["Ag=="], "2026-11-10": ["AQ=="]}}]
    assert [key["since"] for key in revoked["keys"]] == ["2017-07-14"]
    assert revoked["version"] == json.loads((data / "revocations.json").read_bytes())["version"] + 1


def test_firefox_limits_roots_and_merges_its_logs(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command rebuilds four parts, prints what changed, and does nothing the second time."""
    ders = [
        base64.b64decode(text) for text in json.loads((data / "root_certificates.json").read_bytes())["certificates"]
    ]
    known = json.loads((data / "roots.json").read_bytes())["roots"]
    chosen = next(
        number for number, root in enumerate(known) if not root.get("removed") and "limits_source" not in root
    )
    made = package(
        tmp_path, {"libxul.so": xul({ders[chosen]: b"270101000000Z"}), "libnss3.so": MadeLibrary().build()}, SETTINGS
    )
    build_data.main(["firefox", str(made)])
    shown = capsys.readouterr().out
    assert "3 added" in shown
    assert known[chosen]["label"] in shown
    files = {name: (data / name).read_bytes() for name in ("roots.json", "root_certificates.json", "ct_logs.json")}
    root = json.loads(files["roots.json"])["roots"][chosen]
    assert (root["distrust_after"], root["limits_source"][:17]) == ("2027-01-01", "Firefox ESR 160.1")
    logs = {log["description"]: log for log in json.loads(files["ct_logs.json"])["logs"]}
    assert logs["Birch 2026h1"]["states"] == {"retired": "2026-01-01T00:00:00Z"}
    build_data.main(["firefox", str(made)])
    assert capsys.readouterr().out == ""
    assert {name: (data / name).read_bytes() for name in files} == files


@pytest.mark.lab
def test_the_shipped_files_come_from_the_real_package(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Debian's package of today reads with this layout; of the version that was used, it changes nothing."""
    apt = shutil.which("apt-get")
    if apt is not None:  # other systems have no packages of Debian
        command = [apt, "download", "firefox-esr"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)  # noqa: S603 - no shell; a fixed command
    found = next(tmp_path.glob("*.deb"), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("apt-get cannot download firefox-esr: .ci/run must fetch the lists of packages")
    if found is None:
        pytest.skip("needs apt-get with a source of the package firefox-esr: add Debian's security archive")
    build_data.main(["firefox", str(found)])
    shown = capsys.readouterr().out
    if firefox_package.read(found).source in json.loads((data / "intermediates.json").read_bytes())["sources"]:
        assert shown == ""
